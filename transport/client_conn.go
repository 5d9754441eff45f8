package transport

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"runtime/debug"
	"sync"
)

// clientQueue bounds what may wait on a client's connection, in bytes. What is published waits in
// the publisher, so this only has to hold what is under way.
const clientQueue = 64 << 20

// clientConn is one connection of a [Client]: the peer of an engine's.
type clientConn struct {
	client  *Client
	outbox  *Outbox
	ctx     context.Context
	cancel  context.CancelCauseFunc
	inOrder context.Context // for handlers
	asm     assembler
	acks    ackTable
	ready   chan struct{} // closed: conn is set
	conn    Conn
	ended   chan struct{} // closed after Closed; err and wasOpen are then final
	err     error
	wasOpen bool

	follow followState // of the connection's reader

	mu   sync.Mutex
	open bool
	sid  string
}

func newClientConn(c *Client) *clientConn {
	cc := &clientConn{
		client: c,
		outbox: NewOutbox(clientQueue, DisconnectSlow, nil),
		asm:    assembler{maxBytes: clientQueue},
		ready:  make(chan struct{}),
		ended:  make(chan struct{}),
	}
	cc.ctx, cc.cancel = context.WithCancelCause(context.Background())
	cc.inOrder = inOrderContext(cc.ctx, cc)
	return cc
}

// dialed is told of the connection; the engine may be handing up packets already.
func (cc *clientConn) dialed(conn Conn) {
	cc.conn = conn
	close(cc.ready)
}

// Outbox implements [Peer].
func (cc *clientConn) Outbox() *Outbox { return cc.outbox }

// limit is the largest message that the server takes, in bytes; 0 if it has not said so, as none of revision 3 does.
func (cc *clientConn) limit() int64 {
	if c, ok := cc.conn.(interface{ PeerLimit() int64 }); ok {
		return c.PeerLimit()
	}
	return 0
}

func (cc *clientConn) revision5() bool { return cc.conn.Revision() >= 4 }

// Opened implements [Peer]: it asks for the namespace.
func (cc *clientConn) Opened() {
	<-cc.ready
	nsp := cc.client.opts.Namespace
	if !cc.revision5() {
		if nsp != "/" { // the server opens that one by itself
			cc.outbox.Push(controlFrame(packetConnect, nsp, nil))
		}
		return
	}
	var auth []byte
	if cc.client.opts.Auth != nil {
		var err error
		if auth, err = marshal(cc.client.opts.Auth); err != nil {
			cc.conn.Close(ReasonForcedClose, fmt.Errorf("auth: %w", err))
			return
		}
	}
	cc.outbox.Push(controlFrame(packetConnect, nsp, auth))
}

// Receive implements [Peer].
func (cc *clientConn) Receive(m Message) error {
	p, complete, err := cc.asm.add(m)
	if err != nil || !complete {
		return err
	}
	if string(p.nsp) != cc.client.opts.Namespace {
		return nil // revision 4 opens the main namespace too, asked or not
	}
	switch p.kind {
	case packetConnect:
		return cc.connected(&p)
	case packetConnectError:
		return cc.refusal(&p)
	case packetDisconnect:
		return &DisconnectError{Reason: ReasonServerDisconnect}
	case packetAck, packetBinaryAck:
		cc.acks.resolve(p.id, p.args())
	case packetEvent, packetBinaryEvent:
		ev, err := newEvent(&p)
		if err != nil {
			return err
		}
		ev.push = cc.push
		if f := cc.client.follow.Load(); f != nil && cc.follow.first(ev) {
			f.announced(cc, ev)
			if ev.Name == EventJournal {
				return nil
			}
		}
		if h, ok := cc.client.handlers.Load(ev.Name); ok {
			cc.call(h.(Handler), ev)
		} else {
			answer(ev, unknownEvent(ev))
		}
	}
	return nil
}

func (cc *clientConn) call(h Handler, ev *Event) {
	defer func() {
		if v := recover(); v != nil && cc.client.opts.Report != nil {
			cc.client.opts.Report(fmt.Errorf("transport: handler panicked: %v\n%s", v, debug.Stack()))
		}
	}()
	h(cc.inOrder, ev)
}

func (cc *clientConn) connected(p *packet) error {
	sid := cc.conn.ID()
	if nsp := cc.client.opts.Namespace; nsp != "/" {
		sid = nsp + "#" + sid // as Socket.IO 2 has it
	}
	if cc.revision5() {
		var body struct{ Sid string }
		if (Value{JSON: p.data}).Decode(&body) != nil || body.Sid == "" {
			// A server of Socket.IO 2 answers so, having ignored which revision of
			// Engine.IO was asked for.
			return fmt.Errorf("%w: the server speaks Socket.IO 2", ErrUnsupportedVersion)
		}
		sid = body.Sid
	}
	cc.mu.Lock()
	if cc.open {
		cc.mu.Unlock()
		return nil
	}
	cc.open, cc.sid = true, sid
	cc.mu.Unlock()
	cc.client.opened(cc)
	return nil
}

func (cc *clientConn) refusal(p *packet) error {
	e := &ConnectError{Data: Value{JSON: p.data}}
	if cc.revision5() {
		var body struct {
			Message string
			Data    json.RawMessage
		}
		_ = e.Data.Decode(&body)
		e.Message, e.Data = body.Message, Value{JSON: body.Data}
	} else if e.Data.Decode(&e.Message) != nil {
		e.Message = string(p.data)
	}
	return &DisconnectError{Reason: ReasonForcedClose, Err: e}
}

func (cc *clientConn) isOpen() bool {
	cc.mu.Lock()
	defer cc.mu.Unlock()
	return cc.open
}

// leave ends the connection as the client's own wish.
func (cc *clientConn) leave() {
	if cc.isOpen() {
		cc.outbox.Push(controlFrame(packetDisconnect, cc.client.opts.Namespace, nil))
	}
	cc.conn.Close(ReasonClientDisconnect, nil)
}

// Closing implements [Peer].
func (cc *clientConn) Closing(reason Reason, err error) {
	cc.cancel(&DisconnectError{Reason: reason, Err: err})
}

// Closed implements [Peer].
func (cc *clientConn) Closed(reason Reason, err error) {
	<-cc.ready
	cc.wasOpen = cc.isOpen()
	cc.outbox.Close()
	cc.client.closed(cc, reason, err)
	cc.acks.end(ErrClosed)
	var d *DisconnectError
	if !errors.As(err, &d) {
		err = &DisconnectError{Reason: reason, Err: err}
	}
	cc.err = err
	close(cc.ended)
}

func (cc *clientConn) push(f *Frame) error {
	switch p := cc.outbox.Push(f); {
	case p.Closed:
		return ErrClosed
	case p.Overflow:
		cc.conn.Close(ReasonSlowClient, fmt.Errorf("more than %d bytes wait to be sent", clientQueue))
		return &DisconnectError{Reason: ReasonSlowClient}
	}
	return nil
}

// ask emits an event; then gets the answer, or the error of the connection's end. id names the answer in cc.acks.
func (cc *clientConn) ask(event string, args []any, then func(Args, error)) (id uint64, err error) {
	id, err = cc.acks.begin(then)
	if err != nil {
		return 0, err
	}
	f, err := eventFrame(cc.client.opts.Namespace, event, args, id, true)
	if err == nil {
		err = cc.push(f)
	}
	if err != nil {
		cc.acks.forget(id)
	}
	return id, err
}

// HeartbeatSent implements [HeartbeatPeer].
func (cc *clientConn) HeartbeatSent() { cc.client.pub.heartbeatSent(cc) }

// HeartbeatArrived implements [HeartbeatPeer].
func (cc *clientConn) HeartbeatArrived() { cc.client.pub.heartbeatArrived(cc) }
