package wire

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
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
	url      url.URL // with EIO, without transport and sid
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

// handshake is the server's first packet (Engine.IO protocol, "Handshake").
type handshake struct {
	Sid          string   `json:"sid"`
	Upgrades     []string `json:"upgrades"`
	PingInterval int64    `json:"pingInterval"` // ms
	PingTimeout  int64    `json:"pingTimeout"`  // ms
	MaxPayload   int64    `json:"maxPayload"`   // bytes; 0: not said
}

func parseHandshake(p Packet) (handshake, error) {
	var h handshake
	if p.Type != transport.EngineOpen || p.Binary {
		return h, fmt.Errorf("wire: the server began with a packet of type %q", p.Type)
	}
	if err := json.Unmarshal(p.Data, &h); err != nil {
		return h, fmt.Errorf("wire: handshake: %w", err)
	}
	const day = 24 * 60 * 60 * 1000
	if h.Sid == "" || h.PingInterval <= 0 || h.PingTimeout <= 0 || h.PingInterval > day || h.PingTimeout > day {
		return h, fmt.Errorf("wire: handshake %.200q is not one", p.Data)
	}
	return h, nil
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
	d := &Dialed{
		codec: codec, revision: revision, peer: peer, opts: opts, url: *u, http: opts.HTTP,
		wake: make(chan struct{}, 1), polled: make(chan struct{}), flushed: make(chan struct{}),
	}
	q := d.url.Query()
	q.Set("EIO", fmt.Sprint(revision))
	d.url.RawQuery = q.Encode()
	if d.http == nil {
		t := http.DefaultTransport.(*http.Transport).Clone()
		d.http, d.ownHTTP = &http.Client{Transport: t}, true
	}
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
	d.peer.Outbox().Push(transport.NewFrame(transport.EnginePing, ""))
}

// address is the URL of a request.
func (d *Dialed) address(transportName string) string {
	u := d.url
	q := u.Query()
	q.Set("transport", transportName)
	if d.shake.Sid != "" {
		q.Set("sid", d.shake.Sid)
	}
	u.RawQuery = q.Encode()
	return u.String()
}

func (d *Dialed) dialSocket(ctx context.Context) (*Socket, error) {
	// ws for http, wss for https.
	return Dial(ctx, "ws"+strings.TrimPrefix(d.address("websocket"), "http"), d.opts.Header, d.opts.MaxPayload)
}

func (d *Dialed) openSocket(ctx context.Context) error {
	s, err := d.dialSocket(ctx)
	if err != nil {
		return err
	}
	d.socket = s
	if t, ok := ctx.Deadline(); ok {
		if err := s.SetReadDeadline(t); err != nil {
			return err
		}
	}
	binary, data, err := s.Read()
	if err != nil {
		return fmt.Errorf("wire: handshake: %w", err)
	}
	p, err := d.codec.ParseMessage(binary, data)
	if err != nil {
		return err
	}
	if d.shake, err = parseHandshake(p); err != nil {
		return err
	}
	return s.SetReadDeadline(time.Time{})
}

func (d *Dialed) openPolling(ctx context.Context) ([]Packet, error) {
	packets, err := d.poll(ctx)
	if err != nil {
		return nil, err
	}
	if len(packets) == 0 {
		return nil, errors.New("wire: empty handshake")
	}
	if d.shake, err = parseHandshake(packets[0]); err != nil {
		return nil, err
	}
	return packets[1:], nil
}

// poll makes one GET.
func (d *Dialed) poll(ctx context.Context) ([]Packet, error) {
	body, err := d.request(ctx, http.MethodGet, nil)
	if err != nil {
		return nil, err
	}
	packets, err := d.codec.ParsePayload(nil, body)
	if err != nil && d.shake.Sid == "" && otherRevision(body) {
		return nil, transport.ErrUnsupportedVersion
	}
	return packets, err
}

// otherRevision tells whether a handshake is that of revision 3 or 4. Servers of revision 3 do
// not look at the revision that is asked for.
func otherRevision(body []byte) bool {
	digits := bytes.TrimLeft(body, "0123456789")
	return bytes.HasPrefix(body, []byte("0{")) || len(digits) < len(body) && bytes.HasPrefix(digits, []byte(":0{")) ||
		len(body) > 0 && body[0] == 0 // the binary form of revision 3
}

func (d *Dialed) request(ctx context.Context, method string, body []byte) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, method, d.address("polling"), bytes.NewReader(body))
	if err != nil {
		return nil, fmt.Errorf("wire: %w", err)
	}
	for k, v := range d.opts.Header {
		req.Header[k] = v
	}
	if method == http.MethodPost {
		req.Header.Set("Content-Type", "text/plain;charset=UTF-8")
	}
	res, err := d.http.Do(req)
	if err != nil {
		return nil, &transport.DisconnectError{Reason: transport.ReasonTransportError, Err: err}
	}
	defer func() { _ = res.Body.Close() }()
	data, err := io.ReadAll(io.LimitReader(res.Body, d.opts.MaxPayload+1))
	switch {
	case err != nil:
		return nil, &transport.DisconnectError{Reason: transport.ReasonTransportError, Err: err}
	case int64(len(data)) > d.opts.MaxPayload:
		return nil, &transport.DisconnectError{Reason: transport.ReasonPayloadTooLarge,
			Err: fmt.Errorf("answer of more than %d bytes", d.opts.MaxPayload)}
	case res.StatusCode == http.StatusOK:
		return data, nil
	}
	var he struct {
		Code    *int
		Message string
	}
	if json.Unmarshal(data, &he) == nil && he.Code != nil && *he.Code == transport.ErrVersion.Code {
		return nil, transport.ErrUnsupportedVersion
	}
	if bytes.Contains(data, []byte("unsupported version")) { // python-engineio
		return nil, transport.ErrUnsupportedVersion
	}
	return nil, &transport.DisconnectError{Reason: transport.ReasonTransportError,
		Err: fmt.Errorf("%s: %.200q", res.Status, bytes.TrimSpace(data))}
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
		err = d.readSocket(s)
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

func (d *Dialed) readSocket(s *Socket) error {
	for {
		binary, data, err := s.Read()
		if errors.Is(err, io.EOF) {
			return &transport.DisconnectError{Reason: transport.ReasonTransportClose}
		}
		if err != nil {
			return err
		}
		p, err := d.codec.ParseMessage(binary, data)
		if err != nil {
			return err
		}
		if err := d.receive(p); err != nil {
			return asParseError(err)
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
		d.peer.Outbox().Push(transport.NewFrame(transport.EnginePong, string(p.Data)))
	case transport.EngineClose:
		return &transport.DisconnectError{Reason: transport.ReasonTransportClose}
	}
	return nil
}

// upgrade leaves polling for a WebSocket (Engine.IO protocol, "Upgrade"). If the server, or
// something between, will not have it, polling goes on.
func (d *Dialed) upgrade() {
	ctx, cancel := context.WithTimeout(d.ctx, d.opts.HandshakeTimeout)
	defer cancel()
	s, err := d.dialSocket(ctx)
	if err != nil {
		return
	}
	stop := context.AfterFunc(d.ctx, func() { s.Close(transport.ReasonForcedClose) })
	defer stop()
	t, _ := ctx.Deadline()
	_ = s.SetReadDeadline(t)
	if s.WriteMessage(false, []byte("2probe")) != nil {
		s.Close(transport.ReasonForcedClose)
		return
	}
	if binary, data, err := s.Read(); err != nil || binary || string(data) != "3probe" {
		s.Close(transport.ReasonForcedClose)
		return
	}
	// No POST may be under way, and the poll that is must end: the server lets it go.
	d.sending.Lock()
	d.mu.Lock()
	d.upgrading = true
	d.mu.Unlock()
	select {
	case <-d.polled:
	case <-ctx.Done():
		err = &transport.DisconnectError{Reason: transport.ReasonTransportError, Err: errors.New("the server keeps the poll during an upgrade")}
	}
	if err == nil {
		err = d.ctx.Err()
	}
	if err == nil {
		err = s.WriteMessage(false, []byte{transport.EngineUpgrade})
	}
	if err == nil {
		err = s.SetReadDeadline(time.Time{})
	}
	if err == nil {
		d.mu.Lock()
		d.socket = s
		d.mu.Unlock()
	}
	d.sending.Unlock()
	if err == nil {
		err = d.readSocket(s)
	}
	s.Close(transport.ReasonTransportClose)
	d.Close(transport.ReasonOf(err, transport.ReasonTransportClose), err)
}

// write sends what waits, until the session ends.
func (d *Dialed) write() {
	defer close(d.flushed)
	var frames []*transport.Frame
	for {
		d.sending.Lock()
		frames = d.peer.Outbox().Take(min(postBatch, d.maxPost()), frames[:0])
		err := d.send(frames)
		d.sending.Unlock()
		if err != nil {
			d.Close(transport.ReasonOf(err, transport.ReasonTransportError), err)
			return
		}
		if len(frames) > 0 {
			continue
		}
		d.mu.Lock()
		flushing := d.flushing
		d.mu.Unlock()
		if flushing {
			return
		}
		select {
		case <-d.wake:
		case <-d.ctx.Done():
			return
		}
	}
}

func (d *Dialed) maxPost() int {
	if d.shake.MaxPayload > 0 {
		// Base64 makes attachments a third larger.
		return int(d.shake.MaxPayload/4) * 3
	}
	return postBatch
}

func (d *Dialed) send(frames []*transport.Frame) error {
	d.mu.Lock()
	s := d.socket
	d.mu.Unlock()
	if s != nil {
		return d.sendSocket(s, frames)
	}
	for len(frames) > 0 {
		n, packets := 0, 0
		for n < len(frames) {
			packets += 1 + len(frames[n].Attachments())
			if n > 0 && packets > maxPostPackets {
				break
			}
			n++
		}
		if _, err := d.request(d.ctx, http.MethodPost, d.codec.Payload(frames[:n])); err != nil {
			return err
		}
		frames = frames[n:]
	}
	return nil
}

func (d *Dialed) sendSocket(s *Socket, frames []*transport.Frame) error {
	for _, f := range frames {
		if err := s.WriteMessage(false, []byte{f.Kind()}, f.Text()); err != nil {
			return err
		}
		for _, a := range f.Attachments() {
			if err := s.WriteMessage(true, d.codec.BinaryPrefix(), a); err != nil {
				return err
			}
		}
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
