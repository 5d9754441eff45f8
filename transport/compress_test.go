package transport_test

import (
	"bytes"
	"compress/flate"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"tbmsock/transport"
	"tbmsock/transport/engine3"
	"tbmsock/transport/engine4"
)

const agreedTo = "permessage-deflate; server_no_context_takeover; client_no_context_takeover"

// deflated is a message as a standard compressor makes it (RFC 7692 section 7.2.1).
func deflated(t *testing.T, data string) []byte {
	t.Helper()
	var b bytes.Buffer
	w, err := flate.NewWriter(&b, 9)
	if err == nil {
		_, err = io.WriteString(w, data)
	}
	if err == nil {
		err = w.Flush()
	}
	if err != nil {
		t.Fatal(err)
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\x00\x00\xff\xff"))
}

// offering opens a WebSocket with an offer, none if it is empty, and returns the answer to it.
func (c *rawHTTP) offering(query, offer string) string {
	c.t.Helper()
	line := ""
	if offer != "" {
		line = "Sec-WebSocket-Extensions: " + offer + "\r\n"
	}
	c.write("GET /socket.io/?" + query + " HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" + line +
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n")
	res, err := http.ReadResponse(c.r, nil)
	if err != nil {
		c.t.Fatal(err)
	}
	if res.StatusCode != http.StatusSwitchingProtocols {
		c.t.Fatalf("handshake answered %d", res.StatusCode)
	}
	return res.Header.Get("Sec-WebSocket-Extensions")
}

// message reads a frame, and inflates it by the standard library; size is how long it was.
func (c *rawHTTP) message() (data string, packed bool, size int) {
	c.t.Helper()
	head := make([]byte, 2)
	if _, err := io.ReadFull(c.r, head); err != nil {
		c.t.Fatal(err)
	}
	n := uint64(head[1])
	switch n {
	case 126:
		var v uint16
		if err := binary.Read(c.r, binary.BigEndian, &v); err != nil {
			c.t.Fatal(err)
		}
		n = uint64(v)
	case 127:
		if err := binary.Read(c.r, binary.BigEndian, &n); err != nil {
			c.t.Fatal(err)
		}
	}
	body := make([]byte, n)
	if _, err := io.ReadFull(c.r, body); err != nil {
		c.t.Fatal(err)
	}
	if packed = head[0]&0x40 != 0; packed {
		r := flate.NewReader(strings.NewReader(string(body) + "\x00\x00\xff\xff\x01\x00\x00\xff\xff"))
		var err error
		if body, err = io.ReadAll(r); err != nil {
			c.t.Fatal(err)
		}
	}
	return string(body), packed, int(n)
}

// opened connects to the main namespace.
func (c *rawHTTP) opened(eio string) {
	c.t.Helper()
	if eio == "4" {
		c.write(text("40"))
	}
	for {
		if m, _, _ := c.message(); strings.HasPrefix(m, "40") {
			return
		}
	}
}

// A broadcast is compressed once for all who have agreed, and goes plain to who has not, to who has too
// small a window for it, and to everyone where it is small.
func TestCompressedOnce(t *testing.T) {
	const from = 256
	srv, url := startServer(t, transport.ServerOptions{Engines: bothEngines, EngineOptions: transport.EngineOptions{Compress: from}})
	type receiver struct {
		*rawHTTP
		name, eio, offer, answer string
		most                     int // bytes of a packet that comes compressed
	}
	receivers := []*receiver{
		{name: "plain", eio: "4"},
		{name: "plain of revision 3", eio: "3"},
		{name: "Chromium", eio: "4", offer: "permessage-deflate; client_max_window_bits", answer: agreedTo, most: 1 << 20},
		{name: "another", eio: "4", offer: "permessage-deflate", answer: agreedTo, most: 1 << 20},
		{name: "of revision 3", eio: "3", offer: "permessage-deflate", answer: agreedTo, most: 1 << 20},
		{name: "with a small window", eio: "4", offer: "permessage-deflate; server_max_window_bits=9", answer: agreedTo + "; server_max_window_bits=9", most: 512},
		{name: "with an offer that is none", eio: "4", offer: "permessage-deflate; level=9"},
	}
	for _, r := range receivers {
		r.rawHTTP = dialTCP(t, url)
		if got := r.offering("EIO="+r.eio+"&transport=websocket", r.offer); got != r.answer {
			t.Errorf("%s is answered %q, want %q", r.name, got, r.answer)
		}
		r.opened(r.eio)
	}
	ns, n := srv.Of("/"), srv.Counters()
	row := strings.Repeat(`{"thrust":10859}`, 100)
	for _, tc := range []struct {
		name  string
		args  []any
		want  []string // messages, of which binary ones have their revision's prefix left out
		forms uint64   // compressed
	}{
		{"small", []any{"x"}, []string{`42["log_telemetry","x"]`}, 0},
		{"400 bytes", []any{row[:400]}, nil, 1},
		{"1,600 bytes", []any{row}, nil, 1},
		// One form for each revision, in which the small attachment stays as it is.
		{"attachments", []any{[]byte(row), []byte("small")}, []string{`452-["log_telemetry",{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}]`, row, "small"}, 2},
	} {
		t.Run(tc.name, func(t *testing.T) {
			before := n.Compressed.Load()
			if tc.want == nil {
				tc.want = []string{fmt.Sprintf(`42["log_telemetry",%q]`, tc.args[0])}
			}
			if err := ns.Emit("log_telemetry", tc.args...); err != nil {
				t.Fatal(err)
			}
			total := 0
			for _, w := range tc.want {
				total += len(w)
			}
			for _, r := range receivers {
				for i, want := range tc.want {
					got, packed, size := r.message()
					if i > 0 && r.eio == "3" {
						got = strings.TrimPrefix(got, "\x04")
					}
					if got != want {
						t.Errorf("%s got %.80q, want %.80q", r.name, got, want)
					}
					if packed != (len(want) >= from && total <= r.most) || packed && size > len(want)/4 {
						t.Errorf("%s, message %d of %d bytes: compressed %v, to %d", r.name, i, len(want), packed, size)
					}
				}
			}
			if forms := n.Compressed.Load() - before; forms != tc.forms {
				t.Errorf("compressed %d times, want %d", forms, tc.forms)
			}
		})
	}
	if from, to := n.CompressedFrom.Load(), n.CompressedTo.Load(); from <= to || to == 0 {
		t.Errorf("%d bytes became %d", from, to)
	}
}

// A server that was not told to compress agrees to nothing.
func TestCompressionIsOff(t *testing.T) {
	srv, url := startServer(t, transport.ServerOptions{Engines: bothEngines})
	for _, eio := range []string{"3", "4"} {
		c := dialTCP(t, url)
		if got := c.offering("EIO="+eio+"&transport=websocket", "permessage-deflate"); got != "" {
			t.Errorf("revision %s: answered %q", eio, got)
		}
		c.opened(eio)
		if err := srv.Of("/").To().Emit("log_telemetry", strings.Repeat("x", 5000)); err != nil {
			t.Fatal(err)
		}
		if got, packed, _ := c.message(); packed || len(got) < 5000 {
			t.Errorf("revision %s: %d bytes, compressed %v", eio, len(got), packed)
		}
		_ = c.Close()
	}
}

// What no honest client that has agreed to compression sends. The connection ends, with the code that
// says why and one more in the counters, and nobody else notices.
func TestHostileCompressed(t *testing.T) {
	srv, url := startHostileServer(t)
	connected, lost := make(chan string, 1), make(chan string, 1)
	witness := startClient(t, transport.ClientOptions{URL: url, Dialers: []transport.Dialer{engine4.Dialer{}}, Compress: 64,
		OnConnect:    func(sid string, _ transport.Conn) { connected <- sid },
		OnDisconnect: func(r transport.Reason, err error) { lost <- fmt.Sprint(r, err) },
	}, nil)
	receive(t, connected)
	settled := settle()
	good := deflated(t, `42["rooms"]`)
	bomb := deflated(t, strings.Repeat("a", 64<<20)) // 64 KB
	megabytes := deflated(t, `42["`+strings.Repeat("a", 200_000)+`"]`)
	frame := func(head byte, data []byte) string { return wsFrame(head, uint64(len(data)), true, data) }
	for _, eio := range []string{"3", "4"} {
		for _, tc := range []struct {
			name, offer, send string
			code              uint16
			reason            transport.Reason
		}{
			{"compressed without agreement", "", frame(0xc1, good), 1002, transport.ReasonParseError},
			{"compressed after an offer that was declined", "permessage-deflate; foo", frame(0xc1, good), 1002, transport.ReasonParseError},
			{"a compressed ping", agreedTo, frame(0xc9, good), 1002, transport.ReasonParseError},
			{"a compressed continuation", agreedTo, frame(0x41, good[:3]) + frame(0xc0, good[3:]), 1002, transport.ReasonParseError},
			{"a compressed continuation of nothing", agreedTo, frame(0xc0, good), 1002, transport.ReasonParseError},
			{"another reserved bit", agreedTo, frame(0xd1, good), 1002, transport.ReasonParseError},
			{"a bomb", agreedTo, frame(0xc1, bomb), 1009, transport.ReasonPayloadTooLarge},
			{"a bomb in fragments", agreedTo, frame(0x41, bomb[:100]) + frame(0x89, nil) + frame(0x80, bomb[100:]), 1009, transport.ReasonPayloadTooLarge},
			{"a bomb that ends in rubbish", agreedTo, frame(0xc1, append(bytes.Clone(bomb), 0xff)), 1009, transport.ReasonPayloadTooLarge},
			{"a little too much", agreedTo, frame(0xc1, megabytes), 1009, transport.ReasonPayloadTooLarge},
			{"cut off", agreedTo, frame(0xc1, good[:len(good)/2]), 1007, transport.ReasonParseError},
			{"no deflate at all", agreedTo, frame(0xc1, []byte(`42["rooms"]`)), 1007, transport.ReasonParseError},
			{"nothing at all", agreedTo, frame(0xc1, nil), 1007, transport.ReasonParseError},
			{"data behind the end", agreedTo, frame(0xc1, []byte("\xf3\x48\xcd\xc9\xc9\x07\x00\xf3\x48\xcd\xc9\xc9\x07\x00")), 1007, transport.ReasonParseError},
			{"a window of before", agreedTo, frame(0xc1, deflated(t, "2probe, and so on")) + frame(0xc1, []byte("\xf2\x00\x11\x00\x00")), 0, transport.ReasonParseError},
			{"rubbish that is compressed", agreedTo, frame(0xc1, deflated(t, "9")), 1002, transport.ReasonParseError},
		} {
			t.Run(eio+": "+tc.name, func(t *testing.T) {
				before, errs := srv.Counters().Closed(tc.reason), srv.Counters().ProtocolErrors.Load()
				c := dialTCP(t, url)
				if got := c.offering("EIO="+eio+"&transport=websocket", tc.offer); (got != "") != (tc.offer == agreedTo) {
					t.Fatalf("the offer is answered %q", got)
				}
				c.opened(eio)
				c.write(tc.send)
				rest, _ := io.ReadAll(c.r)
				if i := bytes.LastIndexByte(rest, 0x88); tc.code != 0 && (i < 0 || len(rest) < i+4 || binary.BigEndian.Uint16(rest[i+2:]) != tc.code) {
					t.Errorf("it is told %.100q, want the code %d", rest, tc.code)
				}
				waitFor(t, "the connection is counted", func() bool {
					return srv.Counters().Closed(tc.reason) == before+1 && srv.Counters().ProtocolErrors.Load() == errs+1
				})
				ctx, cancel := context.WithTimeout(context.Background(), patience)
				defer cancel()
				if args, err := witness.EmitAck(ctx, "rooms", strings.Repeat("x", 5000)); err != nil || len(args) != 1 {
					t.Errorf("another client noticed: %v %v", args, err)
				}
			})
		}
	}
	select {
	case why := <-lost:
		t.Errorf("another client was disconnected: %s", why)
	default:
	}
	if err := settled.wait(); err != "" {
		t.Error(err)
	}
}

// waitFor asks until it is so.
func waitFor(t *testing.T, what string, so func() bool) {
	t.Helper()
	deadline := time.NewTimer(patience)
	defer deadline.Stop()
	again := time.NewTicker(time.Millisecond)
	defer again.Stop()
	for !so() {
		select {
		case <-again.C:
		case <-deadline.C:
			t.Fatalf("it never came to be: %s", what)
		}
	}
}

// countedListener counts the bytes of all its connections.
type countedListener struct {
	net.Listener
	in, out atomic.Int64
}

type countedConn struct {
	net.Conn
	l *countedListener
}

func (l *countedListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &countedConn{c, l}, nil
}

func (c *countedConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	c.l.in.Add(int64(n))
	return n, err
}

func (c *countedConn) Write(b []byte) (int, error) {
	n, err := c.Conn.Write(b)
	c.l.out.Add(int64(n))
	return n, err
}

// Our client and our server, both ways: with compression on both sides the bytes are fewer, with it on
// one side everything goes on as before.
func TestClientCompresses(t *testing.T) {
	const packets = 50
	value := strings.Repeat(`{"thrust":10859}`, 300) // 4,800 bytes
	for _, dialer := range []transport.Dialer{engine4.Dialer{}, engine3.Dialer{}} {
		for _, tc := range []struct {
			name           string
			server, client int
			ways           []string
			less           bool
			lessOut        bool
		}{
			{"both", 1024, 1024, []string{"websocket"}, true, true},
			{"both, after an upgrade", 1024, 1024, nil, true, true},
			{"only the server", 1024, 0, []string{"websocket"}, false, false},
			{"only the client", 0, 1024, []string{"websocket"}, false, false},
			{"polling", 1024, 1024, []string{"polling"}, false, true}, // answers by gzip; nobody compresses a POST
			{"polling, only the client", 0, 1024, []string{"polling"}, false, false},
		} {
			t.Run(fmt.Sprint(tc.name, " engine ", dialer.Revision()), func(t *testing.T) {
				srv, err := transport.NewServer(transport.ServerOptions{Engines: bothEngines,
					EngineOptions: transport.EngineOptions{Compress: tc.server, DrainTimeout: 100 * time.Millisecond}})
				if err != nil {
					t.Fatal(err)
				}
				srv.Of("/").On("echo", func(_ context.Context, ev *transport.Event) { _ = ev.Ack(ev.Args[0]) })
				inner, err := net.Listen("tcp", "127.0.0.1:0")
				if err != nil {
					t.Fatal(err)
				}
				ln := &countedListener{Listener: inner}
				hs := &http.Server{Handler: srv}
				go func() { _ = hs.Serve(ln) }()
				t.Cleanup(func() {
					ctx, cancel := context.WithTimeout(context.Background(), patience)
					defer cancel()
					_ = srv.Shutdown(ctx)
					_ = hs.Close()
				})
				conns := make(chan transport.Conn, 1)
				client := startClient(t, transport.ClientOptions{URL: "http://" + ln.Addr().String(), Dialers: []transport.Dialer{dialer},
					Transports: tc.ways, Compress: tc.client, OnConnect: func(_ string, c transport.Conn) { conns <- c }}, nil)
				conn := receive(t, conns)
				if tc.ways == nil {
					waitFor(t, "an upgrade", func() bool { return conn.Transport() == "websocket" })
				}
				ctx, cancel := context.WithTimeout(context.Background(), patience)
				defer cancel()
				before, beforeOut := ln.in.Load(), ln.out.Load()
				for range packets {
					args, err := client.EmitAck(ctx, "echo", value)
					if err != nil {
						t.Fatal(err)
					}
					var got string
					if err := args.Decode(&got); err != nil || got != value {
						t.Fatalf("echoed %.40q, %v", got, err)
					}
				}
				in, out := ln.in.Load()-before, ln.out.Load()-beforeOut
				t.Logf("%d bytes in, %d out, for %d", in, out, packets*len(value))
				// A tenth, and what HTTP has around it.
				if got := in < packets*1000; got != tc.less {
					t.Errorf("%d bytes came for %d packets of %d", in, packets, len(value))
				}
				if got := out < packets*1000; got != tc.lessOut {
					t.Errorf("%d bytes went for %d packets of %d", out, packets, len(value))
				}
			})
		}
	}
}

// One client of two that have agreed to compression stops reading. What is held for it, plain and
// compressed, stays within its queue limit.
func TestStalledCompressed(t *testing.T) {
	if testing.Short() {
		t.Skip("compresses 20 MB")
	}
	const limit, size, packets = 8 << 20, 64 << 10, 300
	// Without pings: each message is a packet.
	srv, url := startServer(t, transport.ServerOptions{QueueLimit: limit, EngineOptions: transport.EngineOptions{Compress: 1024, PingInterval: time.Hour}})
	stalled := dialTCP(t, url)
	_ = stalled.Conn.(*net.TCPConn).SetReadBuffer(4096)
	reading := dialTCP(t, url)
	_ = reading.SetDeadline(time.Now().Add(time.Minute))
	for _, c := range []*rawHTTP{stalled, reading} {
		if c.offering("EIO=4&transport=websocket", "permessage-deflate") == "" {
			t.Fatal("not agreed to")
		}
		c.opened("4")
	}
	// Readings, of which more than half can be compressed away.
	rnd := rand.New(rand.NewPCG(1, 2))
	var readings []byte
	for len(readings) < size+packets {
		readings = fmt.Appendf(readings, "total=%d,pressure=%.3f;", rnd.IntN(1<<30), rnd.Float64())
	}
	before := settle().heap
	for n := range packets {
		if err := srv.Of("/").Emit("log_telemetry", transport.Value{JSON: fmt.Appendf(nil, "%q", readings[n:n+size])}); err != nil {
			t.Fatal(err)
		}
		if _, packed, got := reading.message(); !packed || got > size*2/3 {
			t.Fatalf("packet %d: %d bytes, compressed %v", n, got, packed)
		}
	}
	if srv.Counters().Dropped.Load() == 0 {
		t.Fatal("its queue never was full")
	}
	// The queue, a batch that is being written, and what the pools keep.
	if held := int64(settle().heap) - int64(before); held > limit+(1<<20) {
		t.Errorf("%d bytes are held, with a limit of %d", held, limit)
	} else {
		t.Logf("%d bytes are held", held)
	}
}

// While a large packet is being compressed for some, those who have not agreed get it: whoever writes
// to them does not wait for the compression.
func TestPlainClientsDoNotWait(t *testing.T) {
	srv, url := startServer(t, transport.ServerOptions{QueueLimit: 64 << 20, EngineOptions: transport.EngineOptions{Compress: 64, PingInterval: time.Hour}})
	var packing []*rawHTTP
	for range 4 {
		c := dialTCP(t, url)
		_ = c.SetDeadline(time.Now().Add(2 * time.Minute))
		if c.offering("EIO=4&transport=websocket", "permessage-deflate") == "" {
			t.Fatal("not agreed to")
		}
		c.opened("4")
		packing = append(packing, c)
	}
	plain := dialTCP(t, url)
	_ = plain.SetDeadline(time.Now().Add(2 * time.Minute))
	plain.offering("EIO=4&transport=websocket", "")
	plain.opened("4")
	rnd := rand.New(rand.NewPCG(1, 2))
	var readings []byte
	for len(readings) < 4<<20 {
		readings = fmt.Appendf(readings, "total=%d,pressure=%.3f;", rnd.IntN(1<<30), rnd.Float64())
	}
	value := transport.Value{JSON: fmt.Appendf(nil, "%q", readings)}
	// If it waited it would never be first. On a busy machine it may be late all the same, if whoever reads for it is not let on
	// in time.
	for first, try := false, 0; !first; try++ {
		if try == 10 {
			t.Fatal("the plain client got it after it was compressed for the others, ten times")
		}
		arrived, before := make(chan bool, 1), srv.Counters().Compressed.Load()
		go func() {
			// It begins at once; the compression takes a hundred times as long as that, and is counted when it is done.
			_, err := plain.r.Peek(1)
			arrived <- err == nil && srv.Counters().Compressed.Load() == before
		}()
		if err := srv.Of("/").Emit("log_telemetry", value); err != nil {
			t.Fatal(err)
		}
		first = <-arrived
		if m, packed, _ := plain.message(); packed || len(m) < len(readings) {
			t.Fatalf("the plain client got %d bytes, compressed %v", len(m), packed)
		}
		for _, c := range packing {
			if m, packed, _ := c.message(); !packed || len(m) < len(readings) {
				t.Fatalf("%d bytes, compressed %v", len(m), packed)
			}
		}
	}
}
