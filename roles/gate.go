package roles

import (
	"context"
	"errors"
	stdlog "log"
	"net"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/sirupsen/logrus"

	"tbmsock/transport"
)

// gate is a listener that keeps some file descriptors free, for the journal and for those who look after the process.
// A connection beyond goes to a small server that answers health checks, and everybody else with 503. It holds a few
// connections only: a new one takes the place of the oldest, so that connections that ask nothing block no check.
//
// No connection is counted for it. The kernel gives each the lowest descriptor that is free, so the number of a new one
// says how many are in use.
type gate struct {
	net.Listener
	log    *logrus.Logger
	now    func() time.Time
	limit  int // of descriptors; 0: not known, and all are let in
	first  int // of the descriptors that are kept free
	most   int // connections that the small server holds
	number func(net.Conn) int
	busy   *http.Server
	refuse func() // counts a connection

	handed chan net.Conn // to the small server
	done   chan struct{}
	close  sync.Once

	mu      sync.Mutex
	held    []net.Conn // by the small server, the oldest first
	refused int        // since the log was told
	told    time.Time
}

const (
	// busyTime is how long one may take to ask the small server.
	busyTime = 5 * time.Second
	// tellEvery is how often the log is told of refused connections.
	tellEvery = 10 * time.Second
)

// newGate keeps an eighth of the descriptors free, 32 to 256 of them, but not more than half.
func newGate(ln net.Listener, ends *endpoints, log *logrus.Logger, errorLog *stdlog.Logger, limit int, number func(net.Conn) int) *gate {
	kept := min(max(limit/8, 32), 256, limit/2)
	g := &gate{Listener: ln, log: log, now: time.Now, limit: limit, first: limit - kept, most: max(kept/2, 1), number: number,
		refuse: func() { ends.sio.Counters().Refused.Add(1) }, handed: make(chan net.Conn), done: make(chan struct{})}
	g.busy = &http.Server{
		Handler:           http.HandlerFunc(ends.busy),
		ReadHeaderTimeout: busyTime, ReadTimeout: busyTime, WriteTimeout: busyTime,
		MaxHeaderBytes: 16 << 10,
		ErrorLog:       errorLog,
	}
	g.busy.SetKeepAlivesEnabled(false)
	return g
}

// busy answers where no descriptor is left for a client.
func (e *endpoints) busy(w http.ResponseWriter, r *http.Request) {
	switch p := r.URL.Path; {
	case p == "/healthz":
		e.ServeHTTP(w, r)
	case p == "/readyz":
		text(w, r, http.StatusServiceUnavailable, "too many open connections\n")
	case p == e.sio.Path() || p+"/" == e.sio.Path():
		transport.WriteHTTPError(w, transport.ErrServerFull)
	default:
		w.Header().Set("Retry-After", "5")
		http.Error(w, "too many open connections", http.StatusServiceUnavailable)
	}
}

// Accept implements [net.Listener].
func (g *gate) Accept() (net.Conn, error) {
	for {
		c, err := g.Listener.Accept()
		switch {
		case err == nil && (g.limit == 0 || g.number(c) < g.first):
			return c, nil
		case err == nil:
			g.hand(c)
		case !exhausted(err):
			return nil, err
		default:
			g.tell(err)
			if !g.evict(0) {
				return nil, err // the HTTP server tries again, more and more seldom
			}
		}
	}
}

// hand gives the connection to the small server.
func (g *gate) hand(c net.Conn) {
	g.refuse()
	g.tell(nil)
	for g.evict(g.most - 1) {
	}
	h := &handedConn{Conn: c, gate: g}
	g.mu.Lock()
	g.held = append(g.held, h)
	g.mu.Unlock()
	select {
	case g.handed <- h:
	case <-g.done:
		_ = h.Close()
	}
}

// evict closes the oldest connection of the small server if there are more than that many; it reports whether it has.
func (g *gate) evict(more int) bool {
	g.mu.Lock()
	if len(g.held) <= more {
		g.mu.Unlock()
		return false
	}
	oldest := g.held[0]
	g.mu.Unlock()
	_ = oldest.Close()
	return true
}

// tell logs refused connections, now and then.
func (g *gate) tell(err error) {
	g.mu.Lock()
	g.refused++
	n, now := g.refused, g.now()
	if !g.told.IsZero() && now.Sub(g.told) < tellEvery {
		g.mu.Unlock()
		return
	}
	g.refused, g.told = 0, now
	g.mu.Unlock()
	e := g.log.WithFields(logrus.Fields{"limit": g.limit, "refused": n})
	if err != nil {
		e = e.WithError(err)
	}
	e.Warn("too many open files: connections refused; raise the limit (ulimit -n, LimitNOFILE)")
}

// serve runs the small server until ctx ends.
func (g *gate) serve(ctx context.Context) {
	stop := context.AfterFunc(ctx, func() { _ = g.busy.Close() })
	defer stop()
	_ = g.busy.Serve(&handedListener{g}) // ends when it is closed
	g.end()
}

func (g *gate) end() {
	g.close.Do(func() { close(g.done) })
}

// handedListener is where the small server gets its connections from.
type handedListener struct{ g *gate }

func (l *handedListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.g.handed:
		return c, nil
	case <-l.g.done:
		return nil, net.ErrClosed
	}
}

func (l *handedListener) Close() error {
	l.g.end()
	return nil
}

func (l *handedListener) Addr() net.Addr { return l.g.Addr() }

// handedConn is a connection of the small server.
type handedConn struct {
	net.Conn
	gate *gate
}

func (c *handedConn) Close() error {
	err := c.Conn.Close()
	c.gate.mu.Lock()
	defer c.gate.mu.Unlock()
	c.gate.held = slices.DeleteFunc(c.gate.held, func(o net.Conn) bool { return o == net.Conn(c) })
	return err
}

// exhausted reports whether there was no descriptor for a connection, of the process or of the system.
func exhausted(err error) bool {
	return slices.ContainsFunc(exhaustion, func(e error) bool { return errors.Is(err, e) })
}
