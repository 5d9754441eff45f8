package roles

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
)

// A full pipe takes no line: those that fit wait, others are dropped and counted, and a note tells of them once the
// pipe is read.
func TestQueuedWriterDropsWhatDoesNotFit(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _, _ = r.Close(), w.Close() }()
	q := newQueuedWriter(w, 100<<10, false, nil)
	q.setNote(func(dropped uint64) []byte { return fmt.Appendf(nil, "dropped %d\n", dropped) })
	const lines = 5000 // of 100 bytes: the pipe holds 64 KiB
	line := strings.Repeat("x", 94)
	for i := range lines {
		fmt.Fprintf(q, "%04d %s\n", i, line)
	}
	read := make(chan string, lines+1)
	go func() {
		defer close(read)
		for s := bufio.NewScanner(r); s.Scan(); {
			read <- s.Text()
		}
	}()
	next, dropped := 0, 0
	for dropped == 0 {
		text := <-read
		if n, _ := fmt.Sscanf(text, "dropped %d", &dropped); n == 1 {
			break
		}
		var i int
		if _, err := fmt.Sscanf(text, "%d ", &i); err != nil || i != next {
			t.Fatalf("line %d is %q", next, text)
		}
		next++
	}
	if next+dropped != lines || next < 1600 {
		t.Errorf("%d lines came, and %d are told to be dropped", next, dropped)
	}
	fmt.Fprintln(q, "after")
	if lost := q.close(); lost != 0 {
		t.Errorf("%d lines are lost", lost)
	}
	_ = w.Close()
	if text := <-read; text != "after" {
		t.Errorf("then comes %q", text)
	}
	for range read {
		t.Error("more comes")
	}
}

// A writer that waits loses nothing to a slow reader.
func TestQueuedWriterWaits(t *testing.T) {
	r, w := io.Pipe()
	q := newQueuedWriter(w, 100, true, func(err error) { t.Error(err) })
	const lines = 2000
	got := make(chan int)
	go func() {
		n := 0
		for s := bufio.NewScanner(r); s.Scan(); n++ {
			if s.Text() != fmt.Sprintf("line %d", n) {
				t.Errorf("line %d is %q", n, s.Text())
			}
		}
		got <- n
	}()
	for i := range lines {
		fmt.Fprintf(q, "line %d\n", i)
	}
	if lost := q.close(); lost != 0 {
		t.Errorf("%d lines are lost", lost)
	}
	_ = w.Close()
	if n := <-got; n != lines {
		t.Errorf("%d lines of %d came", n, lines)
	}
}

// A reader that has gone is told once, and what is written then is counted.
func TestQueuedWriterWhoseReaderHasGone(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = w.Close() }()
	_ = r.Close()
	var told atomic.Int32
	failed := func(err error) {
		if !errors.Is(err, errStdoutClosed) || !errors.Is(err, syscall.EPIPE) {
			t.Error(err)
		}
		told.Add(1)
	}
	q := newQueuedWriter(newStdout(w), 100, true, failed)
	for i := range 100 {
		fmt.Fprintf(q, "line %d\n", i)
	}
	if lost := q.close(); lost != 100 || told.Load() != 1 {
		t.Errorf("%d lines are lost, told %d times", lost, told.Load())
	}
	// A log has nobody to tell.
	q = newQueuedWriter(w, 1<<20, false, nil)
	q.setNote(func(uint64) []byte { return []byte("note\n") })
	fmt.Fprintln(q, "line")
	if lost := q.close(); lost != 1 {
		t.Errorf("%d lines are lost", lost)
	}
}
