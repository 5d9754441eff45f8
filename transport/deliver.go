package transport

// deliver sends entries, in order, to those that they are for. What lies together, for the same room and from the same client, goes
// out together: each queue is locked once, and each writer woken once, for all of it.
func (f *Feed) deliver(entries []JournalEntry) {
	for len(entries) > 0 {
		n, fault := 1, entryFault(&entries[0])
		for fault == nil && n < len(entries) && sameWay(&entries[0], &entries[n]) && entryFault(&entries[n]) == nil {
			n++
		}
		last := entries[n-1].Offset
		// Before the sockets are looked at: see follower.
		f.delivered.Store(last)
		if r := f.relay(entries[0].Namespace); r != nil {
			r.deliver(entries[:n], fault)
		}
		f.pushed.Store(last)
		entries = entries[n:]
	}
}

// sameWay tells whether two entries are for the same sockets.
func sameWay(a, b *JournalEntry) bool {
	return a.Room == b.Room && a.Sid == b.Sid && a.Namespace == b.Namespace
}

// entryDelivery is the way of entries for the same sockets into queues.
type entryDelivery struct {
	delivery
	relay   *Relay
	entries []JournalEntry
	plain   []*Frame    // of each entry, under each name
	size    int         // of plain
	fault   *AckError   // why the only entry is not sent to every client; nil: it is
	follow  [2][]*Frame // for followers, without and with offsets; made when the first of them needs them
	behind  []fallen
}

// fallen is a follower that reads too slowly to be live.
type fallen struct {
	socket  *Socket
	follows *follower
}

// deliver sends entries for the same room, from the same client: to each follower with its offset. With a fault there
// is one entry.
func (r *Relay) deliver(entries []JournalEntry, fault *AckError) {
	d := entryDelivery{relay: r, entries: entries, fault: fault, plain: make([]*Frame, 0, len(entries)*len(r.heads))}
	var s slab
	for i := range entries {
		for _, name := range r.heads {
			f := s.entryFrame(r.ns.name, name, &entries[i], entryForm{})
			d.plain = append(d.plain, f)
			d.size += f.size
		}
	}
	r.ns.hub.deliver(&d)
	for _, f := range d.behind {
		f.socket.follow(r, f.follows)
	}
}

// deliver pushes entries to all that their room selects but to their sender. Only the feed's goroutine calls it, so that
// it may change followers under the read lock: whoever else does holds the write lock.
func (h *hub) deliver(d *entryDelivery) {
	room, sid := d.entries[0].Room, d.entries[0].Sid
	h.mu.RLock()
	members := h.all.members
	if room != "" {
		members = nil
		if r := h.rooms[room]; r != nil {
			members = r.members
		}
		// A sid is a room too.
		if s := h.bySid[room]; s != nil && room != sid {
			d.entriesTo(s)
		}
	}
	sender := h.bySid[sid]
	for _, s := range members {
		if s != sender {
			d.entriesTo(s)
		}
	}
	h.mu.RUnlock()
	h.finish(&d.delivery)
}

// entriesTo queues the entries for s. hub.mu is held.
func (d *entryDelivery) entriesTo(s *Socket) {
	fl := s.follows
	skip := d.fault != nil && !s.accepts(&d.entries[0], d.fault)
	if fl == nil {
		if !skip {
			d.all(s)
		}
		return
	}
	last := d.entries[len(d.entries)-1].Offset
	if fl.catching || last < fl.next {
		return
	}
	first := 0
	for d.entries[first].Offset < fl.next {
		first++
	}
	frames := d.followFrames(fl.offsets)[first*len(d.relay.heads):]
	if skip {
		if !fl.offsets {
			return
		}
		frames = []*Frame{skippedFrame(d.relay.ns.name, &d.entries[0], d.fault, false)}
	}
	size := 0
	for _, f := range frames {
		size += f.size
	}
	// The room may be taken meanwhile by what the client gets in another namespace.
	if !s.outbox.hasRoom(len(frames), size) || !s.outbox.pushAll(frames, size) {
		fl.catching, fl.next = true, d.entries[first].Offset
		d.behind = append(d.behind, fallen{s, fl})
		return
	}
	d.pushed += uint64(len(frames))
}

// all queues the plain frames for s, which is no follower.
func (d *entryDelivery) all(s *Socket) {
	if s.outbox.pushAll(d.plain, d.size) {
		d.pushed += uint64(len(d.plain))
		return
	}
	for _, f := range d.plain {
		d.frame = f
		d.to(s)
	}
}

func (d *entryDelivery) followFrames(offsets bool) []*Frame {
	frames := &d.follow[0]
	if offsets {
		frames = &d.follow[1]
	}
	if *frames == nil {
		*frames = make([]*Frame, 0, len(d.plain))
		var s slab
		for i := range d.entries {
			for _, name := range d.relay.heads {
				*frames = append(*frames, s.entryFrame(d.relay.ns.name, name, &d.entries[i],
					entryForm{follower: true, offsets: offsets}))
			}
		}
	}
	return *frames
}
