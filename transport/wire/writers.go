package wire

import (
	"net"
	"runtime"
	"sync"
)

// Writers empties the outboxes of an engine's links: one goroutine for each processor, while there is something to write.
// It goes from link to link, and gives each socket what waits in one system call that does not block; so the working
// space stays in the processor's cache, however many clients there are, and a broadcast does not begin a goroutine for
// each. A socket that does not take all of it gets a goroutine of its own for the rest, and holds up nobody. Make it
// with [NewWriters].
type Writers struct {
	most int

	mu      sync.Mutex
	queue   []*Link // queue[head:] wait for a writer
	head    int
	running int
	work    func() // run, as a value made once

	ended sync.WaitGroup
}

// NewWriters makes the writers of an engine.
func NewWriters() *Writers {
	w := &Writers{most: runtime.GOMAXPROCS(0)}
	w.work = w.run
	return w
}

// Wait returns when the writers have ended: soon after the last of their links.
func (w *Writers) Wait() { w.ended.Wait() }

// add puts the link at the end of the queue.
func (w *Writers) add(l *Link) {
	w.mu.Lock()
	w.queue = append(w.queue, l)
	more := w.running < w.most
	if more {
		w.running++
		w.ended.Add(1)
	}
	w.mu.Unlock()
	if more {
		go w.work()
	}
}

// keptLinks is the longest queue whose array is kept when it is empty.
const keptLinks = 1 << 16

// next takes the first link of the queue, after it has put back the one that the writer has in hand. Without one the
// writer ends.
func (w *Writers) next(back *Link) *Link {
	w.mu.Lock()
	defer w.mu.Unlock()
	if back != nil {
		w.queue = append(w.queue, back)
	}
	if w.head == len(w.queue) {
		w.queue, w.head = w.queue[:0], 0
		if cap(w.queue) > keptLinks {
			w.queue = nil
		}
		w.running--
		return nil
	}
	l := w.queue[w.head]
	w.queue[w.head] = nil
	w.head++
	if w.head > 1024 && w.head > len(w.queue)/2 {
		n := copy(w.queue, w.queue[w.head:])
		clear(w.queue[n:])
		w.queue, w.head = w.queue[:n], 0
	}
	return l
}

// writer is what one of the goroutines works with, kept between them.
type writer struct {
	batch *batch
	try   tryWriter
}

var writers = sync.Pool{New: func() any { return newWriter() }}

func newWriter() *writer {
	w := new(writer)
	w.try.bind()
	return w
}

func (w *Writers) run() {
	defer w.ended.Done()
	me := writers.Get().(*writer)
	me.batch = batches.Get().(*batch)
	var back *Link
	for {
		l := w.next(back)
		if l == nil {
			me.batch.release()
			me.batch = nil
			writers.Put(me)
			return
		}
		back = nil
		if me.turn(l) {
			back = l
		}
	}
}

// turn writes what waits for one link, as far as its socket takes it at once. It is true if the link is to have
// another turn: something may have come meanwhile.
func (w *writer) turn(l *Link) bool {
	socket := l.take(w.batch)
	if socket == nil {
		l.tasks.Done()
		return false
	}
	done, err := false, error(nil)
	// Who has to compress what is large, or waits for one who does, does it on a goroutine of its own: others wait
	// for this writer.
	if l.fill(w.batch, socket, false) {
		done, w.batch.held, err = socket.tryWrite(&w.try, &w.batch.bufs)
	}
	switch {
	case err != nil:
		l.broken(err)
		l.tasks.Done()
		return false
	case !done:
		// The rest goes with the batch: its frames are in nobody's outbox any more.
		rest := w.batch
		w.batch = batches.Get().(*batch)
		go l.writeOn(rest)
		return false
	}
	return true
}

// tryWrite writes as much of bufs as the kernel takes at once, and leaves the rest in it; done means that there is none.
func (s *Socket) tryWrite(t *tryWriter, bufs *net.Buffers) (done, held bool, err error) {
	// Whoever holds it, a pong's or a close frame's writer, may have to wait for the peer.
	if !s.wmu.TryLock() {
		return false, false, nil
	}
	if s.closed {
		s.wmu.Unlock()
		return false, false, errClosing
	}
	err = t.write(s.reader.raw, bufs)
	done = len(*bufs) == 0
	if held = err == nil && !done; !held {
		s.wmu.Unlock()
	}
	return done, held, err
}
