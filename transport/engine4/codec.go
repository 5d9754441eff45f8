package engine4

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"net/http"

	"tbmsock/transport"
	"tbmsock/transport/wire"
)

// separator stands between the packets of a payload (Engine.IO protocol, "Packet encoding, HTTP
// long-polling").
const separator = 0x1e

// maxPackets bounds the packets in one payload: each costs more than its bytes.
const maxPackets = 16384

// codec is the wire form of revision 4: a packet is its type and its text; a binary message is
// itself on a WebSocket, and 'b' with base64 in a payload.
type codec struct{}

var _ wire.Codec = codec{}

func (codec) SocketFrame(f *transport.Frame) []byte {
	return f.Wire(transport.FormWebSocket, encodeSocket)
}

func (codec) CompressedFrame(f *transport.Frame, c transport.Compressor) []byte {
	return f.Compressed(transport.FormWebSocket, encodeSocket, c)
}

func encodeSocket(f *transport.Frame, prefixed []byte) []byte {
	var text []byte
	if !f.IsRest() {
		text = wire.TextFrame(f, prefixed)
	}
	if len(f.Attachments()) == 0 {
		return text
	}
	out := append(make([]byte, 0, len(text)+f.Size()), text...)
	for _, a := range f.Attachments() {
		out = wire.AppendFrame(out, true, a)
	}
	return out
}

func (codec) ParseMessage(binary bool, data []byte) (wire.Packet, error) {
	if binary {
		return wire.Packet{Type: transport.EngineMessage, Binary: true, Data: data}, nil
	}
	return parsePacket(data)
}

// parsePacket reads a packet that came as text; a client told to do without binary (forceBase64)
// writes binary messages so on a WebSocket too.
func parsePacket(data []byte) (wire.Packet, error) {
	if len(data) > 0 && data[0] == 'b' {
		b, err := wire.DecodeBase64(data[1:])
		if err != nil {
			return wire.Packet{}, parseError("binary packet: %w", err)
		}
		return wire.Packet{Type: transport.EngineMessage, Binary: true, Data: b}, nil
	}
	return parseText(data)
}

func parseText(data []byte) (wire.Packet, error) {
	if len(data) == 0 {
		return wire.Packet{}, parseError("empty packet")
	}
	if data[0] < transport.EngineOpen || data[0] > transport.EngineNoop {
		return wire.Packet{}, parseError("unknown packet type %q", data[0])
	}
	return wire.Packet{Type: data[0], Data: data[1:]}, nil
}

func encodePolling(f *transport.Frame, _ []byte) []byte {
	var out []byte
	if !f.IsRest() {
		out = append(make([]byte, 0, len(f.Text())+1), f.Kind())
		out = append(out, f.Text()...)
	}
	for _, a := range f.Attachments() {
		if len(out) > 0 {
			out = append(out, separator)
		}
		out = base64.StdEncoding.AppendEncode(append(out, 'b'), a)
	}
	return out
}

func (codec) BinaryPrefix() []byte { return nil }

func (codec) Payload(frames []*transport.Frame) []byte {
	parts := make([][]byte, len(frames))
	for i, f := range frames {
		parts[i] = f.Wire(transport.FormPolling4, encodePolling)
	}
	return bytes.Join(parts, []byte{separator})
}

func (c codec) WritePayload(w http.ResponseWriter, _ *http.Request, frames []*transport.Frame, _ bool) error {
	w.Header().Set("Content-Type", "text/plain; charset=UTF-8")
	w.Header().Set("Cache-Control", "no-store")
	_, err := w.Write(c.Payload(frames))
	return err
}

func (codec) ParsePayload(_ *http.Request, body []byte) ([]wire.Packet, error) {
	n := bytes.Count(body, []byte{separator}) + 1
	if n > maxPackets {
		return nil, parseError("%d packets in one payload, %d allowed", n, maxPackets)
	}
	packets := make([]wire.Packet, 0, n)
	for part := range bytes.SplitSeq(body, []byte{separator}) {
		p, err := parsePacket(part)
		if err != nil {
			return nil, err
		}
		packets = append(packets, p)
	}
	return packets, nil
}

func parseError(format string, args ...any) error {
	return &transport.DisconnectError{Reason: transport.ReasonParseError, Err: fmt.Errorf("engine4: "+format, args...)}
}
