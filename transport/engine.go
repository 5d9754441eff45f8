package transport

import (
	"context"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
)

// Message is one Engine.IO message: text or binary. Whoever is handed a Message owns Data.
type Message struct {
	Binary bool
	Data   []byte
}

// Handshake is what is known of a client from the HTTP request that opened its connection.
// It is read-only once made, and stays for as long as the connection.
type Handshake struct {
	Header     http.Header // without the fields that ask for a WebSocket; nil if there are no others
	RawQuery   string
	RemoteAddr string
	Time       time.Time // when the request arrived
}

// Query is the request's query, read anew at each call: kept, it would cost every connection more than its URL.
func (h *Handshake) Query() url.Values {
	q, _ := url.ParseQuery(h.RawQuery) // what cannot be read is left out, as net/url has it
	return q
}

// NewHandshake takes from a request what a [Handshake] keeps.
func NewHandshake(r *http.Request) *Handshake {
	h := &Handshake{RawQuery: strings.Clone(r.URL.RawQuery), RemoteAddr: r.RemoteAddr, Time: time.Now()}
	for name, values := range r.Header {
		if name == "Upgrade" || name == "Connection" || strings.HasPrefix(name, "Sec-Websocket-") {
			continue // RFC 6455 section 4.1: of the transport, not of the client
		}
		if h.Header == nil {
			h.Header = http.Header{}
		}
		h.Header[name] = slices.Clone(values) // the slices of a request share one array
	}
	return h
}

// Conn is one Engine.IO connection as the Socket.IO layer sees it, server or client side.
// All methods are safe for concurrent use and none of them blocks on the network.
type Conn interface {
	// ID is the Engine.IO session id. With it anyone can speak for this client over
	// polling, so it is given to nobody else.
	ID() string
	// Revision is the Engine.IO revision: 3 or 4.
	Revision() int
	// Transport is "polling" or "websocket", as it is now.
	Transport() string
	// Handshake is the request that opened the connection; nil on the client side.
	Handshake() *Handshake
	// Close ends the connection. If the reason allows (see [Reason.Flushes]) what waits in
	// the outbox is written first, for at most the engine's drain time. Only the first
	// call's reason counts. It returns at once; Peer.Closed follows.
	Close(Reason, error)
}

// Peer is the Socket.IO end of a [Conn]. An engine calls Opened, then Receive any number of
// times, then Closed, never two of them at once; only Closing may come while another runs.
type Peer interface {
	// Outbox holds what the connection has to write. It is the same for the whole life of
	// the peer.
	Outbox() *Outbox
	// Opened is called once, when the Engine.IO handshake stands in the outbox.
	Opened()
	// Receive takes the next message; it may block, and while it does nothing more is read
	// from this client. An error ends the connection with its reason if it is a
	// [*DisconnectError], with [ReasonParseError] otherwise.
	Receive(Message) error
	// Closing is called once, as soon as the connection begins to end: whatever Receive
	// waits for should be let go. It must not block.
	Closing(Reason, error)
	// Closed is called once, last.
	Closed(Reason, error)
}

// HeartbeatPeer is a [Peer] of a client that wants to know which of its messages have reached the server, whether it
// acknowledges them or not: the server handles the packets of a connection in order.
type HeartbeatPeer interface {
	// HeartbeatSent is called before a heartbeat (a pong; in revision 3 a ping) is pushed to the Outbox.
	HeartbeatSent()
	// HeartbeatArrived is called when the server has reacted to the oldest heartbeat that it has not reacted to before:
	// by the next ping, in revision 3 by the pong. Whatever was pushed before that heartbeat has reached the server.
	HeartbeatArrived()
}

// Acceptor makes the peer of a new connection; the engine refuses the handshake with the
// error, if there is one.
type Acceptor func(Conn) (Peer, error)

// Engine serves one revision of the Engine.IO protocol. Its ServeHTTP gets every request on
// the Socket.IO path that asks for that revision, with CORS already answered.
type Engine interface {
	http.Handler
	// Revision is the value of the EIO query parameter that this engine serves.
	Revision() int
	// Shutdown takes no new connection, closes the open ones with the reason, and returns
	// when every goroutine of the engine has ended. When ctx ends first, it cuts what is
	// left and still waits.
	Shutdown(ctx context.Context, reason Reason) error
}

// EngineOptions is what every engine is told. Zero values mean the defaults named.
type EngineOptions struct {
	PingInterval     time.Duration // 25 s
	PingTimeout      time.Duration // 20 s
	HandshakeTimeout time.Duration // 10 s; for an upgrade and for a WebSocket handshake
	DrainTimeout     time.Duration // 5 s; for writing what waits when a connection is closed
	MaxPayload       int64         // 1,000,000 bytes; one message, one POST body
	// Compress is the size, in bytes, from which a message is compressed for a client that offers
	// permessage-deflate (RFC 7692), and an answer to a poll for one that takes gzip; 0: none is, and
	// nothing is agreed to. [DefaultCompress] is what Socket.IO has.
	Compress int
	Counters *Counters // nil: counted, but nobody can read it
	// OnRefused, if not nil, is told of every request that is refused. It must not block.
	OnRefused func(Refused)
}

// WithDefaults returns o with every zero value replaced.
func (o EngineOptions) WithDefaults() EngineOptions {
	orDuration(&o.PingInterval, 25*time.Second)
	orDuration(&o.PingTimeout, 20*time.Second)
	orDuration(&o.HandshakeTimeout, 10*time.Second)
	orDuration(&o.DrainTimeout, 5*time.Second)
	if o.MaxPayload <= 0 {
		o.MaxPayload = 1_000_000
	}
	if o.Counters == nil {
		o.Counters = new(Counters)
	}
	return o
}

func orDuration(d *time.Duration, def time.Duration) {
	if *d <= 0 {
		*d = def
	}
}

// NewEngine makes an engine whose new connections go to accept.
type NewEngine func(EngineOptions, Acceptor) Engine

// DialOptions is what a client-side engine is told.
type DialOptions struct {
	// Transports to use, in order; more than one means: begin with the first and upgrade.
	// Empty means polling, then websocket.
	Transports []string
	// Header is added to every request; may be nil. After a redirect to another origin Authorization and Cookie
	// are left out.
	Header     http.Header
	MaxPayload int64 // largest message accepted; 0: 16 MiB
	// Compress is the size, in bytes, from which messages are compressed, if the server agrees to
	// permessage-deflate; 0: it is not offered.
	Compress int
	// HTTP is used for polling, not for a WebSocket's handshake; nil: a client of the engine's own, whose
	// connections end with the session.
	HTTP *http.Client
	// Proxy returns the proxy (http, https, socks5 or socks5h) for an http or https URL, nil for none. It serves
	// WebSockets, and polling unless HTTP is set. nil: [http.ProxyFromEnvironment].
	Proxy func(*url.URL) (*url.URL, error)
	// HandshakeTimeout bounds each step of the handshake; 0: 10 s.
	HandshakeTimeout time.Duration
	// DrainTimeout bounds the writing of what waits when the connection is closed; 0: 5 s.
	DrainTimeout time.Duration
}

// Dialer opens client connections of one Engine.IO revision. Dial returns when the handshake
// is done (an upgrade goes on behind it), having called nothing on peer but Outbox; Opened, Receive and
// Closed come from the connection's own goroutines. ctx bounds the handshake only. Credentials in the URL are
// sent as Basic authorization. Up to ten redirects are followed, but none from https to http.
// [ErrUnsupportedVersion] means that the server wants another revision.
type Dialer interface {
	Revision() int
	Dial(ctx context.Context, u *url.URL, opts DialOptions, peer Peer) (Conn, error)
}
