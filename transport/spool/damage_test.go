package spool

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// A file cut off at any byte of its last record costs that record and nothing else.
func TestTorn(t *testing.T) {
	opts := Options{Dir: t.TempDir()}
	s, _ := openSpool(t, opts)
	put(t, s, 1, 50)
	before := s.Stats().Bytes
	put(t, s, 51, 51)
	after := s.Stats().Bytes
	crashed := copyOf(t, opts.Dir)
	if after-before != int64(headerSize+len(body(51))) {
		t.Fatalf("the last record has %d bytes", after-before)
	}
	for size := before; size <= after; size++ {
		for _, rest := range []string{"cut off", "zeroes", "rubbish"} {
			dir := copyOf(t, crashed)
			file := segmentFiles(t, dir)[0]
			if err := os.Truncate(file, size); err != nil {
				t.Fatal(err)
			}
			torn := size - before
			if size == after {
				torn = 0
			}
			// As a file system leaves it that makes a file long before it is written.
			if rest != "cut off" {
				tail := make([]byte, 100)
				for i := range tail {
					if rest == "rubbish" {
						tail[i] = byte(i*7 + 3)
					}
				}
				f, err := os.OpenFile(file, os.O_WRONLY, 0)
				if err != nil {
					t.Fatal(err)
				}
				if _, err := f.WriteAt(tail, size); err != nil {
					t.Fatal(err)
				}
				_ = f.Close()
				torn += 100
				// Zeroes may be just what was torn off.
				if size < after && strings.Trim(string(body(51)[max(0, int(size-before)-headerSize):]), "\x00") == "" {
					t.Fatal("the last record ends in zeroes")
				}
			}
			last := 50
			if size == after {
				last = 51
			}
			s, found := openSpool(t, Options{Dir: dir})
			if found.Records != uint64(last) || found.Torn != torn {
				t.Fatalf("%s at byte %d: found %+v, torn %d", rest, size-before, found, torn)
			}
			put(t, s, last+1, 53)
			take(t, s, 1, 53)
			none(t, s)
			shut(t, s)
			if s, found := openSpool(t, Options{Dir: dir}); found.Records != 53 || found.Torn != 0 {
				t.Fatalf("%s at byte %d: then found %+v", rest, size-before, found)
			} else {
				shut(t, s)
			}
			_ = os.RemoveAll(dir)
		}
	}
	t.Logf("cut at each of %d bytes", after-before+1)
}

// A byte that the disk has spoilt, anywhere in a record in the middle, costs that record, and is told.
func TestSpoilt(t *testing.T) {
	opts := Options{Dir: t.TempDir()}
	s, _ := openSpool(t, opts)
	put(t, s, 1, 20)
	from := s.Stats().Bytes
	put(t, s, 21, 21)
	to := s.Stats().Bytes
	put(t, s, 22, 40)
	crashed := copyOf(t, opts.Dir)
	for at := from; at < to; at++ {
		dir := copyOf(t, crashed)
		spoil(t, segmentFiles(t, dir)[0], at)
		var told []string
		s, found := openSpool(t, Options{Dir: dir, Report: func(err error, what string) { told = append(told, fmt.Sprint(err, ": ", what)) }})
		if found.Records != 40 || found.Torn != 0 {
			t.Fatalf("found %+v", found)
		}
		got := take(t, s, 1, 20)
		got = append(got, take(t, s, 22, 40)...)
		if err := s.Ack(21); err == nil {
			t.Error("a spoilt record is acknowledged")
		}
		ack(t, s, got...)
		if st := s.Stats(); st.Damaged != 1 || st.Waiting != 0 || st.Acked != 39 {
			t.Fatalf("byte %d: %+v", at-from, st)
		}
		if len(told) != 1 || !strings.Contains(told[0], "1 records, from position 21 on, are spoilt") {
			t.Fatalf("told %q", told)
		}
		shut(t, s)
		if s, found := openSpool(t, Options{Dir: dir}); found.Records != 0 {
			t.Fatalf("then found %+v", found)
		} else {
			shut(t, s)
		}
		_ = os.RemoveAll(dir)
	}
}

func spoil(t *testing.T, path string, at int64) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	b := []byte{0}
	if _, err := f.ReadAt(b, at); err != nil {
		t.Fatal(err)
	}
	b[0] ^= 0x41
	if _, err := f.WriteAt(b, at); err != nil {
		t.Fatal(err)
	}
}

// A whole segment that is gone, is another's, or cannot be read, costs what was in it.
func TestLostSegment(t *testing.T) {
	for name, spoilt := range map[string]func(path string) error{
		"gone":  os.Remove,
		"empty": func(path string) error { return os.Truncate(path, 0) },
		"rubbish": func(path string) error {
			return os.WriteFile(path, []byte(strings.Repeat("nothing of ours ", 300)), 0o600)
		},
		"directory": func(path string) error { return rmAnd(path, func() error { return os.Mkdir(path, 0o700) }) },
	} {
		t.Run(name, func(t *testing.T) {
			opts := Options{Dir: t.TempDir(), MaxBytes: MinBytes, SyncInterval: time.Hour}
			s, _ := openSpool(t, opts)
			put(t, s, 1, 400)
			shut(t, s)
			files := segmentFiles(t, opts.Dir)
			var first, after int
			if _, err := fmt.Sscanf(filepath.Base(files[2])+filepath.Base(files[3]), "%d.seg%d.seg", &first, &after); err != nil {
				t.Fatal(err)
			}
			if err := spoilt(files[2]); err != nil {
				t.Fatal(err)
			}
			s, found := openSpool(t, opts)
			if found.Records != 400 {
				t.Errorf("found %+v", found)
			}
			got := take(t, s, 1, first-1)
			got = append(got, take(t, s, after, 400)...)
			ack(t, s, got...)
			if st := s.Stats(); st.Damaged != uint64(after-first) || st.Waiting != 0 {
				t.Errorf("%+v, %d lost", st, after-first)
			}
		})
	}
}

func rmAnd(path string, then func() error) error {
	if err := os.Remove(path); err != nil {
		return err
	}
	return then()
}

// A segment that becomes unreadable while it is read is tried some times, and then given up.
func TestUnreadable(t *testing.T) {
	var mu sync.Mutex
	var told []string
	s, _ := openSpool(t, Options{Dir: t.TempDir(), MaxBytes: MinBytes, SyncInterval: time.Hour, Report: func(err error, what string) {
		mu.Lock()
		defer mu.Unlock()
		told = append(told, fmt.Sprint(err, ": ", what))
	}})
	put(t, s, 1, 400)
	files := segmentFiles(t, s.opts.Dir)
	var first, second int
	if _, err := fmt.Sscanf(filepath.Base(files[1])+filepath.Base(files[2]), "%d.seg%d.seg", &first, &second); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(files[1], 100); err != nil {
		t.Fatal(err)
	}
	take(t, s, 1, first-1)
	fails := 0
	for {
		_, r, err := s.Next(within(t))
		if err == nil {
			if string(r) == string(body(second)) {
				break
			}
			t.Fatalf("there is %q", r)
		}
		if fails++; fails > patience || !strings.Contains(err.Error(), "unexpected EOF") {
			t.Fatalf("failure %d: %v", fails, err)
		}
	}
	mu.Lock()
	defer mu.Unlock()
	if fails != patience-1 || len(told) != 1 || !strings.Contains(told[0], "unexpected EOF") || s.Stats().Damaged == 0 {
		t.Errorf("%d failures, told %q, %+v", fails, told, s.Stats())
	}
}

// Without the acknowledged position records come again; none is lost.
func TestAckFile(t *testing.T) {
	opts := Options{Dir: t.TempDir()}
	s, _ := openSpool(t, opts)
	put(t, s, 1, 10)
	ack(t, s, take(t, s, 1, 5)...)
	shut(t, s)
	m := mark{dir: opts.Dir}
	if p, ok, err := m.load(); p != 6 || !ok || err != nil {
		t.Fatalf("position %d, %v, %v", p, ok, err)
	}
	whole, err := os.ReadFile(filepath.Join(opts.Dir, ackName))
	if err != nil || len(whole) != 2*markSlot {
		t.Fatalf("%q, %v", whole, err)
	}
	text := len(positionText(6))
	latest := (1 - m.slot) * markSlot
	reopen := func(what string, ack []byte, want Recovered) {
		t.Helper()
		dir := copyOf(t, opts.Dir)
		if err := os.WriteFile(filepath.Join(dir, ackName), ack, 0o600); err != nil {
			t.Fatal(err)
		}
		s, found := openSpool(t, Options{Dir: dir})
		if want.Bytes = found.Bytes; found != want {
			t.Fatalf("%s: found %+v, want %+v", what, found, want)
		}
		take(t, s, 11-int(want.Records), 10)
		shut(t, s)
	}
	for n := range text {
		reopen(fmt.Sprintf("%d bytes of a single slot", n), whole[latest:][:n], Recovered{Records: 10, AckLost: true})
		torn := slices.Clone(whole) // by a power cut, while the other slot was written
		copy(torn[m.slot*markSlot:][:markSlot], make([]byte, markSlot))
		copy(torn[m.slot*markSlot:], positionText(8)[:n])
		reopen(fmt.Sprintf("%d bytes of the next position", n), torn, Recovered{Records: 5})
	}
	reopen("the form of earlier versions", positionText(6), Recovered{Records: 5})
	// A power cut took the records, not the position: it is not used again.
	if err := os.Truncate(segmentFiles(t, opts.Dir)[0], int64(len(magic))); err != nil {
		t.Fatal(err)
	}
	s, found := openSpool(t, opts)
	if found.Records != 0 {
		t.Errorf("found %+v", found)
	}
	put(t, s, 1, 3)
	if p := take(t, s, 1, 3); p[0] != 6 {
		t.Errorf("positions %d", p)
	}
	shut(t, s)
	s, _ = openSpool(t, opts)
	take(t, s, 1, 3)
}
