package transport

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"runtime/debug"
	"strings"
	"sync"
	"sync/atomic"
)

// ServerOptions configures a [Server]. The zero value of each field means the default named.
type ServerOptions struct {
	EngineOptions

	// Engines serve the revisions of Engine.IO; at least one.
	Engines []NewEngine
	// Path of the Socket.IO endpoint; "/socket.io/".
	Path string
	// Origins that a browser's page may come from, beside the server's own: "scheme://host",
	// "scheme://host:*" for any port, "file://", "null", or "*". nil: localhost at any port.
	Origins []string
	// JSONP are the origins, "scheme://host" or "scheme://host:*", whose pages may poll by script elements (revision 3
	// with the parameter j). nil: none may, since no browser keeps the pages of others from reading them.
	JSONP []string
	// QueueLimit is the number of bytes that may wait for one client; 1 MiB. With Compress a packet
	// that waits counts twice, since it may be held plain and compressed.
	QueueLimit int
	// SlowClient is what happens to a client for which more would wait; DropOldest.
	SlowClient SlowPolicy
	// MaxClients is how many connections may be open; 0: any number.
	MaxClients int
	// OnSession and OnSessionClosed, if not nil, are told of every connection. They must not
	// block.
	OnSession       func(*Session)
	OnSessionClosed func(*Session, Reason, error)
	// Report, if not nil, gets errors that nobody else is told: a handler that panicked.
	Report func(error)
}

// Server is a Socket.IO server. Make it with [NewServer], define namespaces and handlers, and
// serve it as an http.Handler. All methods are safe for concurrent use.
//
// The http.Server around it needs a ReadHeaderTimeout, and a WriteTimeout that is longer than PingInterval, since a poll
// waits that long: they end connections of clients that send half a request, or read no answer. WebSockets are not theirs.
type Server struct {
	opts    ServerOptions
	origins *originPolicy
	jsonp   *originPolicy
	engines map[string]Engine // by the value of the EIO parameter

	cluster atomic.Pointer[Cluster] // nil: no other nodes

	mu         sync.RWMutex
	namespaces map[string]*Namespace
	stopping   bool

	running  sync.WaitGroup // concurrent handlers
	stopOnce sync.Once
	stopErr  error
}

// NewServer makes a server with the main namespace "/".
func NewServer(opts ServerOptions) (*Server, error) {
	opts.EngineOptions = opts.WithDefaults()
	if opts.Path == "" {
		opts.Path = "/socket.io/"
	}
	if !strings.HasPrefix(opts.Path, "/") || strings.ContainsAny(opts.Path, "?# ") {
		return nil, fmt.Errorf("path %q: use an absolute path such as /socket.io/", opts.Path)
	}
	if !strings.HasSuffix(opts.Path, "/") {
		opts.Path += "/"
	}
	if opts.QueueLimit <= 0 {
		opts.QueueLimit = 1 << 20
	}
	if len(opts.Engines) == 0 {
		return nil, errors.New("transport: a server needs at least one engine")
	}
	origins, err := newOriginPolicy(opts.Origins)
	if err != nil {
		return nil, err
	}
	for _, o := range opts.JSONP {
		if err := CheckJSONP(o); err != nil {
			return nil, err
		}
	}
	jsonp, err := newOriginPolicy(opts.JSONP)
	if err != nil {
		return nil, err
	}
	s := &Server{opts: opts, origins: origins, jsonp: jsonp, engines: map[string]Engine{}, namespaces: map[string]*Namespace{}}
	s.namespaces["/"] = newNamespace(s, "/")
	for _, newEngine := range opts.Engines {
		e := newEngine(opts.EngineOptions, s.accept)
		s.engines[fmt.Sprint(e.Revision())] = e
	}
	return s, nil
}

// Of returns the namespace, making it if it is new; a name without a leading slash gets one. It
// panics on a name that is none ([CheckNamespace]).
func (s *Server) Of(name string) *Namespace {
	if !strings.HasPrefix(name, "/") {
		name = "/" + name
	}
	if err := CheckNamespace(name); err != nil {
		panic(err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	n := s.namespaces[name]
	if n == nil {
		n = newNamespace(s, name)
		s.namespaces[name] = n
	}
	return n
}

func (s *Server) namespace(name string) *Namespace {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.namespaces[name]
}

// Counters are the server's counters.
func (s *Server) Counters() *Counters { return s.opts.Counters }

// Path is the Socket.IO endpoint's path, with a slash at both ends.
func (s *Server) Path() string { return s.opts.Path }

var errFull = errors.New("server is full")

// accept is the [Acceptor] of all engines.
func (s *Server) accept(c Conn) (Peer, error) {
	s.mu.RLock()
	stopping := s.stopping
	s.mu.RUnlock()
	if stopping {
		return nil, ErrClosed
	}
	open := s.opts.Counters.Sessions.Add(1)
	if s.opts.MaxClients > 0 && open > int64(s.opts.MaxClients) {
		s.opts.Counters.Sessions.Add(-1)
		return nil, errFull
	}
	s.opts.Counters.Opened.Add(1)
	sn := newSession(s, c)
	if s.opts.OnSession != nil {
		s.opts.OnSession(sn)
	}
	return sn, nil
}

// guard calls f, a handler, and reports a panic instead of passing it on: one handler's mistake
// on one client's packet must not end everybody's server.
func (s *Server) guard(f func()) {
	defer func() {
		if v := recover(); v != nil {
			s.report(fmt.Errorf("transport: handler panicked: %v\n%s", v, debug.Stack()))
		}
	}()
	f()
}

func (s *Server) report(err error) {
	if s.opts.Report != nil {
		s.opts.Report(err)
	}
}

// Shutdown stops taking clients, tells those connected, writes what waits for them, and returns
// when every goroutine of the server has ended. When ctx ends first what is left is cut off.
func (s *Server) Shutdown(ctx context.Context) error {
	s.stopOnce.Do(func() {
		s.mu.Lock()
		s.stopping = true
		s.mu.Unlock()
		var wg sync.WaitGroup
		errs := make(chan error, len(s.engines))
		for _, e := range s.engines {
			wg.Go(func() { errs <- e.Shutdown(ctx, ReasonServerShutdown) })
		}
		wg.Wait()
		close(errs)
		for err := range errs {
			s.stopErr = errors.Join(s.stopErr, err)
		}
		s.running.Wait()
	})
	return s.stopErr
}

var _ http.Handler = (*Server)(nil)
