package engine4

import (
	"encoding/json"
	"net/http"
	"sync"
	"time"

	"tbmsock/transport"
	"tbmsock/transport/wire"
)

// conn is one session of a client. It implements [transport.Conn].
type conn struct {
	engine    *Engine
	id        string
	handshake *transport.Handshake

	// Set by start, before anyone else knows the conn.
	peer transport.Peer
	link *wire.Link

	mu        sync.Mutex
	beat      *time.Timer // next ping, or the end of the wait for a pong
	awaiting  bool        // a ping is out
	closed    bool
	upgrading bool
	cut       chan struct{} // made by cutting; closed by abort: do not wait for what is left to write
	aborted   bool
}

func newConn(e *Engine, r *http.Request) *conn {
	return &conn{engine: e, id: transport.NewID(), handshake: transport.NewHandshake(r)}
}

func (c *conn) start(peer transport.Peer) {
	c.peer = peer
	c.link = wire.NewLink(wire.LinkOptions{
		Codec:   codec{},
		Engine:  &c.engine.opts,
		Outbox:  peer.Outbox(),
		Writers: c.engine.writers,
		Receive: c.receive,
		Down:    c.Close,
	})
}

// open puts the handshake into the outbox (Engine.IO protocol, "Handshake") and starts the
// heartbeat.
func (c *conn) open(upgrades []string) {
	o := c.engine.opts
	data, err := json.Marshal(struct {
		Sid          string   `json:"sid"`
		Upgrades     []string `json:"upgrades"`
		PingInterval int64    `json:"pingInterval"`
		PingTimeout  int64    `json:"pingTimeout"`
		MaxPayload   int64    `json:"maxPayload"`
	}{c.id, upgrades, o.PingInterval.Milliseconds(), o.PingTimeout.Milliseconds(), o.MaxPayload})
	if err != nil { // cannot be
		c.Close(transport.ReasonTransportError, err)
		return
	}
	c.send(transport.NewFrame(transport.EngineOpen, string(data)))
	c.mu.Lock()
	if !c.closed {
		c.beat = time.AfterFunc(o.PingInterval, c.heartbeat)
	}
	c.mu.Unlock()
	c.peer.Opened()
}

func (c *conn) send(f *transport.Frame) {
	if p := c.peer.Outbox().Push(f); p.Overflow {
		c.Close(transport.ReasonSlowClient, nil)
	}
}

// ID implements [transport.Conn].
func (c *conn) ID() string { return c.id }

// Revision implements [transport.Conn].
func (c *conn) Revision() int { return 4 }

// Transport implements [transport.Conn].
func (c *conn) Transport() string { return c.link.Transport() }

// Handshake implements [transport.Conn].
func (c *conn) Handshake() *transport.Handshake { return c.handshake }

// receive acts on a packet from the client.
func (c *conn) receive(p wire.Packet) error {
	switch p.Type {
	case transport.EngineMessage:
		return c.peer.Receive(transport.Message{Binary: p.Binary, Data: p.Data})
	case transport.EnginePong:
		c.pong()
		return nil
	case transport.EngineClose:
		return &transport.DisconnectError{Reason: transport.ReasonTransportClose}
	case transport.EngineUpgrade:
		return nil // boards with the Arduino client send one on a session that began as a WebSocket
	case transport.EngineNoop:
		if len(p.Data) == 0 {
			return nil // Swift clients post one during an upgrade
		}
	case transport.EnginePing:
		// The server pings in this revision, but those boards do too, and with a probe where nothing is upgraded.
		if len(p.Data) == 0 || string(p.Data) == "probe" {
			c.send(transport.NewFrame(transport.EnginePong, string(p.Data)))
			return nil
		}
	}
	return parseError("packet of type %q from a client", p.Type)
}

// heartbeat sends a ping, or ends a connection that has not answered the last one (Engine.IO
// protocol, "Heartbeat": the server asks, in this revision).
func (c *conn) heartbeat() {
	c.mu.Lock()
	if c.closed {
		c.mu.Unlock()
		return
	}
	if c.awaiting {
		c.mu.Unlock()
		c.Close(transport.ReasonPingTimeout, nil)
		return
	}
	c.awaiting = true
	c.beat.Reset(c.engine.opts.PingTimeout)
	c.mu.Unlock()
	c.send(pingFrame)
}

var pingFrame = transport.NewFrame(transport.EnginePing, "")

func (c *conn) pong() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.awaiting && !c.closed {
		c.awaiting = false
		c.beat.Reset(c.engine.opts.PingInterval)
	}
}

// upgrade takes a WebSocket for a session that polls (Engine.IO protocol, "Upgrade"). It owns the
// WebSocket until it is attached to the link.
func (c *conn) upgrade(w http.ResponseWriter, r *http.Request) {
	begun := c.beginUpgrade()
	s, err := wire.Accept(w, r, c.engine.opts)
	switch {
	case err != nil:
		c.engine.opts.NoteRefused(r, transport.RefusedHandshake, err)
	case !begun:
		// Engine.IO protocol, "WebSocket": a second one is closed.
		c.engine.opts.NoteRefused(r, transport.RefusedUpgrade, wire.ErrSecondSocket)
		s.Close(transport.ReasonForcedClose)
	default:
		if err = c.probe(s); err != nil {
			c.link.Upgrading(false)
			s.Close(transport.ReasonOf(err, transport.ReasonForcedClose))
			if !c.link.Ended() { // otherwise it is the session that has ended, and not the upgrade that was refused
				c.engine.opts.NoteRefused(r, transport.RefusedUpgrade, err)
			}
		}
	}
	if begun {
		c.mu.Lock()
		c.upgrading = false
		c.mu.Unlock()
	}
}

// beginUpgrade reports whether the session can be upgraded; it is then for the caller to end that.
func (c *conn) beginUpgrade() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.upgrading || c.closed || c.link.Transport() == "websocket" {
		return false
	}
	c.upgrading = true
	return true
}

// probe goes through the steps of the upgrade: probe, its echo, and the packet that seals it.
func (c *conn) probe(s *wire.Socket) error {
	// A WebSocket that says nothing must not stay, nor outlive the session.
	if err := s.SetReadDeadline(time.Now().Add(c.engine.opts.HandshakeTimeout)); err != nil {
		return err
	}
	over := make(chan struct{})
	var watch sync.WaitGroup
	watch.Go(func() {
		select {
		case <-over:
		case <-c.link.Done():
			s.Close(transport.ReasonForcedClose)
		}
	})
	defer watch.Wait()
	defer close(over)
	for {
		kind, err := s.ReadUpgrade()
		if err != nil {
			return err
		}
		if kind == transport.EngineUpgrade {
			break
		}
		if err := s.WriteMessage(false, []byte("3probe")); err != nil {
			return err
		}
		// The client waits for its poll to end before it goes on.
		c.link.Upgrading(true)
	}
	if err := s.SetReadDeadline(time.Time{}); err != nil {
		return err
	}
	if !c.link.Attach(s) {
		return wire.ErrSecondSocket
	}
	return nil
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
	go c.finish(reason, err)
}

// finish ends the session and all that belongs to it.
func (c *conn) finish(reason transport.Reason, err error) {
	defer c.engine.remove(c)
	c.peer.Closing(reason, err)
	c.link.End(reason, c.cutting())
	c.peer.Closed(reason, err)
	c.link.Leave(c.cutting())
}

// cutting is closed by abort.
func (c *conn) cutting() <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.cut == nil {
		c.cut = make(chan struct{})
		if c.aborted {
			close(c.cut)
		}
	}
	return c.cut
}

// abort cuts a closing that still waits for the client.
func (c *conn) abort() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.aborted && c.cut != nil {
		close(c.cut)
	}
	c.aborted = true
}
