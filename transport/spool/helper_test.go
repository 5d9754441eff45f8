package spool

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"
)

func within(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	t.Cleanup(cancel)
	return ctx
}

func openSpool(t *testing.T, opts Options) (*Spool, Recovered) {
	t.Helper()
	s, found, err := Open(opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil && !errors.Is(err, ErrClosed) {
			t.Error(err)
		}
	})
	return s, found
}

func shut(t *testing.T, s *Spool) {
	t.Helper()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

// body is the n-th record of a test, of a length of its own.
func body(n int) []byte {
	return fmt.Appendf(nil, "record %d %0*d", n, n%37+1, n)
}

func put(t *testing.T, s *Spool, from, to int) {
	t.Helper()
	for n := from; n <= to; n++ {
		if k, err := s.Append(body(n)); err != nil || k != 1 {
			t.Fatalf("record %d: %d, %v", n, k, err)
		}
	}
}

// take expects the records from one to the other, and returns their positions.
func take(t *testing.T, s *Spool, from, to int) []uint64 {
	t.Helper()
	var positions []uint64
	for n := from; n <= to; n++ {
		p, r, err := s.Next(within(t))
		if err != nil || string(r) != string(body(n)) {
			t.Fatalf("record %d is %q, %v", n, r, err)
		}
		positions = append(positions, p)
	}
	return positions
}

func ack(t *testing.T, s *Spool, positions ...uint64) {
	t.Helper()
	for _, p := range positions {
		if err := s.Ack(p); err != nil {
			t.Fatal(err)
		}
	}
}

// none expects that there is no record now.
func none(t *testing.T, s *Spool) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if p, r, err := s.Next(ctx); !errors.Is(err, context.Canceled) {
		t.Fatalf("there is a record %d, %q, %v", p, r, err)
	}
}

// copyOf is the directory as a crash would leave it now.
func copyOf(t *testing.T, dir string) string {
	t.Helper()
	to := filepath.Join(t.TempDir(), "copy")
	if err := os.CopyFS(to, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	return to
}

func segmentFiles(t *testing.T, dir string) []string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*"+suffix))
	if err != nil {
		t.Fatal(err)
	}
	return files
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for ctx := within(t); !ok(); {
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("never: %s", what)
		}
	}
}
