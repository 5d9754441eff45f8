package transport

// TakePackets is [Outbox.Take] for the answer to a poll, which holds a limited number of packets: at most maxPackets
// are taken, where a frame counts one for its text and one for each attachment. A frame that does not fit behind others
// is left for the next call. One that alone has more packets is split: what is left of it is taken by the next calls,
// before anything else.
func (o *Outbox) TakePackets(maxBytes, maxPackets int) []*Frame {
	var into []*Frame
	packets, size := 0, 0
	add := func(f *Frame) {
		into = append(into, f)
		packets += f.packets()
		size += f.size
	}
	o.mu.Lock()
	o.noteDrained()
	if o.headIsRest() {
		// Nothing may come between the attachments of one event, a notice neither.
		add(o.takeHead(maxPackets))
	}
	dropped, noticeAt := 0, len(into)
	if packets < maxPackets && !o.headIsRest() {
		dropped, o.dropped = o.dropped, 0
	}
	if dropped > 0 && o.notice != nil {
		into = append(into, nil)
		packets++
	}
	for head := o.headFrame(); head != nil; head = o.headFrame() {
		if packets > 0 && (packets+head.packets() > maxPackets || size+head.size > maxBytes) {
			break
		}
		add(o.takeHead(maxPackets))
	}
	if o.head == len(o.frames) {
		o.shrink()
	} else {
		o.compact()
	}
	if len(into) == 0 {
		o.awake = false
	}
	o.mu.Unlock()
	if dropped > 0 && o.notice != nil {
		into[noticeAt] = o.notice(dropped) // outside of the lock, as in Take
	}
	return into
}

// headFrame returns the next frame to take, nil if none waits. It must be called with mu held.
func (o *Outbox) headFrame() *Frame {
	if o.head == len(o.frames) {
		return nil
	}
	return o.frames[o.head]
}

// headIsRest reports whether the next frame is the rest of a split one. It must be called with mu held.
func (o *Outbox) headIsRest() bool {
	f := o.headFrame()
	return f != nil && f.IsRest()
}

// takeHead takes the next frame, or its first packets if it has more than maxPackets. It must be called with mu held.
func (o *Outbox) takeHead(maxPackets int) *Frame {
	f := o.frames[o.head]
	if f.packets() > maxPackets {
		var rest *Frame
		f, rest = f.split(maxPackets)
		o.bytes -= o.frames[o.head].size - rest.size
		o.frames[o.head] = rest
		return f
	}
	o.frames[o.head] = nil
	o.head++
	o.bytes -= f.size
	return f
}
