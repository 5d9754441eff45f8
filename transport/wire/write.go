package wire

import (
	"errors"
	"net"
	"sync"

	"tbmsock/transport"
)

// writeBatch is about how many bytes one system call is given. What a stalled connection holds
// is this and its outbox.
const writeBatch = 64 << 10

// batch is a writer's working space, kept between writers.
type batch struct {
	frames []*transport.Frame
	bufs   net.Buffers // what is still to be written; a part of space
	space  net.Buffers
	used   int  // of frames and space, at most
	held   bool // the socket's write lock is: a frame has been begun, and nobody else may write before its end
	toPack bool // frames have yet to be put into bufs: one must be compressed first
}

var batches = sync.Pool{New: func() any { return new(batch) }}

func (b *batch) release() {
	clear(b.frames[:b.used])
	clear(b.space[:min(b.used, cap(b.space))])
	b.bufs, b.used, b.toPack = nil, 0, false
	batches.Put(b)
}

// startWriter makes sure that the outbox is being emptied into the socket. l.mu is held.
//
// The writer lives only while something waits: an idle connection costs no second goroutine.
func (l *Link) startWriter() {
	if l.writing || l.isDone {
		return
	}
	l.writing = true
	l.tasks.Add(1)
	if l.socket.canTry() {
		l.opts.Writers.add(l)
		return
	}
	go l.writer()
}

// take puts what waits into the batch; nil means that nothing is left to write, and that the writer has ended.
func (l *Link) take(b *batch) *Socket {
	l.mu.Lock()
	// Under the lock, so that a wake-up comes either before, and its frames are seen
	// here, or after, and it finds nobody writing.
	b.frames = l.opts.Outbox.Take(writeBatch, b.frames[:0])
	b.used = max(b.used, len(b.frames))
	if len(b.frames) == 0 || l.isDone {
		l.writing = false
		l.noteFlushed()
		l.mu.Unlock()
		return nil
	}
	socket := l.socket
	l.mu.Unlock()
	return socket
}

// fill puts the frames that were taken into the form that the receiver has agreed to. It is outside of the link's
// lock, since it may have to compress them; without wait it is false where it would have to.
func (l *Link) fill(b *batch, s *Socket, wait bool) bool {
	b.bufs, b.toPack = b.space[:0], false
	for _, f := range b.frames {
		data := l.frameFor(s, f, wait)
		if data == nil {
			b.toPack = true
			break
		}
		b.bufs = append(b.bufs, data)
	}
	b.space = b.bufs
	return !b.toPack
}

// broken ends the writer after an error.
func (l *Link) broken(err error) {
	l.mu.Lock()
	l.writing = false
	l.noteFlushed() // nothing more will be
	l.mu.Unlock()
	if errors.Is(err, errClosing) {
		return // whoever has written the close frame, the reader for one, knows the reason
	}
	l.opts.Down(transport.ReasonTransportError, err)
}

// write empties the outbox, and waits for the peer where it has to.
func (l *Link) write() {
	l.writeOn(batches.Get().(*batch))
}

// writeOn writes what is left in the batch, and then what waits. It owns the batch.
func (l *Link) writeOn(b *batch) {
	defer l.tasks.Done()
	defer b.release()
	if len(b.bufs) > 0 || b.toPack {
		l.mu.Lock()
		socket := l.socket
		l.mu.Unlock()
		if b.toPack {
			l.fill(b, socket, true)
		}
		err := error(nil)
		if b.held {
			b.held = false
			err = socket.writeHeld(&b.bufs)
		} else {
			err = socket.Write(&b.bufs)
		}
		if err != nil {
			l.broken(err)
			return
		}
	}
	for {
		socket := l.take(b)
		if socket == nil {
			return
		}
		l.fill(b, socket, true)
		if err := socket.Write(&b.bufs); err != nil {
			l.broken(err)
			return
		}
	}
}
