package engine3

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"sync"
	"time"

	"github.com/googollee/go-socket.io/engineio"
	"github.com/googollee/go-socket.io/engineio/frame"
	"github.com/googollee/go-socket.io/engineio/packet"
	"github.com/googollee/go-socket.io/engineio/session"

	"tbmsock/transport"
	"tbmsock/transport/wire"
)

// conn is one session of a client. It implements [transport.Conn].
//
// A packet that arrives goes from the link to the module's session, which answers heartbeats and
// hands messages to our reader, and back: the link's call returns when the packet has been dealt
// with, so that a slow handler holds up its own client.
type conn struct {
	engine    *Engine
	handshake *transport.Handshake
	first     *wire.Socket // of a session that begins as a WebSocket

	peer transport.Peer
	link *wire.Link

	ready   chan struct{}    // closed: the session is known, module is set
	module  engineio.Conn    // the session in the module below
	in      chan wire.Packet // from the link to nextReader
	handled chan error       // the answer to each
	stop    chan struct{}    // closed: nothing more is read
	reader  sync.WaitGroup

	inHand bool // only for the reader: a packet has not been answered

	mu        sync.Mutex
	beat      *time.Timer
	closed    bool
	upgrading bool
	cand      *candidate
	isSealed  bool // the candidate has read the upgrade packet
	cut       chan struct{}
	cutOnce   sync.Once
}

func newConn(e *Engine, r *http.Request) *conn {
	return &conn{
		engine:    e,
		handshake: transport.NewHandshake(r),
		ready:     make(chan struct{}),
		in:        make(chan wire.Packet),
		handled:   make(chan error),
		stop:      make(chan struct{}),
		cut:       make(chan struct{}),
	}
}

func (c *conn) start(peer transport.Peer) {
	c.peer = peer
	c.link = wire.NewLink(wire.LinkOptions{
		Codec:   codec{},
		Engine:  &c.engine.opts,
		Outbox:  peer.Outbox(),
		Writers: c.engine.writers,
		// The reference's clients say so in the handshake only.
		TextOnly: c.handshake.Query().Get("b64") != "",
		Receive:  c.receive,
		Down:     c.Close,
	})
}

// accepted is called with the module's session once it is complete.
func (c *conn) accepted(s engineio.Conn) {
	c.module = s
	c.reader.Go(c.read) // before ready: whoever ends the conn waits for ready, then for the reader
	close(c.ready)
	// Packets that the client sends now wait for the reader, which says Opened first.
	if c.first != nil && !c.link.Attach(c.first) {
		c.first.Close(transport.ReasonServerShutdown)
	}
}

// read takes the messages from the module's session to the peer.
func (c *conn) read() {
	<-c.ready
	c.peer.Opened()
	for {
		kind, r, err := c.module.NextReader()
		if err != nil {
			c.answer(nil)
			c.Close(transport.ReasonTransportClose, nil)
			return
		}
		data, err := io.ReadAll(r)
		_ = r.Close()
		if err == nil {
			err = c.peer.Receive(transport.Message{Binary: kind == session.BINARY, Data: data})
		}
		c.answer(err)
	}
}

// answer lets the link's call of receive return.
func (c *conn) answer(err error) {
	if c.inHand {
		c.inHand = false
		c.handled <- err
	}
}

// receive hands a packet to the module and waits until it has been dealt with.
func (c *conn) receive(p wire.Packet) error {
	switch p.Type {
	case transport.EngineMessage, transport.EnginePing, transport.EngineClose:
	case transport.EngineUpgrade:
		return nil // boards with the Arduino client send one on a session that began as a WebSocket
	case transport.EngineNoop:
		if len(p.Data) == 0 {
			return nil // Swift clients post one during an upgrade
		}
		return parseError("noop with data")
	default:
		return parseError("packet of type %q from a client", p.Type)
	}
	select {
	case c.in <- p:
		return <-c.handled
	case <-c.stop:
		return transport.ErrClosed
	}
}

// nextReader is how the module's session gets the next packet.
func (c *conn) nextReader() (frame.Type, packet.Type, io.ReadCloser, error) {
	c.answer(nil)
	select {
	case p := <-c.in:
		c.inHand = true
		ft := frame.String
		if p.Binary {
			ft = frame.Binary
		}
		return ft, packet.ByteToPacketType(p.Type, frame.String), io.NopCloser(bytes.NewReader(p.Data)), nil
	case <-c.stop:
		return 0, 0, nil, io.EOF
	}
}

func (c *conn) send(f *transport.Frame) {
	if p := c.peer.Outbox().Push(f); p.Overflow {
		c.Close(transport.ReasonSlowClient, nil)
	}
}

// expect closes the connection if no heartbeat comes within d.
func (c *conn) expect(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.closed:
	case c.beat == nil:
		c.beat = time.AfterFunc(d, func() { c.Close(transport.ReasonPingTimeout, nil) })
	default:
		c.beat.Reset(d)
	}
}

// ID implements [transport.Conn].
func (c *conn) ID() string {
	select {
	case <-c.ready:
		return c.module.ID()
	default:
		return ""
	}
}

// Revision implements [transport.Conn].
func (c *conn) Revision() int { return 3 }

// Transport implements [transport.Conn].
func (c *conn) Transport() string { return c.link.Transport() }

// Handshake implements [transport.Conn].
func (c *conn) Handshake() *transport.Handshake { return c.handshake }

// beginUpgrade is false if the session cannot be upgraded now.
func (c *conn) beginUpgrade() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.upgrading || c.closed || c.link.Transport() == "websocket" {
		return false
	}
	c.upgrading = true
	return true
}

func (c *conn) endUpgrade() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.upgrading = false
}

func (c *conn) setCandidate(cand *candidate) {
	c.mu.Lock()
	c.cand = cand
	c.mu.Unlock()
	select {
	case <-c.link.Done():
		_ = cand.Close()
	default:
	}
}

func (c *conn) sealed(cand *candidate) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.cand == cand {
		c.isSealed = true
	}
}

func (c *conn) isAttached(cand *candidate) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return cand.attached
}

func (c *conn) dropCandidate(cand *candidate) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.cand == cand {
		c.cand, c.isSealed, c.upgrading = nil, false, false
	}
}

// attach gives the link to the candidate whose upgrade is complete; false if there is none.
func (c *conn) attach() bool {
	c.mu.Lock()
	cand := c.cand
	if cand == nil || !c.isSealed || cand.attached {
		attached := cand != nil && cand.attached
		c.mu.Unlock()
		return attached
	}
	cand.attached, cand.request = true, nil
	c.mu.Unlock()
	_ = cand.socket.SetReadDeadline(time.Time{})
	if !c.link.Attach(cand.socket) {
		cand.socket.Close(transport.ReasonForcedClose)
	}
	return true
}

// Close implements [transport.Conn].
func (c *conn) Close(reason transport.Reason, err error) {
	c.mu.Lock()
	if c.closed {
		c.mu.Unlock()
		return
	}
	c.closed = true
	if c.beat != nil {
		c.beat.Stop()
	}
	c.mu.Unlock()
	if errors.Is(err, transport.ErrClosed) {
		err = nil
	}
	go c.finish(reason, err)
}

// finish ends the session and all that belongs to it.
func (c *conn) finish(reason transport.Reason, err error) {
	<-c.ready // the module cannot be told to forget a session that it has not registered yet
	defer c.engine.remove(c)
	c.peer.Closing(reason, err)
	close(c.stop)
	c.link.End(reason, c.cut)
	c.mu.Lock()
	cand := c.cand
	c.mu.Unlock()
	if cand != nil && !c.isAttached(cand) {
		_ = cand.Close()
	}
	c.reader.Wait()
	c.peer.Closed(reason, err)
	c.link.Leave(c.cut)
}

// abort cuts a closing that still waits for the client.
func (c *conn) abort() { c.cutOnce.Do(func() { close(c.cut) }) }
