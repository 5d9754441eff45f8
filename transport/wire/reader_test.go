package wire

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"testing"
	"time"

	"github.com/gobwas/ws"

	"tbmsock/transport"
)

// pair is a connection over loopback, whose far end is written to by hand.
func pair(t testing.TB, state ws.State, early []byte, limit int64) (*Socket, net.Conn) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = ln.Close() }()
	far, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	near, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = far.Close(); _ = near.Close() })
	s := newSocket(near, early, state, limit)
	_ = s.SetReadDeadline(time.Now().Add(20 * time.Second))
	return s, far
}

// rawFrame is a frame of a client, masked.
func rawFrame(first byte, payload []byte) []byte {
	h := ws.Header{Fin: first&0x80 != 0, Rsv: first >> 4 & 7, OpCode: ws.OpCode(first & 0xf), Masked: true, Mask: [4]byte{1, 2, 3, 4}, Length: int64(len(payload))}
	var b bytes.Buffer
	_ = ws.WriteHeader(&b, h)
	masked := bytes.Clone(payload)
	ws.Cipher(masked, h.Mask, 0)
	b.Write(masked)
	return b.Bytes()
}

// Messages of all lengths, whole and in fragments with pings between, in pieces of any size, the first
// of them read with the handshake: each is read as it was written, and each ping is answered.
func TestReader(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	for round := range 20 {
		var stream []byte
		var want []string
		pings := 0
		for range 30 {
			n := []int{0, 1, 125, 126, 1000, 65535, 65536, readSpace - 1, readSpace, 200_000}[rnd.IntN(10)]
			data := make([]byte, n)
			for i := range data {
				data[i] = byte(rnd.Uint32())
			}
			op := byte(1 + rnd.IntN(2))
			want = append(want, fmt.Sprint(op == 2, " ", string(data)))
			for rest := data; ; op = 0 {
				part := rest[:rnd.IntN(len(rest)+1)]
				if rnd.IntN(2) == 0 {
					part = rest
				}
				rest = rest[len(part):]
				first := op
				if len(rest) == 0 {
					first |= 0x80
				}
				stream = append(stream, rawFrame(first, part)...)
				if rnd.IntN(3) == 0 {
					pings++
					stream = append(stream, rawFrame(0x89, []byte("ping"))...)
				}
				if len(rest) == 0 {
					break
				}
			}
		}
		cut := rnd.IntN(min(4096, len(stream)))
		s, far := pair(t, ws.StateServerSide, stream[:cut], 1<<20)
		pongs := make(chan int, 1)
		go func() {
			most := []int{3, 100, 70_000}[round%3]
			for rest := stream[cut:]; len(rest) > 0; {
				n := min(1+rnd.IntN(most), len(rest))
				if most == 3 {
					n = min(len(rest), 4000) - min(len(rest), 4000)*rnd.IntN(2)/2
					n = max(n, 1)
				}
				if _, err := far.Write(rest[:n]); err != nil {
					t.Error(err)
					return
				}
				rest = rest[n:]
			}
			_ = far.(*net.TCPConn).CloseWrite()
			b, _ := io.ReadAll(far)
			pongs <- bytes.Count(b, []byte("\x8a\x04ping"))
		}()
		for i, w := range want {
			binary, data, err := s.Read()
			if err != nil {
				t.Fatalf("round %d, message %d: %v", round, i, err)
			}
			if got := fmt.Sprint(binary, " ", string(data)); got != w {
				t.Fatalf("round %d, message %d: %.40q, want %.40q (%d and %d bytes)", round, i, got, w, len(got), len(w))
			}
		}
		if _, _, err := s.Read(); !errors.Is(err, io.EOF) {
			t.Fatalf("after the end: %v", err)
		}
		if s.reader.buf != nil && len(s.reader.have) > 0 {
			t.Error("something is left in hand")
		}
		_ = s.conn.Close()
		if n := <-pongs; n != pings {
			t.Errorf("round %d: %d pongs to %d pings", round, n, pings)
		}
	}
}

// What breaks the rules ends with a reason, and takes no memory that has not been sent.
func TestReaderRefuses(t *testing.T) {
	huge := binary.BigEndian.AppendUint64([]byte{0x82, 0xff}, 1<<62)
	for _, tc := range []struct {
		name   string
		in     []byte
		reason transport.Reason
	}{
		{"reserved bit", rawFrame(0xc1, nil), transport.ReasonParseError},
		{"reserved opcode", rawFrame(0x83, nil), transport.ReasonParseError},
		{"no mask", []byte{0x81, 0x00}, transport.ReasonParseError},
		{"long ping", rawFrame(0x89, make([]byte, 126)), transport.ReasonParseError},
		{"ping in fragments", rawFrame(0x09, nil), transport.ReasonParseError},
		{"continuation of nothing", rawFrame(0x80, nil), transport.ReasonParseError},
		{"message within a message", append(rawFrame(0x01, nil), rawFrame(0x81, nil)...), transport.ReasonParseError},
		{"highest bit of a length", append(binary.BigEndian.AppendUint64([]byte{0x82, 0xff}, 1<<63), 0, 0, 0, 0), transport.ReasonParseError},
		{"too long", rawFrame(0x82, make([]byte, 1001)), transport.ReasonPayloadTooLarge},
		{"said to be huge", append(huge, 0, 0, 0, 0), transport.ReasonPayloadTooLarge},
		{"too long in fragments", append(rawFrame(0x02, make([]byte, 900)), rawFrame(0x80, make([]byte, 101))...), transport.ReasonPayloadTooLarge},
		{"huge fragment after a small one", append(append(rawFrame(0x02, make([]byte, 900)), append([]byte{0x80}, huge[1:]...)...), 0, 0, 0, 0), transport.ReasonPayloadTooLarge},
		{"end in a header", []byte{0x81}, transport.ReasonTransportClose},
		{"end in a payload", rawFrame(0x81, []byte("abc"))[:7], transport.ReasonTransportClose},
		{"bad close", rawFrame(0x88, []byte{0, 1}), transport.ReasonParseError},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s, far := pair(t, ws.StateServerSide, nil, 1000)
			if _, err := far.Write(tc.in); err != nil {
				t.Fatal(err)
			}
			_ = far.(*net.TCPConn).CloseWrite()
			_, _, err := s.Read()
			if got := transport.ReasonOf(err, transport.ReasonNone); got != tc.reason {
				t.Errorf("%v: reason %v, want %v", err, got, tc.reason)
			}
		})
	}
	s, far := pair(t, ws.StateClientSide, nil, 1000)
	if _, err := far.Write(rawFrame(0x81, []byte("x"))); err != nil {
		t.Fatal(err)
	}
	if _, _, err := s.Read(); transport.ReasonOf(err, transport.ReasonNone) != transport.ReasonParseError {
		t.Errorf("masked by a server: %v", err)
	}
}

// A connection that waits holds no buffer, in the middle of a header neither.
func TestReaderHoldsNothing(t *testing.T) {
	s, far := pair(t, ws.StateServerSide, nil, 1000)
	frame := rawFrame(0x81, bytes.Repeat([]byte("x"), 200))
	if _, err := far.Write(append(frame, frame[:5]...)); err != nil {
		t.Fatal(err)
	}
	if _, data, err := s.Read(); err != nil || len(data) != 200 {
		t.Fatalf("%d bytes, %v", len(data), err)
	}
	_ = s.SetReadDeadline(time.Now().Add(time.Second)) // if it were over before the read began nothing would be given back
	_, _, err := s.Read()
	var ne net.Error
	if !errors.As(err, &ne) || !ne.Timeout() {
		t.Fatalf("error is %v, want a time-out", err)
	}
	if s.reader.buf != nil || len(s.reader.have) != 5 {
		t.Errorf("holds a buffer: %v, %d bytes in hand", s.reader.buf != nil, len(s.reader.have))
	}
	_ = s.SetReadDeadline(time.Time{})
	if _, err := far.Write(frame[5:]); err != nil {
		t.Fatal(err)
	}
	if _, data, err := s.Read(); err != nil || len(data) != 200 {
		t.Fatalf("%d bytes, %v", len(data), err)
	}
}

func BenchmarkRead(b *testing.B) {
	s, far := pair(b, ws.StateServerSide, nil, 1000)
	_ = s.SetReadDeadline(time.Time{})
	burst := bytes.Repeat(rawFrame(0x81, bytes.Repeat([]byte("x"), 300)), 64)
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		if i%64 == 0 {
			if _, err := far.Write(burst); err != nil {
				b.Fatal(err)
			}
		}
		i++
		if _, _, err := s.Read(); err != nil {
			b.Fatal(err)
		}
	}
}
