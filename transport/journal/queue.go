package journal

import (
	"context"
	"fmt"
	"sync"
	"time"

	"tbmsock/transport"
)

// waiting is an entry on its way into the journal.
type waiting struct {
	entry transport.JournalEntry
	data  []byte // as it stands in a block
	key   key    // if entry.Seq is not 0
	since time.Time
	done  func(uint64, bool, error)
	err   error // that it is refused with; it only waits for its turn
}

// waitingBytes is what an entry that waits takes in memory beside data, about.
const waitingBytes = 512

func (w *waiting) size() int64 { return int64(len(w.data)) + waitingBytes }

// entryOverhead is what an entry needs in a block beside its own bytes, at most.
const entryOverhead = 8

// queue holds what waits to be written, in order.
type queue struct {
	limit int64

	mu     sync.Mutex
	items  []*waiting
	bytes  int64 // that they take in memory
	data   int   // bytes that go into blocks
	closed bool
	room   chan struct{} // closed and replaced when something leaves; nil if nobody waits for that
	filled chan struct{} // holds one token when something may be there
}

func (q *queue) init(limit int64) {
	q.limit = limit
	q.filled = make(chan struct{}, 1)
}

// put appends w; it waits for room until ctx ends.
func (q *queue) put(ctx context.Context, w *waiting) error {
	size := w.size()
	q.mu.Lock()
	for q.bytes+size > q.limit && len(q.items) > 0 && !q.closed {
		if q.room == nil {
			q.room = make(chan struct{})
		}
		room := q.room
		q.mu.Unlock()
		select {
		case <-room:
		case <-ctx.Done():
			return fmt.Errorf("%w: %d MiB wait to be written: %w", transport.ErrJournalUnavailable, q.limit>>20, context.Cause(ctx))
		}
		q.mu.Lock()
	}
	defer q.mu.Unlock()
	if q.closed {
		return transport.ErrJournalClosed
	}
	w.since = time.Now()
	q.items = append(q.items, w)
	q.bytes += size
	q.data += len(w.data)
	select {
	case q.filled <- struct{}{}:
	default:
	}
	return nil
}

// take removes what fits into one block; nothing if nothing waits.
func (q *queue) take(maxEntries int, maxBytes int) []*waiting {
	q.mu.Lock()
	defer q.mu.Unlock()
	n, bytes := 0, 0
	for n < len(q.items) && n < maxEntries {
		size := len(q.items[n].data)
		if n > 0 && bytes+size+n*entryOverhead > maxBytes {
			break
		}
		bytes += size
		n++
	}
	return q.remove(n)
}

// takeAll removes everything.
func (q *queue) takeAll() []*waiting {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.remove(len(q.items))
}

func (q *queue) remove(n int) []*waiting {
	taken := make([]*waiting, n)
	copy(taken, q.items)
	rest := copy(q.items, q.items[n:])
	clear(q.items[rest:])
	q.items = q.items[:rest]
	for _, w := range taken {
		q.bytes -= w.size()
		q.data -= len(w.data)
	}
	if q.room != nil && n > 0 {
		close(q.room)
		q.room = nil
	}
	if rest > 0 {
		select {
		case q.filled <- struct{}{}:
		default:
		}
	}
	return taken
}

func (q *queue) empty() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.items) == 0
}

// full tells whether a whole block waits.
func (q *queue) full() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.items) >= maxBlockEntries || q.data >= maxBlockBytes
}

// close lets nothing in any more.
func (q *queue) close() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.closed = true
	if q.room != nil {
		close(q.room)
		q.room = nil
	}
}
