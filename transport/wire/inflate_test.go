package wire

import (
	"bytes"
	stdflate "compress/flate"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/gobwas/ws"

	"tbmsock/transport"
)

// pack is a message as a standard compressor makes it.
func pack(t testing.TB, data []byte, level int) []byte {
	t.Helper()
	var b bytes.Buffer
	w, err := stdflate.NewWriter(&b, level)
	if err == nil {
		_, err = w.Write(data)
	}
	if err == nil {
		err = w.Flush()
	}
	if err != nil {
		t.Fatal(err)
	}
	return bytes.TrimSuffix(b.Bytes(), []byte(syncTail))
}

// The examples are those of RFC 7692 section 7.2.3.
func TestInflate(t *testing.T) {
	for _, tc := range []struct{ name, in, want string }{
		{"one block", "\xf2\x48\xcd\xc9\xc9\x07\x00", "Hello"},
		{"no compression", "\x00\x05\x00\xfa\xff\x48\x65\x6c\x6c\x6f\x00", "Hello"},
		{"a last block", "\xf3\x48\xcd\xc9\xc9\x07\x00\x00", "Hello"},
		{"a last block and nothing", "\xf3\x48\xcd\xc9\xc9\x07\x00", "Hello"},
		{"two blocks", "\xf2\x48\x05\x00\x00\x00\xff\xff\xca\xc9\xc9\x07\x00", "Hello"},
		{"nothing", "\x00", ""},
		{"nothing, by a fixed block", "\x02\x00", ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got, err := inflate([]byte(tc.in), 5)
			if err != nil || string(got) != tc.want || got == nil {
				t.Errorf("%q, %v", got, err)
			}
			if _, err := inflate([]byte(tc.in), 4); (err != nil) != (tc.want != "") {
				t.Errorf("with a limit of 4: %v", err)
			}
		})
	}
	for _, tc := range []struct{ name, in string }{
		{"no byte at all", ""},
		{"a distance to before the beginning", string(pack(t, bytes.Repeat([]byte("ab"), 50), 9)[2:])},
		{"the reserved kind of block", "\xff"},
		{"lengths that do not fit", "\x00\x05\x00\xff\xff\x48\x65\x6c\x6c\x6f\x00"},
		{"a block that is cut off", "\x00\x50\x00\xaf\xff\x48"},
		{"data behind the last block", "\xf3\x48\xcd\xc9\xc9\x07\x00\xf3\x48\xcd\xc9\xc9\x07\x00"},
		{"a byte behind it", "\xf3\x48\xcd\xc9\xc9\x07\x00\x01"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if got, err := inflate([]byte(tc.in), 1000); !errors.Is(err, errDeflate) {
				t.Errorf("became %q, %v", got, err)
			}
		})
	}
	t.Run("cut off at each byte", func(t *testing.T) {
		whole := []byte(fmt.Sprint(rand.New(rand.NewPCG(1, 2)).Perm(300)))
		packed := pack(t, whole, 6)
		for n := range len(packed) - 1 {
			if got, err := inflate(packed[:n], 1<<20); !errors.Is(err, errDeflate) {
				t.Errorf("%d bytes of %d become %d, %v", n, len(packed), len(got), err)
			}
		}
		if got, err := inflate(packed, 1<<20); err != nil || !bytes.Equal(got, whole) {
			t.Errorf("all of them: %d, %v", len(got), err)
		}
	})
}

// A message that would become a gigabyte is refused, and takes the memory of one that is as large as
// allowed.
func TestInflateBomb(t *testing.T) {
	const limit = 1_000_000
	zeros := make([]byte, 1<<20)
	// A megabyte of zeros as blocks that refer to nothing before them, a thousand times.
	bomb := bytes.Repeat(append(pack(t, zeros, 9), syncTail...), 1024)
	bomb = bomb[:len(bomb)-len(syncTail)]
	if len(bomb) > 2*limit {
		t.Fatalf("the bomb has %d bytes", len(bomb))
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	_, err := inflate(bomb, limit)
	runtime.ReadMemStats(&after)
	if transport.ReasonOf(err, transport.ReasonNone) != transport.ReasonPayloadTooLarge {
		t.Errorf("error is %v", err)
	}
	// Its copy with the tail, and a buffer that has doubled up to the limit.
	if took := after.TotalAlloc - before.TotalAlloc; took > uint64(len(bomb))+4*limit {
		t.Errorf("%d bytes were taken, for a message of %d", took, len(bomb))
	}
	if got, err := inflate(pack(t, zeros[:limit], 9), limit); err != nil || len(got) != limit {
		t.Errorf("as much as is allowed: %d bytes, %v", len(got), err)
	}
	if _, err := inflate(pack(t, zeros[:limit+1], 9), limit); err == nil {
		t.Error("one byte more is taken")
	}
}

// Messages plain and compressed, whole and in fragments with pings between, are read as they were
// before; nothing of one is needed for the next.
func TestReadsCompressed(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	var stream []byte
	var want []string
	pings := 0
	for i := range 200 {
		data := []byte(strings.Repeat(fmt.Sprint(rnd.Uint32()), rnd.IntN(3000)))
		op := byte(1 + i%2)
		want = append(want, fmt.Sprint(op == 2, " ", string(data)))
		if i%3 > 0 {
			data, op = pack(t, data, rnd.IntN(10)), op|rsv1
		}
		for rest := data; ; op = 0 {
			part := rest
			if i%5 > 0 {
				part = rest[:rnd.IntN(len(rest)+1)]
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
	s, far := pair(t, ws.StateServerSide, nil, 1<<20)
	s.agree(agreement{from: 1, window: mostWindow})
	pongs := make(chan int, 1)
	go func() {
		if _, err := far.Write(stream); err != nil {
			t.Error(err)
		}
		_ = far.(interface{ CloseWrite() error }).CloseWrite()
		b, _ := io.ReadAll(far)
		pongs <- bytes.Count(b, []byte("\x8a\x04ping"))
	}()
	for i, w := range want {
		binary, data, err := s.Read()
		if err != nil {
			t.Fatalf("message %d: %v", i, err)
		}
		if got := fmt.Sprint(binary, " ", string(data)); got != w {
			t.Fatalf("message %d: %.40q, want %.40q (%d and %d bytes)", i, got, w, len(got), len(w))
		}
	}
	if _, _, err := s.Read(); !errors.Is(err, io.EOF) {
		t.Errorf("after the end: %v", err)
	}
	_ = s.conn.Close()
	if n := <-pongs; n != pings {
		t.Errorf("%d pongs to %d pings", n, pings)
	}
}

// What breaks the rules of RFC 7692 ends with a reason, and with the close code that tells the peer.
func TestRefusesCompressed(t *testing.T) {
	on := agreement{from: 1, window: mostWindow}
	good := pack(t, []byte("hello"), 6)
	for _, tc := range []struct {
		name   string
		agreed agreement
		in     []byte
		reason transport.Reason
		code   uint16
	}{
		{"without agreement", agreement{}, rawFrame(0xc1, good), transport.ReasonParseError, 1002},
		{"a ping", on, rawFrame(0xc9, good), transport.ReasonParseError, 1002},
		{"a close", on, rawFrame(0xc8, []byte{3, 232}), transport.ReasonParseError, 1002},
		{"a continuation of a compressed message", on, append(rawFrame(0x41, good[:2]), rawFrame(0xc0, good[2:])...), transport.ReasonParseError, 1002},
		{"a continuation of a plain one", on, append(rawFrame(0x01, []byte("a")), rawFrame(0xc0, good)...), transport.ReasonParseError, 1002},
		{"another reserved bit", on, rawFrame(0xa1, good), transport.ReasonParseError, 1002},
		{"that bit too", on, rawFrame(0xe1, good), transport.ReasonParseError, 1002},
		{"a plain message read as compressed", on, rawFrame(0xc1, []byte("hello")), transport.ReasonParseError, 1007},
		{"cut off", on, rawFrame(0xc1, good[:3]), transport.ReasonParseError, 1007},
		{"empty", on, rawFrame(0xc1, nil), transport.ReasonParseError, 1007},
		{"a reference into the message before", on, append(rawFrame(0xc1, good), rawFrame(0xc1, []byte("\xf2\x00\x11\x00\x00"))...), transport.ReasonParseError, 1007},
		{"a bomb", on, rawFrame(0xc1, pack(t, make([]byte, 1001), 6)), transport.ReasonPayloadTooLarge, 1009},
		{"a bomb in fragments", on, append(rawFrame(0x42, pack(t, make([]byte, 1001), 6)[:5]), rawFrame(0x80, pack(t, make([]byte, 1001), 6)[5:])...), transport.ReasonPayloadTooLarge, 1009},
		{"too long as it comes", on, rawFrame(0xc1, make([]byte, 1001)), transport.ReasonPayloadTooLarge, 1009},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s, far := pair(t, ws.StateServerSide, nil, 1000)
			s.agree(tc.agreed)
			if _, err := far.Write(tc.in); err != nil {
				t.Fatal(err)
			}
			var err error
			for err == nil {
				_, _, err = s.Read()
			}
			reason := transport.ReasonOf(err, transport.ReasonNone)
			if reason != tc.reason {
				t.Errorf("%v: reason %v, want %v", err, reason, tc.reason)
			}
			s.Close(reason)
			_ = far.SetReadDeadline(time.Now().Add(20 * time.Second))
			told, _ := io.ReadAll(far)
			if len(told) < 4 || told[0] != 0x88 || binary.BigEndian.Uint16(told[2:]) != tc.code {
				t.Errorf("the peer is told %x, want the code %d", told, tc.code)
			}
		})
	}
}

// FuzzInflate: a message becomes what a standard reader makes of it, within the limit, or is refused.
func FuzzInflate(f *testing.F) {
	for _, s := range []string{"\xf2\x48\xcd\xc9\xc9\x07\x00", "\x00\x05\x00\xfa\xff\x48\x65\x6c\x6c\x6f\x00", "\xf3\x48\xcd\xc9\xc9\x07\x00\x00", "", "\x02\x00"} {
		f.Add([]byte(s))
	}
	f.Add(pack(f, bytes.Repeat([]byte("log_telemetry"), 1000), 9))
	f.Fuzz(func(t *testing.T, message []byte) {
		const limit = 64 << 10
		kept := bytes.Clone(message)
		got, err := inflate(message, limit)
		if !bytes.Equal(message, kept) {
			t.Fatal("the message was changed")
		}
		r := stdflate.NewReader(strings.NewReader(string(message) + inflateTail))
		want, stdErr := io.ReadAll(io.LimitReader(r, limit+1))
		switch {
		case err == nil:
			if stdErr != nil || !bytes.Equal(got, want) || len(got) > limit {
				t.Fatalf("%x becomes %d bytes, elsewhere %d, %v", message, len(got), len(want), stdErr)
			}
		case stdErr == nil && len(want) <= limit && !strings.Contains(err.Error(), "behind its last block"):
			t.Fatalf("%x is refused, and elsewhere becomes %d bytes: %v", message, len(want), err)
		}
		// What we compress is read again.
		if packed := new(deflaterForTest).message(message); packed != nil {
			again, err := inflate(packed, limit)
			if len(message) <= limit && (err != nil || !bytes.Equal(again, message)) {
				t.Fatalf("%x was compressed to %x, and became %x, %v", message, packed, again, err)
			}
		}
	})
}
