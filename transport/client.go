package transport

import (
	"context"
	"errors"
	"math/rand/v2"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// ClientOptions configures a [Client]. URL and Dialers are required; the zero value of every
// other field means the default named. The functions must not block: they run on the
// connection's own goroutines.
type ClientOptions struct {
	// URL is the server's address, "http://127.0.0.1:8080"; see [ParseServerURL]. Credentials in it are sent as
	// Basic authorization, its query with each request.
	URL string
	// Others are further addresses of the same hub: when one fails the next is tried, and after the last the first.
	Others    []string
	Path      string // "/socket.io/"
	Namespace string // "/"
	// Auth is sent when the namespace is opened (Socket.IO revision 5 only); any JSON value.
	Auth any
	// Header is added to each HTTP request.
	Header http.Header
	// Proxy is as in [DialOptions].
	Proxy func(*url.URL) (*url.URL, error)
	// Dialers open connections; the first whose revision the server speaks is kept.
	Dialers []Dialer
	// Transports to use, in order; nil: polling, then an upgrade to WebSocket.
	Transports []string
	// Compress is the size, in bytes, from which messages to the server are compressed, if it
	// agrees; it may then compress too. 0: compression is not offered. Only for a WebSocket.
	Compress int
	Backoff  Backoff
	// ConnectTimeout bounds the handshake, and then the opening of the namespace; 10 s.
	ConnectTimeout time.Duration
	// DrainTimeout bounds the sending of what waits when the client ends; 5 s.
	DrainTimeout time.Duration
	// ComeBack makes the client connect again when the server has put it out (a DISCONNECT
	// packet). Without it Run then returns.
	ComeBack bool
	Publish  PublishOptions

	// OnDial is told of the address of each attempt to connect, without the password and the query ([RedactURL]).
	OnDial       func(url string)
	OnConnect    func(sid string, c Conn)
	OnDisconnect func(Reason, error)
	// OnRetry is told of each failed attempt, and of the end of each connection, and how long
	// the client waits until the next attempt.
	OnRetry func(err error, wait time.Duration)
	// OnJoin is told of the server's answer to a join; err is an [*AckError] or nil.
	OnJoin func(room string, err error)
	// Report gets errors that nobody else is told: a handler that panicked.
	Report func(error)
}

// Backoff is the wait between attempts to connect: it begins at Min, doubles up to Max, and is
// shortened by a random part of up to a half, so that the clients of a server that was restarted
// do not come all at once.
type Backoff struct {
	Min  time.Duration  // 500 ms
	Max  time.Duration  // 15 s
	Rand func() float64 // in [0, 1); math/rand
}

func (b Backoff) wait(attempt int) time.Duration {
	d := b.Max
	if attempt < 20 {
		d = min(b.Max, b.Min<<attempt)
	}
	return d - time.Duration(b.Rand()*float64(d)/2)
}

// Client is a Socket.IO client that comes back after a broken link. Make it with [NewClient],
// define handlers, and call Run. All methods are safe for concurrent use.
type Client struct {
	opts     ClientOptions
	urls     []*url.URL // of the endpoint
	at       int        // the address that is used; Run's
	handlers sync.Map   // event name -> Handler
	pub      publisher
	version  atomic.Int32 // index of the dialer that works

	follow atomic.Pointer[following] // nil: the client does not follow

	mu    sync.Mutex
	conn  *clientConn   // the namespace is open on it; nil: not connected
	rooms []string      // joined, and to be joined again
	held  chan struct{} // not nil: no connection until it is closed
}

// ConnectError is the server's refusal of the namespace.
type ConnectError struct {
	Message string
	Data    Value // revision 5: what the server added; revision 4: all that it said
}

func (e *ConnectError) Error() string { return "refused by the server: " + e.Message }

// ErrNotConnected is returned where a client would have to be connected.
var ErrNotConnected = errors.New("transport: not connected")

// NewClient makes a client that is not connected yet.
func NewClient(opts ClientOptions) (*Client, error) {
	if opts.Path == "" {
		opts.Path = "/socket.io/"
	}
	if opts.Namespace == "" {
		opts.Namespace = "/"
	}
	if err := CheckNamespace(opts.Namespace); err != nil {
		return nil, err
	}
	if len(opts.Dialers) == 0 {
		return nil, errors.New("transport: a client needs at least one dialer")
	}
	orDuration(&opts.Backoff.Min, 500*time.Millisecond)
	orDuration(&opts.Backoff.Max, 15*time.Second)
	orDuration(&opts.ConnectTimeout, 10*time.Second)
	orDuration(&opts.DrainTimeout, 5*time.Second)
	if opts.Backoff.Rand == nil {
		opts.Backoff.Rand = rand.Float64
	}
	c := &Client{opts: opts}
	for _, address := range append([]string{opts.URL}, opts.Others...) {
		u, err := ParseServerURL(address)
		if err != nil {
			return nil, err
		}
		endpoint := url.URL{Path: "/" + strings.Trim(opts.Path, "/") + "/"}
		u.RawPath = strings.TrimSuffix(u.EscapedPath(), "/") + endpoint.EscapedPath()
		u.Path = strings.TrimSuffix(u.Path, "/") + endpoint.Path
		u.RawQuery = withParameter(u.RawQuery, "attachments="+strconv.Itoa(maxAttachments)) // see declaredAttachments
		c.urls = append(c.urls, u)
	}
	c.pub.init(c, opts.Publish)
	return c, nil
}

// On defines what happens with an event of the server's; handlers run in the order of its
// packets. A second call for a name replaces the first. It panics if the name is one of the
// protocol's own.
func (c *Client) On(event string, h Handler) {
	if err := CheckEvent(event); err != nil {
		panic(err)
	}
	c.handlers.Store(event, h)
}

// Run connects, and connects again whenever the connection ends, until ctx ends: it then tells
// the server, sends what waits, and returns nil. It returns an error only if the server has put
// the client out and ComeBack is not set. All goroutines of the client have ended when it
// returns. Call it once.
func (c *Client) Run(ctx context.Context) error {
	defer c.pub.stop()
	for attempt := 0; ; attempt++ {
		if !c.released(ctx) {
			return nil
		}
		before := c.pub.settled()
		open, err := c.once(ctx)
		if ctx.Err() != nil {
			return nil
		}
		// A server that ends each connection for what waits first shall not be asked twice a second for ever.
		if open && c.pub.movedOn(before) {
			attempt = 0
		}
		if ReasonOf(err, ReasonNone) == ReasonServerDisconnect && !c.opts.ComeBack {
			return err
		}
		if errors.Is(err, ErrUnsupportedVersion) && c.nextDialer() {
			continue
		}
		// All addresses are tried before the wait becomes longer.
		wait := c.opts.Backoff.wait(attempt / len(c.urls))
		c.at = (c.at + 1) % len(c.urls)
		if c.opts.OnRetry != nil {
			c.opts.OnRetry(err, wait)
		}
		t := time.NewTimer(wait)
		select {
		case <-t.C:
		case <-ctx.Done():
			t.Stop()
			return nil
		}
	}
}

var errHeld = errors.New("the link is held")

// Hold breaks the connection, as a broken link would, and connects no more until Release: what is
// published meanwhile waits. It is for rehearsals.
func (c *Client) Hold() {
	c.mu.Lock()
	if c.held == nil {
		c.held = make(chan struct{})
	}
	cc := c.conn
	c.mu.Unlock()
	if cc != nil {
		cc.conn.Close(ReasonTransportError, errHeld)
	}
}

// Release ends what Hold began.
func (c *Client) Release() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.held != nil {
		close(c.held)
		c.held = nil
	}
}

// released waits until the link is not held; false if ctx ends first.
func (c *Client) released(ctx context.Context) bool {
	c.mu.Lock()
	held := c.held
	c.mu.Unlock()
	if held == nil {
		return true
	}
	select {
	case <-held:
		return true
	case <-ctx.Done():
		return false
	}
}

// nextDialer moves on to the next revision; false if the first comes next again.
func (c *Client) nextDialer() bool {
	next := (int(c.version.Load()) + 1) % len(c.opts.Dialers)
	c.version.Store(int32(next))
	return next != 0
}

// once is the life of one connection. open tells whether the namespace was ever open.
func (c *Client) once(ctx context.Context) (open bool, err error) {
	if c.opts.OnDial != nil {
		c.opts.OnDial(RedactURL(append([]string{c.opts.URL}, c.opts.Others...)[c.at]))
	}
	cc := newClientConn(c)
	defer cc.cancel(ErrClosed)
	conn, err := c.opts.Dialers[c.version.Load()].Dial(ctx, c.endpoint(), DialOptions{
		Transports:       c.opts.Transports,
		Header:           c.opts.Header,
		Proxy:            c.opts.Proxy,
		Compress:         c.opts.Compress,
		HandshakeTimeout: c.opts.ConnectTimeout,
		DrainTimeout:     c.opts.DrainTimeout,
	}, cc)
	if err != nil {
		return false, err
	}
	cc.dialed(conn)
	timeout := time.AfterFunc(c.opts.ConnectTimeout, func() {
		if !cc.isOpen() {
			conn.Close(ReasonHandshakeTimeout, errors.New("the server does not open the namespace"))
		}
	})
	defer timeout.Stop()
	select {
	case <-ctx.Done():
		cc.leave()
		<-cc.ended
	case <-cc.ended:
	}
	return cc.wasOpen, cc.err
}

// endpoint is the address of the next connection. A follower says so in the query, since revision 4 has no other place
// for it; see [declaresFollow].
func (c *Client) endpoint() *url.URL {
	u := c.urls[c.at]
	if c.follow.Load() == nil {
		return u
	}
	follow := *u
	follow.RawQuery = withParameter(follow.RawQuery, "follow=1")
	return &follow
}

// withParameter appends a parameter to a query, whose own ones keep their order.
func withParameter(query, parameter string) string {
	if query == "" {
		return parameter
	}
	return query + "&" + parameter
}

// opened is called when the namespace is open on cc: rooms first, so that they are joined before anything is published.
func (c *Client) opened(cc *clientConn) {
	c.mu.Lock()
	c.conn = cc
	rooms, held := slices.Clone(c.rooms), c.held != nil
	c.mu.Unlock()
	if held { // since the attempt began
		cc.conn.Close(ReasonTransportError, errHeld)
		return
	}
	if c.opts.OnConnect != nil {
		c.opts.OnConnect(cc.sid, cc.conn)
	}
	follow := c.follow.Load()
	if follow != nil {
		follow.begin(cc)
	}
	for _, room := range rooms {
		if follow == nil || !slices.Contains(follow.Rooms, room) {
			c.join(cc, room)
		}
	}
	c.pub.connected(cc)
}

func (c *Client) closed(cc *clientConn, reason Reason, err error) {
	c.mu.Lock()
	was := c.conn == cc
	if was {
		c.conn = nil
	}
	c.mu.Unlock()
	if !was {
		return
	}
	c.pub.disconnected()
	if c.opts.OnDisconnect != nil {
		c.opts.OnDisconnect(reason, err)
	}
}

func (c *Client) current() (*clientConn, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.conn == nil {
		return nil, ErrNotConnected
	}
	return c.conn, nil
}

// Connected tells whether the namespace is open.
func (c *Client) Connected() bool {
	_, err := c.current()
	return err == nil
}

// Sid is the id that the server knows the client by, "" when it is not connected. It changes
// with every connection.
func (c *Client) Sid() string {
	if cc, err := c.current(); err == nil {
		return cc.sid
	}
	return ""
}

// Emit sends the event if the client is connected, and forgets it: it may be lost with the
// connection. See [Client.Publish] for what must arrive.
func (c *Client) Emit(event string, args ...any) error {
	cc, err := c.current()
	if err != nil {
		return err
	}
	f, err := eventFrame(c.opts.Namespace, event, args, 0, false)
	if err != nil {
		return err
	}
	return cc.push(f)
}

// EmitAck sends the event and waits for the server's answer, until ctx ends. It is
// [ErrAckInOrder] in a handler of this client's.
func (c *Client) EmitAck(ctx context.Context, event string, args ...any) (Args, error) {
	cc, err := c.current()
	if err != nil {
		return nil, err
	}
	if holdsUp(ctx, cc) {
		return nil, ErrAckInOrder
	}
	return cc.acks.ask(ctx, func(id uint64) error {
		f, err := eventFrame(c.opts.Namespace, event, args, id, true)
		if err != nil {
			return err
		}
		return cc.push(f)
	})
}

// Join asks the server for the room, now if the client is connected, and after every connection
// until Leave. The answer goes to OnJoin.
func (c *Client) Join(room string) error {
	if err := CheckRoom(room); err != nil {
		return err
	}
	c.mu.Lock()
	cc := c.conn
	if !slices.Contains(c.rooms, room) {
		c.rooms = append(c.rooms, room)
	}
	c.mu.Unlock()
	if cc != nil {
		c.join(cc, room)
	}
	return nil
}

func (c *Client) join(cc *clientConn, room string) {
	_, err := cc.ask("join", []any{room}, func(args Args, err error) {
		if err == nil {
			if refusal := ackError(args); refusal != nil {
				err = refusal
			}
			if c.opts.OnJoin != nil {
				c.opts.OnJoin(room, err)
			}
		}
	})
	if err != nil && c.opts.OnJoin != nil && !errors.Is(err, ErrClosed) {
		c.opts.OnJoin(room, err)
	}
}

// Leave ends what Join began.
func (c *Client) Leave(room string) {
	c.mu.Lock()
	c.rooms = slices.DeleteFunc(c.rooms, func(r string) bool { return r == room })
	c.mu.Unlock()
	_ = c.Emit("leave", room) // a server that is not connected knows no rooms of ours
}

// ackError returns the error in {ok:false, error:{code, message}}. Any other answer means yes, nil:
// servers that are not ours answer what they like.
func ackError(args Args) *AckError {
	if len(args) == 0 {
		return nil
	}
	var a struct {
		OK    *bool
		Error *AckError
	}
	if args[0].Decode(&a) != nil || a.OK == nil || *a.OK {
		return nil
	}
	if a.Error == nil {
		return &AckError{Code: "refused", Message: "the server gives no reason"}
	}
	return a.Error
}
