package bus_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"tbmsock/transport"
	"tbmsock/transport/engine3"
	"tbmsock/transport/engine4"
)

// Whom an event reaches does not depend on the node on which it is emitted.
func TestTargets(t *testing.T) {
	_, nodes := startNodes(t, 3, nodeOptions{heartbeat: time.Hour}) // nothing is sent but what is emitted
	clients := map[string]*client{}
	for i, name := range []string{"a", "b", "c", "d"} { // d shares a's node
		clients[name] = nodes[i%3].plain("event", "end")
	}
	clients["a"].join("ops", "all")
	clients["b"].join("ops")
	clients["d"].join("all", "ops")
	sid := func(name string) string { return clients[name].sid }
	for _, tc := range []struct {
		name   string
		emit   func(*transport.Namespace) error
		expect string
	}{
		{"to all", func(ns *transport.Namespace) error { return ns.Emit("event") }, "abcd"},
		{"to a room", func(ns *transport.Namespace) error { return ns.To("ops").Emit("event") }, "abd"},
		{"to two rooms, once each", func(ns *transport.Namespace) error { return ns.To("ops", "all").Emit("event") }, "abd"},
		{"to a sid", func(ns *transport.Namespace) error { return ns.To(sid("c")).Emit("event") }, "c"},
		{"to two sids", func(ns *transport.Namespace) error { return ns.To(sid("c"), sid("a")).Emit("event") }, "ac"},
		{"to a room and a sid in it", func(ns *transport.Namespace) error { return ns.To("ops", sid("b")).Emit("event") }, "abd"},
		{"to a room and a sid", func(ns *transport.Namespace) error { return ns.To("all", sid("c")).Emit("event") }, "acd"},
		{"to all except a room", func(ns *transport.Namespace) error { return ns.Except("ops").Emit("event") }, "c"},
		{"to all except a sid", func(ns *transport.Namespace) error { return ns.Except(sid("a")).Emit("event") }, "bcd"},
		{"to a room except another", func(ns *transport.Namespace) error { return ns.To("ops").Except("all").Emit("event") }, "b"},
		{"to nobody's room", func(ns *transport.Namespace) error { return ns.To("nobody's").Emit("event") }, ""},
	} {
		for i, n := range nodes {
			t.Run(fmt.Sprintf("%s, from node %d", tc.name, i), func(t *testing.T) {
				ns := n.sio.Of("/")
				if err := tc.emit(ns); err != nil {
					t.Fatal(err)
				}
				if err := ns.Emit("end"); err != nil {
					t.Fatal(err)
				}
				for name, c := range clients {
					if strings.Contains(tc.expect, name) {
						if got := receive(t, c.events); got != "event" {
							t.Errorf("%s got %s", name, got)
							continue
						}
					}
					if got := receive(t, c.events); got != "end" {
						t.Errorf("%s got %s", name, got)
					}
				}
			})
		}
	}
	t.Run("only to this node", func(t *testing.T) {
		ns := nodes[1].sio.Of("/")
		if err := ns.Local().Emit("event"); err != nil {
			t.Fatal(err)
		}
		if err := ns.To("ops").Local().Emit("event"); err != nil {
			t.Fatal(err)
		}
		if err := ns.Emit("end"); err != nil {
			t.Fatal(err)
		}
		for name, c := range clients {
			if name == "b" {
				c.want("event")
				c.want("event")
			}
			c.want("end")
		}
	})
	t.Run("nothing is told to nodes that can have no receiver", func(t *testing.T) {
		before := nodes[0].cluster.Stats()
		if err := nodes[0].sio.Of("/").To(sid("a"), sid("d")).Emit("event"); err != nil {
			t.Fatal(err)
		}
		clients["a"].want("event")
		clients["d"].want("event")
		if after := nodes[0].cluster.Stats(); after.Sent != before.Sent {
			t.Errorf("%d messages sent", after.Sent-before.Sent)
		}
	})
	t.Run("a room that is closed", func(t *testing.T) {
		nodes[2].sio.Of("/").CloseRoom("ops")
		for i, n := range nodes {
			until(t, fmt.Sprintf("nobody is in the room on node %d", i), func() bool { return len(n.sio.Of("/").Sockets("ops")) == 0 })
		}
		if len(nodes[0].sio.Of("/").Sockets("all")) != 2 {
			t.Error("others were closed too")
		}
	})
	t.Run("those who are disconnected", func(t *testing.T) {
		nodes[1].sio.Of("/").To("all").Except(sid("d")).Disconnect()
		if r := receive(t, clients["a"].ended); r != transport.ReasonServerDisconnect {
			t.Errorf("reason %v", r)
		}
		if err := nodes[1].sio.Of("/").Emit("end"); err != nil {
			t.Fatal(err)
		}
		clients["d"].want("end")
	})
}

// A sid of any node is nobody else's room; a room that only looks like one is a room.
func TestPersonalRooms(t *testing.T) {
	_, nodes := startNodes(t, 2, nodeOptions{namespaces: []string{"/tbm"}})
	for _, nsp := range []string{"/", "/tbm"} {
		for name, dialer := range map[string]transport.Dialer{"engine 4": engine4.Dialer{}, "engine 3": engine3.Dialer{}} {
			t.Run(nsp+" "+name, func(t *testing.T) {
				victim := nodes[0].client(nsp, dialer, []string{"private"}, nil)
				other := nodes[1].client(nsp, dialer, []string{"private"}, nil)
				if a := other.ask("join", victim.sid); a.OK || a.Error == nil || a.Error.Code != transport.CodeBadRoom {
					t.Errorf("joining the personal room %q: %+v", victim.sid, a)
				}
				other.join(other.sid, strings.Repeat("x", len(victim.sid)), victim.sid[:len(victim.sid)-1], victim.sid[1:])
				ns := nodes[1].sio.Of(nsp)
				if err := ns.To(victim.sid).Emit("private", 1); err != nil {
					t.Fatal(err)
				}
				victim.want("private 1")
				if err := ns.To(other.sid).Emit("private", 2); err != nil {
					t.Fatal(err)
				}
				other.want("private 2")
			})
		}
	}
}

// What each node emits arrives at every client of every node in its order, whole, with its binary parts.
func TestOrder(t *testing.T) {
	const count = 2000
	_, nodes := startNodes(t, 3, nodeOptions{})
	var clients []*client
	for _, n := range nodes {
		clients = append(clients, n.plain("n"))
	}
	var wg sync.WaitGroup
	for i, n := range nodes {
		wg.Go(func() {
			for seq := range count {
				arg := map[string]any{"node": i, "seq": seq, "data": []byte{byte(seq), 0, 255}, "text": "é\u2028"}
				if err := n.sio.Of("/").Emit("n", arg, bytes.Repeat([]byte{7}, seq%100)); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	for _, c := range clients {
		next := [3]int{}
		for range 3 * count {
			got := receive(t, c.events)
			found := false
			for i := range next {
				want := "n " + `{"data":` + quoted([]byte{byte(next[i]), 0, 255}) + fmt.Sprintf(`,"node":%d,"seq":%d,"text":%s} `, i, next[i], `"é`+"\\u2028"+`"`) +
					quoted(bytes.Repeat([]byte{7}, next[i]%100))
				if got == want {
					next[i]++
					found = true
					break
				}
			}
			if !found {
				t.Fatalf("after %v came %s", next, got)
			}
		}
	}
	for i, n := range nodes {
		if s := n.cluster.Stats(); s.Missed+s.Lost+s.Malformed > 0 {
			t.Errorf("node %d: %+v", i, s)
		}
	}
}

// A namespace reaches its own members only, and one that another node does not have is no error there.
func TestNamespaces(t *testing.T) {
	nats := startNATS(t, 0)
	a := startNode(t, nats.ClientURL(), nodeOptions{namespaces: []string{"/tbm", "/here"}})
	b := startNode(t, nats.ClientURL(), nodeOptions{namespaces: []string{"/tbm"}})
	main, tbm := b.plain("event", "end"), b.client("/tbm", engine4.Dialer{}, []string{"event", "end"}, nil)
	for _, nsp := range []string{"/here", "/tbm", "/"} {
		ns := a.sio.Of(nsp)
		if err := ns.Emit("event", nsp); err != nil {
			t.Fatal(err)
		}
		ns.To("x").Disconnect()
		ns.CloseRoom("x")
	}
	main.want(`event "/"`)
	tbm.want(`event "/tbm"`)
	for _, nsp := range []string{"/", "/tbm"} {
		if err := a.sio.Of(nsp).Emit("end"); err != nil {
			t.Fatal(err)
		}
	}
	main.want("end")
	tbm.want("end")
	if s := b.cluster.Stats(); s.Malformed > 0 {
		t.Errorf("%+v", s)
	}
}

// Clients of all nodes answer the one who asks.
func TestEmitAck(t *testing.T) {
	_, nodes := startNodes(t, 3, nodeOptions{})
	say := func(values ...any) func(*transport.Event) {
		return func(ev *transport.Event) {
			if err := ev.Ack(append([]any{ev.Args[0]}, values...)...); err != nil {
				t.Error(err)
			}
		}
	}
	asked := make(chan *transport.Event, 10)
	a := nodes[0].client("/", engine4.Dialer{}, nil, answers{"question": say("a")})
	b := nodes[1].client("/", engine4.Dialer{}, nil, answers{"question": say("b", []byte{0, 255})})
	c := nodes[2].client("/", engine4.Dialer{}, nil, answers{"question": func(ev *transport.Event) { asked <- ev }})
	for _, cl := range []*client{a, b} {
		cl.join("quick", "all")
	}
	c.join("all")
	ns := nodes[0].sio.Of("/")
	bySid := func(t *testing.T, list []transport.Answer) map[string]transport.Answer {
		t.Helper()
		m := map[string]transport.Answer{}
		for _, a := range list {
			if _, twice := m[a.Sid]; twice {
				t.Errorf("%s has answered twice", a.Sid)
			}
			m[a.Sid] = a
		}
		return m
	}
	text := func(a transport.Answer) string { return fmt.Sprint(quoted(a.Args), a.Err) }

	t.Run("all answer", func(t *testing.T) {
		list, err := ns.To("quick", "all").Except(c.sid).EmitAck(within(t), "question", []byte("?"))
		if err != nil {
			t.Fatal(err)
		}
		m := bySid(t, list)
		if len(m) != 2 || text(m[a.sid]) != `["Pw==","a"]<nil>` || text(m[b.sid]) != `["Pw==","b","AP8="]<nil>` {
			t.Errorf("%v", m)
		}
	})
	t.Run("one of another node alone", func(t *testing.T) {
		list, err := ns.To(b.sid).EmitAck(within(t), "question", 1)
		if err != nil || len(list) != 1 || text(list[0]) != `[1,"b","AP8="]<nil>` {
			t.Errorf("%v, %v", list, err)
		}
	})
	t.Run("nobody is there", func(t *testing.T) {
		soon(t, func() error {
			list, err := ns.To("nobody's").EmitAck(within(t), "question", 1)
			if err == nil && len(list) != 0 {
				err = fmt.Errorf("answers: %v", list)
			}
			return err
		})
	})
	t.Run("one does not answer in time", func(t *testing.T) {
		ctx, cancel := context.WithTimeout(context.Background(), 200*time.Millisecond)
		defer cancel()
		list, err := ns.To("all").EmitAck(ctx, "question", 1)
		if err != nil {
			t.Fatal(err)
		}
		m := bySid(t, list)
		if len(m) != 3 || !errors.Is(m[c.sid].Err, context.DeadlineExceeded) || m[a.sid].Err != nil || m[b.sid].Err != nil {
			t.Errorf("%v", m)
		}
		_ = receive(t, asked).Ack("too late")
	})
	t.Run("one goes", func(t *testing.T) {
		type result struct {
			list []transport.Answer
			err  error
		}
		done := make(chan result, 1)
		ctx := within(t)
		go func() {
			list, err := ns.To("all").EmitAck(ctx, "question", 1)
			done <- result{list, err}
		}()
		receive(t, asked)
		c.stop()
		r := receive(t, done)
		if m := bySid(t, r.list); r.err != nil || len(m) != 3 || !errors.Is(m[c.sid].Err, transport.ErrClosed) {
			t.Errorf("%v, %v", r.list, r.err)
		}
	})
	t.Run("what cannot be sent", func(t *testing.T) {
		if _, err := ns.EmitAck(within(t), "question", func() {}); err == nil {
			t.Error("a function was sent")
		}
	})
	t.Run("a handler in order cannot wait for its own client", func(t *testing.T) {
		got := make(chan []transport.Answer, 1)
		ns.On("ask all", func(ctx context.Context, ev *transport.Event) {
			list, err := ns.To("quick").EmitAck(ctx, "question", 1)
			if err != nil {
				t.Error(err)
			}
			got <- list
		})
		if err := a.Emit("ask all"); err != nil {
			t.Fatal(err)
		}
		m := bySid(t, receive(t, got))
		if len(m) != 2 || !errors.Is(m[a.sid].Err, transport.ErrAckInOrder) || m[b.sid].Err != nil {
			t.Errorf("%v", m)
		}
	})
	t.Run("a node that nobody knows yet to be dead", func(t *testing.T) {
		nodes[1].bus.Close(within(t)) // as a kill would
		list, err := ns.To("quick").EmitAck(within(t), "question", 1)
		if len(list) != 1 || list[0].Sid != a.sid || !errors.Is(err, transport.ErrNodeSilent) {
			t.Errorf("%v, %v", list, err)
		}
	})
}

// inject finds its source on whichever node it is.
func TestInject(t *testing.T) {
	_, nodes := startNodes(t, 2, nodeOptions{})
	source := nodes[0].client("/", engine4.Dialer{}, nil, answers{transport.EventInject: func(ev *transport.Event) {
		var arg struct{ Kind string }
		if ev.Args[0].Decode(&arg) != nil || arg.Kind != "gas" {
			_ = ev.Ack(transport.Ack{Error: &transport.AckError{Code: transport.CodeBadArguments, Message: "gas only"}})
			return
		}
		_ = ev.Ack(transport.Ack{OK: true})
	}})
	source.join(transport.InjectRoom("tbm-1"))
	operator := nodes[1].plain()
	if a := operator.ask("inject", map[string]string{"source": "tbm-1", "kind": "gas"}); !a.OK {
		t.Errorf("%+v", a.Error)
	}
	if a := operator.ask("inject", map[string]string{"source": "tbm-1", "kind": "rain"}); a.OK || a.Error.Code != transport.CodeBadArguments || a.Error.Message != "gas only" {
		t.Errorf("%+v", a)
	}
	soon(t, func() error { // a person waits for it
		if a := operator.ask("inject", map[string]string{"source": "tbm-2", "kind": "gas"}); a.OK || a.Error.Code != transport.CodeNoSource {
			return fmt.Errorf("%+v", a)
		}
		return nil
	})
}

// Nodes know of each other, and of those that have gone, with and without a word.
func TestPresence(t *testing.T) {
	_, nodes := startNodes(t, 3, nodeOptions{heartbeat: 500 * time.Millisecond}) // none may be late four times in a row
	nodes[0].plain()
	nodes[1].plain()
	nodes[1].plain()
	for _, n := range nodes {
		until(t, "every node knows of all clients", func() bool { s := n.cluster.Stats(); return s.Nodes == 3 && s.Clients == 3 })
		for range 2 {
			if got := receive(t, n.here); got[0] != '+' || got[1:] == n.cluster.Node() {
				t.Errorf("told %s", got)
			}
		}
	}
	nodes[2].leave()
	for _, n := range nodes[:2] {
		if got := receive(t, n.here); got != "-"+nodes[2].cluster.Node() {
			t.Errorf("told %s", got)
		}
	}
	nodes[1].bus.Close(within(t)) // without a word
	if got := receive(t, nodes[0].here); got != "-"+nodes[1].cluster.Node() {
		t.Errorf("told %s", got)
	}
	if s := nodes[0].cluster.Stats(); s.Nodes != 1 || s.Clients != 1 {
		t.Errorf("%+v", s)
	}
}

// Without NATS each node goes on for itself and says what it could not tell the others; with NATS back, they are one again.
func TestNATSGone(t *testing.T) {
	nats, nodes := startNodes(t, 2, nodeOptions{heartbeat: 50 * time.Millisecond})
	here, there := nodes[0].plain("event"), nodes[1].plain("event")
	port := nats.Addr().(interface{ String() string }).String()
	nats.Shutdown()
	nats.WaitForShutdown()
	for _, n := range nodes {
		if err := receive(t, n.health); !errors.Is(err, transport.ErrBusDown) {
			t.Errorf("health: %v", err)
		}
	}
	before := nodes[0].cluster.Stats()
	for i := range 10 {
		if err := nodes[0].sio.Of("/").Emit("event", i); err != nil {
			t.Fatal(err)
		}
		here.want(fmt.Sprint("event ", i))
	}
	if _, err := nodes[0].sio.Of("/").To("room").EmitAck(within(t), "question"); !errors.Is(err, transport.ErrNodeSilent) || !errors.Is(err, transport.ErrBusDown) {
		t.Errorf("asked without a bus: %v", err)
	}
	if after := nodes[0].cluster.Stats(); after.Lost-before.Lost < 10 {
		t.Errorf("%d of 10 are counted as lost", after.Lost-before.Lost)
	}
	for _, n := range nodes {
		until(t, "each knows that it is alone", func() bool { return n.cluster.Stats().Nodes == 1 })
	}
	var number int
	if _, err := fmt.Sscanf(port[strings.LastIndexByte(port, ':')+1:], "%d", &number); err != nil {
		t.Fatal(err)
	}
	startNATS(t, number)
	for _, n := range nodes {
		if err := receive(t, n.health); err != nil {
			t.Errorf("health: %v", err)
		}
	}
	// The other may come back later than this one: emitted until it arrives.
	until(t, "an event arrives again", func() bool {
		if err := nodes[0].sio.Of("/").Emit("event", "again"); err != nil {
			t.Error(err)
		}
		select {
		case got := <-there.events:
			if got != `event "again"` {
				t.Errorf("what was lost has come: %s", got)
			}
			return true
		default:
			return false
		}
	})
	until(t, "the other node has counted what it has missed", func() bool { return nodes[1].cluster.Stats().Missed >= 10 })
}

// A message that is none is counted and told, and harms nobody.
func TestMalformed(t *testing.T) {
	server, nodes := startNodes(t, 2, nodeOptions{})
	nc, err := nats.Connect(server.ClientURL())
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	for _, data := range []string{"", "\x00", "{}", "\x0dTBN\x01", strings.Repeat("\xff", 1000)} {
		if err := nc.Publish("TBM.bus", []byte(data)); err != nil {
			t.Fatal(err)
		}
	}
	if err := nc.FlushWithContext(within(t)); err != nil {
		t.Fatal(err)
	}
	for _, n := range nodes {
		until(t, "five malformed messages are counted", func() bool { return n.cluster.Stats().Malformed == 5 })
		if err := receive(t, n.reports); err == nil {
			t.Error("nothing is told")
		}
	}
	c := nodes[0].plain("event")
	if err := nodes[1].sio.Of("/").Emit("event", 1); err != nil {
		t.Fatal(err)
	}
	c.want("event 1")
}

// What is too large for NATS reaches this node's clients, and is counted.
func TestTooLarge(t *testing.T) {
	_, nodes := startNodes(t, 2, nodeOptions{})
	here, there := nodes[0].plain("event"), nodes[1].plain("event")
	if err := nodes[0].sio.Of("/").Emit("event", strings.Repeat("x", 2<<20)); err != nil {
		t.Fatal(err)
	}
	if err := nodes[0].sio.Of("/").Emit("event", 1); err != nil {
		t.Fatal(err)
	}
	if got := receive(t, here.events); len(got) < 2<<20 {
		t.Errorf("got %.100s", got)
	}
	here.want("event 1")
	there.want("event 1")
	if lost, missed := nodes[0].cluster.Stats().Lost, nodes[1].cluster.Stats().Missed; lost != 1 || missed != 1 {
		t.Errorf("lost %d, missed %d", lost, missed)
	}
}

// BenchmarkEmitElsewhere is the time from an Emit on one node to the handler of a client of another, over one NATS server.
func BenchmarkEmitElsewhere(b *testing.B) {
	_, nodes := startNodes(b, 2, nodeOptions{})
	c := nodes[1].plain("event")
	here := nodes[0].plain("event")
	ns := nodes[0].sio.Of("/")
	payload := strings.Repeat("x", 300)
	for _, at := range []struct {
		name string
		c    *client
	}{{"this node", here}, {"another node", c}} {
		b.Run(at.name, func(b *testing.B) {
			to := ns.To(at.c.sid)
			for b.Loop() {
				if err := to.Emit("event", payload); err != nil {
					b.Fatal(err)
				}
				<-at.c.events
			}
		})
	}
}
