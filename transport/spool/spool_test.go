package spool

import (
	"bytes"
	"context"
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// What is not acknowledged comes again in the next run, in order, before what is new.
func TestComesAgain(t *testing.T) {
	for name, sync := range map[string]time.Duration{"always": 0, "interval": time.Hour} {
		t.Run(name, func(t *testing.T) {
			opts := Options{Dir: filepath.Join(t.TempDir(), "new", "dir"), SyncInterval: sync}
			s, found := openSpool(t, opts)
			if found != (Recovered{}) {
				t.Errorf("found %+v in a new directory", found)
			}
			put(t, s, 1, 10)
			got := take(t, s, 1, 8)
			ack(t, s, got[0], got[1], got[4], got[3], got[4]) // 3 holds the position back
			shut(t, s)
			if err := s.Close(); !errors.Is(err, ErrClosed) {
				t.Errorf("the second Close says %v", err)
			}
			if _, err := s.Append(body(1)); !errors.Is(err, ErrClosed) {
				t.Errorf("Append says %v", err)
			}
			if _, _, err := s.Next(within(t)); !errors.Is(err, ErrClosed) {
				t.Errorf("Next says %v", err)
			}

			s, found = openSpool(t, opts)
			if found.Records != 8 || found.Torn != 0 || found.AckLost {
				t.Errorf("found %+v", found)
			}
			put(t, s, 11, 12)
			again := take(t, s, 3, 12)
			if again[0] != got[2] {
				t.Errorf("record 3 had position %d, has %d", got[2], again[0])
			}
			none(t, s)
			if st := s.Stats(); st.Waiting != 10 || st.Appended != 2 {
				t.Errorf("%+v", st)
			}
			ack(t, s, again...)
			if err := s.Flush(within(t)); err != nil {
				t.Fatal(err)
			}
			if st := s.Stats(); st.Waiting != 0 || st.Acked != 10 {
				t.Errorf("%+v", st)
			}
			shut(t, s)
			s, found = openSpool(t, opts)
			if found.Records != 0 {
				t.Errorf("found %+v", found)
			}
			put(t, s, 13, 13)
			take(t, s, 13, 13)
		})
	}
}

func TestBatch(t *testing.T) {
	s, _ := openSpool(t, Options{Dir: t.TempDir(), MaxBytes: 1 << 20}) // segments of 16 KiB
	var batch [][]byte
	for n := 1; n <= 2000; n++ {
		batch = append(batch, body(n))
	}
	if n, err := s.Append(batch...); n != 2000 || err != nil {
		t.Fatal(n, err)
	}
	if n := len(segmentFiles(t, s.opts.Dir)); n < 4 {
		t.Errorf("%d segments", n)
	}
	take(t, s, 1, 2000)
	if n, err := s.Append([]byte("fits"), make([]byte, 1<<20)); n != 1 || !errors.Is(err, ErrTooLarge) {
		t.Errorf("kept %d, %v", n, err)
	}
	big := bytes.Repeat([]byte("x"), 100_000) // larger than a segment
	if n, err := s.Append(big, nil, body(1)); n != 3 || err != nil {
		t.Fatal(n, err)
	}
	for _, want := range [][]byte{[]byte("fits"), big, {}, body(1)} {
		if _, r, err := s.Next(within(t)); err != nil || !bytes.Equal(r, want) {
			t.Fatalf("%d bytes, want %d, %v", len(r), len(want), err)
		}
	}
}

// What is acknowledged gives its room back.
func TestRemoves(t *testing.T) {
	s, _ := openSpool(t, Options{Dir: t.TempDir(), MaxBytes: MinBytes, WhenFull: Refuse, SyncInterval: time.Hour})
	for n := 1; n <= 20_000; n++ {
		put(t, s, n, n)
		ack(t, s, take(t, s, n, n)...)
	}
	eventually(t, "one segment", func() bool { return len(segmentFiles(t, s.opts.Dir)) == 1 })
	if st := s.Stats(); st.Refused+st.Dropped+st.Waiting != 0 || st.Bytes > MinBytes {
		t.Errorf("%+v", st)
	}
	// And where nothing has time to be removed behind the calls, too.
	var all []uint64
	for n := range 2000 {
		put(t, s, n, n)
		all = append(all, take(t, s, n, n)...)
		if len(all) == 100 {
			rand.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
			ack(t, s, all...)
			all = nil
		}
	}
}

func TestRefuse(t *testing.T) {
	opts := Options{Dir: t.TempDir(), MaxBytes: MinBytes, WhenFull: Refuse, SyncInterval: time.Hour}
	s, _ := openSpool(t, opts)
	kept, err := 0, error(nil)
	for err == nil {
		if _, err = s.Append(body(kept + 1)); err == nil {
			kept++
		}
	}
	if !errors.Is(err, ErrFull) || kept < 800 {
		t.Fatalf("%d kept, then %v", kept, err)
	}
	if n, err := s.Append(body(1), body(2), body(3)); n != 0 || !errors.Is(err, ErrFull) {
		t.Errorf("kept %d of what does not fit, %v", n, err)
	}
	if st := s.Stats(); st.Refused != 4 || st.Dropped != 0 || st.Waiting != uint64(kept) || st.Bytes > MinBytes {
		t.Errorf("%+v", st)
	}
	ack(t, s, take(t, s, 1, kept)...)
	put(t, s, kept+1, kept+10)
	take(t, s, kept+1, kept+10)
	shut(t, s)
	openSpool(t, opts)
}

func TestDropOldest(t *testing.T) {
	s, _ := openSpool(t, Options{Dir: t.TempDir(), MaxBytes: MinBytes, SyncInterval: time.Hour})
	put(t, s, 1, 10)
	early := take(t, s, 1, 10)
	ack(t, s, early[1])
	put(t, s, 11, 5000)
	st := s.Stats()
	if st.Dropped == 0 || st.Waiting+st.Dropped != 4999 || st.Bytes > MinBytes || st.Bytes < MinBytes/2 {
		t.Fatalf("%+v", st)
	}
	// What was under way when it was dropped may arrive yet: it is then not lost.
	ack(t, s, early[0], early[1], early[2], early[2])
	if now := s.Stats(); now.Dropped != st.Dropped-2 || now.Acked != 3 {
		t.Errorf("%+v, before %+v", now, st)
	}
	rest := take(t, s, int(st.Dropped)+2, 5000)
	ack(t, s, rest...)
	none(t, s)
	if st := s.Stats(); st.Waiting != 0 || st.Acked != 3+uint64(len(rest)) {
		t.Errorf("%+v", st)
	}
	// One record that needs all the room there is.
	put(t, s, 5001, 5100)
	if _, err := s.Append(make([]byte, MinBytes-headerSize-2*len(magic))); err != nil {
		t.Fatal(err)
	}
	if _, r, err := s.Next(within(t)); err != nil || len(r) != MinBytes-32 || s.Stats().Waiting != 1 {
		t.Errorf("%d bytes, %v, %+v", len(r), err, s.Stats())
	}
}

func TestWaits(t *testing.T) {
	s, _ := openSpool(t, Options{Dir: t.TempDir()})
	if err := s.Ack(1); !errors.Is(err, ErrPosition) {
		t.Errorf("Ack of what was not given says %v", err)
	}
	var all sync.WaitGroup
	all.Go(func() { put(t, s, 1, 500) })
	all.Go(func() { ack(t, s, take(t, s, 1, 500)...) })
	all.Wait()
	if err := s.Flush(within(t)); err != nil {
		t.Error(err)
	}
	put(t, s, 501, 501)
	cause := errors.New("enough")
	ctx, cancel := context.WithCancelCause(context.Background())
	cancel(cause)
	if err := s.Flush(ctx); !errors.Is(err, cause) {
		t.Errorf("Flush says %v", err)
	}
	take(t, s, 501, 501)
	all.Go(func() {
		if _, _, err := s.Next(context.Background()); !errors.Is(err, ErrClosed) {
			t.Errorf("Next says %v", err)
		}
	})
	all.Go(func() {
		if err := s.Flush(context.Background()); !errors.Is(err, ErrClosed) {
			t.Errorf("Flush says %v", err)
		}
	})
	shut(t, s)
	all.Wait()
}

func TestOpenRefuses(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	newer := t.TempDir()
	if err := os.WriteFile(filepath.Join(newer, segmentName(1)), []byte("TBMSPL.2"), 0o600); err != nil {
		t.Fatal(err)
	}
	used, _ := openSpool(t, Options{Dir: t.TempDir()})
	for _, tc := range []struct {
		opts Options
		want string
	}{
		{Options{Dir: file}, "spool in " + file + ": mkdir"},
		{Options{Dir: newer}, "written by a newer version"},
		{Options{Dir: used.opts.Dir}, "another process uses this directory (process "},
		{Options{Dir: t.TempDir(), MaxBytes: 10}, "a limit of 10 bytes is below the least"},
	} {
		if s, _, err := Open(tc.opts); err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%q is not in %v", tc.want, err)
			if err == nil {
				_ = s.Close()
			}
		}
	}
}
