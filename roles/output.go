package roles

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"syscall"
	"time"

	"golang.org/x/term"
)

// errStdoutClosed is returned by a write to stdout that nobody reads any more: "tbmsock journal cat | head".
var errStdoutClosed = errors.New("stdout was closed by its reader")

// stdoutWriter is stdout.
type stdoutWriter struct {
	w        io.Writer
	terminal bool // at the start: a terminal that was closed is none
}

func newStdout(w io.Writer) *stdoutWriter { return &stdoutWriter{w, isTerminal(w)} }

func (o *stdoutWriter) Write(b []byte) (int, error) {
	n, err := o.w.Write(b)
	if err != nil && (readerGone(err) || o.terminal && errors.Is(err, syscall.EIO)) {
		err = fmt.Errorf("%w (%w)", errStdoutClosed, err)
	}
	return n, err
}

// isTerminal reports whether w is a terminal, or was one when the role began.
func isTerminal(w io.Writer) bool {
	switch w := w.(type) {
	case *os.File:
		return term.IsTerminal(int(w.Fd()))
	case *stdoutWriter:
		return w.terminal
	case *queuedWriter:
		return isTerminal(w.w)
	}
	return false
}

// stallLimit bounds the wait for a stalled output at the end of the process.
const stallLimit = 5 * time.Second

// queuedWriter writes lines from a goroutine of its own: a stalled output, such as a full pipe, does not
// block those that write to it for ever. It can be used by several goroutines, and by one if it waits.
type queuedWriter struct {
	w     io.Writer
	limit int // bytes that may be queued
	// wait makes Write wait for room, until abandon; otherwise lines that do not fit are dropped.
	wait bool
	// failed is called with the first error of w, after which lines are discarded. Nil: each line is tried.
	failed func(error)

	mu      sync.Mutex
	note    func(dropped uint64) []byte // the line that says how many were dropped; nil: none
	lines   [][]byte
	bytes   int    // of lines that are queued or being written
	pending int    // how many these are
	written uint64 // lines that w has taken or refused
	lost    uint64 // lines that were dropped or refused and that no note has told of yet
	broken  bool   // failed was called
	closed  bool

	wake, room chan struct{}
	abandoned  chan struct{}
	abandon    func()
	done       chan struct{}
}

// newQueuedWriter starts a writer, which must be closed.
func newQueuedWriter(w io.Writer, limit int, wait bool, failed func(error)) *queuedWriter {
	q := &queuedWriter{w: w, limit: limit, wait: wait, failed: failed, wake: make(chan struct{}, 1), room: make(chan struct{}, 1),
		abandoned: make(chan struct{}), done: make(chan struct{})}
	q.abandon = sync.OnceFunc(func() { close(q.abandoned) })
	go q.run()
	return q
}

// Write queues a copy of the line. It reports no error: failed or a note tells of lines that could not be written.
func (q *queuedWriter) Write(line []byte) (int, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for q.wait && q.full(len(line)) && !q.broken {
		q.mu.Unlock()
		ended := false
		select {
		case <-q.room:
		case <-q.abandoned:
			ended = true
		}
		q.mu.Lock()
		if ended {
			break
		}
	}
	if q.full(len(line)) || q.closed || q.broken {
		q.lost++
		return len(line), nil
	}
	q.lines = append(q.lines, bytes.Clone(line))
	q.bytes += len(line)
	q.pending++
	signalOne(q.wake)
	return len(line), nil
}

// full reports whether n bytes do not fit; a line longer than the limit fits an empty queue. q.mu must be held.
func (q *queuedWriter) full(n int) bool { return q.bytes > 0 && q.bytes+n > q.limit }

func signalOne(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

func (q *queuedWriter) run() {
	defer close(q.done)
	ok := true // the last write was taken
	for {
		q.mu.Lock()
		lines, closed, note := q.lines, q.closed, q.note
		q.lines = nil
		lost := q.lost
		tell := len(lines) == 0 && lost > 0 && ok && note != nil
		if tell {
			q.lost = 0
		}
		q.mu.Unlock()
		switch {
		case tell:
			if _, err := q.w.Write(note(lost)); err != nil {
				ok = false
				q.mu.Lock()
				q.lost += lost
				q.mu.Unlock()
			}
		case len(lines) == 0 && closed:
			return
		case len(lines) == 0:
			<-q.wake
		}
		for _, line := range lines {
			ok = q.put(line)
		}
	}
}

// put writes a line and reports whether it was taken.
func (q *queuedWriter) put(line []byte) bool {
	q.mu.Lock()
	broken := q.broken
	q.mu.Unlock()
	var err error
	if !broken {
		_, err = q.w.Write(line)
	}
	q.mu.Lock()
	q.bytes -= len(line)
	q.pending--
	q.written++
	if broken || err != nil {
		q.lost++
	}
	first := err != nil && q.failed != nil
	q.broken = q.broken || first
	q.mu.Unlock()
	signalOne(q.room)
	if first {
		q.failed(err)
	}
	return err == nil && !broken
}

func (q *queuedWriter) setNote(note func(dropped uint64) []byte) {
	q.mu.Lock()
	q.note = note
	q.mu.Unlock()
}

// close writes the queued lines, and gives up on a stalled output: the goroutine then ends with the process, as
// a blocked write cannot be interrupted. It returns how many lines were not written.
func (q *queuedWriter) close() (lost uint64) {
	q.mu.Lock()
	q.closed = true
	q.mu.Unlock()
	signalOne(q.wake)
	q.abandonStalled(q.done)
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.lost + uint64(q.pending)
}

// abandonStalled waits until done is closed, or until the output has taken nothing for stallLimit. Then Write waits no
// more.
func (q *queuedWriter) abandonStalled(done <-chan struct{}) {
	progress := func() uint64 { q.mu.Lock(); defer q.mu.Unlock(); return q.written }
	last := progress()
	for {
		stalled := time.NewTimer(stallLimit)
		select {
		case <-done:
			stalled.Stop()
			return
		case <-stalled.C:
		}
		now := progress()
		if now == last {
			q.abandon()
			return
		}
		last = now
	}
}
