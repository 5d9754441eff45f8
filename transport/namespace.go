package transport

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
)

// Namespace is one of a server's namespaces: its handlers, and the sids and rooms in it. Make
// it with [Server.Of]. All methods are safe for concurrent use; handlers registered while
// clients are connected are seen by the next packet.
type Namespace struct {
	name   string
	server *Server
	hub    *hub

	handlers atomic.Pointer[handlerSet] // replaced as a whole, never changed
	mu       sync.Mutex                 // held by those who replace it
}

type handlerSet struct {
	events     map[string]*eventHandler
	unknown    *eventHandler // of events that have no handler of their own; may be nil
	connect    []ConnectHandler
	disconnect []DisconnectHandler
}

// Handler takes one event. ctx ends when the client's connection does.
type Handler func(ctx context.Context, ev *Event)

// ConnectHandler is asked before a client is let into the namespace; auth is what it sent along (of clients of
// Socket.IO 2 the query behind the namespace's name, as an object of strings; empty if there is none). An error refuses
// it: its text is told to the client, and the data too if it is a [*Refusal]. It may join rooms and emit; both take
// effect when the client is let in.
type ConnectHandler func(ctx context.Context, s *Socket, auth Value) error

// DisconnectHandler is told of the end of a socket that had been let in. The socket is in no
// room any more; [Socket.Rooms] still lists those it was in.
type DisconnectHandler func(s *Socket, reason Reason)

// Refusal is an error of a [ConnectHandler] that carries data for the client.
type Refusal struct {
	Message string
	Data    any // any JSON value, or nil
}

func (r *Refusal) Error() string { return r.Message }

type eventHandler struct {
	call       Handler
	concurrent bool
}

// HandlerOption changes how a handler runs.
type HandlerOption func(*eventHandler)

// Concurrent runs each call of the handler on its own goroutine, at most 64 at a time for one
// client. Without it, calls for one client are in the order of its packets, and the next packet
// waits for the handler to return.
func Concurrent() HandlerOption {
	return func(h *eventHandler) { h.concurrent = true }
}

func newNamespace(s *Server, name string) *Namespace {
	n := &Namespace{name: name, server: s, hub: newHub(s.opts.Counters)}
	n.handlers.Store(&handlerSet{})
	return n
}

// CheckNamespace tells whether name can be a namespace: "/" and up to 255 bytes without a comma
// or a question mark, which end the name on the wire.
func CheckNamespace(name string) error {
	if !strings.HasPrefix(name, "/") || len(name) > maxNameLen || strings.ContainsAny(name, ",?") {
		return fmt.Errorf("namespace %q: use a name that begins with / and has neither comma nor question mark, at most %d bytes", name, maxNameLen)
	}
	return nil
}

// Name is the namespace's name, "/" for the main one.
func (n *Namespace) Name() string { return n.name }

// On defines what happens with an event, of any name; a second call for a name replaces the
// first. It panics if the name is one of the protocol's own, as the mistake is the program's.
func (n *Namespace) On(event string, h Handler, opts ...HandlerOption) {
	if err := CheckEvent(event); err != nil {
		panic(err)
	}
	eh := &eventHandler{call: h}
	for _, o := range opts {
		o(eh)
	}
	n.change(func(set *handlerSet) { set.events[event] = eh })
}

// OnUnknown defines what happens with an event for which On has defined nothing. Without it, or with nil, an event that
// asks for an acknowledgement is answered {ok:false, error:{code:"unknown_event", message}}, and others are forgotten.
func (n *Namespace) OnUnknown(h Handler, opts ...HandlerOption) {
	var eh *eventHandler
	if h != nil {
		eh = &eventHandler{call: h}
		for _, o := range opts {
			o(eh)
		}
	}
	n.change(func(set *handlerSet) { set.unknown = eh })
}

// OnConnect adds a handler that every client must pass; they run in the order they were added.
func (n *Namespace) OnConnect(h ConnectHandler) {
	n.change(func(set *handlerSet) { set.connect = append(set.connect, h) })
}

// OnDisconnect adds a handler for the end of sockets.
func (n *Namespace) OnDisconnect(h DisconnectHandler) {
	n.change(func(set *handlerSet) { set.disconnect = append(set.disconnect, h) })
}

func (n *Namespace) change(f func(*handlerSet)) {
	n.mu.Lock()
	defer n.mu.Unlock()
	old := n.handlers.Load()
	set := &handlerSet{
		events:     make(map[string]*eventHandler, len(old.events)+1),
		unknown:    old.unknown,
		connect:    slices.Clone(old.connect),
		disconnect: slices.Clone(old.disconnect),
	}
	for k, v := range old.events {
		set.events[k] = v
	}
	f(set)
	n.handlers.Store(set)
}

// Socket returns the socket with the sid, or nil. One of another node is not returned: To(sid) reaches it.
func (n *Namespace) Socket(sid string) *Socket { return n.hub.find(sid) }

// Sockets returns this node's sockets in any of the rooms, or all of them if none is named.
func (n *Namespace) Sockets(rooms ...string) []*Socket {
	var out []*Socket
	n.hub.each(rooms, nil, func(s *Socket) { out = append(out, s) })
	return out
}

// Rooms lists the rooms that have a member on this node, personal ones left out, in no order.
func (n *Namespace) Rooms() []string {
	n.hub.mu.RLock()
	defer n.hub.mu.RUnlock()
	rooms := make([]string, 0, len(n.hub.rooms))
	for name := range n.hub.rooms {
		rooms = append(rooms, name)
	}
	return rooms
}

// CloseRoom makes everyone leave the room, on all nodes. Nobody is disconnected.
func (n *Namespace) CloseRoom(room string) {
	n.hub.closeRoom(room)
	if c := n.server.cluster.Load(); c != nil {
		_ = c.publish(&nodeMessage{kind: nodeCloseRoom, namespace: n.name, rooms: []string{room}})
	}
}
