package journal

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"tbmsock/transport"
)

// health records what OnHealth is told.
type health struct {
	mu   sync.Mutex
	told []error
}

func (h *health) tell(err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.told = append(h.told, err)
}

func (h *health) all() []error {
	h.mu.Lock()
	defer h.mu.Unlock()
	return append([]error(nil), h.told...)
}

// big is an entry of about that size.
func big(source string, seq uint64, size int) transport.JournalEntry {
	e := entry(source, "b", seq)
	e.Value.JSON = append(append([]byte(`"`), bytes.Repeat([]byte("x"), size)...), '"')
	return e
}

func TestNotADirectory(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(within(t), Options{Dir: file}); err == nil || !strings.Contains(err.Error(), "not a directory") {
		t.Error(err)
	}
}

// The oldest are given up at the limit, and readers see it by the offsets.
func TestOldestAreGivenUp(t *testing.T) {
	dir := t.TempDir()
	j, err := Open(within(t), Options{Dir: dir, RetainBytes: 4 << 20, CacheBytes: 1})
	if err != nil {
		t.Fatal(err)
	}
	for seq := uint64(1); seq <= 100; seq++ {
		appendOK(t, j, big("tbm-1", seq, 100<<10))
	}
	check := func(j *Journal) {
		t.Helper()
		s, err := j.State(within(t))
		if err != nil || s.Last != 100 || s.First < 55 || s.First > 70 || s.Bytes > 4<<20 {
			t.Errorf("state %+v, %v", s, err)
		}
		got := readAll(t, j, 1, all)
		if len(got) == 0 || got[0].Offset != s.First || uint64(len(got)) != 101-s.First {
			t.Errorf("%d entries, the first of which is %d", len(got), got[0].Offset)
		}
		if o, err := j.Locate(within(t), transport.JournalStart{Offset: 3}); err != nil || o != s.First {
			t.Errorf("locate: %d, %v", o, err)
		}
		errDone := errors.New("done")
		next := s.First
		if err := j.Tail(within(t), 5, func(entries []transport.JournalEntry) error {
			for _, e := range entries {
				if e.Offset != next {
					t.Errorf("tail: offset %d, want %d", e.Offset, next)
				}
				if next++; next > 100 {
					return errDone
				}
			}
			return nil
		}); !errors.Is(err, errDone) {
			t.Error(err)
		}
		// What was given up is still known as there.
		if a := appendAll(t, j, big("tbm-1", 2, 10))[0]; a.err != nil || !a.duplicate {
			t.Errorf("resent seq 2: %+v", a)
		}
	}
	check(j)
	closeJournal(t, j)
	check(openJournal(t, Options{Dir: dir, RetainBytes: 4 << 20, CacheBytes: 1}))
}

// Offsets go on where they were when all entries have aged out.
func TestAllAgedOut(t *testing.T) {
	dir := t.TempDir()
	opts := Options{Dir: dir, RetainAge: time.Second, CacheBytes: 1}
	j, err := Open(within(t), opts)
	if err != nil {
		t.Fatal(err)
	}
	appendOK(t, j, series("tbm-1", "b", 1, 50)...)
	deadline := time.Now().Add(patience)
	for {
		s, err := j.State(within(t))
		if err != nil {
			t.Fatal(err)
		}
		if s.First == 0 {
			if s.Last != 50 {
				t.Errorf("state %+v", s)
			}
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("after %v there is still %+v", patience, s)
		}
		time.Sleep(20 * time.Millisecond)
	}
	closeJournal(t, j)
	j = openJournal(t, opts)
	if got := readAll(t, j, 1, all); len(got) != 0 {
		t.Errorf("%d entries", len(got))
	}
	if o, err := j.Locate(within(t), transport.JournalStart{}); err != nil || o != 51 {
		t.Errorf("locate: %d, %v", o, err)
	}
	if a := appendAll(t, j, entry("tbm-1", "b", 50), entry("tbm-1", "b", 51)); !a[0].duplicate || a[1].offset != 51 {
		t.Errorf("going on: %+v", a)
	}
}

func TestRefuseWhenFull(t *testing.T) {
	var h health
	j := openJournal(t, Options{Memory: true, RetainBytes: 4 << 20, RefuseWhenFull: true, OnHealth: h.tell})
	seq := uint64(1)
	for ; seq < 100; seq++ {
		a := appendAll(t, j, big("tbm-1", seq, 100<<10))[0]
		if a.err != nil {
			if !errors.Is(a.err, transport.ErrJournalFull) {
				t.Error(a.err)
			}
			break
		}
	}
	if seq < 35 || seq > 45 {
		t.Errorf("refused at seq %d", seq)
	}
	if s, err := j.State(within(t)); err != nil || s.First != 1 || s.Last != seq-1 {
		t.Errorf("state %+v, %v", s, err)
	}
	if told := h.all(); len(told) != 1 || !errors.Is(told[0], transport.ErrJournalFull) {
		t.Errorf("health: %v", told)
	}
}

func TestTooLarge(t *testing.T) {
	j := openJournal(t, Options{Memory: true})
	a := appendAll(t, j, entry("a", "b", 1), big("a", 2, maxEmbeddedPayload), big("a", 3, 8<<20))
	if a[0].err != nil || !errors.Is(a[1].err, transport.ErrJournalTooLarge) || a[2].err != nil {
		t.Errorf("%+v", a)
	}
}

// One entry that was too large took those with it that shared its block, and for 2 s all of its run that came behind it: their publisher
// gave them up, for what is too large is not sent again.
func TestTooLargeIsOneEntrysAffair(t *testing.T) {
	j := openJournal(t, Options{Memory: true})
	changeStream(t, j, func(c *jetstream.StreamConfig) { c.MaxMsgSize = 64 << 10 })
	for _, known := range []bool{false, true} { // whether the journal has heard of the limit
		t.Run(fmt.Sprintf("limit known %t", known), func(t *testing.T) {
			if known {
				if _, err := j.State(within(t)); err != nil {
					t.Fatal(err)
				}
			}
			source := fmt.Sprint("known ", known)
			var entries []transport.JournalEntry
			for seq := uint64(1); seq <= 2000; seq++ {
				e := entry(source, "b", seq)
				if seq == 700 {
					e = big(source, seq, 100<<10)
				}
				entries = append(entries, e)
			}
			last := uint64(0)
			for i, a := range appendAll(t, j, entries...) {
				switch {
				case i == 699:
					if !errors.Is(a.err, transport.ErrJournalTooLarge) {
						t.Errorf("the large one: %+v", a)
					}
				case a.err != nil || a.offset <= last:
					t.Fatalf("seq %d behind offset %d: %+v", i+1, last, a)
				default:
					last = a.offset
				}
			}
			if limit := j.blockBytes(); known && limit > 64<<10 {
				t.Errorf("blocks of %d bytes", limit)
			}
		})
	}
}

// A directory that has been deleted is no full disk: nothing is won by making room.
func TestDirectoryDeleted(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	j := openJournal(t, Options{Dir: dir, AppendTimeout: 100 * time.Millisecond, OnWarning: func(string) {}})
	appendOK(t, j, entry("a", "b", 1))
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	if a := appendAll(t, j, entry("a", "b", 2))[0]; !errors.Is(a.err, transport.ErrJournalUnavailable) || errors.Is(a.err, transport.ErrJournalFull) {
		t.Errorf("%+v", a)
	}
}
