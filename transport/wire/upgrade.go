package wire

import (
	"errors"
	"fmt"
	"io"

	"tbmsock/transport"
)

// ErrSecondSocket is the reason for which a WebSocket is closed whose session has one, or another is about to get it.
var ErrSecondSocket = errors.New("the session has a WebSocket already, or one that is taking over")

// ReadUpgrade reads the next packet of a WebSocket that is to take over a session that polls (Engine.IO protocol,
// "Upgrade"): [transport.EnginePing] for a probe, [transport.EngineUpgrade] for the packet that ends the upgrade, which
// some clients send with data, or without a probe. A NOOP, as the Swift client sends, means nothing.
func (s *Socket) ReadUpgrade() (kind byte, err error) {
	for {
		binary, data, err := s.Read()
		if errors.Is(err, io.EOF) {
			return 0, &transport.DisconnectError{Reason: transport.ReasonTransportClose}
		}
		if err != nil {
			return 0, err
		}
		switch {
		case binary || len(data) == 0:
		case data[0] == transport.EngineNoop:
			continue
		case data[0] == transport.EngineUpgrade, string(data) == "2probe":
			return data[0], nil
		}
		return 0, &transport.DisconnectError{Reason: transport.ReasonParseError,
			Err: fmt.Errorf("%q during an upgrade", data[:min(len(data), 32)])}
	}
}
