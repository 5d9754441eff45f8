package wire

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/gobwas/ws"

	"tbmsock/transport"
)

// deflaterForTest borrows a deflater for one message.
type deflaterForTest struct{}

func (*deflaterForTest) message(data []byte) []byte {
	d := deflaters.Get().(*deflater)
	defer d.release()
	return bytes.Clone(d.message(data))
}

// readAll reads what the frames say as a client that has agreed would.
func readAll(t *testing.T, frames []byte) (got []string) {
	t.Helper()
	near, far := net.Pipe()
	defer func() { _ = near.Close() }()
	go func() {
		_, _ = far.Write(frames)
		_ = far.Close()
	}()
	s := newSocket(near, nil, ws.StateClientSide, 16<<20).agree(agreement{from: 1, window: mostWindow})
	for {
		binary, data, err := s.Read()
		if err != nil {
			return got
		}
		got = append(got, fmt.Sprint(binary, " ", string(data)))
	}
}

// Messages of all lengths, large ones compressed, small ones and those that no compressor makes smaller
// left as they are, read the same by a receiver; and what nothing is gained with is not copied.
func TestDeflateFrames(t *testing.T) {
	noise := make([]byte, 70_000)
	rnd := rand.New(rand.NewPCG(1, 2))
	for i := range noise {
		noise[i] = byte(rnd.Uint32())
	}
	repeated := strings.Repeat(`{"thrust":{"total":10859}}`, 30_000)
	const from = 200
	for _, tc := range []struct {
		name   string
		parts  []string // the first is text, the others are binary
		packed []bool
	}{
		{"small", []string{"hello"}, []bool{false}},
		{"just below", []string{repeated[:from-1]}, []bool{false}},
		{"just enough", []string{repeated[:from]}, []bool{true}},
		{"125 bytes after", []string{repeated[:4000]}, []bool{true}},
		{"a long one", []string{repeated}, []bool{true}},
		{"noise", []string{string(noise)}, []bool{false}},
		{"a little noise", []string{string(noise[:300])}, []bool{false}},
		{"attachments", []string{repeated[:1000], string(noise), repeated[:70_000], "x", ""}, []bool{true, false, true, false, false}},
		{"only an attachment", []string{"51-", repeated[:1000]}, []bool{false, true}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var frames []byte
			var want []string
			gain := false
			for i, p := range tc.parts {
				frames = AppendFrame(frames, i > 0, []byte(p))
				want = append(want, fmt.Sprint(i > 0, " ", p))
				gain = gain || tc.packed[i]
			}
			kept := bytes.Clone(frames)
			out := deflateFrames(frames, from)
			if !bytes.Equal(frames, kept) {
				t.Error("the plain frames were changed")
			}
			if got := readAll(t, out); strings.Join(got, "\x00") != strings.Join(want, "\x00") {
				t.Errorf("reads %.100q, want %.100q", got, want)
			}
			if !gain && &out[0] != &frames[0] {
				t.Error("copied for nothing")
			}
			if gain && len(out) >= len(frames) {
				t.Errorf("%d bytes became %d", len(frames), len(out))
			}
			rest := out
			for i := range tc.parts {
				head, size := frameSize(rest)
				if got := rest[0]&rsv1 != 0; got != tc.packed[i] {
					t.Errorf("message %d compressed: %v", i, got)
				}
				rest = rest[head+size:]
			}
		})
	}
}

// Our client's messages: compressed and masked where that was agreed to and gains something.
func TestWritesCompressed(t *testing.T) {
	for _, tc := range []struct {
		name   string
		agreed agreement
		data   string
		packed bool
	}{
		{"not agreed", agreement{}, strings.Repeat("a", 2000), false},
		{"small", agreement{from: 1024, window: mostWindow}, strings.Repeat("a", 1023), false},
		{"large", agreement{from: 1024, window: mostWindow}, strings.Repeat("a", 1024), true},
		{"nothing to gain", agreement{from: 1, window: mostWindow}, "ab", false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s, far := pair(t, ws.StateClientSide, nil, 1000)
			s.agree(tc.agreed)
			if err := s.WriteMessage(true, []byte(tc.data[:1]), []byte(tc.data[1:])); err != nil {
				t.Fatal(err)
			}
			_ = s.conn.Close()
			raw, err := io.ReadAll(far)
			if err != nil {
				t.Fatal(err)
			}
			if got := raw[0]; got&rsv1 != 0 != tc.packed || got&^rsv1 != 0x82 || raw[1]&0x80 == 0 {
				t.Errorf("begins with %x", raw[:2])
			}
			if tc.packed && len(raw) > len(tc.data)/2 {
				t.Errorf("%d bytes for %d", len(raw), len(tc.data))
			}
			server, peer := pair(t, ws.StateServerSide, nil, 5000)
			server.agree(agreement{from: 1, window: mostWindow})
			if _, err := peer.Write(raw); err != nil {
				t.Fatal(err)
			}
			if binary, data, err := server.Read(); err != nil || !binary || string(data) != tc.data {
				t.Errorf("read %v %.20q %v", binary, data, err)
			}
		})
	}
}

// sample is so many bytes of packets of the simulated EPB machine, as telemetry sends them.
func sample(tb testing.TB, n int) []byte {
	tb.Helper()
	packets, err := os.ReadFile("../testdata/packets.jsonl")
	if err != nil {
		tb.Fatal(err)
	}
	return packets[:n]
}

// What compressing and reading one message costs, and how large it becomes (bytes/op).
func BenchmarkDeflate(b *testing.B) {
	for _, n := range []int{300, 1111, 16 << 10} {
		data := sample(b, n)
		b.Run(fmt.Sprint("deflate ", n), func(b *testing.B) {
			frame := AppendFrame(nil, false, data)
			var out []byte
			b.ReportAllocs()
			for b.Loop() {
				out = deflateFrames(frame, 1)
			}
			b.ReportMetric(float64(len(out)), "bytes")
		})
		b.Run(fmt.Sprint("inflate ", n), func(b *testing.B) {
			packed := pack(b, data, 6)
			b.ReportAllocs()
			for b.Loop() {
				if _, err := inflate(packed, 1<<20); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// A frame that has a compressed form has the size that frames had, and half of what may be held.
func TestCompressedFrame(t *testing.T) {
	c := new(countingCompressor)
	f := transport.NewFrame(transport.EngineMessage, string(sample(t, 2000)))
	plain := f.Wire(transport.FormWebSocket, TextFrame)
	first := f.Compressed(transport.FormWebSocket, TextFrame, c)
	// Without attachments both revisions have the same form.
	second := f.Compressed(transport.FormWebSocket3, TextFrame, c)
	if &first[0] != &second[0] || c.calls != 1 {
		t.Errorf("compressed %d times", c.calls)
	}
	if len(first) >= len(plain) || first[0]&rsv1 == 0 || plain[0]&rsv1 != 0 {
		t.Errorf("%d bytes, plain %d", len(first), len(plain))
	}
	if n := testing.AllocsPerRun(100, func() { f.Compressed(transport.FormWebSocket, TextFrame, c) }); n != 0 {
		t.Errorf("%v allocations a delivery", n)
	}
	if n := testing.AllocsPerRun(100, func() { f.Wire(transport.FormWebSocket, TextFrame) }); n != 0 {
		t.Errorf("%v allocations a plain delivery", n)
	}
}

type countingCompressor struct{ calls int }

func (c *countingCompressor) Compress(frames []byte) []byte {
	c.calls++
	return deflateFrames(frames, 1)
}

// slowCompressor waits until it is told to go on.
type slowCompressor struct{ begun, goOn chan struct{} }

func (c *slowCompressor) Compress(frames []byte) []byte {
	close(c.begun)
	<-c.goOn
	return frames
}

// While a compressed form is being made, the plain one is there for whoever wants it.
func TestPlainDoesNotWait(t *testing.T) {
	f := transport.NewFrame(transport.EngineMessage, "hello")
	c := &slowCompressor{make(chan struct{}), make(chan struct{})}
	done := make(chan []byte)
	go func() { done <- f.Compressed(transport.FormWebSocket, TextFrame, c) }()
	<-c.begun
	got := make(chan []byte, 1)
	go func() { got <- f.Wire(transport.FormWebSocket, TextFrame) }()
	select {
	case b := <-got:
		if head, size := frameSize(b); size != 6 || binary.BigEndian.Uint16(b) != 0x8106 || string(b[head:]) != "4hello" {
			t.Errorf("got %q", b)
		}
	case <-time.After(20 * time.Second):
		t.Error("the plain form waits for the compressed one")
	}
	close(c.goOn)
	<-done
}
