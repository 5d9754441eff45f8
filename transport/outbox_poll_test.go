package transport

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
)

// packetsOf lists the packets of frames: an event is its text, an attachment is itself in brackets.
func packetsOf(frames []*Frame) []string {
	var all []string
	for _, f := range frames {
		if !f.IsRest() {
			all = append(all, string(f.Text()))
		}
		for _, a := range f.Attachments() {
			all = append(all, "["+string(a)+"]")
		}
	}
	return all
}

// withAttachments makes an event whose attachments are name0, name1, ...
func withAttachments(name string, n int) *Frame {
	var attachments [][]byte
	for i := range n {
		attachments = append(attachments, fmt.Append(nil, name, i))
	}
	f := NewFrame(EngineMessage, name, attachments...)
	f.droppable = true
	return f
}

// A poll is answered with at most so many packets, since python-engineio refuses more; no event is divided that fits,
// and nothing comes between the parts of one that does not.
func TestTakePackets(t *testing.T) {
	notice := func(n int) *Frame { return NewFrame(EngineMessage, fmt.Sprintf("dropped:%d", n)) }
	for _, tc := range []struct {
		name    string
		limit   int
		push    []*Frame
		between *Frame // pushed after the first take
		want    []string
	}{
		{"few", 1 << 20, []*Frame{withAttachments("a", 0), withAttachments("b", 0)}, nil, []string{"a b"}},
		{"as many as there may be", 1 << 20, []*Frame{withAttachments("a", 1), withAttachments("b", 1)}, nil, []string{"a [a0] b [b0]"}},
		{"one more", 1 << 20, []*Frame{withAttachments("a", 0), withAttachments("b", 0), withAttachments("c", 0), withAttachments("d", 0), withAttachments("e", 0)}, nil,
			[]string{"a b c d", "e"}},
		{"an event that does not fit waits", 1 << 20, []*Frame{withAttachments("a", 0), withAttachments("b", 0), withAttachments("c", 2), withAttachments("d", 0)}, nil,
			[]string{"a b", "c [c0] [c1] d"}},
		{"an event that never fits is divided", 1 << 20, []*Frame{withAttachments("a", 0), withAttachments("b", 9), withAttachments("c", 0), withAttachments("d", 0)}, nil,
			[]string{"a", "b [b0] [b1] [b2]", "[b3] [b4] [b5] [b6]", "[b7] [b8] c d"}},
		{"what is pushed comes behind the rest", 1 << 20, []*Frame{withAttachments("b", 4)}, NewFrame(EngineMessage, "control"),
			[]string{"b [b0] [b1] [b2]", "[b3] control"}},
		{"a notice comes first", 400, []*Frame{withAttachments("a", 0), withAttachments("b", 0), withAttachments("c", 0), withAttachments("d", 0), withAttachments("e", 0), withAttachments("f", 0), withAttachments("g", 0)}, nil,
			[]string{"dropped:1 b c d", "e f g"}},
		{"a notice comes behind the rest", 500, []*Frame{withAttachments("b", 5)}, withAttachments(strings.Repeat("x", 400), 0),
			[]string{"b [b0] [b1] [b2]", "[b3] [b4] dropped:1"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			o := NewOutbox(tc.limit, DropOldest, notice)
			for _, f := range tc.push {
				if p := o.Push(f); p.Overflow || p.Closed {
					t.Fatalf("push was %+v", p)
				}
			}
			for i, want := range tc.want {
				if got := strings.Join(packetsOf(o.TakePackets(1<<20, 4)), " "); got != want {
					t.Errorf("took %q, want %q", got, want)
				}
				if i == 0 && tc.between != nil {
					o.Push(tc.between)
				}
			}
			if got := o.TakePackets(1<<20, 4); got != nil || o.Waiting() != 0 {
				t.Errorf("took %q in the end, %d bytes wait", packetsOf(got), o.Waiting())
			}
		})
	}
	t.Run("a WebSocket takes the rest", func(t *testing.T) {
		o := NewOutbox(500, DropOldest, notice)
		o.Push(withAttachments("b", 5))
		o.TakePackets(1<<20, 4)
		o.Push(withAttachments(strings.Repeat("x", 400), 0)) // dropped
		o.Push(NewFrame(EngineMessage, "c"))
		if got := strings.Join(packetsOf(o.Take(1<<20, nil)), " "); got != "[b3] [b4] dropped:1 c" {
			t.Errorf("took %q", got)
		}
	})
	t.Run("by bytes", func(t *testing.T) {
		o := NewOutbox(1<<20, DropOldest, nil)
		for range 4 {
			o.Push(withAttachments(strings.Repeat("x", 100), 0))
		}
		for _, want := range []int{2, 2, 0} {
			if got := o.TakePackets(400, 16); len(got) != want {
				t.Errorf("took %d frames, want %d", len(got), want)
			}
		}
	})
	t.Run("the writer is woken when nothing was left", func(t *testing.T) {
		o := NewOutbox(1<<20, DropOldest, nil)
		woken := 0
		o.Bind(func() { woken++ })
		o.Push(withAttachments("a", 5))
		o.TakePackets(1<<20, 4)
		o.Push(withAttachments("b", 0))
		o.TakePackets(1<<20, 4)
		if o.TakePackets(1<<20, 4); woken != 1 {
			t.Errorf("woken %d times while frames waited", woken)
		}
		if o.Push(withAttachments("c", 0)); woken != 2 {
			t.Errorf("woken %d times", woken)
		}
	})
}

// Whatever is pushed and however it is taken, every packet arrives once, in order, and no answer has too many.
func TestTakePacketsKeepsOrder(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	o := NewOutbox(1<<30, DropOldest, nil)
	var want, got []string
	take := func() {
		frames := o.TakePackets(2000, 16)
		packets := packetsOf(frames)
		if len(packets) > 16 {
			t.Fatalf("%d packets in one answer", len(packets))
		}
		got = append(got, packets...)
	}
	for i := range 3000 {
		f := withAttachments(fmt.Sprint("e", i, "-"), r.IntN(3)*r.IntN(30))
		want = append(want, packetsOf([]*Frame{f})...)
		o.Push(f)
		switch r.IntN(40) {
		case 0:
			got = append(got, packetsOf(o.Take(5000, nil))...)
		case 1, 2, 3:
			take()
		}
	}
	for o.Waiting() > 0 {
		take()
	}
	if a, b := strings.Join(got, " "), strings.Join(want, " "); a != b {
		t.Errorf("%d packets arrived of %d, or not in order", len(got), len(want))
	}
}
