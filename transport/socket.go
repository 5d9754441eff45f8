package transport

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"sync"
)

// maxRooms is how many rooms one socket may be in.
const maxRooms = 1024

// Socket is one client in one namespace. All methods are safe for concurrent use.
type Socket struct {
	sid     string
	ns      *Namespace
	session *Session
	outbox  *Outbox // the session's, at hand for the fan-out
	auth    Value
	acks    ackTable

	attachments int // of one event, that the client takes from a journal

	member  []membership // guarded by ns.hub.mu
	follows *follower    // guarded by ns.hub.mu; nil unless it has joined with since

	mu         sync.Mutex
	state      socketState
	early      []*Frame // emitted before the client was let in
	earlyRooms []string
	lastRooms  []string // after the end
	data       map[string]any
}

type socketState uint8

const (
	socketJoining socketState = iota // the connect handlers run
	socketOpen
	socketClosed
)

// Sid is the socket's id, and the name of its personal room.
func (s *Socket) Sid() string { return s.sid }

// Namespace is the namespace that the socket is in.
func (s *Socket) Namespace() *Namespace { return s.ns }

// Session is the connection below.
func (s *Socket) Session() *Session { return s.session }

// Auth is what the client sent when it connected, or an empty value.
func (s *Socket) Auth() Value { return s.auth }

// Context ends when the connection does.
func (s *Socket) Context() context.Context { return s.session.ctx }

// Set keeps a value with the socket, for its whole life.
func (s *Socket) Set(key string, value any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.data == nil {
		s.data = map[string]any{}
	}
	s.data[key] = value
}

// Get returns what Set kept.
func (s *Socket) Get(key string) (value any, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	value, ok = s.data[key]
	return value, ok
}

// Join makes the socket a member of the room. It is an error if the name is none ([CheckRoom]),
// is another socket's sid, of any node, or if the socket is in 1024 rooms already.
func (s *Socket) Join(room string) error {
	if err := CheckRoom(room); err != nil {
		return err
	}
	if room != s.sid && (isSid(room) || s.ns.hub.find(room) != nil) {
		return fmt.Errorf("room: %q is the personal room of another client", room)
	}
	s.mu.Lock()
	switch s.state {
	case socketClosed:
		s.mu.Unlock()
		return ErrClosed
	case socketJoining:
		defer s.mu.Unlock()
		if len(s.earlyRooms) >= maxRooms {
			return errTooManyRooms
		}
		if !slices.Contains(s.earlyRooms, room) {
			s.earlyRooms = append(s.earlyRooms, room)
		}
		return nil
	}
	s.mu.Unlock()
	if len(s.Rooms()) >= maxRooms && !slices.Contains(s.Rooms(), room) {
		return errTooManyRooms
	}
	if !s.ns.hub.join(s, room) {
		return ErrClosed
	}
	return nil
}

var errTooManyRooms = fmt.Errorf("room: a client may be in %d rooms", maxRooms)

// Leave ends the membership. Nobody leaves a personal room.
func (s *Socket) Leave(room string) {
	s.mu.Lock()
	s.earlyRooms = slices.DeleteFunc(s.earlyRooms, func(r string) bool { return r == room })
	s.mu.Unlock()
	s.ns.hub.leave(s, room)
}

// Rooms lists the rooms that the socket has joined, in order of name, its personal room left
// out. After the end it lists those it was in then.
func (s *Socket) Rooms() []string {
	s.mu.Lock()
	var rooms []string
	switch s.state {
	case socketJoining:
		rooms = slices.Clone(s.earlyRooms)
	case socketClosed:
		rooms = slices.Clone(s.lastRooms)
	}
	open := s.state == socketOpen
	s.mu.Unlock()
	if open {
		s.ns.hub.mu.RLock()
		rooms = s.roomsLocked()
		s.ns.hub.mu.RUnlock()
	}
	slices.Sort(rooms)
	return rooms
}

// Emit sends the event to this client alone; see [Namespace.Emit] for the arguments.
func (s *Socket) Emit(event string, args ...any) error {
	f, err := eventFrame(s.ns.name, event, args, 0, false)
	if err != nil {
		return err
	}
	return s.push(f)
}

// EmitAck sends the event and waits for the client's answer, until ctx ends; give it a time-out.
// It is [ErrAckInOrder] in a handler that holds up this client's packets, and [ErrClosed] if the
// client goes first.
func (s *Socket) EmitAck(ctx context.Context, event string, args ...any) (Args, error) {
	if holdsUp(ctx, s.session) {
		return nil, ErrAckInOrder
	}
	return s.acks.ask(ctx, func(id uint64) error {
		f, err := eventFrame(s.ns.name, event, args, id, true)
		if err != nil {
			return err
		}
		return s.push(f)
	})
}

// push queues a frame for this client alone.
func (s *Socket) push(f *Frame) error {
	s.mu.Lock()
	switch s.state {
	case socketClosed:
		s.mu.Unlock()
		return ErrClosed
	case socketJoining:
		defer s.mu.Unlock()
		s.early = append(s.early, f)
		return nil
	}
	s.mu.Unlock()
	if err := s.session.push(f); err != nil {
		return err
	}
	s.ns.server.opts.Counters.EventsOut.Add(1)
	return nil
}

// Disconnect ends the socket, and with it the connection if it was its last one. The client is
// told, and does not come back by itself.
func (s *Socket) Disconnect() {
	if s.end(ReasonServerDisconnect) {
		_ = s.session.push(controlFrame(packetDisconnect, s.ns.name, nil))
		s.session.left(s, true)
	}
}

// admit lets the socket in: CONNECT and the events of the connect handlers are queued before any event of a room.
func (s *Socket) admit() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.state != socketJoining {
		return ErrClosed
	}
	var reply []byte
	if s.session.revision5() {
		reply, _ = json.Marshal(struct {
			Sid string `json:"sid"`
		}{s.sid})
	}
	s.state = socketOpen
	first := append([]*Frame{controlFrame(packetConnect, s.ns.name, reply)}, s.early...)
	err := s.session.pushed(s.ns.hub.add(s, s.earlyRooms, first...))
	if err == nil {
		s.ns.server.opts.Counters.EventsOut.Add(uint64(len(s.early)))
	}
	s.early, s.earlyRooms = nil, nil
	return err
}

// end takes the socket out of its rooms and tells the handlers, once. It is false if that was
// done before, or if the socket was never let in.
func (s *Socket) end(reason Reason) bool {
	s.mu.Lock()
	was := s.state
	s.state = socketClosed
	s.early, s.earlyRooms = nil, nil
	if was == socketOpen {
		s.lastRooms = s.ns.hub.remove(s)
	}
	s.mu.Unlock()
	s.acks.end(ErrClosed)
	if was != socketOpen {
		return false
	}
	for _, h := range s.ns.handlers.Load().disconnect {
		s.ns.server.guard(func() { h(s, reason) })
	}
	return true
}
