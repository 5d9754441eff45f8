package transport

import "sync"

// hub owns the sids and rooms of one namespace and fans frames out to them. It writes to no
// network: a broadcast holds the read lock only while it appends one shared frame to each
// queue.
type hub struct {
	counters *Counters

	mu    sync.RWMutex
	bySid map[string]*Socket
	all   roomSet
	rooms map[string]*roomSet
}

// roomSet is the members of a room, in a slice so that a fan-out walks memory in order. A member
// knows its place in it (membership.pos).
type roomSet struct {
	name    string
	members []*Socket
}

// membership is one line of a socket's own list of rooms. hub.mu guards it.
type membership struct {
	room *roomSet
	pos  int
}

func newHub(c *Counters) *hub {
	return &hub{counters: c, bySid: map[string]*Socket{}, rooms: map[string]*roomSet{}}
}

// add makes s a member of the hub and of the rooms, and queues first, the CONNECT packet and the events of the connect
// handlers: before anything that is sent to the rooms, and not before the sid is known here.
func (h *hub) add(s *Socket, rooms []string, first ...*Frame) Pushed {
	h.mu.Lock()
	defer h.mu.Unlock()
	var pushed Pushed
	for _, f := range first {
		p := s.session.outbox.Push(f)
		pushed.Dropped += p.Dropped
		pushed.Overflow = pushed.Overflow || p.Overflow
		pushed.Closed = pushed.Closed || p.Closed
	}
	h.bySid[s.sid] = s
	h.enter(s, &h.all)
	for _, name := range rooms {
		h.joinLocked(s, name)
	}
	return pushed
}

// remove takes s out of everything and returns the rooms it was in.
func (h *hub) remove(s *Socket) []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.bySid[s.sid] != s {
		return nil
	}
	rooms := s.roomsLocked()
	delete(h.bySid, s.sid)
	for len(s.member) > 0 {
		h.leaveAt(s, len(s.member)-1)
	}
	return rooms
}

func (h *hub) enter(s *Socket, r *roomSet) {
	s.member = append(s.member, membership{r, len(r.members)})
	r.members = append(r.members, s)
}

func (h *hub) joinLocked(s *Socket, name string) {
	if name == s.sid || s.inLocked(name) {
		return
	}
	r := h.rooms[name]
	if r == nil {
		r = &roomSet{name: name}
		h.rooms[name] = r
	}
	h.enter(s, r)
}

// join reports false if s is not in the hub.
func (h *hub) join(s *Socket, name string) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.bySid[s.sid] != s {
		return false
	}
	h.joinLocked(s, name)
	return true
}

func (h *hub) leave(s *Socket, name string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for i, m := range s.member {
		if m.room.name == name && m.room != &h.all {
			h.leaveAt(s, i)
			return
		}
	}
}

// leaveAt ends the i-th membership of s: the last member of the room takes its place.
func (h *hub) leaveAt(s *Socket, i int) {
	m := s.member[i]
	r := m.room
	last := len(r.members) - 1
	if moved := r.members[last]; moved != s {
		r.members[m.pos] = moved
		for j := range moved.member {
			if moved.member[j].room == r {
				moved.member[j].pos = m.pos
				break
			}
		}
	}
	r.members[last] = nil
	r.members = r.members[:last]
	if last == 0 && r != &h.all {
		delete(h.rooms, r.name)
	}
	s.member[i] = s.member[len(s.member)-1]
	s.member[len(s.member)-1] = membership{}
	s.member = s.member[:len(s.member)-1]
}

// closeRoom makes everyone leave the room.
func (h *hub) closeRoom(name string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	r := h.rooms[name]
	if r == nil {
		return
	}
	for len(r.members) > 0 {
		s := r.members[len(r.members)-1]
		for i := range s.member {
			if s.member[i].room == r {
				h.leaveAt(s, i)
				break
			}
		}
	}
}

// find returns the socket with the sid, or nil.
func (h *hub) find(sid string) *Socket {
	h.mu.RLock()
	defer h.mu.RUnlock()
	return h.bySid[sid]
}

// each calls f for every socket that the rooms select, each once, under the read lock: f may
// push to queues and must not call the hub. No rooms means everyone. A name that is a sid
// selects that socket alone.
func (h *hub) each(rooms, except []string, f func(*Socket)) {
	h.mu.RLock()
	defer h.mu.RUnlock()
	visit := func(s *Socket) {
		for _, e := range except {
			if s.inLocked(e) {
				return
			}
		}
		f(s)
	}
	if len(rooms) == 0 {
		for _, s := range h.all.members {
			visit(s)
		}
		return
	}
	for i, name := range rooms {
		earlier := rooms[:i]
		once := func(s *Socket) {
			for _, e := range earlier {
				if s.inLocked(e) {
					return
				}
			}
			visit(s)
		}
		if s := h.bySid[name]; s != nil {
			once(s)
		}
		if r := h.rooms[name]; r != nil {
			for _, s := range r.members {
				if s.sid != name {
					once(s)
				}
			}
		}
	}
}

// broadcast pushes f to everyone that rooms select and except does not.
func (h *hub) broadcast(f *Frame, rooms, except []string) {
	d := delivery{frame: f}
	if !h.deliverPlain(&d, rooms, except) {
		h.each(rooms, except, func(s *Socket) { d.to(s) })
	}
	h.finish(&d)
}

// finish counts, and ends the connections that could not be given the frame. The lock is let go.
func (h *hub) finish(d *delivery) {
	h.counters.EventsOut.Add(d.pushed)
	if d.dropped > 0 {
		h.counters.Dropped.Add(d.dropped)
	}
	for _, s := range d.full {
		s.overflow()
	}
}

// delivery is one frame on its way into queues.
type delivery struct {
	frame           *Frame
	pushed, dropped uint64
	full            []*Session // to be ended after the lock is let go
}

func (d *delivery) to(s *Socket) {
	p := s.outbox.Push(d.frame)
	switch {
	case p == Pushed{}:
		d.pushed++
		return
	case p.Overflow:
		d.full = append(d.full, s.session)
	case !p.Closed:
		d.pushed++
	}
	d.dropped += uint64(p.Dropped)
}

// deliverPlain does what nearly every broadcast asks for, without a look at what its receivers are
// members of: one room or everyone, but for one sid. It is false if this one asks for more.
func (h *hub) deliverPlain(d *delivery, rooms, except []string) bool {
	if len(rooms) > 1 || len(except) > 1 {
		return false
	}
	h.mu.RLock()
	defer h.mu.RUnlock()
	var sender *Socket
	if len(except) == 1 {
		sender = h.bySid[except[0]]
		if sender == nil || h.rooms[except[0]] != nil {
			return false
		}
	}
	room := &h.all
	if len(rooms) == 1 {
		if h.bySid[rooms[0]] != nil {
			return false
		}
		if room = h.rooms[rooms[0]]; room == nil {
			return true
		}
	}
	for _, s := range room.members {
		if s != sender {
			d.to(s)
		}
	}
	return true
}

// inLocked tells whether s is in the room, its personal one included. hub.mu is held.
func (s *Socket) inLocked(room string) bool {
	if room == s.sid {
		return true
	}
	for _, m := range s.member {
		if m.room.name == room && room != "" {
			return true
		}
	}
	return false
}

// roomsLocked lists the rooms s has joined, without its personal one. hub.mu is held.
func (s *Socket) roomsLocked() []string {
	var rooms []string
	for _, m := range s.member {
		if m.room.name != "" {
			rooms = append(rooms, m.room.name)
		}
	}
	return rooms
}
