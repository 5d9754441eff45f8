package transport

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
)

// event is a droppable frame that counts 100 bytes.
func event(name string) *Frame {
	buf := make([]byte, PrefixRoom, 100)
	buf = append(buf, name...)
	buf = append(buf, strings.Repeat(" ", 100-frameOverhead-len(name))...)
	return frameOf(EngineMessage, buf, nil, true)
}

func control(name string) *Frame {
	f := event(name)
	f.droppable = false
	return f
}

func take(o *Outbox, max int) string {
	var names []string
	for _, f := range o.Take(max, nil) {
		names = append(names, strings.TrimSpace(string(f.Text())))
	}
	return strings.Join(names, " ")
}

func TestOutbox(t *testing.T) {
	notice := func(n int) *Frame { return NewFrame(EngineMessage, fmt.Sprintf("dropped:%d", n)) }
	push := func(o *Outbox, frames ...*Frame) (last Pushed) {
		for _, f := range frames {
			last = o.Push(f)
		}
		return last
	}
	t.Run("in order, at most so many bytes", func(t *testing.T) {
		o := NewOutbox(1000, DropOldest, notice)
		push(o, event("a"), event("b"), event("c"))
		if got := take(o, 200); got != "a b" {
			t.Errorf("took %q", got)
		}
		if got := take(o, 10); got != "c" {
			t.Errorf("took %q: one frame is taken whatever its size", got)
		}
		if got := take(o, 1000); got != "" {
			t.Errorf("took %q from an empty outbox", got)
		}
	})
	t.Run("drop-oldest drops the oldest and tells", func(t *testing.T) {
		o := NewOutbox(300, DropOldest, notice)
		p := push(o, event("a"), event("b"), event("c"), event("d"))
		if p.Dropped != 1 || p.Overflow {
			t.Errorf("push was %+v", p)
		}
		if p = push(o, event("e")); p.Dropped != 1 {
			t.Errorf("push was %+v", p)
		}
		if got := take(o, 1000); got != "dropped:2 c d e" {
			t.Errorf("took %q", got)
		}
		push(o, event("f"))
		if got := take(o, 1000); got != "f" {
			t.Errorf("took %q: a notice comes once", got)
		}
	})
	t.Run("what is taken is not dropped", func(t *testing.T) {
		o := NewOutbox(300, DropOldest, notice)
		push(o, event("a"), event("b"), event("c"))
		take(o, 100)
		push(o, event("d"), event("e"))
		if got := take(o, 1000); got != "dropped:1 c d e" {
			t.Errorf("took %q", got)
		}
	})
	t.Run("control packets are kept", func(t *testing.T) {
		o := NewOutbox(300, DropOldest, notice)
		push(o, control("A"), event("b"), control("C"))
		if p := push(o, event("d")); p.Dropped != 1 {
			t.Errorf("push was %+v", p)
		}
		if p := push(o, control("E")); p.Dropped != 1 || p.Overflow {
			t.Errorf("push was %+v", p)
		}
		if got := take(o, 1000); got != "dropped:2 A C E" {
			t.Errorf("took %q", got)
		}
	})
	t.Run("an event is dropped itself when nothing else may be", func(t *testing.T) {
		o := NewOutbox(200, DropOldest, notice)
		push(o, control("A"), control("B"))
		if p := push(o, event("c")); p.Dropped != 1 || p.Overflow {
			t.Errorf("push was %+v", p)
		}
		if p := push(o, control("D")); !p.Overflow {
			t.Errorf("push was %+v: a control packet that fits nowhere ends the connection", p)
		}
	})
	t.Run("one frame larger than the limit passes", func(t *testing.T) {
		o := NewOutbox(50, DisconnectSlow, notice)
		if p := push(o, event("a")); p.Overflow {
			t.Errorf("push was %+v", p)
		}
		if p := push(o, event("b")); !p.Overflow {
			t.Errorf("push was %+v", p)
		}
	})
	t.Run("disconnect drops nothing", func(t *testing.T) {
		o := NewOutbox(200, DisconnectSlow, notice)
		if p := push(o, event("a"), event("b"), event("c")); !p.Overflow || p.Dropped != 0 {
			t.Errorf("push was %+v", p)
		}
		if got := take(o, 1000); got != "a b" {
			t.Errorf("took %q", got)
		}
	})
	t.Run("closed", func(t *testing.T) {
		o := NewOutbox(200, DropOldest, notice)
		push(o, event("a"))
		o.Close()
		if p := push(o, event("b")); !p.Closed {
			t.Errorf("push was %+v", p)
		}
		if got := take(o, 1000); got != "" {
			t.Errorf("took %q", got)
		}
	})
}

// The writer is woken once, by the push that ends the emptiness, and again only after it has seen
// the outbox empty.
func TestOutboxWakes(t *testing.T) {
	o := NewOutbox(1000, DropOldest, nil)
	o.Push(event("early"))
	wakes := 0
	o.Bind(func() { wakes++ })
	if wakes != 1 {
		t.Fatalf("%d wake-ups for what waited before", wakes)
	}
	o.Push(event("a"))
	take(o, 1000)
	o.Push(event("b"))
	if wakes != 1 {
		t.Fatalf("%d wake-ups while the writer is at work", wakes)
	}
	take(o, 1000)
	take(o, 1000) // empty: it goes to sleep
	o.Push(event("c"))
	if wakes != 2 {
		t.Fatalf("%d wake-ups, want 2", wakes)
	}
}

// Pushed by many and taken by one, with a sleep whenever it is empty, nothing is lost or out of
// its pusher's order.
func TestOutboxConcurrent(t *testing.T) {
	const pushers, each = 8, 2000
	o := NewOutbox(1<<30, DropOldest, nil)
	wake := make(chan struct{}, 1)
	o.Bind(func() { wake <- struct{}{} })
	var wg sync.WaitGroup
	for p := range pushers {
		wg.Go(func() {
			for i := range each {
				o.Push(NewFrame(EngineMessage, fmt.Sprintf("%d %d", p, i)))
			}
		})
	}
	var next [pushers]int
	for total := 0; total < pushers*each; {
		<-wake
		for {
			frames := o.Take(4096, nil)
			if len(frames) == 0 {
				break
			}
			for _, f := range frames {
				var p, i int
				if _, err := fmt.Sscan(string(f.Text()), &p, &i); err != nil || next[p] != i {
					t.Fatalf("pusher %d: got %d, want %d (%v)", p, i, next[p], err)
				}
				next[p]++
				total++
			}
		}
	}
	wg.Wait()
}

// A queue that grows holds the frames that wait, and no others.
func TestOutboxHoldsWhatWaits(t *testing.T) {
	o := NewOutbox(200*event("x").size, DropOldest, nil)
	for range 1000 {
		o.Push(event("x"))
	}
	if n := len(o.frames) - o.head; n != 200 {
		t.Fatalf("%d frames wait", n)
	}
	for _, f := range o.more.frames[:cap(o.more.frames)] {
		if f != nil && !slices.Contains(o.frames, f) {
			t.Fatal("a frame that was dropped is still held")
		}
	}
}

// A client whose burst is over holds none of its frames: an idle one holds nothing that was sent.
func TestOutboxForgetsABurst(t *testing.T) {
	o := NewOutbox(1<<20, DropOldest, nil)
	for range cap(o.few) + 1 {
		o.Push(event("x"))
	}
	o.Take(1<<20, nil)
	for i, f := range o.few {
		if f != nil {
			t.Errorf("frame %d of the burst is still held", i)
		}
	}
	// More at once than the array that is borrowed has room for.
	burst := make([]*Frame, 200)
	for i := range burst {
		burst[i] = event("y")
	}
	o.Push(event("x"))
	if !o.pushAll(burst, len(burst)*burst[0].size) {
		t.Fatal("the burst does not fit")
	}
	if o.more == nil || &o.more.frames[:1][0] == &o.frames[0] {
		t.Fatal("the burst has not grown the queue")
	}
	for _, f := range o.more.frames[:cap(o.more.frames)] {
		if f != nil {
			t.Fatal("the array that is given back holds a frame")
		}
	}
}

// Frames that come together may not pass the limit either; a single one may, where nothing waits.
func TestOutboxLimitsFramesTogether(t *testing.T) {
	o := NewOutbox(1000, DropOldest, nil)
	burst := make([]*Frame, 11)
	for i := range burst {
		burst[i] = event("x")
	}
	size := burst[0].size
	if o.pushAll(burst, len(burst)*size) || o.Waiting() > 0 {
		t.Errorf("%d bytes wait, 1000 are allowed", o.Waiting())
	}
	if o.hasRoom(len(burst), len(burst)*size) {
		t.Error("a follower would be sent more than the limit")
	}
	if large := NewFrame(EngineMessage, strings.Repeat("x", 2000)); !o.hasRoom(1, large.size) || !o.pushAll([]*Frame{large}, large.size) {
		t.Error("a large frame is not taken by an empty queue")
	}
	if o.pushAll(burst[:1], size) {
		t.Error("and another beside it is")
	}
}
