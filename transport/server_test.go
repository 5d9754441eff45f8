package transport_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"tbmsock/transport"
)

func TestConnect(t *testing.T) {
	srv, url := startServer(t, transport.ServerOptions{})
	srv.Of("/private").OnConnect(func(_ context.Context, s *transport.Socket, auth transport.Value) error {
		var a struct{ Token string }
		if auth.Decode(&a) != nil || a.Token != "secret" {
			return &transport.Refusal{Message: "wrong token", Data: map[string]int{"code": 7}}
		}
		if err := s.Join("inner"); err != nil {
			return err
		}
		return s.Emit("hello", "early")
	})
	t.Run("main namespace", func(t *testing.T) {
		c := connectRaw(t, url, "/")
		if len(c.sid) != 27 {
			t.Errorf("sid is %q", c.sid)
		}
	})
	t.Run("unknown namespace", func(t *testing.T) {
		c := dialRaw(t, url)
		c.send("40/nowhere,")
		c.want(`44/nowhere,{"message":"Invalid namespace"}`)
	})
	t.Run("refused with data, then let in", func(t *testing.T) {
		c := dialRaw(t, url)
		c.send(`40/private,{"token":"x"}`)
		c.want(`44/private,{"data":{"code":7},"message":"wrong token"}`)
		c.send(`40/private,{"token":"secret"}`)
		if got := c.next(); !strings.HasPrefix(got, `40/private,{"sid":`) {
			t.Fatalf("got %q", got)
		}
		c.want(`42/private,["hello","early"]`)
		if n := len(srv.Of("/private").Sockets("inner")); n != 1 {
			t.Errorf("%d sockets in the room joined by the connect handler", n)
		}
	})
	t.Run("several namespaces on one connection", func(t *testing.T) {
		c := connectRaw(t, url, "/")
		c.send(`40/private,{"token":"secret"}`)
		c.next()
		c.want(`42/private,["hello","early"]`)
		c.send(`41/private,`)
		c.send(`0{}`) // the server's to send: ends the connection
		c.wantClosed()
	})
	t.Run("twice to one namespace is against the protocol", func(t *testing.T) {
		c := connectRaw(t, url, "/")
		c.send("40")
		c.wantClosed()
	})
	t.Run("an event before CONNECT is against the protocol", func(t *testing.T) {
		c := dialRaw(t, url)
		c.send(`42["x"]`)
		c.wantClosed()
	})
	t.Run("an event after DISCONNECT is let pass", func(t *testing.T) {
		c := connectRaw(t, url, "/")
		c.send(`41`)
		c.send(`42["x"]`)
		c.send(`40`)
		if got := c.next(); !strings.HasPrefix(got, "40{") {
			t.Errorf("got %q", got)
		}
	})
}

func TestHandshakeTimeout(t *testing.T) {
	closed := make(chan transport.Reason, 1)
	_, url := startServer(t, transport.ServerOptions{
		EngineOptions:   transport.EngineOptions{HandshakeTimeout: 500 * time.Millisecond},
		OnSessionClosed: func(_ *transport.Session, r transport.Reason, _ error) { closed <- r },
	})
	c := dialRaw(t, url)
	c.wantClosed()
	if r := receive(t, closed); r != transport.ReasonHandshakeTimeout {
		t.Errorf("reason is %v", r)
	}
}

func TestEvents(t *testing.T) {
	srv, url := startServer(t, transport.ServerOptions{})
	ns := srv.Of("/")
	ns.On("my event", func(_ context.Context, ev *transport.Event) {
		var a int
		var b string
		if err := ev.Args.Decode(&a, &b); err != nil {
			t.Error(err)
		}
		_ = ev.Ack(ev.Sid(), a+1, b+"!")
		if err := ev.Ack(); ev.WantsAck() && !errors.Is(err, transport.ErrAcked) {
			t.Errorf("second ack: %v", err)
		}
	})
	ns.On("binary", func(_ context.Context, ev *transport.Event) {
		var b []byte
		if err := ev.Args.Decode(&b); err != nil {
			t.Error(err)
		}
		_ = ev.Ack(append(b, 0xff))
	})
	t.Run("name with a space, ack with values", func(t *testing.T) {
		c := connectRaw(t, url, "/")
		c.send(`4217["my event",1,"é"]`)
		c.want(`4317["` + c.sid + `",2,"é!"]`)
	})
	t.Run("binary both ways", func(t *testing.T) {
		c := connectRaw(t, url, "/")
		c.send(`451-3["binary",{"_placeholder":true,"num":0}]`)
		c.sendBinary([]byte{1, 2})
		c.want(`461-3[{"_placeholder":true,"num":0}]`)
		c.want("b:\x01\x02\xff")
	})
	t.Run("an unknown event without an ack is ignored", func(t *testing.T) {
		c := connectRaw(t, url, "/")
		c.send(`42["what"]`)
		c.send(`422["my event",1,"a"]`)
		c.want(`432["` + c.sid + `",2,"a!"]`)
	})
}

func TestHandlersInOrderAndConcurrent(t *testing.T) {
	srv, url := startServer(t, transport.ServerOptions{})
	ns := srv.Of("/")
	release := make(chan struct{})
	var busy atomic.Int32
	ns.On("slow", func(_ context.Context, ev *transport.Event) {
		busy.Add(1)
		<-release
		_ = ev.Ack("slow")
	}, transport.Concurrent())
	var last int
	ns.On("n", func(_ context.Context, ev *transport.Event) {
		var n int
		if err := ev.Args.Decode(&n); err != nil || n != last+1 {
			t.Errorf("got %d after %d (%v)", n, last, err)
		}
		last = n
		if n == 100 {
			_ = ev.Ack(n)
		}
	})
	c := connectRaw(t, url, "/")
	c.send(`421["slow"]`)
	for i := 1; i <= 100; i++ {
		c.send(fmt.Sprintf(`42%d["n",%d]`, 1000+i, i))
	}
	c.want(`431100[100]`) // the slow one holds nobody up
	close(release)
	c.want(`431["slow"]`)
	if busy.Load() != 1 {
		t.Errorf("slow ran %d times", busy.Load())
	}
}

func TestEmitAck(t *testing.T) {
	srv, url := startServer(t, transport.ServerOptions{})
	ns := srv.Of("/")
	inOrder := make(chan error, 1)
	ns.On("ask me", func(ctx context.Context, ev *transport.Event) {
		_, err := ev.Socket().EmitAck(ctx, "question")
		inOrder <- err
	})
	c := connectRaw(t, url, "/")
	so := ns.Socket(c.sid)
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()

	t.Run("answered", func(t *testing.T) {
		type answer struct {
			args transport.Args
			err  error
		}
		got := make(chan answer, 1)
		go func() {
			args, err := so.EmitAck(ctx, "question", 1)
			got <- answer{args, err}
		}()
		c.want(`420["question",1]`)
		c.send(`430["yes",{"a":1}]`)
		a := receive(t, got)
		if a.err != nil || len(a.args) != 2 || string(a.args[1].JSON) != `{"a":1}` {
			t.Errorf("got %v, %v", a.args, a.err)
		}
	})
	t.Run("not answered in time", func(t *testing.T) {
		short, cancel := context.WithTimeout(ctx, 20*time.Millisecond)
		defer cancel()
		if _, err := so.EmitAck(short, "question"); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("error is %v", err)
		}
		c.want(`421["question"]`)
		c.send(`431["late"]`) // nobody waits for it any more
	})
	t.Run("an in-order handler cannot wait for its own client", func(t *testing.T) {
		c.send(`42["ask me"]`)
		if err := receive(t, inOrder); !errors.Is(err, transport.ErrAckInOrder) {
			t.Errorf("error is %v", err)
		}
	})
	t.Run("the client goes", func(t *testing.T) {
		got := make(chan error, 1)
		go func() {
			_, err := so.EmitAck(ctx, "question")
			got <- err
		}()
		if q := c.next(); !strings.HasSuffix(q, `["question"]`) {
			t.Fatalf("got %q", q)
		}
		c.socket.Close(transport.ReasonTransportClose)
		if err := receive(t, got); !errors.Is(err, transport.ErrClosed) {
			t.Errorf("error is %v", err)
		}
	})
}

func TestEmitTargets(t *testing.T) {
	srv, url := startServer(t, transport.ServerOptions{})
	ns := srv.Of("/")
	a, b, c := connectRaw(t, url, "/"), connectRaw(t, url, "/"), connectRaw(t, url, "/")
	join := func(c *rawClient, rooms ...string) {
		for _, r := range rooms {
			if err := ns.Socket(c.sid).Join(r); err != nil {
				t.Fatal(err)
			}
		}
	}
	join(a, "ops", "all")
	join(b, "ops")
	for _, tc := range []struct {
		name   string
		emit   func(string) error
		expect string
	}{
		{"to all", func(s string) error { return ns.Emit(s) }, "abc"},
		{"to a room", func(s string) error { return ns.To("ops").Emit(s) }, "ab"},
		{"to two rooms, once each", func(s string) error { return ns.To("ops", "all").Emit(s) }, "ab"},
		{"to a sid", func(s string) error { return ns.To(c.sid).Emit(s) }, "c"},
		{"to a room and a sid", func(s string) error { return ns.To("all", c.sid).Emit(s) }, "ac"},
		{"to all except a room", func(s string) error { return ns.Except("ops").Emit(s) }, "c"},
		{"to all except a sid", func(s string) error { return ns.Except(a.sid).Emit(s) }, "bc"},
		{"to a room except one", func(s string) error { return ns.To("ops").Except("all").Emit(s) }, "b"},
		{"from a socket to the others", func(s string) error { return ns.Socket(a.sid).Others().Emit(s) }, "bc"},
		{"from a socket to a room of its own", func(s string) error { return ns.Socket(a.sid).To("ops").Emit(s) }, "b"},
		{"to nobody's room", func(s string) error { return ns.To("nobody's").Emit(s) }, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if err := tc.emit("event"); err != nil {
				t.Fatal(err)
			}
			if err := ns.Emit("end"); err != nil {
				t.Fatal(err)
			}
			got := ""
			for name, cl := range map[string]*rawClient{"a": a, "b": b, "c": c} {
				msg := cl.next()
				if strings.Contains(tc.expect, name) {
					if msg != `42["event"]` {
						t.Errorf("%s got %s", name, msg)
						continue
					}
					got += name
					msg = cl.next()
				}
				if msg != `42["end"]` {
					t.Errorf("%s got %s", name, msg)
				}
			}
			if len(got) != len(tc.expect) {
				t.Errorf("reached %s, want %s", got, tc.expect)
			}
		})
	}
	t.Run("closed room", func(t *testing.T) {
		ns.CloseRoom("ops")
		if n := len(ns.Sockets("ops")); n != 0 {
			t.Errorf("%d members", n)
		}
		if got := fmt.Sprint(ns.Socket(a.sid).Rooms()); got != "[all]" {
			t.Errorf("a is in %s", got)
		}
	})
	t.Run("another's personal room", func(t *testing.T) {
		if err := ns.Socket(a.sid).Join(b.sid); err == nil {
			t.Error("joined")
		}
	})
}

func TestDisconnect(t *testing.T) {
	type ended struct {
		sid    string
		reason transport.Reason
		rooms  []string
		data   any
	}
	ends := make(chan ended, 1)
	srv, url := startServer(t, transport.ServerOptions{EngineOptions: transport.EngineOptions{DrainTimeout: patience}})
	ns := srv.Of("/")
	ns.OnConnect(func(_ context.Context, s *transport.Socket, _ transport.Value) error {
		s.Set("n", 42)
		return s.Join("ops")
	})
	ns.OnDisconnect(func(s *transport.Socket, r transport.Reason) {
		data, _ := s.Get("n")
		ends <- ended{s.Sid(), r, s.Rooms(), data}
	})
	check := func(t *testing.T, c *rawClient, r transport.Reason) {
		t.Helper()
		e := receive(t, ends)
		if e.sid != c.sid || e.reason != r || fmt.Sprint(e.rooms) != "[ops]" || e.data != 42 {
			t.Errorf("got %+v, want %v", e, r)
		}
		if ns.Socket(c.sid) != nil || len(ns.Sockets("ops")) != 0 {
			t.Error("the socket is still known")
		}
	}
	t.Run("by the client's packet", func(t *testing.T) {
		c := connectRaw(t, url, "/")
		c.send("41")
		check(t, c, transport.ReasonClientDisconnect)
	})
	t.Run("by the client's going", func(t *testing.T) {
		c := connectRaw(t, url, "/")
		c.socket.Close(transport.ReasonNone)
		check(t, c, transport.ReasonTransportClose)
	})
	t.Run("by the server", func(t *testing.T) {
		c := connectRaw(t, url, "/")
		ns.Socket(c.sid).Disconnect()
		c.want("41")
		c.wantClosed()
		check(t, c, transport.ReasonServerDisconnect)
	})
	t.Run("by garbage", func(t *testing.T) {
		c := connectRaw(t, url, "/")
		c.send("4garbage")
		c.wantClosed()
		check(t, c, transport.ReasonParseError)
		if n := srv.Counters().ProtocolErrors.Load(); n != 1 {
			t.Errorf("%d protocol errors counted", n)
		}
	})
}

func TestHandlerPanic(t *testing.T) {
	reports := make(chan error, 1)
	srv, url := startServer(t, transport.ServerOptions{Report: func(err error) { reports <- err }})
	srv.Of("/").On("bad", func(context.Context, *transport.Event) { panic("oh") })
	srv.Of("/").On("good", func(_ context.Context, ev *transport.Event) { _ = ev.Ack(1) })
	c := connectRaw(t, url, "/")
	c.send(`42["bad"]`)
	if err := receive(t, reports); !strings.Contains(err.Error(), "oh") {
		t.Errorf("reported %v", err)
	}
	c.send(`421["good"]`)
	c.want(`431[1]`)
}

func TestShutdownTellsAndFlushes(t *testing.T) {
	srv, url := startServer(t, transport.ServerOptions{EngineOptions: transport.EngineOptions{DrainTimeout: patience}})
	c := connectRaw(t, url, "/")
	for i := range 1000 {
		if err := srv.Of("/").Emit("n", i); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- srv.Shutdown(ctx) }()
	for i := range 1000 {
		c.want(fmt.Sprintf(`42["n",%d]`, i))
	}
	c.wantClosed()
	if err := receive(t, done); err != nil {
		t.Error(err)
	}
}

func TestMaxClients(t *testing.T) {
	srv, url := startServer(t, transport.ServerOptions{MaxClients: 1})
	connectRaw(t, url, "/")
	status, body := get(t, url+"/socket.io/?EIO=4&transport=polling", nil)
	if status != 503 || !strings.Contains(body, "full") {
		t.Errorf("got %d %s", status, body)
	}
	if n := srv.Counters().Sessions.Load(); n != 1 {
		t.Errorf("%d sessions", n)
	}
}
