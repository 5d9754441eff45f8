package wire

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"sync"
	"time"

	"tbmsock/transport"
)

// maxPostPackets is how many packets one POST of ours holds: python-engineio takes no more than 16.
const maxPostPackets = 16

// postBatch is about how many bytes one POST of ours holds, if the server takes so many.
const postBatch = 256 << 10

// Dialed is the client's end of an Engine.IO session. It implements [transport.Conn].
type Dialed struct {
	codec    Codec
	revision int
	peer     transport.Peer
	opts     transport.DialOptions
	target   target // until the handshake is done: the URL that was asked for; then the one that has answered
	http     *http.Client
	ownHTTP  bool
	shake    handshake

	ctx    context.Context // ends when the session does
	cancel context.CancelFunc
	wake   chan struct{} // capacity 1
	tasks  sync.WaitGroup

	receiving sync.Mutex // held around what the peer is handed
	sending   sync.Mutex // held while frames are being written

	mu        sync.Mutex
	socket    *Socket
	upgrading bool
	polled    chan struct{} // closed when the polling loop has ended
	watch     *time.Timer   // fires when the server has been silent too long
	beat      *time.Timer   // revision 3: next ping
	closed    bool
	flushing  bool
	flushed   chan struct{}
}

// DialEngine opens a session of the given revision; see [transport.Dialer].
func DialEngine(ctx context.Context, codec Codec, revision int, u *url.URL, opts transport.DialOptions, peer transport.Peer) (*Dialed, error) {
	if len(opts.Transports) == 0 {
		opts.Transports = []string{"polling", "websocket"}
	}
	if opts.MaxPayload <= 0 {
		opts.MaxPayload = 16 << 20
	}
	if opts.HandshakeTimeout <= 0 {
		opts.HandshakeTimeout = 10 * time.Second
	}
	if opts.DrainTimeout <= 0 {
		opts.DrainTimeout = 5 * time.Second
	}
	if opts.Proxy == nil {
		opts.Proxy = func(u *url.URL) (*url.URL, error) { return http.ProxyFromEnvironment(&http.Request{URL: u}) }
	}
	d := &Dialed{
		codec: codec, revision: revision, peer: peer, opts: opts, target: newTarget(u, opts.Header),
		wake: make(chan struct{}, 1), polled: make(chan struct{}), flushed: make(chan struct{}),
	}
	q := d.target.url.Query()
	q.Set("EIO", fmt.Sprint(revision))
	d.target.url.RawQuery = q.Encode()
	client := http.Client{}
	if opts.HTTP != nil {
		client = *opts.HTTP
	} else {
		t := http.DefaultTransport.(*http.Transport).Clone()
		t.Proxy = func(r *http.Request) (*url.URL, error) { return opts.Proxy(r.URL) }
		client.Transport, d.ownHTTP = t, true
	}
	// Both transports follow redirects by the same rules: ours.
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	d.http = &client
	d.ctx, d.cancel = context.WithCancel(context.Background())
	ctx, cancel := context.WithTimeout(ctx, opts.HandshakeTimeout)
	defer cancel()
	var rest []Packet
	var err error
	if opts.Transports[0] == "websocket" {
		err = d.openSocket(ctx)
	} else {
		rest, err = d.openPolling(ctx)
	}
	if err != nil {
		d.cancel()
		if d.socket != nil {
			d.socket.Close(transport.ReasonForcedClose)
		}
		d.closeHTTP()
		return nil, err
	}
	peer.Outbox().Bind(d.wakeUp)
	d.mu.Lock()
	d.watch = time.AfterFunc(d.silence(), func() { d.Close(transport.ReasonPingTimeout, nil) })
	if revision == 3 {
		d.beat = time.AfterFunc(d.interval(), d.ping)
	}
	d.mu.Unlock()
	d.tasks.Go(d.write)
	d.tasks.Go(func() { d.read(rest) })
	return d, nil
}

func (d *Dialed) interval() time.Duration {
	return time.Duration(d.shake.PingInterval) * time.Millisecond
}

// silence is how long nothing at all may come from the server (Engine.IO protocol, "Heartbeat").
func (d *Dialed) silence() time.Duration {
	return d.interval() + time.Duration(d.shake.PingTimeout)*time.Millisecond
}

func (d *Dialed) wakeUp() {
	select {
	case d.wake <- struct{}{}:
	default:
	}
}

// ping is the heartbeat of revision 3, where the client asks.
func (d *Dialed) ping() {
	d.mu.Lock()
	if d.closed {
		d.mu.Unlock()
		return
	}
	d.beat.Reset(d.interval())
	d.mu.Unlock()
	d.heartbeat(transport.NewFrame(transport.EnginePing, ""))
}

// heartbeat queues a ping or pong of ours, behind everything that was pushed before.
func (d *Dialed) heartbeat(f *transport.Frame) {
	if p, ok := d.peer.(transport.HeartbeatPeer); ok {
		p.HeartbeatSent()
	}
	d.peer.Outbox().Push(f)
}

// reacted handles a packet by which the server shows that an earlier heartbeat of ours has reached it.
func (d *Dialed) reacted() {
	if p, ok := d.peer.(transport.HeartbeatPeer); ok {
		p.HeartbeatArrived()
	}
}

// read hands up what arrives until the session ends.
func (d *Dialed) read(rest []Packet) {
	d.peer.Opened()
	var err error
	for _, p := range rest {
		if err = d.receive(p); err != nil {
			break
		}
	}
	d.mu.Lock()
	s := d.socket
	d.mu.Unlock()
	switch {
	case err != nil:
		close(d.polled)
	case s != nil:
		close(d.polled)
		err = readPackets(s, d.codec, d.receive)
	default:
		if slices.Contains(d.opts.Transports, "websocket") && slices.Contains(d.shake.Upgrades, "websocket") {
			d.tasks.Go(d.upgrade)
		}
		err = d.readPolls()
		close(d.polled)
		if err == nil { // an upgrade takes over
			return
		}
	}
	d.Close(transport.ReasonOf(err, transport.ReasonTransportClose), err)
}

// readPolls returns nil when an upgrade wants the polls to end.
func (d *Dialed) readPolls() error {
	for {
		d.mu.Lock()
		stop := d.upgrading
		d.mu.Unlock()
		if stop {
			return nil
		}
		packets, err := d.poll(d.ctx)
		if err != nil {
			return err
		}
		for _, p := range packets {
			if err := d.receive(p); err != nil {
				return err
			}
		}
	}
}

func (d *Dialed) receive(p Packet) error {
	d.mu.Lock()
	if !d.closed {
		d.watch.Reset(d.silence())
	}
	d.mu.Unlock()
	switch p.Type {
	case transport.EngineMessage:
		d.receiving.Lock()
		defer d.receiving.Unlock()
		return d.peer.Receive(transport.Message{Binary: p.Binary, Data: p.Data})
	case transport.EnginePing:
		d.reacted() // a server of revision 4 sends a ping only if it has got the pong for the one before
		d.heartbeat(transport.NewFrame(transport.EnginePong, string(p.Data)))
	case transport.EnginePong:
		d.reacted()
	case transport.EngineClose:
		return &transport.DisconnectError{Reason: transport.ReasonTransportClose}
	}
	return nil
}

// ID implements [transport.Conn].
func (d *Dialed) ID() string { return d.shake.Sid }

// Revision implements [transport.Conn].
func (d *Dialed) Revision() int { return d.revision }

// Transport implements [transport.Conn].
func (d *Dialed) Transport() string {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.socket != nil {
		return "websocket"
	}
	return "polling"
}

// PeerLimit is the largest message that the server takes, in bytes, by its handshake; 0 if it has not said.
func (d *Dialed) PeerLimit() int64 { return d.shake.MaxPayload }

// Handshake implements [transport.Conn]: a client has none.
func (d *Dialed) Handshake() *transport.Handshake { return nil }

// Close implements [transport.Conn].
func (d *Dialed) Close(reason transport.Reason, err error) {
	d.mu.Lock()
	if d.closed {
		d.mu.Unlock()
		return
	}
	d.closed = true
	d.watch.Stop()
	if d.beat != nil {
		d.beat.Stop()
	}
	// When it is the server that ends the session it reads no more.
	d.flushing = reason == transport.ReasonClientDisconnect
	flush := d.flushing
	d.mu.Unlock()
	go d.finish(reason, err, flush)
}

func (d *Dialed) finish(reason transport.Reason, err error, flush bool) {
	d.peer.Closing(reason, err)
	if flush {
		d.wakeUp()
		t := time.NewTimer(d.opts.DrainTimeout)
		select {
		case <-d.flushed:
			d.sayBye()
		case <-t.C:
		}
		t.Stop()
	}
	d.cancel()
	d.mu.Lock()
	s := d.socket
	d.mu.Unlock()
	if s != nil {
		s.Close(reason)
	}
	d.tasks.Wait()
	d.closeHTTP()
	d.peer.Closed(reason, err)
}

// sayBye tells a server that is polled; on a WebSocket the closing of it says the same.
func (d *Dialed) sayBye() {
	d.mu.Lock()
	s := d.socket
	d.mu.Unlock()
	if s == nil {
		ctx, cancel := context.WithTimeout(d.ctx, time.Second)
		defer cancel()
		_, _ = d.request(ctx, http.MethodPost, d.codec.Payload([]*transport.Frame{closeFrame}))
	}
}

func (d *Dialed) closeHTTP() {
	if d.ownHTTP {
		d.http.CloseIdleConnections()
	}
}
