package transport_test

import (
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"tbmsock/transport"
	"tbmsock/transport/engine4"
)

// Who breaks the rules is told why by a close frame, though much of what it sent was never read: a system that closes a
// connection with unread bytes resets it, and the frame is lost.
func TestCloseFrameArrives(t *testing.T) {
	_, url := startServer(t, transport.ServerOptions{})
	for _, tc := range []struct {
		name, send string
		code       uint16
		reason     string
	}{
		{"too large", text("42" + strings.Repeat("x", 1_500_000)), 1009, ""},
		{"no packet", text("4x") + strings.Repeat("x", 1_500_000), 1002, "parse error"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c, err := net.Dial("tcp", strings.TrimPrefix(url, "http://"))
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = c.Close() }()
			_ = c.SetDeadline(time.Now().Add(patience))
			_, err = fmt.Fprintf(c, "GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"+
				"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n")
			if err != nil {
				t.Fatal(err)
			}
			if _, err := io.WriteString(c, tc.send); err != nil {
				t.Fatal(err)
			}
			all, err := io.ReadAll(c)
			if err != nil {
				t.Errorf("the connection ended with %v", err)
			}
			frame := append([]byte{0x88, byte(2 + len(tc.reason))}, binary.BigEndian.AppendUint16(nil, tc.code)...)
			if !strings.HasSuffix(string(all), string(frame)+tc.reason) {
				t.Errorf("it ends with %q, want a close frame with %d %s", all[max(0, len(all)-40):], tc.code, tc.reason)
			}
		})
	}
}

// Our client passes on what the server's close frame says.
func TestClientIsToldWhy(t *testing.T) {
	_, url := startServer(t, transport.ServerOptions{EngineOptions: transport.EngineOptions{MaxPayload: 10_000}})
	connected, lost := make(chan string, 10), make(chan error, 10)
	c := startClient(t, transport.ClientOptions{URL: url, Dialers: []transport.Dialer{engine4.Dialer{}}, Transports: []string{"websocket"},
		OnConnect:    func(sid string, _ transport.Conn) { connected <- sid },
		OnDisconnect: func(_ transport.Reason, err error) { lost <- err },
	}, nil)
	receive(t, connected)
	if err := c.Emit("x", strings.Repeat("x", 100_000)); err != nil {
		t.Fatal(err)
	}
	if err := receive(t, lost); err == nil || !strings.Contains(err.Error(), "1009 payload too large") {
		t.Errorf("the connection ended with %v", err)
	}
}
