package transport

import (
	"context"
	"sync"
)

// ackTable holds what is to be done with acknowledgements. The zero value is ready.
type ackTable struct {
	mu      sync.Mutex
	next    uint64
	waiting map[uint64]func(Args, error)
	err     error // set once it has ended
}

// begin returns a fresh id. then is called once, with the answer, or with the error of end; not
// after forget.
func (t *ackTable) begin(then func(Args, error)) (uint64, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.err != nil {
		return 0, t.err
	}
	if t.waiting == nil {
		t.waiting = map[uint64]func(Args, error){}
	}
	id := t.next
	t.next++
	t.waiting[id] = then
	return id, nil
}

// forget is false if then has been called, or is about to be.
func (t *ackTable) forget(id uint64) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	_, ok := t.waiting[id]
	delete(t.waiting, id)
	return ok
}

// resolve gives the answer to who waits for it, if anybody does (any more).
func (t *ackTable) resolve(id uint64, args Args) {
	t.mu.Lock()
	then, ok := t.waiting[id]
	delete(t.waiting, id)
	t.mu.Unlock()
	if ok {
		then(args, nil)
	}
}

// end tells everyone that waits, and everyone who would, that no answer comes.
func (t *ackTable) end(err error) {
	t.mu.Lock()
	if t.err != nil {
		t.mu.Unlock()
		return
	}
	t.err = err
	waiting := t.waiting
	t.waiting = nil
	t.mu.Unlock()
	for _, then := range waiting {
		then(nil, err)
	}
}

// ask sends a frame made for a fresh id by send, and waits for the answer until ctx ends.
func (t *ackTable) ask(ctx context.Context, send func(id uint64) error) (Args, error) {
	type answer struct {
		args Args
		err  error
	}
	ch := make(chan answer, 1)
	id, err := t.begin(func(args Args, err error) { ch <- answer{args, err} })
	if err != nil {
		return nil, err
	}
	if err := send(id); err != nil {
		t.forget(id)
		return nil, err
	}
	select {
	case a := <-ch:
		return a.args, a.err
	case <-ctx.Done():
		t.forget(id)
		return nil, context.Cause(ctx)
	}
}
