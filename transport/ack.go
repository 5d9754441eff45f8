package transport

import (
	"context"
	"sync"
)

// ackTable holds those who wait for an acknowledgement. The zero value is ready.
type ackTable struct {
	mu      sync.Mutex
	next    uint64
	waiting map[uint64]chan Args // each of capacity 1
	err     error                // set once it has ended
}

// begin returns a fresh id and the channel on which its answer comes; the channel is closed if
// none can come any more.
func (t *ackTable) begin() (uint64, chan Args, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.err != nil {
		return 0, nil, t.err
	}
	if t.waiting == nil {
		t.waiting = map[uint64]chan Args{}
	}
	id := t.next
	t.next++
	ch := make(chan Args, 1)
	t.waiting[id] = ch
	return id, ch, nil
}

func (t *ackTable) forget(id uint64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.waiting, id)
}

// resolve gives the answer to who waits for it; false if nobody does (any more).
func (t *ackTable) resolve(id uint64, args Args) bool {
	t.mu.Lock()
	ch, ok := t.waiting[id]
	delete(t.waiting, id)
	t.mu.Unlock()
	if ok {
		ch <- args
	}
	return ok
}

// end tells everyone that waits, and everyone who would, that no answer comes.
func (t *ackTable) end(err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.err != nil {
		return
	}
	t.err = err
	for id, ch := range t.waiting {
		close(ch)
		delete(t.waiting, id)
	}
}

// wait waits for the answer to id, until ctx ends.
func (t *ackTable) wait(ctx context.Context, id uint64, ch chan Args) (Args, error) {
	select {
	case args, ok := <-ch:
		if !ok {
			t.mu.Lock()
			defer t.mu.Unlock()
			return nil, t.err
		}
		return args, nil
	case <-ctx.Done():
		t.forget(id)
		return nil, context.Cause(ctx)
	}
}
