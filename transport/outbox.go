package transport

import (
	"context"
	"fmt"
	"sync"
)

// SlowPolicy names what happens to a client that does not read as fast as it is sent to.
type SlowPolicy uint8

const (
	// DropOldest forgets the oldest waiting events, counts them, and tells the client with
	// the event "dropped" in their place.
	DropOldest SlowPolicy = iota
	// DisconnectSlow ends the connection with [ReasonSlowClient].
	DisconnectSlow
)

func (p SlowPolicy) String() string {
	if p == DisconnectSlow {
		return "disconnect"
	}
	return "drop-oldest"
}

// ParseSlowPolicy reads what String writes.
func ParseSlowPolicy(s string) (SlowPolicy, error) {
	switch s {
	case "drop-oldest":
		return DropOldest, nil
	case "disconnect":
		return DisconnectSlow, nil
	}
	return 0, fmt.Errorf("%q is not a policy for slow clients; use drop-oldest or disconnect", s)
}

// Outbox is the bounded queue of one connection. Anyone pushes; only the connection's writer
// takes, in order. It is safe for concurrent use.
//
// The writer sleeps while the outbox is empty. The push that ends the emptiness calls the wake
// function, once: after that the writer takes until Take returns nothing.
type Outbox struct {
	limit  int // bytes
	policy SlowPolicy
	notice func(dropped int) *Frame // tells the client of dropped events; may be nil

	mu      sync.Mutex
	wake    func()
	frames  []*Frame   // in few, or in more's array
	few     [4]*Frame  // enough for a client that keeps up
	more    *frameList // borrowed while more wait
	head    int        // frames[:head] are taken
	bytes   int        // of frames[head:]
	dropped int        // since the last notice
	awake   bool
	closed  bool
	drained chan struct{} // not nil: closed by the next Take
}

// NewOutbox makes a queue of at most limit bytes; a single frame larger than that is taken when
// the queue is empty. notice, if not nil, makes the frame that stands for dropped events.
func NewOutbox(limit int, policy SlowPolicy, notice func(dropped int) *Frame) *Outbox {
	o := &Outbox{limit: limit, policy: policy, notice: notice}
	o.frames = o.few[:0]
	return o
}

// frameList is room for many frames. Clients for which nothing waits hold none.
type frameList struct{ frames []*Frame }

var frameLists = sync.Pool{New: func() any { return &frameList{make([]*Frame, 0, 64)} }}

// keptFrames is the largest list that is kept for others: a client that stalls grows larger ones.
const keptFrames = 4096

// grow makes room in frames for one more. o.mu is held.
func (o *Outbox) grow() {
	if o.more == nil {
		o.more = frameLists.Get().(*frameList)
		o.frames = append(o.more.frames[:0], o.frames...)
		clear(o.few[:]) // an idle client shall hold no frames that are gone
		return
	}
	larger := append(make([]*Frame, 0, 2*cap(o.frames)), o.frames...)
	clear(o.frames) // more has the array still: frames that are gone may not stay in it
	o.frames = larger
}

// shrink gives back what grow has borrowed: nothing waits, and all of frames is nil. o.mu is held.
func (o *Outbox) shrink() {
	if o.more != nil {
		if cap(o.frames) <= keptFrames {
			o.more.frames = o.frames[:0]
			frameLists.Put(o.more)
		}
		o.more = nil
	}
	o.frames, o.head = o.few[:0], 0
}

// Bind sets the function that wakes the writer. It must not block and must not call the outbox.
// Frames may have been pushed before.
func (o *Outbox) Bind(wake func()) {
	o.mu.Lock()
	o.wake = wake
	pending := len(o.frames) > o.head && !o.awake
	if pending {
		o.awake = true
	}
	o.mu.Unlock()
	if pending {
		wake()
	}
}

// Pushed is what became of a frame.
type Pushed struct {
	Dropped  int  // events forgotten for it, itself included
	Overflow bool // the connection must be ended: full, and nothing may be dropped
	Closed   bool // the connection has ended already
}

// Push appends f. It never blocks.
func (o *Outbox) Push(f *Frame) Pushed {
	var res Pushed
	o.mu.Lock()
	if o.closed {
		o.mu.Unlock()
		return Pushed{Closed: true}
	}
	if o.bytes+f.size > o.limit && len(o.frames) > o.head {
		if o.policy == DropOldest {
			res.Dropped = o.dropFor(f.size)
		}
		if o.bytes+f.size > o.limit && len(o.frames) > o.head {
			if o.policy == DisconnectSlow || !f.droppable {
				o.mu.Unlock()
				res.Overflow = true
				return res
			}
			o.dropped++
			res.Dropped++
			o.mu.Unlock()
			return res
		}
	}
	if len(o.frames) == cap(o.frames) {
		o.grow()
	}
	o.frames = append(o.frames, f)
	o.bytes += f.size
	wake := o.wake
	if o.awake || wake == nil {
		wake = nil
	} else {
		o.awake = true
	}
	o.mu.Unlock()
	if wake != nil {
		wake()
	}
	return res
}

// dropFor forgets the oldest droppable frames until size more bytes fit, or none is left.
func (o *Outbox) dropFor(size int) (n int) {
	kept := o.frames[:o.head]
	i := o.head
	for ; i < len(o.frames) && o.bytes+size > o.limit; i++ {
		if f := o.frames[i]; f.droppable {
			o.bytes -= f.size
			n++
		} else {
			kept = append(kept, f)
		}
	}
	if n == 0 {
		return 0
	}
	rest := copy(o.frames[len(kept):], o.frames[i:])
	end := len(kept) + rest
	clear(o.frames[end:])
	o.frames = o.frames[:end]
	o.dropped += n
	return n
}

// Take appends to into the next frames, at least one if any waits, up to about max bytes. When
// nothing waits it returns into as it came, and the next push wakes the writer again.
func (o *Outbox) Take(max int, into []*Frame) []*Frame {
	o.mu.Lock()
	dropped := o.dropped
	o.dropped = 0
	at := len(into)
	if dropped > 0 && o.notice != nil {
		into = append(into, nil)
	}
	o.noteDrained()
	if o.bytes <= max {
		waiting := o.frames[o.head:]
		into = append(into, waiting...)
		clear(waiting)
		o.head, o.bytes = len(o.frames), 0
	} else {
		taken := 0
		for o.head < len(o.frames) && (taken == 0 || taken+o.frames[o.head].size <= max) {
			f := o.frames[o.head]
			o.frames[o.head] = nil
			o.head++
			taken += f.size
			into = append(into, f)
		}
		o.bytes -= taken
	}
	if o.head == len(o.frames) {
		o.shrink()
	} else {
		o.compact()
	}
	if len(into) == at {
		o.awake = false
	}
	o.mu.Unlock()
	if dropped > 0 && o.notice != nil {
		if at+1 < len(into) && into[at+1].IsRest() {
			into[at] = into[at+1] // nothing may come between the attachments of one event
			at++
		}
		into[at] = o.notice(dropped)
	}
	return into
}

// noteDrained wakes those who wait for room. It must be called with mu held.
func (o *Outbox) noteDrained() {
	if o.drained != nil {
		close(o.drained)
		o.drained = nil
	}
}

// compact makes the room of taken frames usable again, once it is worth it. It must be called with mu held.
func (o *Outbox) compact() {
	if o.head <= 1024 || o.head <= len(o.frames)/2 {
		return
	}
	n := copy(o.frames, o.frames[o.head:])
	clear(o.frames[n:])
	o.frames, o.head = o.frames[:n], 0
}

// Waiting returns the number of bytes that wait.
func (o *Outbox) Waiting() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.bytes
}

// hasRoom tells whether frames of so many bytes together would leave a quarter of the limit free. A single one always has room
// where nothing waits.
func (o *Outbox) hasRoom(frames, size int) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.bytes == 0 && frames == 1 || o.bytes+size <= o.limit-o.limit/4
}

// await waits until so many bytes more are no more than half of the limit, or nothing waits, or ctx ends.
func (o *Outbox) await(ctx context.Context, size int) error {
	for {
		o.mu.Lock()
		if o.closed {
			o.mu.Unlock()
			return ErrClosed
		}
		if o.bytes == 0 || o.bytes+size <= o.limit/2 {
			o.mu.Unlock()
			return nil
		}
		if o.drained == nil {
			o.drained = make(chan struct{})
		}
		drained := o.drained
		o.mu.Unlock()
		select {
		case <-drained:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// Close forgets what waits and takes nothing more.
func (o *Outbox) Close() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.closed = true
	clear(o.frames)
	o.bytes = 0
	o.shrink()
	if o.drained != nil {
		close(o.drained)
		o.drained = nil
	}
}
