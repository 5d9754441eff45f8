package journal

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"tbmsock/transport"
)

// While a journal was read again, as after an error of the disk, what had not been read yet was missing without an error: a replay went
// over it.
func TestReadWhileItIsLoadedAgain(t *testing.T) {
	j := openJournal(t, Options{Dir: t.TempDir(), SyncInterval: time.Minute, CacheBytes: 64 << 10})
	const n = 10_000
	for seq := uint64(1); seq <= n; seq += 1000 {
		appendOK(t, j, series("a", "b", seq, seq+999)...)
	}
	ctx, cancel := context.WithCancel(within(t))
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	loaded := make(chan struct{})
	wg.Go(func() {
		defer close(loaded)
		for range 20 {
			if err := j.load(ctx); err != nil && ctx.Err() == nil { // the writer, which does this otherwise, has nothing to do
				t.Error(err)
			}
		}
	})
	wg.Go(func() { // one who follows waits
		next := uint64(n - 100)
		errDone := errors.New("done")
		for range 20 {
			err := j.Tail(ctx, next, func(entries []transport.JournalEntry) error {
				for _, e := range entries {
					if e.Offset != next {
						return fmt.Errorf("tail: offset %d, want %d", e.Offset, next)
					}
					next++
				}
				if next > n {
					return errDone
				}
				return nil
			})
			if !errors.Is(err, errDone) && ctx.Err() == nil {
				t.Error(err)
			}
			next = n - 100
		}
	})
	told, whole := 0, 0
	for done := false; !done; {
		select {
		case <-loaded:
			done = true
		default:
		}
		next := uint64(n - 100)
		var err error
		for e, readErr := range j.Read(ctx, next, n) {
			if err = readErr; err == nil {
				next = e.Offset + 1
			}
		}
		switch {
		case errors.Is(err, transport.ErrJournalUnavailable):
			told++
		case err != nil || next != n+1:
			t.Fatalf("read ended before offset %d, with error %v", next, err)
		default:
			whole++
		}
		if s, err := j.State(ctx); err == nil && s.Last != n || err != nil && !errors.Is(err, transport.ErrJournalUnavailable) {
			t.Fatalf("state %+v, %v", s, err)
		}
	}
	wg.Wait()
	t.Logf("%d reads were whole, %d refused", whole, told)
}

// When reading it again fails too, nothing is said of what there is until it has been done.
func TestLoadingAgainFails(t *testing.T) {
	var ended context.CancelFunc
	j := openJournal(t, Options{Dir: t.TempDir(), CacheBytes: 1, OnWarning: func(string) {
		if ended != nil {
			ended()
		}
	}})
	appendOK(t, j, series("a", "b", 1, 10)...)
	nc, _, err := j.store.conn()
	if err != nil {
		t.Fatal(err)
	}
	// Where this is read, the second time, reading ends.
	if _, err := nc.RequestWithContext(within(t), "TBM.block", []byte("no block")); err != nil {
		t.Fatal(err)
	}
	appendOK(t, j, big("a", 11, fetchBytes)) // more than is read at once
	appendOK(t, j, series("a", "b", 12, 20)...)
	j.mu.Lock()
	before := *j.table
	j.mu.Unlock()
	ctx, cancel := context.WithCancel(within(t))
	ended = cancel
	if err := j.load(ctx); err == nil {
		t.Fatal("it could be read")
	}
	for _, err := range j.Read(within(t), 1, all) {
		if !errors.Is(err, transport.ErrJournalUnavailable) {
			t.Errorf("read: %v", err)
		}
		break
	}
	for _, ask := range []func() error{
		func() error { _, err := j.State(within(t)); return err },
		func() error { _, err := j.Locate(within(t), transport.JournalStart{Last: 1}); return err },
	} {
		if err := ask(); !errors.Is(err, transport.ErrJournalUnavailable) {
			t.Errorf("asked: %v", err)
		}
	}
	if err := j.load(within(t)); err != nil {
		t.Fatal(err)
	}
	if got := readAll(t, j, 1, all); len(got) != 20 || j.table.next != before.next || j.table.applied != before.applied {
		t.Errorf("%d entries; next %d, was %d", len(got), j.table.next, before.next)
	}
	if a := appendAll(t, j, series("a", "b", 20, 21)...); !a[0].duplicate || a[1].offset != 21 {
		t.Errorf("going on: %+v", a)
	}
}

// A journal that had to be read as a whole, and that takes longer than half a minute, could not be opened: nothing was kept of what had
// been read, so no start got further.
func TestReadingAsAWholeTakesItsTime(t *testing.T) {
	dir := t.TempDir()
	s := startNATS(t, t.TempDir(), 0)
	for name, opts := range map[string]Options{"directory": {Dir: dir, SyncInterval: time.Minute}, "NATS": {URL: s.ClientURL()}} {
		t.Run(name, func(t *testing.T) {
			j, err := Open(within(t), opts)
			if err != nil {
				t.Fatal(err)
			}
			for seq := uint64(1); seq <= 10; seq++ {
				appendOK(t, j, big("a", seq, fetchBytes))
			}
			j.mu.Lock()
			// As when the process is killed.
			j.unsaved, j.opts.elapsed = extentOf{}, func() time.Duration { return 0 }
			j.ageing.saved = j.table.lived
			j.mu.Unlock()
			closeJournal(t, j)
			told := make(chan string, 100)
			opts.stall, opts.tellAfter, opts.OnWarning = 1, 1, func(s string) { told <- s }
			j = openJournal(t, opts)
			if got := readAll(t, j, 1, all); len(got) != 10 {
				t.Errorf("%d entries", len(got))
			}
			if s := next(t, told); !strings.Contains(s, "is being read: block 1 of 10") {
				t.Errorf("told %q", s)
			}
		})
	}
}

// A block that was to be published when the journal was read again kept the offsets that it had been made with.
func TestOffsetsOfABlockThatWaits(t *testing.T) {
	j := openJournal(t, Options{Memory: true})
	appendOK(t, j, series("a", "b", 1, 10)...)
	e := entry("a", "b", 11)
	w := &waiting{key: keyOf("a", "b"), since: time.Now(), entry: e, data: appendEntry(nil, &e), done: func(uint64, bool, error) {}}
	p := j.prepare([]*waiting{w}) // the writer has nothing to do
	p.unknown = true
	j.mu.Lock()
	j.table.next += 100 // of blocks that are lost
	j.mu.Unlock()
	if err := j.load(within(t)); err != nil {
		t.Fatal(err)
	}
	if p = j.prepare([]*waiting{w}); p.block.base != 111 {
		t.Errorf("offset %d, want 111", p.block.base)
	}
	j.mu.Lock()
	j.pending = nil
	j.mu.Unlock()
}
