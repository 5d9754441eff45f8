package engine4

import (
	"context"
	"net/http"
	"sync"

	"tbmsock/transport"
	"tbmsock/transport/wire"
)

// Engine is the server side of Engine.IO 4. Make it with [New].
type Engine struct {
	opts    transport.EngineOptions
	accept  transport.Acceptor
	writers *wire.Writers

	mu       sync.Mutex
	conns    map[string]*conn // by Engine.IO session id
	stopping bool
	running  sync.WaitGroup // one for each conn
}

// New makes an engine; it is a [transport.NewEngine].
func New(opts transport.EngineOptions, accept transport.Acceptor) transport.Engine {
	return &Engine{opts: opts.WithDefaults(), accept: accept, writers: wire.NewWriters(), conns: map[string]*conn{}}
}

// Revision is 4.
func (e *Engine) Revision() int { return 4 }

// ServeHTTP takes every request with EIO=4 (Engine.IO protocol, "Introduction" and "Transports").
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
		c.upgrade(w, r)
	case r.Method == http.MethodGet:
		c.link.ServeGet(w, r)
	default:
		c.link.ServePost(w, r)
	}
}

func (e *Engine) handshake(w http.ResponseWriter, r *http.Request, name string) {
	c := newConn(e, r)
	peer, err := e.accept(c)
	if err != nil {
		e.opts.Refuse(w, r, err)
		return
	}
	if !e.add(c, peer) {
		peer.Closed(transport.ReasonServerShutdown, nil)
		e.opts.Refuse(w, r, transport.ErrServerStopping)
		return
	}
	if name == "polling" {
		c.open([]string{"websocket"})
		c.link.ServeGet(w, r)
		return
	}
	s, err := wire.Accept(w, r, e.opts)
	if err != nil {
		e.opts.NoteRefused(r, transport.RefusedHandshake, err)
		c.Close(transport.ReasonTransportError, err)
		return
	}
	c.open([]string{})
	if !c.link.Attach(s) {
		s.Close(transport.ReasonServerShutdown)
	}
}

// add makes the conn known, unless the engine stops.
func (e *Engine) add(c *conn, peer transport.Peer) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.stopping {
		return false
	}
	c.start(peer)
	e.conns[c.id] = c
	e.running.Add(1)
	return true
}

func (e *Engine) remove(c *conn) {
	e.mu.Lock()
	delete(e.conns, c.id)
	e.mu.Unlock()
	e.running.Done()
}

// Shutdown implements [transport.Engine].
func (e *Engine) Shutdown(ctx context.Context, reason transport.Reason) error {
	e.mu.Lock()
	e.stopping = true
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
	select {
	case <-stopped:
		return nil
	case <-ctx.Done():
	}
	for _, c := range conns {
		c.abort()
	}
	<-stopped
	return context.Cause(ctx)
}
