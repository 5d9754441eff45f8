package transport

import (
	"os"
	"sync"
)

// breather lets a goroutine that has much to do stand back until everybody else has had a turn, what has just come over
// the network included. runtime.Gosched does not do that: as long as any goroutine can run the scheduler does not look at
// the network, for up to 10 ms where there is one processor. So the goroutine waits for a byte that goes through a pipe, and comes
// with all that waits on the network at that moment, behind all that could run before.
type breather struct {
	mu   sync.Mutex // held while a byte is under way
	r, w *os.File   // nil before start, and after stop
	back chan struct{}
}

// start opens the pipe. Without it take does nothing.
func (b *breather) start() error {
	r, w, err := os.Pipe()
	if err != nil {
		return err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.r, b.w, b.back = r, w, make(chan struct{})
	go b.carry(r, b.back)
	return nil
}

func (b *breather) carry(r *os.File, back chan<- struct{}) {
	defer close(back)
	var buf [1]byte
	for {
		if _, err := r.Read(buf[:]); err != nil {
			return
		}
		back <- struct{}{}
	}
}

// stop ends what start began, and waits for it.
func (b *breather) stop() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.w == nil {
		return
	}
	_ = b.w.Close() // its other end reads to the end
	<-b.back
	_ = b.r.Close()
	b.r, b.w = nil, nil
}

// take stands back once.
func (b *breather) take() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.w == nil {
		return
	}
	if _, err := b.w.Write([]byte{0}); err == nil {
		<-b.back
	}
}
