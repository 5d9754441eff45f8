package roles

import (
	"context"
	"errors"
	"fmt"
	stdlog "log"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/oklog/run"
	"github.com/sirupsen/logrus"
	"github.com/urfave/cli/v2"

	"tbmsock/transport"
	"tbmsock/transport/bus"
	"tbmsock/transport/engine3"
	"tbmsock/transport/engine4"
	"tbmsock/transport/journal"
)

func serverFlags() []cli.Flag {
	return slices.Concat([]cli.Flag{
		textFlag("listen", "address to listen on, host:port; port 0 takes a free one", "127.0.0.1:8080"),
		textFlag("path", "path of the Socket.IO endpoint", "/socket.io/"),
		listFlag("namespace", "namespace in which telemetry is relayed, each with rooms of its own (repeatable)", transport.CheckNamespace, "/"),
		listFlag("cors-origin", "origin whose pages may connect: scheme://host[:port] (port * for any), file:// and null for clients without a host such as Electron and ESP32 boards, or * for every origin (repeatable; default: the same origin, and localhost at any port)", transport.CheckOrigin),
		listFlag("host", "name of the server for browsers, such as tbm.example behind a proxy; its host name, its addresses and localhost need none (repeatable)", checkHost),
		listFlag("jsonp", "origin whose pages may poll by script elements (JSONP, for browsers of before 2012): scheme://host[:port] (port * for any); the origin is that of the Referer, and without one the request is refused (repeatable; default: none)", transport.CheckJSONP),
		listFlag("alias", "NAME=log_telemetry: take events of that name as log_telemetry, and send every log_telemetry under it too (repeatable)", checkAlias),
		durationFlag("ping-interval", "time between heartbeats", 25*time.Second, 100*time.Millisecond, time.Hour),
		durationFlag("ping-timeout", "how late a heartbeat may be", 20*time.Second, 100*time.Millisecond, time.Hour),
		durationFlag("handshake-timeout", "time for a request's header, an upgrade, and the first namespace", 10*time.Second, 100*time.Millisecond, time.Hour),
		bytesFlag("max-payload", "largest message or POST body that is taken", 1e6, 1e3, 1e9),
		countFlag("max-clients", "how many connections may be open, 0 for any number", 0, 10_000_000),
		// The least holds the acknowledgements of all events that a publisher of ours has in flight: one that is slow to
		// take them would be disconnected again and again.
		bytesFlag("queue-limit", "how much may wait for one client", 1<<20, 64<<10, 1<<30),
		choiceFlag("slow-client", "what happens to a client for which more would wait", "drop-oldest", "disconnect"),
		compressFlag(),
		dictionaryFlag(),
		drainFlag(),
	}, webFlags(), journalFlags())
}

func serverCommand() *cli.Command {
	return &cli.Command{
		Name:  "server",
		Usage: "route telemetry between Socket.IO clients",
		Description: "Serves every Socket.IO client (socket.io-client 1 to 4, python-socketio 4 and 5, by\n" +
			"polling or WebSocket) and sends each log_telemetry to the room that it names, or to all.\n\n" +
			"Example: tbmsock server --listen 127.0.0.1:8080 --cors-origin http://ops.example:4200",
		Flags: append(serverFlags(), logFlags()...),
		Action: func(c *cli.Context) error {
			hangups := hangups()
			log := newLog(c, c.App.ErrWriter)
			s, err := newServerRole(c, log)
			if err != nil {
				return &usageError{c.Command.Name, err}
			}
			s.hangups = hangups
			if err := s.open(c.Context, c); err != nil {
				return fmt.Errorf("tbmsock server: %w", err)
			}
			ln, err := net.Listen("tcp", c.String("listen"))
			if err != nil {
				return errors.Join(fmt.Errorf("tbmsock server: --listen %s: %w", c.String("listen"), err), s.closeNodes())
			}
			fmt.Fprintf(c.App.Writer, "listening on http://%s\n", ln.Addr())
			return s.run(c.Context, ln)
		},
	}
}

// serverRole is a configured server that does not run yet.
type serverRole struct {
	log   *logrus.Logger
	sio   *transport.Server
	http  *http.Server
	ends  *endpoints
	drain time.Duration

	hangups <-chan os.Signal // nil: SIGHUP is not for the role
	refused *refusedLog

	mu      sync.Mutex // of feed while the journal is opened: its health is told from the first moment on
	journal *journal.Journal
	feed    *transport.Feed // nil without a journal

	bus     *bus.Bus           // nil for a single node
	cluster *transport.Cluster // on the bus
}

func checkAlias(a string) error {
	name, event, ok := strings.Cut(a, "=")
	if !ok || name == "" || event != transport.EventTelemetry {
		return fmt.Errorf("use NAME=%s", transport.EventTelemetry)
	}
	return transport.CheckAlias(name)
}

func newServerRole(c *cli.Context, log *logrus.Logger) (*serverRole, error) {
	host, _, err := net.SplitHostPort(c.String("listen"))
	if err != nil {
		return nil, fmt.Errorf("--listen %s: use host:port, such as 127.0.0.1:8080 or :8080", c.String("listen"))
	}
	policy, err := transport.ParseSlowPolicy(choiceOf(c, "slow-client"))
	if err != nil {
		return nil, fmt.Errorf("--slow-client: %w", err)
	}
	role := &serverRole{log: log, drain: durationOf(c, "drain"), refused: newRefusedLog(log)}
	var origins []string
	if c.IsSet("cors-origin") {
		origins = listOf(c, "cors-origin")
	}
	role.sio, err = transport.NewServer(transport.ServerOptions{
		EngineOptions: transport.EngineOptions{
			PingInterval:     durationOf(c, "ping-interval"),
			PingTimeout:      durationOf(c, "ping-timeout"),
			HandshakeTimeout: durationOf(c, "handshake-timeout"),
			DrainTimeout:     role.drain,
			MaxPayload:       bytesOf(c, "max-payload"),
			Compress:         compressOf(c),
			OnRefused:        role.refused.note,
		},
		Engines:         serverEngines(),
		Path:            c.String("path"),
		Origins:         origins,
		JSONP:           listOf(c, "jsonp"),
		QueueLimit:      int(bytesOf(c, "queue-limit")),
		SlowClient:      policy,
		MaxClients:      int(countOf(c, "max-clients")),
		OnSessionClosed: role.sessionClosed,
		Report:          func(err error) { log.WithError(err).Error("handler failed") },
	})
	if err != nil {
		return nil, err
	}
	dictionary, err := loadDictionary(c)
	if err != nil {
		return nil, err
	}
	dictionaryPage, err := serveDictionary(dictionary)
	if err != nil {
		return nil, err
	}
	web, err := newWeb(c, log)
	if err != nil {
		return nil, err
	}
	role.ends = &endpoints{sio: role.sio, dictionary: dictionaryPage, web: web, hosts: newHostNames(listOf(c, "host"), host), namespaces: listOf(c, "namespace"), started: time.Now(),
		answerTime: max(2*time.Minute, 2*(durationOf(c, "ping-interval")+durationOf(c, "ping-timeout")))}
	// Errors of single connections are the clients' affair: seen when looked for.
	httpLog := log.WriterLevel(logrus.DebugLevel)
	role.http = &http.Server{
		Handler:           role.ends,
		ReadHeaderTimeout: durationOf(c, "handshake-timeout"),
		IdleTimeout:       2 * time.Minute,
		// Longer than a poll waits. A client that reads no answer would hold it for as long as it likes otherwise, also
		// after its session has ended.
		WriteTimeout:   role.ends.answerTime,
		MaxHeaderBytes: 64 << 10,
		ErrorLog:       stdlog.New(httpLog, "", 0),
	}
	role.http.RegisterOnShutdown(func() { _ = httpLog.Close() })
	if !isLoopback(host) {
		log.WithField("listen", c.String("listen")).Warn("the address is open to the network and nobody is asked for a password: put a proxy in front that does, or listen on 127.0.0.1")
	}
	return role, nil
}

// open opens the journal and the way to other nodes, and defines the events of the relay.
func (s *serverRole) open(ctx context.Context, c *cli.Context) error {
	if err := s.openJournal(ctx, c); err != nil {
		return err
	}
	if err := s.openCluster(ctx, c); err != nil {
		return errors.Join(err, s.closeNodes())
	}
	var aliases []string
	for _, a := range listOf(c, "alias") {
		name, _, _ := strings.Cut(a, "=")
		aliases = append(aliases, name)
	}
	for _, name := range listOf(c, "namespace") {
		ns := s.sio.Of(name)
		if _, err := transport.NewRelay(ns, transport.RelayOptions{Aliases: aliases, Feed: s.feed}); err != nil {
			return errors.Join(fmt.Errorf("--alias: %w", err), s.closeNodes())
		}
		ns.OnConnect(s.connected)
		ns.OnDisconnect(s.disconnected)
	}
	return nil
}

func serverEngines() []transport.NewEngine {
	return []transport.NewEngine{engine4.New, engine3.New}
}

func isLoopback(host string) bool {
	if host == "localhost" {
		return true
	}
	ip := net.ParseIP(host)
	return ip != nil && ip.IsLoopback()
}

// run serves until ctx ends, then tells the clients and writes what waits for them.
func (s *serverRole) run(ctx context.Context, ln net.Listener) error {
	var g run.Group
	gate := newGate(ln, s.ends, s.log, s.http.ErrorLog, descriptorLimit(), descriptorOf)
	if gate.limit > 0 {
		s.log.WithFields(logrus.Fields{"limit": gate.limit, "clients": gate.first}).Info("open files")
	}
	g.Add(func() error {
		if err := s.http.Serve(gate); !errors.Is(err, http.ErrServerClosed) {
			return fmt.Errorf("tbmsock server: %w", err)
		}
		return nil
	}, func(error) {
		s.stop()
	})
	gateCtx, closeGate := context.WithCancel(context.Background())
	g.Add(func() error { gate.serve(gateCtx); return nil }, func(error) { closeGate() })
	if s.feed != nil {
		feedCtx, stopFeed := context.WithCancel(context.Background())
		g.Add(func() error { s.feed.Run(feedCtx); <-feedCtx.Done(); return nil }, func(error) { stopFeed() })
	}
	if s.cluster != nil {
		clusterCtx, leave := context.WithCancel(context.Background())
		g.Add(func() error { s.cluster.Run(clusterCtx); return nil }, func(error) { leave() })
	}
	stop := make(chan struct{})
	tidyCtx, stopTidy := context.WithCancel(ctx)
	g.Add(func() error {
		tidy(tidyCtx, s.sio.Counters())
		return nil
	}, func(error) {
		stopTidy()
	})
	hangupCtx, stopHangups := context.WithCancel(ctx)
	g.Add(func() error {
		ignoreHangups(s.log, s.hangups, hangupCtx.Done())
		return nil
	}, func(error) {
		stopHangups()
	})
	g.Add(func() error {
		select {
		case <-ctx.Done():
		case <-stop:
		}
		return nil
	}, func(error) {
		close(stop)
	})
	return errors.Join(g.Run(), s.closeNodes())
}

func (s *serverRole) stop() {
	s.ends.stopping.Store(true)
	n := s.sio.Counters().Sessions.Load()
	s.log.WithField("clients", n).Info("server stops: telling the clients")
	ctx, cancel := context.WithTimeout(context.Background(), s.drain)
	defer cancel()
	defer s.refused.flush()
	// The clients first: those that poll need a server to hear it from.
	if err := s.sio.Shutdown(ctx); err != nil {
		s.log.WithError(err).Warn("some clients were cut off before everything was sent")
	}
	if err := s.http.Shutdown(ctx); err != nil {
		_ = s.http.Close()
	}
}

func (s *serverRole) connected(_ context.Context, so *transport.Socket, _ transport.Value) error {
	fields := logrus.Fields{"sid": so.Sid(), "namespace": so.Namespace().Name(), "engine": so.Session().Conn().Revision()}
	if h := so.Session().Handshake(); h != nil {
		fields["client"] = h.RemoteAddr
	}
	s.log.WithFields(fields).Info("connected")
	return nil
}

func (s *serverRole) disconnected(so *transport.Socket, reason transport.Reason) {
	s.log.WithFields(logrus.Fields{"sid": so.Sid(), "namespace": so.Namespace().Name(), "reason": reason.String()}).Info("disconnected")
}

// sessionClosed logs the connections that ended for what the client did.
func (s *serverRole) sessionClosed(sn *transport.Session, reason transport.Reason, err error) {
	switch reason {
	case transport.ReasonParseError, transport.ReasonPayloadTooLarge, transport.ReasonSlowClient, transport.ReasonHandshakeTimeout:
	default:
		return
	}
	e := s.log.WithFields(logrus.Fields{"reason": reason.String(), "engine": sn.Conn().Revision()})
	if h := sn.Handshake(); h != nil {
		e = e.WithField("client", h.RemoteAddr)
	}
	if err != nil {
		e = e.WithError(err)
	}
	e.Warn("connection ended")
}
