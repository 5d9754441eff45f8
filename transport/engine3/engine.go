package engine3

import (
	"context"
	"net/http"
	"sync"

	"github.com/googollee/go-socket.io/engineio"
	ggtransport "github.com/googollee/go-socket.io/engineio/transport"

	"tbmsock/transport"
	"tbmsock/transport/wire"
)

// Engine is the server side of Engine.IO 3. Make it with [New].
type Engine struct {
	opts    transport.EngineOptions
	accept  transport.Acceptor
	writers *wire.Writers
	gg      *engineio.Server

	mu         sync.Mutex
	conns      map[string]*conn // by Engine.IO session id
	stopping   bool
	handshakes sync.WaitGroup // from the request until the session has been accepted
	running    sync.WaitGroup // one for each conn
	acceptor   sync.WaitGroup // the loop that takes sessions from gg
}

// New makes an engine; it is a [transport.NewEngine].
func New(opts transport.EngineOptions, accept transport.Acceptor) transport.Engine {
	e := &Engine{opts: opts.WithDefaults(), accept: accept, writers: wire.NewWriters(), conns: map[string]*conn{}}
	e.gg = engineio.NewServer(&engineio.Options{
		PingInterval:       e.opts.PingInterval,
		PingTimeout:        e.opts.PingTimeout,
		Transports:         []ggtransport.Transport{carrier("polling"), carrier("websocket")},
		SessionIDGenerator: ids{},
	})
	e.acceptor.Go(e.acceptLoop)
	return e
}

// ids makes session ids that nobody guesses; the module's own are 1, 2, 3.
type ids struct{}

func (ids) NewID() string { return transport.NewSid() }

// Revision is 3.
func (e *Engine) Revision() int { return 3 }

// ServeHTTP takes every request with EIO=3. What reaches the module below is a handshake, or an
// upgrade, that is well formed.
func (e *Engine) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	req, err := wire.ParseRequest(r)
	if err != nil {
		e.opts.Refuse(w, r, err)
		return
	}
	if req.Sid == "" {
		e.handshake(w, r, req.Transport)
		return
	}
	e.mu.Lock()
	c := e.conns[req.Sid]
	e.mu.Unlock()
	switch {
	case c == nil:
		e.opts.Refuse(w, r, transport.ErrUnknownSession)
	case req.Upgrade:
		e.upgrade(w, r, c)
	case r.Method == http.MethodGet:
		c.link.ServeGet(w, r)
	default:
		c.link.ServePost(w, r)
	}
}

func (e *Engine) handshake(w http.ResponseWriter, r *http.Request, name string) {
	if !e.begin() {
		e.opts.Refuse(w, r, transport.ErrServerStopping)
		return
	}
	c := newConn(e, r)
	peer, err := e.accept(c)
	if err != nil {
		e.handshakes.Done()
		e.opts.Refuse(w, r, err)
		return
	}
	c.start(peer)
	if name == "websocket" {
		// Here and not below the module, which would answer a failure a second time.
		if c.first, err = wire.Accept(w, r, e.opts); err != nil {
			e.handshakes.Done()
			e.opts.NoteRefused(r, transport.RefusedHandshake, err)
			c.link.Cut(transport.ReasonTransportError)
			peer.Closed(transport.ReasonTransportError, err)
			return
		}
	}
	e.running.Add(1)
	// The module makes the session and writes the OPEN packet; acceptLoop gets the session. It
	// then asks the carrier to answer this request, if it is a poll.
	e.gg.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), carriedKey{}, &carried{conn: c})))
}

// begin counts a handshake, unless the engine stops.
func (e *Engine) begin() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.stopping {
		return false
	}
	e.handshakes.Add(1)
	return true
}

// acceptLoop takes the sessions that the module has made. A session is known to requests before
// its client learns its id: the module makes it known after it has written the handshake, which
// a quick client would see as an unknown session.
func (e *Engine) acceptLoop() {
	for {
		s, err := e.gg.Accept()
		if err != nil {
			return
		}
		c := s.RemoteAddr().(*addr).conn
		e.mu.Lock()
		e.conns[s.ID()] = c
		e.mu.Unlock()
		c.accepted(s)
		e.handshakes.Done()
	}
}

func (e *Engine) upgrade(w http.ResponseWriter, r *http.Request, c *conn) {
	begun := c.beginUpgrade()
	s, err := wire.Accept(w, r, e.opts)
	if err != nil {
		e.opts.NoteRefused(r, transport.RefusedHandshake, err)
		if begun {
			c.endUpgrade()
		}
		return
	}
	if !begun {
		// Engine.IO protocol, "WebSocket": a second one is closed.
		e.opts.NoteRefused(r, transport.RefusedUpgrade, wire.ErrSecondSocket)
		s.Close(transport.ReasonForcedClose)
		return
	}
	cand := &candidate{conn: c, socket: s, request: r}
	c.setCandidate(cand)
	// The module leads through probe and upgrade on a goroutine of its own.
	e.gg.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), carriedKey{}, &carried{candidate: cand})))
}

func (e *Engine) remove(c *conn) {
	e.mu.Lock()
	delete(e.conns, c.ID())
	e.mu.Unlock()
	e.gg.Remove(c.ID())
	e.running.Done()
}

// Shutdown implements [transport.Engine].
func (e *Engine) Shutdown(ctx context.Context, reason transport.Reason) error {
	e.mu.Lock()
	e.stopping = true
	e.mu.Unlock()
	// The module closes a channel that a handshake may still send on: let them end first.
	e.handshakes.Wait()
	e.mu.Lock()
	conns := make([]*conn, 0, len(e.conns))
	for _, c := range e.conns {
		conns = append(conns, c)
	}
	e.mu.Unlock()
	for _, c := range conns {
		c.Close(reason, nil)
	}
	stopped := make(chan struct{})
	go func() {
		e.running.Wait()
		e.writers.Wait()
		close(stopped)
	}()
	var err error
	select {
	case <-stopped:
	case <-ctx.Done():
		err = context.Cause(ctx)
		for _, c := range conns {
			c.abort()
		}
		<-stopped
	}
	_ = e.gg.Close()
	e.acceptor.Wait()
	return err
}
