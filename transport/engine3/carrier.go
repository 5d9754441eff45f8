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
	socket *wire.Socket

	steps    int // packets read
	attached bool
	once     sync.Once
}

var _ ggtransport.Conn = (*candidate)(nil)

// upgradeSteps are the packets of an upgrade, in order (Engine.IO protocol, "Upgrade").
var upgradeSteps = []struct {
	kind packet.Type
	text string
}{{packet.PING, "2probe"}, {packet.UPGRADE, "5"}}

func (c *candidate) NextReader() (frame.Type, packet.Type, io.ReadCloser, error) {
	if c.steps >= len(upgradeSteps) {
		return c.nextReader()
	}
	step := upgradeSteps[c.steps]
	c.steps++
	binary, data, err := c.socket.Read()
	if err != nil {
		return 0, 0, nil, err
	}
	if binary || string(data) != step.text {
		return 0, 0, nil, parseError("%q during an upgrade", data[:min(len(data), 32)])
	}
	if step.kind == packet.UPGRADE {
		c.sealed(c)
	}
	return frame.String, step.kind, io.NopCloser(bytes.NewReader(data[1:])), nil
}

func (c *candidate) NextWriter(_ frame.Type, pt packet.Type) (io.WriteCloser, error) {
	if c.steps >= len(upgradeSteps) {
		return &packetWriter{kind: pt.StringByte(), done: c.send}, nil
	}
	var failed error
	w := &packetWriter{kind: pt.StringByte()}
	w.done = func(f *transport.Frame) {
		failed = c.socket.WriteMessage(false, []byte{f.Kind()}, f.Text())
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
