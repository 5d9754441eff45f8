package transport

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"sync"
	"time"
)

// maxConcurrent is how many handlers registered with [Concurrent] run at once for one session;
// the next one holds up the client's packets.
const maxConcurrent = 64

// Session is one connection of one client, with its sockets: one for each namespace that it has
// connected to.
type Session struct {
	server *Server
	conn   Conn
	outbox *Outbox
	ctx    context.Context
	cancel context.CancelCauseFunc

	// Only the connection's reader touches these.
	inOrder context.Context
	asm     assembler
	slots   chan struct{} // of the concurrent handlers; made when first needed

	mu      sync.Mutex
	sockets []*Socket // few: most clients use one namespace
	former  []string  // namespaces that it has left or was put out of
	idle    *time.Timer
	closed  bool
}

func newSession(s *Server, conn Conn) *Session {
	sn := &Session{server: s, conn: conn}
	limit := s.opts.QueueLimit
	if s.opts.Compress > 0 {
		limit /= 2 // see Frame.Compressed
	}
	sn.outbox = NewOutbox(limit, s.opts.SlowClient, sn.droppedNotice)
	sn.ctx, sn.cancel = context.WithCancelCause(context.Background())
	sn.inOrder = inOrderContext(sn.ctx, sn)
	sn.asm = assembler{maxBytes: 4 * s.opts.MaxPayload, strict: true}
	return sn
}

// Conn is the Engine.IO connection below. Its ID is a secret of the client's.
func (sn *Session) Conn() Conn { return sn.conn }

// Handshake is the request that opened the connection.
func (sn *Session) Handshake() *Handshake { return sn.conn.Handshake() }

// Outbox implements [Peer].
func (sn *Session) Outbox() *Outbox { return sn.outbox }

// revision5 tells whether the client speaks revision 5 of the Socket.IO protocol, as those over
// Engine.IO 4 do, or 4.
func (sn *Session) revision5() bool { return sn.conn.Revision() >= 4 }

// Opened implements [Peer].
func (sn *Session) Opened() {
	sn.armIdle()
	if !sn.revision5() {
		// Socket.IO protocol, revision 4: everyone is connected to the main namespace
		// without asking.
		if err := sn.connect("/", Value{}); err != nil {
			sn.conn.Close(ReasonOf(err, ReasonParseError), err)
		}
	}
}

// Receive implements [Peer].
func (sn *Session) Receive(m Message) error {
	p, complete, err := sn.asm.add(m)
	if err != nil || !complete {
		return err
	}
	return sn.handle(p)
}

// Closing implements [Peer]: handlers see their context end.
func (sn *Session) Closing(reason Reason, err error) {
	sn.cancel(&DisconnectError{Reason: reason, Err: err})
}

// Closed implements [Peer].
func (sn *Session) Closed(reason Reason, err error) {
	sn.mu.Lock()
	sn.closed = true
	if sn.idle != nil {
		sn.idle.Stop()
	}
	sockets := sn.sockets
	sn.sockets = nil
	sn.mu.Unlock()
	sn.outbox.Close()
	sn.server.opts.Counters.Sessions.Add(-1)
	sn.server.opts.Counters.CountClosed(reason)
	for _, s := range sockets {
		s.end(reason)
	}
	if f := sn.server.opts.OnSessionClosed; f != nil {
		f(sn, reason, err)
	}
}

// handle acts on one complete packet.
func (sn *Session) handle(p packet) error {
	var query []byte
	if !sn.revision5() {
		// Revision 4 has a query behind the name, in place of a payload of CONNECT.
		p.nsp, query, _ = bytes.Cut(p.nsp, []byte("?"))
	}
	if p.kind == packetConnect {
		auth := Value{JSON: p.data}
		if !sn.revision5() {
			if len(p.nsp) == 1 {
				return nil // connected already, by itself
			}
			auth = queryAuth(query)
		}
		return sn.connect(string(p.nsp), auth)
	}
	s := sn.socket(p.nsp)
	if s == nil {
		if sn.wasIn(string(p.nsp)) {
			return nil // it was under way when the socket ended
		}
		return protocolError("packet for namespace %q, to which the client is not connected", p.nsp)
	}
	switch p.kind {
	case packetDisconnect:
		if s.end(ReasonClientDisconnect) {
			sn.left(s, false)
		}
	case packetEvent, packetBinaryEvent:
		return sn.event(s, &p)
	case packetAck, packetBinaryAck:
		s.acks.resolve(p.id, p.args())
	case packetConnectError:
		return protocolError("clients send no CONNECT_ERROR")
	}
	return nil
}

// queryAuth is a query as an object: a string for each name, or an array of the values of one that has several. So
// Socket.IO's own server hands it to its users.
func queryAuth(query []byte) Value {
	if len(query) == 0 {
		return Value{}
	}
	values, _ := url.ParseQuery(string(query)) // what cannot be read is left out, as net/url has it
	object := make(map[string]any, len(values))
	for name, v := range values {
		if object[name] = v; len(v) == 1 {
			object[name] = v[0]
		}
	}
	data, err := marshal(object)
	if err != nil { // cannot be: strings alone
		return Value{}
	}
	return Value{JSON: data}
}

func (sn *Session) socket(nsp []byte) *Socket {
	sn.mu.Lock()
	defer sn.mu.Unlock()
	for _, s := range sn.sockets {
		if s.ns.name == string(nsp) {
			return s
		}
	}
	return nil
}

func (sn *Session) wasIn(nsp string) bool {
	sn.mu.Lock()
	defer sn.mu.Unlock()
	return slices.Contains(sn.former, nsp)
}

// connect lets the client into a namespace, or tells it why not.
func (sn *Session) connect(nsp string, auth Value) error {
	ns := sn.server.namespace(nsp)
	if ns == nil {
		return sn.refuse(nsp, errors.New("Invalid namespace"))
	}
	s := &Socket{ns: ns, session: sn, outbox: sn.outbox, auth: auth,
		attachments: declaredAttachments(sn.Handshake(), auth)}
	switch {
	case sn.revision5():
		// Not the Engine.IO id: sids are shown to other clients, that one is a secret.
		s.sid = NewSid()
	case nsp == "/":
		s.sid = sn.conn.ID() // clients of revision 4 take it for their id
	default:
		s.sid = nsp + "#" + sn.conn.ID()
	}
	sn.mu.Lock()
	if sn.closed {
		sn.mu.Unlock()
		return nil
	}
	for _, other := range sn.sockets {
		if other.ns == ns {
			sn.mu.Unlock()
			return protocolError("CONNECT to namespace %q, to which the client is connected", nsp)
		}
	}
	sn.sockets = append(sn.sockets, s)
	sn.former = slices.DeleteFunc(sn.former, func(n string) bool { return n == nsp })
	sn.mu.Unlock()

	for _, h := range ns.handlers.Load().connect {
		err := ErrClosed // if the handler panics
		sn.server.guard(func() { err = h(sn.inOrder, s, auth) })
		if err != nil {
			s.end(ReasonServerDisconnect)
			sn.forget(s)
			return sn.refuse(nsp, err)
		}
	}
	if err := s.admit(); err != nil {
		return nil // ended meanwhile
	}
	sn.mu.Lock()
	if sn.idle != nil {
		sn.idle.Stop()
		sn.idle = nil
	}
	closed := sn.closed
	sn.mu.Unlock()
	if closed {
		s.end(ReasonTransportClose)
	}
	return nil
}

// refuse answers a CONNECT with CONNECT_ERROR: an object in revision 5, any value in revision 4.
func (sn *Session) refuse(nsp string, err error) error {
	sn.server.opts.Counters.Refused.Add(1)
	refusal := &Refusal{Message: err.Error()}
	errors.As(err, &refusal)
	var data []byte
	if sn.revision5() {
		body := map[string]any{"message": refusal.Message}
		if refusal.Data != nil {
			body["data"] = refusal.Data
		}
		data, err = marshal(body)
	} else if data, err = marshal(refusal.Message); refusal.Data != nil {
		data, err = marshal(refusal.Data)
	}
	if err != nil {
		sn.server.report(fmt.Errorf("transport: refusal of namespace %q: %w", nsp, err))
		data = []byte(`{"message":"refused"}`)
	}
	return sn.push(controlFrame(packetConnectError, nsp, data))
}

// event hands an event to its handler.
func (sn *Session) event(s *Socket, p *packet) error {
	if p.fault != nil {
		sn.server.opts.Counters.Rejected.Add(1)
		answer(&Event{nsp: s.ns.name, push: s.push, ackID: p.id, wantsAck: p.hasID}, Ack{Error: p.fault})
		return nil
	}
	ev, err := newEvent(p)
	if err != nil {
		return err
	}
	ev.socket, ev.push = s, s.push
	sn.server.opts.Counters.EventsIn.Add(1)
	handlers := s.ns.handlers.Load()
	h := handlers.events[ev.Name]
	if h == nil {
		h = handlers.unknown
	}
	if h == nil {
		answer(ev, unknownEvent(ev))
		return nil
	}
	if !h.concurrent {
		sn.server.guard(func() { h.call(sn.inOrder, ev) })
		return nil
	}
	if sn.slots == nil {
		sn.slots = make(chan struct{}, maxConcurrent)
	}
	select {
	case sn.slots <- struct{}{}:
	case <-sn.ctx.Done():
		return nil
	}
	sn.server.running.Add(1)
	go func() {
		defer sn.server.running.Done()
		defer func() { <-sn.slots }()
		sn.server.guard(func() { h.call(sn.ctx, ev) })
	}()
	return nil
}

// left is called when a socket has ended while the connection goes on. A connection without a
// namespace is closed: at once if the server ended the last one, after the handshake time-out
// if the client may still want another.
func (sn *Session) left(s *Socket, byServer bool) {
	if sn.forget(s) > 0 {
		return
	}
	if byServer {
		sn.conn.Close(ReasonServerDisconnect, nil)
		return
	}
	sn.armIdle()
}

// forget removes the socket from the list and returns how many are left.
func (sn *Session) forget(s *Socket) int {
	sn.mu.Lock()
	defer sn.mu.Unlock()
	sn.sockets = slices.DeleteFunc(sn.sockets, func(o *Socket) bool { return o == s })
	if !slices.Contains(sn.former, s.ns.name) {
		sn.former = append(sn.former, s.ns.name)
	}
	return len(sn.sockets)
}

// armIdle starts the time after which a connection without a namespace is closed.
func (sn *Session) armIdle() {
	sn.mu.Lock()
	defer sn.mu.Unlock()
	if sn.closed {
		return
	}
	if sn.idle != nil {
		sn.idle.Stop()
	}
	sn.idle = time.AfterFunc(sn.server.opts.HandshakeTimeout, func() {
		sn.mu.Lock()
		unused := len(sn.sockets) == 0
		sn.mu.Unlock()
		if unused {
			sn.conn.Close(ReasonHandshakeTimeout, nil)
		}
	})
}

// push queues a frame and ends the connection if it cannot be queued.
func (sn *Session) push(f *Frame) error { return sn.pushed(sn.outbox.Push(f)) }

// pushed counts what a push dropped, and ends the connection if the queue is full.
func (sn *Session) pushed(p Pushed) error {
	if p.Dropped > 0 {
		sn.server.opts.Counters.Dropped.Add(uint64(p.Dropped))
	}
	switch {
	case p.Closed:
		return ErrClosed
	case p.Overflow:
		sn.overflow()
		return &DisconnectError{Reason: ReasonSlowClient}
	}
	return nil
}

func (sn *Session) overflow() {
	sn.conn.Close(ReasonSlowClient, fmt.Errorf("more than %d bytes wait for it", sn.server.opts.QueueLimit))
}

// droppedNotice makes the event that stands in the place of dropped ones.
func (sn *Session) droppedNotice(n int) *Frame {
	nsp := "/"
	sn.mu.Lock()
	if len(sn.sockets) > 0 {
		nsp = sn.sockets[0].ns.name
	}
	sn.mu.Unlock()
	buf := make([]byte, PrefixRoom, PrefixRoom+64)
	buf = appendHead(buf, packetEvent, 0, nsp, 0, false)
	buf = fmt.Appendf(buf, `["dropped",{"count":%d}]`, n)
	return frameOf(EngineMessage, buf, nil, false)
}

// assembler puts binary packets together from their messages. The zero value takes none.
type assembler struct {
	maxBytes int64
	strict   bool // of a server: what could harm another client is refused
	pending  *packet
	got      int // attachments of pending
	bytes    int64
}

// add takes the next message; complete reports whether p is a whole packet.
func (a *assembler) add(m Message) (p packet, complete bool, err error) {
	if m.Binary {
		if a.pending == nil {
			return packet{}, false, protocolError("binary message that no packet announced")
		}
		if a.bytes += int64(len(m.Data)); a.bytes > a.maxBytes {
			return packet{}, false, &DisconnectError{Reason: ReasonPayloadTooLarge,
				Err: fmt.Errorf("attachments of more than %d bytes", a.maxBytes)}
		}
		if a.pending.fault == nil {
			a.pending.attachments = append(a.pending.attachments, m.Data)
		}
		if a.got++; a.got < a.pending.announced {
			return packet{}, false, nil
		}
		p = *a.pending
		a.pending = nil
		if !a.strict {
			err = p.checkPlaceholders()
		}
		return p, true, err
	}
	if a.pending != nil {
		return packet{}, false, protocolError("text message while %d attachments are awaited", a.pending.announced-a.got)
	}
	p, err = decodePacket(m.Data)
	if err != nil {
		return p, false, err
	}
	if p.kind != packetBinaryEvent && p.kind != packetBinaryAck {
		return p, true, nil
	}
	if a.strict {
		if p.fault, err = harmful(p.kind, p.data, p.announced); err != nil {
			return p, false, err
		}
	}
	if p.announced == 0 {
		if !a.strict {
			err = p.checkPlaceholders()
		}
		return p, err == nil, err
	}
	held := p
	a.pending, a.got, a.bytes = &held, 0, 0
	return p, false, nil
}
