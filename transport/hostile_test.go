package transport_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	"tbmsock/transport"
	"tbmsock/transport/engine4"
)

// rawHTTP is one TCP connection on which a test writes what it likes.
type rawHTTP struct {
	net.Conn
	t *testing.T
	r *bufio.Reader
}

func dialTCP(t *testing.T, url string) *rawHTTP {
	t.Helper()
	c, err := net.DialTimeout("tcp", strings.TrimPrefix(url, "http://"), patience)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	_ = c.SetDeadline(time.Now().Add(patience))
	return &rawHTTP{c, t, bufio.NewReader(c)}
}

func (c *rawHTTP) write(b string) {
	// The server may have closed: then that is what the test is about.
	_, _ = io.WriteString(c, b)
}

// upgradeTo makes a WebSocket of the connection, without a library in the way.
func (c *rawHTTP) upgradeTo(query string) {
	c.t.Helper()
	c.write("GET /socket.io/?" + query + " HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n")
	res, err := http.ReadResponse(c.r, nil)
	if err != nil {
		c.t.Fatal(err)
	}
	if res.StatusCode != http.StatusSwitchingProtocols {
		c.t.Fatalf("handshake answered %d", res.StatusCode)
	}
}

// wantEOF reads until the server closes.
func (c *rawHTTP) wantEOF() {
	c.t.Helper()
	if _, err := io.Copy(io.Discard, c.r); err != nil {
		if errors.Is(err, os.ErrDeadlineExceeded) {
			c.t.Error("the server keeps the connection")
		}
	}
}

// wsFrame builds a frame, honest or not: head is its first byte, length what it claims.
func wsFrame(head byte, length uint64, masked bool, payload []byte) string {
	var b bytes.Buffer
	b.WriteByte(head)
	mask := byte(0)
	if masked {
		mask = 0x80
	}
	switch {
	case length < 126:
		b.WriteByte(mask | byte(length))
	case length < 1<<16:
		b.WriteByte(mask | 126)
		_ = binary.Write(&b, binary.BigEndian, uint16(length))
	default:
		b.WriteByte(mask | 127)
		_ = binary.Write(&b, binary.BigEndian, length)
	}
	if masked {
		b.Write([]byte{0, 0, 0, 0}) // a mask that changes nothing
	}
	b.Write(payload)
	return b.String()
}

func text(s string) string { return wsFrame(0x81, uint64(len(s)), true, []byte(s)) }

// TestHostile sends what no honest client sends. Each connection ends; a client that is connected
// all the while notices nothing; and when all is over, goroutines and memory are where they were.
func TestHostile(t *testing.T) {
	_, url := startHostileServer(t)
	connected, lost := make(chan string, 1), make(chan string, 1)
	witness := startClient(t, transport.ClientOptions{URL: url, Dialers: []transport.Dialer{engine4.Dialer{}},
		OnConnect:    func(sid string, _ transport.Conn) { connected <- sid },
		OnDisconnect: func(r transport.Reason, err error) { lost <- fmt.Sprint(r, err) },
	}, nil)
	receive(t, connected)
	stillServed := func(t *testing.T) {
		t.Helper()
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if args, err := witness.EmitAck(ctx, "rooms"); err != nil || len(args) != 1 {
			t.Errorf("another client noticed: %v %v", args, err)
		}
		select {
		case why := <-lost:
			t.Errorf("another client was disconnected: %s", why)
		default:
		}
	}
	stillServed(t)
	settled := settle()
	for _, eio := range []string{"3", "4"} {
		open := "EIO=" + eio + "&transport=websocket"
		for _, tc := range []struct {
			name string
			send string // after the handshake
		}{
			{"an unmasked frame", wsFrame(0x81, 2, false, []byte("40"))},
			{"a reserved bit", wsFrame(0xc1, 2, true, []byte("40"))},
			{"an unknown opcode", wsFrame(0x83, 2, true, []byte("40"))},
			{"a continuation of nothing", wsFrame(0x80, 2, true, []byte("40"))},
			{"a control frame of 200 bytes", wsFrame(0x89, 200, true, make([]byte, 200))},
			{"a control frame in parts", wsFrame(0x09, 2, true, []byte("40"))},
			{"a frame of 2^63 bytes", wsFrame(0x81, 1<<63, true, nil)},
			{"a frame of 2^40 bytes", wsFrame(0x81, 1<<40, true, nil)},
			{"a frame above the limit", wsFrame(0x81, 200_001, true, make([]byte, 1000))},
			{"parts above the limit together", strings.Repeat(wsFrame(0x01, 60_000, true, make([]byte, 60_000)), 1) + strings.Repeat(wsFrame(0x00, 60_000, true, make([]byte, 60_000)), 4)},
			{"a bad close code", wsFrame(0x88, 2, true, []byte{0, 1})},
			{"an empty packet", text("")},
			{"an unknown engine packet", text("9")},
			{"an open packet", text("0{}")},
			{"a noop with data", text("6x")},
			{"an event before CONNECT to a namespace", text(`42/none,["x"]`)},
			{"a binary message that nobody announced", wsFrame(0x82, 2, true, []byte{4, 1})},
			{"a million attachments", text("40") + text(`451000000-["x",{"_placeholder":true,"num":0}]`)},
			{"attachments without end", text("40") + text(`45256-["x"]`) + strings.Repeat(wsFrame(0x82, 100_000, true, append([]byte{4}, make([]byte, 99_999)...)), 12)},
			{"text where an attachment is due", text("40") + text(`451-["x",{"_placeholder":true,"num":0}]`) + text(`42["x"]`)},
			{"a placeholder out of range", text("40") + text(`451-["log_telemetry",{"_placeholder":true,"num":7}]`) + wsFrame(0x82, 2, true, []byte{4, 1})},
			{"an attachment named a thousand times", text("40") + text(`451-["join",[`+strings.Repeat(`{"_placeholder":true,"num":0},`, 1000)+`0]]`) + wsFrame(0x82, 50_000, true, append([]byte{4}, make([]byte, 49_999)...))},
			{"half a million arguments", text("40") + text(`42["x"`+strings.Repeat(",0", 450_000)+`]`)},
			{"an escaped placeholder", text("40") + text(`451-["log_telemetry",{"\u005fplaceholder":true,"num":7}]`) + wsFrame(0x82, 2, true, []byte{4, 1})},
			{"deep JSON", text("40") + text(`42["log_telemetry",`+strings.Repeat("[", 50_000)+strings.Repeat("]", 50_000)+`]`)},
			{"deep JSON that does not end", text("40") + text(`42["log_telemetry",`+strings.Repeat(`{"a":`, 10_000))},
			{"invalid UTF-8", text("40") + text("42[\"log_telemetry\",\"\xff\xfe\"]")},
			{"an ack id of a thousand digits", text("40") + text("42"+strings.Repeat("9", 1000)+`["x"]`)},
			{"an event that is an object", text("40") + text(`42{"a":1}`)},
			{"an event whose name is a map", text("40") + text(`42[{"a":1}]`)},
			{"base64 that is none", text("40") + text(`b4!!!`)},
		} {
			t.Run("websocket "+eio+": "+tc.name, func(t *testing.T) {
				c := dialTCP(t, url)
				c.upgradeTo(open)
				c.write(tc.send)
				c.wantEOF()
				stillServed(t)
			})
		}
		t.Run("websocket "+eio+": cut in the middle of a frame", func(t *testing.T) {
			c := dialTCP(t, url)
			c.upgradeTo(open)
			c.write(wsFrame(0x81, 1000, true, []byte("42[")))
			_ = c.Close()
			stillServed(t)
		})
		for _, tc := range []struct{ name, body string }{
			{"empty", ""}, {"garbage", "garbage"}, {"a length larger than the body", "999:4x"}, {"a negative length", "-1:4"},
			{"a length of twenty digits", "99999999999999999999:4"}, {"no length", ":4"}, {"binary form cut off", "\x00\x05"},
			{"binary form with a wrong kind", "\x01\x01\xff\x09"}, {"half a character", "2:4é"[:4]}, {"bad base64", "b***"}, {"bad base64 of revision 3", "6:b4****"},
			{"an unknown type", "1:9"}, {"a hundred thousand packets", strings.Repeat("1:2", 60_000)}, {"a hundred thousand separators", strings.Repeat("\x1e", 100_000)},
			{"deep JSON", "4" + strings.Repeat("[", 100_000)},
		} {
			t.Run("POST "+eio+": "+tc.name, func(t *testing.T) {
				sid := openPolling(t, url, eio)
				res, body := do(t, "POST", url+"/socket.io/?EIO="+eio+"&transport=polling&sid="+sid, tc.body, nil)
				if res.StatusCode == http.StatusOK && tc.body != "" {
					t.Errorf("taken: %s", body)
				}
				stillServed(t)
			})
		}
		t.Run("POST "+eio+": above the limit, announced", func(t *testing.T) {
			sid := openPolling(t, url, eio)
			c := dialTCP(t, url)
			c.write("POST /socket.io/?EIO=" + eio + "&transport=polling&sid=" + sid + " HTTP/1.1\r\nHost: x\r\nContent-Length: 60000000\r\n\r\n4")
			res, err := http.ReadResponse(c.r, nil)
			if err != nil || res.StatusCode != http.StatusRequestEntityTooLarge {
				t.Errorf("got %v, %v", res, err)
			}
			stillServed(t)
		})
		t.Run("POST "+eio+": above the limit, in chunks without end", func(t *testing.T) {
			sid := openPolling(t, url, eio)
			c := dialTCP(t, url)
			c.write("POST /socket.io/?EIO=" + eio + "&transport=polling&sid=" + sid + " HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
			chunk := "8000\r\n" + strings.Repeat("4", 0x8000) + "\r\n"
			for range 100 {
				if _, err := io.WriteString(c, chunk); err != nil {
					break
				}
			}
			c.wantEOF()
			stillServed(t)
		})
		t.Run("POST "+eio+": a body that does not come", func(t *testing.T) {
			sid := openPolling(t, url, eio)
			c := dialTCP(t, url)
			c.write("POST /socket.io/?EIO=" + eio + "&transport=polling&sid=" + sid + " HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n4")
			c.wantEOF() // after a ping interval and its time-out
			stillServed(t)
		})
		t.Run("two GETs at once "+eio, func(t *testing.T) {
			sid := openPolling(t, url, eio)
			a, b := dialTCP(t, url), dialTCP(t, url)
			get := "GET /socket.io/?EIO=" + eio + "&transport=polling&sid=" + sid + " HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
			a.write(get)
			b.write(get)
			a.wantEOF()
			b.wantEOF()
			stillServed(t)
		})
		t.Run("half-open upgrades "+eio, func(t *testing.T) {
			for _, first := range []string{"", text("2probe"), text("2other"), text("5"), wsFrame(0x82, 1, true, []byte{1})} {
				sid := openPolling(t, url, eio)
				c := dialTCP(t, url)
				c.upgradeTo("EIO=" + eio + "&transport=websocket&sid=" + sid)
				c.write(first)
				c.wantEOF()
			}
			stillServed(t)
		})
		t.Run("a thousand handshakes without a CONNECT "+eio, func(t *testing.T) {
			tr := &http.Transport{MaxIdleConnsPerHost: 8}
			defer tr.CloseIdleConnections()
			cl := &http.Client{Transport: tr}
			for range 1000 {
				res, err := cl.Get(url + "/socket.io/?EIO=" + eio + "&transport=polling")
				if err != nil {
					t.Fatal(err)
				}
				_, _ = io.Copy(io.Discard, res.Body)
				_ = res.Body.Close()
			}
			stillServed(t)
		})
	}
	t.Run("a header that does not end", func(t *testing.T) {
		c := dialTCP(t, url)
		c.write("GET /socket.io/?EIO=4&transport=polling HTTP/1.1\r\nHost: x\r\nX-Slow: ")
		c.wantEOF()
		stillServed(t)
	})
	t.Run("everything is given back", func(t *testing.T) {
		if err := settled.wait(); err != "" {
			t.Error(err)
		}
		stillServed(t)
	})
}

// startHostileServer serves a relay with short times and small limits on a real HTTP server.
func startHostileServer(t *testing.T) (*transport.Server, string) {
	t.Helper()
	srv, err := transport.NewServer(transport.ServerOptions{
		Engines: bothEngines,
		EngineOptions: transport.EngineOptions{
			PingInterval: 500 * time.Millisecond, PingTimeout: 3 * time.Second, HandshakeTimeout: 2 * time.Second,
			DrainTimeout: 100 * time.Millisecond, MaxPayload: 200_000, Compress: 256,
		},
		Report: func(err error) { t.Errorf("reported: %v", err) },
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := transport.NewRelay(srv.Of("/"), transport.RelayOptions{}); err != nil {
		t.Fatal(err)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	hs := &http.Server{Handler: srv, ReadHeaderTimeout: 2 * time.Second, IdleTimeout: time.Second}
	go func() { _ = hs.Serve(ln) }()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := srv.Shutdown(ctx); err != nil {
			t.Errorf("shutdown: %v", err)
		}
		_ = hs.Close()
	})
	return srv, "http://" + ln.Addr().String()
}

// openPolling makes a handshake and returns its sid.
func openPolling(t *testing.T, url, eio string) string {
	t.Helper()
	status, body := get(t, url+"/socket.io/?EIO="+eio+"&transport=polling", nil)
	_, rest, ok := strings.Cut(body, `"sid":"`)
	if status != 200 || !ok {
		t.Fatalf("handshake answered %d %s", status, body)
	}
	sid, _, _ := strings.Cut(rest, `"`)
	return sid
}

// level is how many goroutines and how much memory there were.
type level struct {
	goroutines int
	heap       uint64
}

func settle() level {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return level{runtime.NumGoroutine(), m.HeapAlloc}
}

// wait waits until the level is that of before, but for a little.
func (l level) wait() string {
	const slack = 8 << 20
	deadline := time.NewTimer(patience)
	defer deadline.Stop()
	again := time.NewTicker(50 * time.Millisecond)
	defer again.Stop()
	for {
		now := settle()
		if now.goroutines <= l.goroutines+3 && now.heap <= l.heap+slack {
			return ""
		}
		select {
		case <-again.C:
		case <-deadline.C:
			buf := make([]byte, 1<<20)
			return fmt.Sprintf("%d goroutines and %d bytes, before %d and %d\n%s", now.goroutines, now.heap, l.goroutines, l.heap, buf[:runtime.Stack(buf, true)])
		}
	}
}
