package wire

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"testing"

	"github.com/gobwas/ws"
)

// tcpPair is a server's socket and its client.
func tcpPair(t *testing.T) (*Socket, net.Conn) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = ln.Close() }()
	client, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Close() })
	server, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = server.Close() })
	return newSocket(server, nil, ws.StateServerSide, 1<<20), client
}

// A peer that reads nothing at first: what the kernel takes at once and what is left are together what was to be
// written, however the buffers are cut, and more of them than one call of the kernel takes.
func TestTryWrite(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	s, client := tcpPair(t)
	if !s.canTry() {
		t.Fatal("a TCP connection cannot be tried")
	}
	var want []byte
	var bufs net.Buffers
	for range 3 * maxVectors {
		b := make([]byte, rnd.IntN(20))
		if rnd.IntN(10) == 0 {
			b = make([]byte, rnd.IntN(64<<10))
		}
		for i := range b {
			b[i] = byte(rnd.Uint32())
		}
		want = append(want, b...)
		bufs = append(bufs, b)
	}
	w := newWriter()
	done, held, err := s.tryWrite(&w.try, &bufs)
	left := 0
	for _, b := range bufs {
		left += len(b)
	}
	if done || !held || err != nil || left == 0 || left == len(want) {
		t.Fatalf("done %v, error %v, %d of %d bytes left", done, err, left, len(want))
	}
	if done, held, err := s.tryWrite(&w.try, &bufs); done || held || err != nil {
		t.Fatalf("done %v, error %v although the peer reads nothing", done, err)
	}
	got := make(chan []byte)
	go func() {
		b, _ := io.ReadAll(client)
		got <- b
	}()
	// A pong waits for the frame's end.
	ponged := make(chan error)
	go func() { ponged <- s.writeFrame(ws.NewPongFrame([]byte("pong"))) }()
	if err := s.writeHeld(&bufs); err != nil {
		t.Error(err)
	}
	if err := <-ponged; err != nil {
		t.Error(err)
	}
	want = append(want, "\x8a\x04pong"...)
	_ = s.conn.Close()
	if b := <-got; !bytes.Equal(b, want) {
		t.Errorf("%d bytes came, want %d, or they differ", len(b), len(want))
	}
}

// Somebody else who writes, perhaps to a peer that takes nothing, is not waited for; an ended socket says so.
func TestTryWriteWaitsForNobody(t *testing.T) {
	s, client := tcpPair(t)
	w := newWriter()
	bufs := net.Buffers{[]byte("x")}
	s.wmu.Lock()
	if done, _, err := s.tryWrite(&w.try, &bufs); done || err != nil || len(bufs) != 1 {
		t.Errorf("done %v, error %v, %d buffers left", done, err, len(bufs))
	}
	s.wmu.Unlock()
	if done, _, err := s.tryWrite(&w.try, &bufs); !done || err != nil || len(bufs) != 0 {
		t.Errorf("done %v, error %v, %d buffers left", done, err, len(bufs))
	}
	if n, err := client.Read(make([]byte, 2)); n != 1 || err != nil {
		t.Errorf("%d bytes came, error %v", n, err)
	}
	_ = s.conn.Close()
	bufs = net.Buffers{[]byte("y")}
	if _, _, err := s.tryWrite(&w.try, &bufs); !errors.Is(err, net.ErrClosed) {
		t.Errorf("error is %v after the end", err)
	}
	s.closed = true
	if _, _, err := s.tryWrite(&w.try, &bufs); !errors.Is(err, net.ErrClosed) {
		t.Errorf("error is %v after a close frame", err)
	}
}
