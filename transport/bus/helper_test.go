package bus_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"tbmsock/internal/freeport"
	"tbmsock/transport"
	"tbmsock/transport/bus"
	"tbmsock/transport/engine3"
	"tbmsock/transport/engine4"
)

// patience bounds every wait of a test.
const patience = 20 * time.Second

func within(t testing.TB) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	return ctx
}

func receive[T any](t testing.TB, ch <-chan T) T {
	t.Helper()
	select {
	case v := <-ch:
		return v
	case <-time.After(patience):
		t.Fatal("nothing came")
		panic("not reached")
	}
}

// until waits for what no channel tells.
func until(t testing.TB, what string, ok func() bool) {
	t.Helper()
	again := time.NewTicker(2 * time.Millisecond)
	defer again.Stop()
	for end := time.After(patience); !ok(); {
		select {
		case <-again.C:
		case <-end:
			t.Fatal("never: " + what)
		}
	}
}

// startNATS starts a NATS server, on a free port if port is 0, until the test ends.
func startNATS(t testing.TB, port int) *server.Server {
	t.Helper()
	for range 3 {
		o := &server.Options{Host: "127.0.0.1", Port: port, NoSigs: true, NoLog: true}
		if port == 0 {
			o.Port = freeport.Below(t, 1)[0] // somebody may take it meanwhile
		}
		s, err := server.NewServer(o)
		if err != nil {
			t.Fatal(err)
		}
		s.Start()
		t.Cleanup(func() { s.Shutdown(); s.WaitForShutdown() })
		if s.ReadyForConnections(patience) {
			return s
		}
	}
	t.Fatal("the NATS server does not start")
	return nil
}

// soon does something that takes a moment, and not so long as a silent node is waited for; but once in a while, on a machine that is busy.
func soon(t testing.TB, f func() error) {
	t.Helper()
	for range 5 {
		begun := time.Now()
		err := f()
		took := time.Since(begun)
		if err == nil && took < 900*time.Millisecond {
			return
		}
		t.Logf("after %v: %v", took, err)
	}
	t.Error("that is too long, or an error, each time")
}

// node is one server of a hub, as the server role puts them together.
type node struct {
	t       testing.TB
	url     string
	sio     *transport.Server
	bus     *bus.Bus
	cluster *transport.Cluster
	leave   func() // ends the cluster, and waits for it
	health  chan error
	here    chan string // "+id" and "-id" of other nodes
	reports chan error
}

type nodeOptions struct {
	namespaces []string // beside "/"
	heartbeat  time.Duration
	setup      func(*transport.Server)
}

func startNode(t testing.TB, natsURL string, o nodeOptions) *node {
	t.Helper()
	n := &node{t: t, health: make(chan error, 100), here: make(chan string, 100), reports: make(chan error, 100)}
	var err error
	n.sio, err = transport.NewServer(transport.ServerOptions{
		Engines:       []transport.NewEngine{engine4.New, engine3.New},
		EngineOptions: transport.EngineOptions{DrainTimeout: time.Second},
		QueueLimit:    16 << 20,
		Report:        func(err error) { t.Errorf("reported: %v", err) },
	})
	if err != nil {
		t.Fatal(err)
	}
	n.bus, err = bus.Open(within(t), bus.Options{URL: natsURL, OnHealth: func(err error) { n.health <- err }, OnWarning: func(s string) { t.Log("warning:", s) }})
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range append([]string{"/"}, o.namespaces...) {
		if _, err := transport.NewRelay(n.sio.Of(name), transport.RelayOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	if o.setup != nil {
		o.setup(n.sio)
	}
	n.cluster, err = transport.NewCluster(n.sio, n.bus, transport.ClusterOptions{
		Heartbeat: o.heartbeat,
		OnNode: func(id string, here bool) {
			if here {
				n.here <- "+" + id
			} else {
				n.here <- "-" + id
			}
		},
		Report: func(err error) { n.reports <- err },
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() { n.cluster.Run(ctx) })
	n.leave = func() { stop(); wg.Wait() }
	web := httptest.NewServer(n.sio)
	n.url = web.URL
	t.Cleanup(func() {
		end, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := n.sio.Shutdown(end); err != nil {
			t.Errorf("shutdown: %v", err)
		}
		web.Close()
		n.leave()
		n.bus.Close(end)
	})
	return n
}

// startNodes starts nodes that know each other.
func startNodes(t testing.TB, count int, o nodeOptions) (*server.Server, []*node) {
	t.Helper()
	nats := startNATS(t, 0)
	var nodes []*node
	for range count {
		nodes = append(nodes, startNode(t, nats.ClientURL(), o))
	}
	for _, n := range nodes {
		until(t, "all nodes know each other", func() bool { return n.cluster.Stats().Nodes == count })
	}
	return nats, nodes
}

// client is a connected client of a node, and what it has been sent.
type client struct {
	*transport.Client
	t      testing.TB
	sid    string
	events chan string // "name arg arg"
	ended  chan transport.Reason
	stop   func()
}

// answers are what a client says when it is asked: by event name.
type answers map[string]func(ev *transport.Event)

func (n *node) client(nsp string, dialer transport.Dialer, events []string, a answers) *client {
	n.t.Helper()
	c := &client{t: n.t, events: make(chan string, 100_000), ended: make(chan transport.Reason, 10)}
	sids := make(chan string, 10)
	var err error
	c.Client, err = transport.NewClient(transport.ClientOptions{URL: n.url, Namespace: nsp, Dialers: []transport.Dialer{dialer}, Transports: []string{"websocket"},
		OnConnect:    func(sid string, _ transport.Conn) { sids <- sid },
		OnDisconnect: func(r transport.Reason, _ error) { c.ended <- r },
	})
	if err != nil {
		n.t.Fatal(err)
	}
	for _, event := range events {
		c.On(event, func(_ context.Context, ev *transport.Event) {
			text := ev.Name
			for _, a := range ev.Args {
				data, err := a.MarshalJSON()
				if err != nil {
					n.t.Error(err)
				}
				text += " " + string(data)
			}
			c.events <- text
		})
	}
	for event, f := range a {
		c.On(event, func(_ context.Context, ev *transport.Event) { f(ev) })
	}
	ctx, stop := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() { _ = c.Run(ctx) })
	c.stop = func() { stop(); wg.Wait() }
	n.t.Cleanup(c.stop)
	c.sid = receive(n.t, sids)
	return c
}

func (n *node) plain(events ...string) *client {
	n.t.Helper()
	return n.client("/", engine4.Dialer{}, events, nil)
}

func (c *client) want(text string) {
	c.t.Helper()
	if got := receive(c.t, c.events); got != text {
		c.t.Fatalf("got %.200s, want %.200s", got, text)
	}
}

// ask emits and returns the answer.
func (c *client) ask(event string, arg any) transport.Ack {
	c.t.Helper()
	args, err := c.EmitAck(within(c.t), event, arg)
	if err != nil {
		c.t.Fatal(err)
	}
	var a transport.Ack
	if err := args.Decode(&a); err != nil {
		c.t.Fatal(err)
	}
	return a
}

func (c *client) join(rooms ...string) {
	c.t.Helper()
	for _, r := range rooms {
		if a := c.ask("join", r); !a.OK {
			c.t.Fatalf("join %s: %+v", r, a.Error)
		}
	}
}

func quoted(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		return fmt.Sprint(err)
	}
	return string(b)
}
