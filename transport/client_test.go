package transport_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"tbmsock/internal/freeport"
	"tbmsock/transport"
	"tbmsock/transport/engine3"
	"tbmsock/transport/engine4"
)

// dialerWays are the ways in which a client can reach our server.
var dialerWays = []struct {
	name       string
	dialers    []transport.Dialer
	transports []string
}{
	{"engine 4, polling", []transport.Dialer{engine4.Dialer{}}, []string{"polling"}},
	{"engine 4, websocket", []transport.Dialer{engine4.Dialer{}}, []string{"websocket"}},
	{"engine 4, upgrade", []transport.Dialer{engine4.Dialer{}}, nil},
	{"engine 3, polling", []transport.Dialer{engine3.Dialer{}}, []string{"polling"}},
	{"engine 3, websocket", []transport.Dialer{engine3.Dialer{}}, []string{"websocket"}},
	{"engine 3, upgrade", []transport.Dialer{engine3.Dialer{}}, nil},
}

var bothEngines = []transport.NewEngine{engine4.New, engine3.New}

// startClient runs a client until the test ends.
func startClient(t *testing.T, opts transport.ClientOptions, setup func(*transport.Client)) *transport.Client {
	t.Helper()
	if opts.Backoff.Min == 0 {
		opts.Backoff = transport.Backoff{Min: 5 * time.Millisecond, Max: 50 * time.Millisecond}
	}
	c, err := transport.NewClient(opts)
	if err != nil {
		t.Fatal(err)
	}
	if setup != nil {
		setup(c)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- c.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := receive(t, done); err != nil {
			t.Errorf("client: %v", err)
		}
	})
	return c
}

func TestClientEveryWay(t *testing.T) {
	srv, url := startServer(t, transport.ServerOptions{Engines: bothEngines})
	for _, nsp := range []string{"/", "/tbm"} {
		if _, err := transport.NewRelay(srv.Of(nsp), transport.RelayOptions{}); err != nil {
			t.Fatal(err)
		}
		srv.Of(nsp).On("ask me", func(ctx context.Context, ev *transport.Event) {
			args, err := ev.Socket().EmitAck(ctx, "question", []byte{1})
			if err != nil {
				t.Error(err)
				return
			}
			_ = ev.Ack(args[0])
		}, transport.Concurrent())
	}
	for _, way := range dialerWays {
		for _, nsp := range []string{"/", "/tbm"} {
			t.Run(way.name+" "+nsp, func(t *testing.T) {
				ctx, cancel := context.WithTimeout(context.Background(), patience)
				defer cancel()
				connected, joined := make(chan string, 1), make(chan error, 1)
				got := make(chan transport.Value, 10)
				room := "room of " + t.Name()
				sub := startClient(t, transport.ClientOptions{
					URL: url, Namespace: nsp, Dialers: way.dialers, Transports: way.transports,
					OnConnect: func(sid string, _ transport.Conn) { connected <- sid },
					OnJoin:    func(_ string, err error) { joined <- err },
				}, func(c *transport.Client) {
					if err := c.Join(room); err != nil {
						t.Fatal(err)
					}
					c.On("log_telemetry", func(_ context.Context, ev *transport.Event) { got <- ev.Args[0] })
					c.On("question", func(_ context.Context, ev *transport.Event) { _ = ev.Ack(ev.Args[0]) })
				})
				sid := receive(t, connected)
				if srv.Of(nsp).Socket(sid) == nil || sub.Sid() != sid {
					t.Errorf("the server does not know the sid %q", sid)
				}
				if err := receive(t, joined); err != nil {
					t.Fatal(err)
				}
				pub := connectRaw(t, url, nsp)
				prefix := "42"
				if nsp != "/" {
					prefix += nsp + ","
				}
				env := fmt.Sprintf(`{"source":"s","boot":"b","seq":1,"room":%q,"packet":"é😀 %s"}`, room, strings.Repeat("x", 100_000))
				pub.send(prefix + `["log_telemetry",` + env + `]`)
				if v := receive(t, got); string(v.JSON) != env {
					t.Errorf("got %.100s", v.JSON)
				}
				args, err := sub.EmitAck(ctx, "rooms")
				if err != nil || string(args[0].JSON) != fmt.Sprintf("[%q]", room) {
					t.Errorf("rooms are %v, %v", args, err)
				}
				args, err = sub.EmitAck(ctx, "ask me")
				if err != nil {
					t.Fatal(err)
				}
				if b, ok := args[0].Bytes(); !ok || len(b) != 1 || b[0] != 1 {
					t.Errorf("the binary answer to the answer is %v", args)
				}
			})
		}
	}
}

// relayAt serves a relay on one address, again and again.
type relayAt struct {
	t    *testing.T
	addr string
	srv  *transport.Server
	http *http.Server
	ln   net.Listener
}

func (r *relayAt) start(onTelemetry func(*transport.Event, string)) {
	r.t.Helper()
	var ln net.Listener
	var err error
	if r.addr == "" {
		ln = freeport.Listen(r.t)
	} else if ln, err = net.Listen("tcp", r.addr); err != nil {
		r.t.Fatal(err)
	}
	r.addr, r.ln = ln.Addr().String(), ln
	r.srv, err = transport.NewServer(transport.ServerOptions{Engines: bothEngines,
		EngineOptions: transport.EngineOptions{DrainTimeout: 50 * time.Millisecond}})
	if err != nil {
		r.t.Fatal(err)
	}
	if _, err := transport.NewRelay(r.srv.Of("/"), transport.RelayOptions{OnTelemetry: onTelemetry}); err != nil {
		r.t.Fatal(err)
	}
	r.http = &http.Server{Handler: r.srv}
	hs := r.http
	go func() { _ = hs.Serve(ln) }()
}

func (r *relayAt) stop() {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	_ = r.http.Close()
	_ = r.ln.Close() // which the server does not know yet if it has only just been started
	_ = r.srv.Shutdown(ctx)
}

// While the server is stopped and started again, what is published arrives all the same, in
// order; what arrives twice is what had not been acknowledged.
func TestClientPublishesThroughRestarts(t *testing.T) {
	for _, way := range dialerWays {
		t.Run(way.name, func(t *testing.T) {
			const total = 3000
			var mu sync.Mutex
			seen, last, resent := map[int]bool{}, 0, 0
			relay := &relayAt{t: t}
			onTelemetry := func(ev *transport.Event, _ string) {
				var n int
				if err := ev.Args.Decode(&n); err != nil {
					t.Error(err)
				}
				mu.Lock()
				defer mu.Unlock()
				if seen[n] {
					resent++
				} else if n != last+1 {
					t.Errorf("%d came after %d", n, last)
				}
				seen[n], last = true, max(last, n)
			}
			relay.start(onTelemetry)
			c := startClient(t, transport.ClientOptions{URL: relay.addr, Dialers: way.dialers, Transports: way.transports}, nil)
			ctx, cancel := context.WithTimeout(context.Background(), 3*patience)
			defer cancel()
			for n := 1; n <= total; n++ {
				if err := c.Publish(ctx, "log_telemetry", n); err != nil {
					t.Fatal(err)
				}
				if n%1000 == 500 {
					relay.stop()
					relay.start(onTelemetry)
				}
			}
			if err := c.Flush(ctx); err != nil {
				t.Fatal(err)
			}
			relay.stop()
			mu.Lock()
			defer mu.Unlock()
			if len(seen) != total {
				t.Errorf("%d of %d arrived", len(seen), total)
			}
			s := c.PublishStats()
			if s.Published != total || s.Acked != total || s.Waiting != 0 || s.Dropped != 0 {
				t.Errorf("stats are %+v", s)
			}
			t.Logf("%d arrived twice, %d were sent twice", resent, s.Resent)
		})
	}
}

func TestClientJoinsAgain(t *testing.T) {
	relay := &relayAt{t: t}
	relay.start(nil)
	joined := make(chan string, 10)
	c := startClient(t, transport.ClientOptions{URL: relay.addr, Dialers: []transport.Dialer{engine4.Dialer{}},
		OnJoin: func(room string, err error) { joined <- fmt.Sprint(room, err) },
	}, nil)
	if err := c.Join("ops"); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if got := receive(t, joined); got != "ops<nil>" {
			t.Errorf("joined %s", got)
		}
		if n := len(relay.srv.Of("/").Sockets("ops")); n != 1 {
			t.Errorf("%d in the room", n)
		}
		relay.stop()
		relay.start(nil)
	}
	c.Leave("ops")
	relay.stop()
}

func TestClientIsRefused(t *testing.T) {
	srv, url := startServer(t, transport.ServerOptions{Engines: bothEngines})
	srv.Of("/").OnConnect(func(context.Context, *transport.Socket, transport.Value) error {
		return &transport.Refusal{Message: "not you", Data: []int{7}}
	})
	for _, way := range dialerWays {
		t.Run(way.name, func(t *testing.T) {
			retries := make(chan error, 100)
			startClient(t, transport.ClientOptions{URL: url, Dialers: way.dialers, Transports: way.transports,
				OnRetry: func(err error, _ time.Duration) { retries <- err }}, nil)
			for range 2 {
				var refused *transport.ConnectError
				if err := receive(t, retries); !errors.As(err, &refused) || string(refused.Data.JSON) != "[7]" {
					t.Errorf("error is %v", err)
				}
			}
		})
	}
}

func TestClientIsPutOut(t *testing.T) {
	srv, url := startServer(t, transport.ServerOptions{Engines: bothEngines, EngineOptions: transport.EngineOptions{DrainTimeout: patience}})
	sids := make(chan string, 10)
	c, err := transport.NewClient(transport.ClientOptions{URL: url, Dialers: []transport.Dialer{engine4.Dialer{}},
		OnConnect: func(sid string, _ transport.Conn) { sids <- sid }})
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- c.Run(context.Background()) }()
	srv.Of("/").Socket(receive(t, sids)).Disconnect()
	if err := receive(t, done); transport.ReasonOf(err, transport.ReasonNone) != transport.ReasonServerDisconnect {
		t.Errorf("Run returned %v", err)
	}
}

// A server that speaks only revision 3 does not say so: it answers in its own way.
func TestClientFallsBackToEngine3(t *testing.T) {
	srv, err := transport.NewServer(transport.ServerOptions{Engines: bothEngines})
	if err != nil {
		t.Fatal(err)
	}
	old := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		q := r.URL.Query()
		q.Set("EIO", "3")
		r.URL.RawQuery = q.Encode()
		srv.ServeHTTP(w, r)
	})
	strict, err := transport.NewServer(transport.ServerOptions{Engines: []transport.NewEngine{engine3.New}})
	if err != nil {
		t.Fatal(err)
	}
	for name, h := range map[string]http.Handler{"ignores EIO": old, "refuses EIO 4": strict} {
		for _, transports := range [][]string{{"polling"}, {"websocket"}, nil} {
			if name != "ignores EIO" && len(transports) == 1 && transports[0] == "websocket" {
				continue // the answer to a WebSocket handshake cannot be told from any other error
			}
			t.Run(fmt.Sprint(name, transports), func(t *testing.T) {
				ln, err := net.Listen("tcp", "127.0.0.1:0")
				if err != nil {
					t.Fatal(err)
				}
				hs := &http.Server{Handler: h}
				go func() { _ = hs.Serve(ln) }()
				defer func() { _ = hs.Close() }()
				revisions := make(chan int, 10)
				startClient(t, transport.ClientOptions{URL: ln.Addr().String(), Transports: transports,
					Dialers:   []transport.Dialer{engine4.Dialer{}, engine3.Dialer{}},
					OnConnect: func(_ string, c transport.Conn) { revisions <- c.Revision() }}, nil)
				if r := receive(t, revisions); r != 3 {
					t.Errorf("revision %d", r)
				}
			})
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	_ = srv.Shutdown(ctx)
	_ = strict.Shutdown(ctx)
}

// A server that acknowledges nothing is sent everything, and an event counts as delivered when a heartbeat has come
// back, in either revision and over either transport.
func TestPublishWithoutAcks(t *testing.T) {
	for _, tc := range []struct {
		name   string
		dialer transport.Dialer
		way    string
	}{
		{"Engine.IO 4, WebSocket", engine4.Dialer{}, "websocket"},
		{"Engine.IO 4, polling", engine4.Dialer{}, "polling"},
		{"Engine.IO 3, WebSocket", engine3.Dialer{}, "websocket"},
		{"Engine.IO 3, polling", engine3.Dialer{}, "polling"},
	} {
		t.Run(tc.name, func(t *testing.T) { publishWithoutAcks(t, tc.dialer, tc.way) })
	}
}

func publishWithoutAcks(t *testing.T, dialer transport.Dialer, way string) {
	srv, url := startServer(t, transport.ServerOptions{Engines: bothEngines, EngineOptions: transport.EngineOptions{PingInterval: 150 * time.Millisecond, PingTimeout: patience}})
	got := make(chan int, 100)
	srv.Of("/").On("log_telemetry", func(_ context.Context, ev *transport.Event) {
		var n int
		_ = ev.Args.Decode(&n)
		got <- n // and no ack: many servers do not
	})
	told := make(chan bool, 10)
	c := startClient(t, transport.ClientOptions{URL: url, Dialers: []transport.Dialer{dialer}, Transports: []string{way},
		Publish: transport.PublishOptions{Window: 2, AckTimeout: 50 * time.Millisecond, OnNoAcks: func() { told <- true }}}, nil)
	for n := range 10 {
		if err := c.Publish(context.Background(), "log_telemetry", n); err != nil {
			t.Fatal(err)
		}
	}
	for n := range 10 {
		if g := receive(t, got); g != n {
			t.Errorf("got %d, want %d", g, n)
		}
	}
	receive(t, told)
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := c.Flush(ctx); err != nil {
		t.Error(err)
	}
	if s := c.PublishStats(); s.Confirmed != 10 || s.Acked != 0 || s.Resent != 0 {
		t.Errorf("counts are %+v", s)
	}
}

// With a link that stalled just after the namespace was open, everything counted as delivered after 10 s, and left the
// outbox. Time proves nothing: all is sent again on the next connection.
func TestStalledLinkDeliversNothing(t *testing.T) {
	for _, only := range []bool{false, true} {
		t.Run(fmt.Sprint("only acks: ", only), func(t *testing.T) {
			srv, url := startServer(t, transport.ServerOptions{})
			srv.Of("/").On("log_telemetry", func(_ context.Context, ev *transport.Event) { _ = ev.Ack(transport.Ack{OK: true}) })
			link := startLink(t, url)
			told, done := make(chan bool, 10), make(chan error, 10)
			open := make(chan string, 10)
			c := startClient(t, transport.ClientOptions{URL: link.url, Dialers: []transport.Dialer{engine4.Dialer{}}, Transports: []string{"websocket"},
				OnConnect: func(sid string, _ transport.Conn) { open <- sid },
				Backoff:   transport.Backoff{Min: 5 * time.Millisecond, Max: 10 * time.Millisecond},
				Publish:   transport.PublishOptions{OnlyAcks: only, AckTimeout: 20 * time.Millisecond, OnNoAcks: func() { told <- true }}}, nil)
			receive(t, open)
			link.stall(true)
			for n := range 5 {
				if err := c.PublishFunc(context.Background(), func(err error) { done <- err }, "log_telemetry", n); err != nil {
					t.Fatal(err)
				}
			}
			receive(t, told)
			if s := c.PublishStats(); s.Waiting != 5 || s.Acked+s.Confirmed != 0 || len(done) != 0 {
				t.Errorf("over a stalled link: %+v", s)
			}
			link.cut()
			link.stall(false)
			for range 5 {
				if err := receive(t, done); err != nil {
					t.Error(err)
				}
			}
			if s := c.PublishStats(); s.Acked != 5 || s.Confirmed != 0 || s.Resent != 5 {
				t.Errorf("counts are %+v", s)
			}
		})
	}
}

// link is a TCP relay that can stall and be cut.
type link struct {
	url     string
	mu      sync.Mutex
	stalled bool
	moved   *sync.Cond
	conns   []net.Conn
}

func startLink(t *testing.T, url string) *link {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l := &link{url: "http://" + ln.Addr().String()}
	l.moved = sync.NewCond(&l.mu)
	var wg sync.WaitGroup
	t.Cleanup(func() { _ = ln.Close(); l.stall(false); l.cut(); wg.Wait() })
	pipe := func(to, from net.Conn) {
		defer func() { _ = to.Close(); _ = from.Close() }()
		buf := make([]byte, 32<<10)
		for {
			n, err := from.Read(buf)
			l.mu.Lock()
			for l.stalled {
				l.moved.Wait()
			}
			l.mu.Unlock()
			if err != nil {
				return
			}
			if _, err := to.Write(buf[:n]); err != nil {
				return
			}
		}
	}
	wg.Go(func() {
		for {
			a, err := ln.Accept()
			if err != nil {
				return
			}
			b, err := net.Dial("tcp", strings.TrimPrefix(url, "http://"))
			if err != nil {
				_ = a.Close()
				continue
			}
			l.mu.Lock()
			l.conns = append(l.conns, a, b)
			l.mu.Unlock()
			wg.Go(func() { pipe(a, b) })
			wg.Go(func() { pipe(b, a) })
		}
	})
	return l
}

func (l *link) stall(stalled bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.stalled = stalled
	l.moved.Broadcast()
}

func (l *link) cut() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, c := range l.conns {
		_ = c.Close()
	}
	l.conns = nil
}

func TestPublishWhenFull(t *testing.T) {
	// Not connected to anything, so nothing leaves the queue.
	client := func(policy transport.FullPolicy) *transport.Client {
		c, err := transport.NewClient(transport.ClientOptions{URL: "127.0.0.1:1", Dialers: []transport.Dialer{engine4.Dialer{}},
			Publish: transport.PublishOptions{MaxBytes: 1000, WhenFull: policy}})
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	text := strings.Repeat("x", 300)
	fill := func(c *transport.Client, ctx context.Context) error {
		for range 2 {
			if err := c.Publish(context.Background(), "e", text); err != nil {
				t.Fatal(err)
			}
		}
		return c.Publish(ctx, "e", text)
	}
	t.Run("block", func(t *testing.T) {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Millisecond)
		defer cancel()
		if err := fill(client(transport.FullBlock), ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("error is %v", err)
		}
	})
	t.Run("refuse", func(t *testing.T) {
		if err := fill(client(transport.FullRefuse), context.Background()); !errors.Is(err, transport.ErrFull) {
			t.Errorf("error is %v", err)
		}
	})
	t.Run("drop-oldest", func(t *testing.T) {
		c := client(transport.FullDropOldest)
		if err := fill(c, context.Background()); err != nil {
			t.Error(err)
		}
		if s := c.PublishStats(); s.Dropped != 1 || s.Waiting != 2 {
			t.Errorf("stats are %+v", s)
		}
	})
}

func TestPublishRefused(t *testing.T) {
	_, url := startRelay(t, transport.RelayOptions{})
	refused := make(chan string, 1)
	c := startClient(t, transport.ClientOptions{URL: url, Dialers: []transport.Dialer{engine4.Dialer{}},
		Publish: transport.PublishOptions{OnRefused: func(_ string, err *transport.AckError) { refused <- err.Code }}}, nil)
	if err := c.Publish(context.Background(), "log_telemetry", 1, 2); err != nil {
		t.Fatal(err)
	}
	if code := receive(t, refused); code != transport.CodeBadArguments {
		t.Errorf("code is %s", code)
	}
	if s := c.PublishStats(); s.Refused != 1 || s.Waiting != 0 {
		t.Errorf("stats are %+v", s)
	}
}
