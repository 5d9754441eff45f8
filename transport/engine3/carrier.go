package engine3

import (
	"bytes"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"sync"
	"time"

	"github.com/googollee/go-socket.io/engineio/frame"
	"github.com/googollee/go-socket.io/engineio/packet"
	ggtransport "github.com/googollee/go-socket.io/engineio/transport"

	"tbmsock/transport"
	"tbmsock/transport/wire"
)

// carrier is a transport as the module knows one: it gives each request the connection that the
// engine has prepared for it.
type carrier string

var _ ggtransport.Transport = carrier("")

type carriedKey struct{}

// carried is what the engine hands through the module to the carrier: one of the two.
type carried struct {
	conn      *conn
	candidate *candidate
}

func (c carrier) Name() string { return string(c) }

func (c carrier) Accept(_ http.ResponseWriter, r *http.Request) (ggtransport.Conn, error) {
	given, ok := r.Context().Value(carriedKey{}).(*carried)
	switch {
	case !ok:
		return nil, transport.ErrBadRequest
	case given.candidate != nil:
		return given.candidate, nil
	}
	return &carriedConn{conn: given.conn}, nil
}

var errNoDial = errors.New("engine3: the carriers are for servers")

func (c carrier) Dial(*url.URL, http.Header) (ggtransport.Conn, error) { return nil, errNoDial }

// carriedConn is the module's view of a conn: packets that arrive, and a place for the few that
// the module itself sends, OPEN and PONG. Messages to the client do not come this way.
type carriedConn struct{ *conn }

var _ ggtransport.Conn = (*carriedConn)(nil)

// NextReader returns the next packet. When it is called again the last one has been dealt with.
func (c *carriedConn) NextReader() (frame.Type, packet.Type, io.ReadCloser, error) {
	return c.nextReader()
}

func (c *carriedConn) NextWriter(_ frame.Type, pt packet.Type) (io.WriteCloser, error) {
	return &packetWriter{kind: pt.StringByte(), done: c.send}, nil
}

// Close is the module's word that the transport is done with: after an upgrade that of the old
// one, otherwise that the session ends, because the client said so.
func (c *carriedConn) Close() error {
	if !c.attach() {
		c.conn.Close(transport.ReasonTransportClose, nil)
	}
	return nil
}

// Pause and Resume make the module able to upgrade.
func (c *carriedConn) Pause() { c.link.Upgrading(true) }

// Resume ends what Pause began, when an upgrade fails.
func (c *carriedConn) Resume() { c.link.Upgrading(false) }

// ServeHTTP answers the poll with which a session began; the engine answers all others itself.
func (c *carriedConn) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if c.first != nil {
		return
	}
	<-c.ready
	c.link.ServeGet(w, r)
}

// SetReadDeadline is called with the time until which the module would wait for the next
// heartbeat: it forgets that the client lets an interval pass first.
func (c *carriedConn) SetReadDeadline(t time.Time) error {
	c.expect(time.Until(t) + c.engine.opts.PingInterval)
	return nil
}

// SetWriteDeadline does nothing: no write of the module's blocks.
func (c *carriedConn) SetWriteDeadline(time.Time) error { return nil }

func (c *carriedConn) URL() url.URL              { return url.URL{} }
func (c *carriedConn) LocalAddr() net.Addr       { return nil }
func (c *carriedConn) RemoteAddr() net.Addr      { return &addr{c.conn} }
func (c *carriedConn) RemoteHeader() http.Header { return c.handshake.Header }

// addr leads from the module's session, which has no other place for it that is set in time, back
// to the conn.
type addr struct{ conn *conn }

func (*addr) Network() string  { return "tcp" }
func (a *addr) String() string { return a.conn.handshake.RemoteAddr }

// packetWriter collects a packet and hands it on when it is closed.
type packetWriter struct {
	bytes.Buffer
	kind byte
	done func(*transport.Frame)
}

func (w *packetWriter) Close() error {
	// The module's JSON encoder ends the handshake with a line feed.
	w.done(transport.NewFrame(w.kind, string(bytes.TrimSuffix(w.Bytes(), []byte("\n")))))
	return nil
}

// candidate is a WebSocket that is to carry a session which polls. The module reads the probe and
// the upgrade packet from it; then it is attached to the link, and becomes like any other view
// of the conn.
type candidate struct {
	*conn
	socket  *wire.Socket
	request *http.Request // nil once attached

	state    upgradeState
	err      error // why the upgrade failed
	attached bool
	once     sync.Once
}

var _ ggtransport.Conn = (*candidate)(nil)

// upgradeState is how far an upgrade has come (Engine.IO protocol, "Upgrade").
type upgradeState uint8

const (
	upgradeBegun  upgradeState = iota
	upgradeProbed              // the module has the probe
	upgradeEarly               // the client has sent no probe: the module has one of ours
	upgradeSealed              // the module has the upgrade packet
)

// NextReader gives the module a probe and an upgrade packet, which is all that it knows, whatever else the client
// sends.
func (c *candidate) NextReader() (frame.Type, packet.Type, io.ReadCloser, error) {
	switch c.state {
	case upgradeSealed:
		return c.nextReader()
	case upgradeEarly:
		return c.seal()
	}
	for {
		kind, err := c.socket.ReadUpgrade()
		switch {
		case err != nil:
			c.err = err
			return 0, 0, nil, err
		case kind == transport.EngineUpgrade && c.state == upgradeProbed:
			return c.seal()
		case c.state == upgradeProbed: // a second probe
			if err := c.socket.WriteMessage(false, []byte("3probe")); err != nil {
				c.err = err
				return 0, 0, nil, err
			}
			continue
		case kind == transport.EngineUpgrade:
			c.state = upgradeEarly
		default:
			c.state = upgradeProbed
		}
		return frame.String, packet.PING, io.NopCloser(bytes.NewReader([]byte("probe"))), nil
	}
}

func (c *candidate) seal() (frame.Type, packet.Type, io.ReadCloser, error) {
	c.state = upgradeSealed
	c.sealed(c)
	return frame.String, packet.UPGRADE, io.NopCloser(bytes.NewReader(nil)), nil
}

func (c *candidate) NextWriter(_ frame.Type, pt packet.Type) (io.WriteCloser, error) {
	if c.state == upgradeSealed {
		return &packetWriter{kind: pt.StringByte(), done: c.send}, nil
	}
	var failed error
	w := &packetWriter{kind: pt.StringByte()}
	w.done = func(f *transport.Frame) {
		if c.state == upgradeProbed { // otherwise it answers our own probe
			failed = c.socket.WriteMessage(false, []byte{f.Kind()}, f.Text())
		}
	}
	return &failingWriter{w, &failed}, nil
}

// failingWriter passes on the error of a write that happens when it is closed.
type failingWriter struct {
	*packetWriter
	err *error
}

func (w *failingWriter) Close() error {
	_ = w.packetWriter.Close()
	return *w.err
}

// Close is called when the upgrade has failed, or when a session ends that it has carried.
func (c *candidate) Close() error {
	if c.isAttached(c) {
		c.conn.Close(transport.ReasonTransportClose, nil)
		return nil
	}
	c.once.Do(func() {
		c.socket.Close(transport.ReasonForcedClose)
		c.dropCandidate(c)
		if c.err != nil && !c.link.Ended() { // otherwise it is the session that has ended
			c.engine.opts.NoteRefused(c.request, transport.RefusedUpgrade, c.err)
		}
	})
	return nil
}

// SetReadDeadline bounds the upgrade; once attached it is the heartbeat's.
func (c *candidate) SetReadDeadline(t time.Time) error {
	if c.isAttached(c) {
		c.expect(time.Until(t) + c.engine.opts.PingInterval)
		return nil
	}
	return c.socket.SetReadDeadline(time.Now().Add(c.engine.opts.HandshakeTimeout))
}

func (c *candidate) SetWriteDeadline(time.Time) error { return nil }
func (c *candidate) URL() url.URL                     { return url.URL{} }
func (c *candidate) LocalAddr() net.Addr              { return nil }
func (c *candidate) RemoteAddr() net.Addr             { return &addr{c.conn} }
func (c *candidate) RemoteHeader() http.Header        { return c.handshake.Header }
