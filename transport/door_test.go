package transport_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"tbmsock/transport"
	"tbmsock/transport/engine3"
	"tbmsock/transport/engine4"
)

// sendEvent sends a packet with n attachments.
func (c *rawClient) sendEvent(text string, n int) {
	c.t.Helper()
	c.send(text)
	for i := range n {
		c.sendBinary([]byte{byte(i)})
	}
}

// An event that could harm a receiver is not relayed; its sender is told why, and goes on.
func TestHarmfulEventIsRefused(t *testing.T) {
	srv, url := startServer(t, transport.ServerOptions{})
	if _, err := transport.NewRelay(srv.Of("/"), transport.RelayOptions{}); err != nil {
		t.Fatal(err)
	}
	sender, listener := connectRaw(t, url, "/"), connectRaw(t, url, "/")
	for i, tc := range []struct {
		name, value string
		attachments int
		code        string
	}{
		{"a mark of 1 for an attachment that is not there", `{"b":{"_placeholder":true,"num":0},"x":{"_placeholder":1,"num":99}}`, 1, "bad_arguments"},
		{"a mark of true for an attachment that is not there", `{"_placeholder":true,"num":1}`, 1, "bad_arguments"},
		{"a negative index", `{"_placeholder":true,"num":-1}`, 1, "bad_arguments"},
		{"a key that ends socket.io-client 3", `{"b":{"_placeholder":true,"num":0},"hasOwnProperty":1}`, 1, "bad_arguments"},
		{"equal keys", `{"b":{"_placeholder":true,"num":0},"b":1}`, 1, "bad_arguments"},
		{"eleven attachments", elements(11), 11, "too_many_attachments"},
		{"256 attachments", elements(256), 256, "too_many_attachments"},
		{"65 levels", strings.Repeat("[", 64) + strings.Repeat("]", 64), 0, "bad_arguments"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c := *sender
			c.t = t
			head := fmt.Sprintf("42%d", i)
			if tc.attachments > 0 {
				head = fmt.Sprintf("45%d-%d", tc.attachments, i)
			}
			c.sendEvent(fmt.Sprintf(`%s["log_telemetry",%s]`, head, tc.value), tc.attachments)
			if got, want := c.next(), fmt.Sprintf(`43%d[{"ok":false,"error":{"code":"%s"`, i, tc.code); !strings.HasPrefix(got, want) {
				t.Fatalf("answered %q, want %q", got, want)
			}
			// Without an id nobody is answered, and nobody disconnected.
			c.sendEvent(strings.Replace(fmt.Sprintf(`%s["log_telemetry",%s]`, head, tc.value), fmt.Sprintf("%d[", i), "[", 1), tc.attachments)
			c.send(fmt.Sprintf(`42%d["log_telemetry","after %d"]`, 1000+i, i))
			c.want(fmt.Sprintf(`43%d[{"ok":true}]`, 1000+i))
			l := *listener
			l.t = t
			l.want(fmt.Sprintf(`42["log_telemetry","after %d"]`, i))
		})
	}
	t.Run("ten attachments are relayed", func(t *testing.T) {
		sender.sendEvent(`4510-7["log_telemetry",`+elements(10)+`]`, 10)
		sender.want(`437[{"ok":true}]`)
		listener.want(`4510-["log_telemetry",` + elements(10) + `]`)
		for i := range 10 {
			listener.want("b:" + string([]byte{byte(i)}))
		}
	})
	t.Run("without attachments a value is relayed as it is", func(t *testing.T) {
		const value = `{"_placeholder":1,"num":99, "hasOwnProperty":null,"a":1,"a":1e400}`
		sender.send(`428["log_telemetry",` + value + `]`)
		sender.want(`438[{"ok":true}]`)
		listener.want(`42["log_telemetry",` + value + `]`)
	})
	if n := srv.Counters().Rejected.Load(); n < 7 {
		t.Errorf("%d events counted as rejected", n)
	}
}

// elements is an array of n placeholders.
func elements(n int) string {
	out := make([]string, n)
	for i := range out {
		out[i] = fmt.Sprintf(`{"_placeholder":true,"num":%d}`, i)
	}
	return "[" + strings.Join(out, ",") + "]"
}

// An answer with a placeholder that a library could misread ends its sender's connection: it has nobody to be told.
func TestHarmfulAnswerEndsConnection(t *testing.T) {
	srv, url := startServer(t, transport.ServerOptions{})
	c := connectRaw(t, url, "/")
	answered := make(chan error, 1)
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		_, err := srv.Of("/").Socket(c.sid).EmitAck(ctx, "question")
		answered <- err
	}()
	c.want(`420["question"]`)
	c.sendEvent(`461-0[{"_placeholder":1,"num":99}]`, 1)
	c.wantClosed()
	if receive(t, answered) == nil {
		t.Error("the answer was taken")
	}
	if n := srv.Counters().Closed(transport.ReasonParseError); n != 1 {
		t.Errorf("%d connections ended for a parse error", n)
	}
}

// Arguments passed on are sent with the attachments that they came with, each once.
func TestEchoOfAttachments(t *testing.T) {
	srv, url := startServer(t, transport.ServerOptions{})
	srv.Of("/").On("echo", func(_ context.Context, ev *transport.Event) {
		args := make([]any, len(ev.Args))
		for i, a := range ev.Args {
			args[i] = a
		}
		if err := ev.Socket().Emit("echo", args...); err != nil {
			t.Error(err)
		}
		if err := ev.Ack(args...); err != nil {
			t.Error(err)
		}
	})
	c := connectRaw(t, url, "/")
	const four = `{"_placeholder":true,"num":0},{"_placeholder":true,"num":1},"x",[{"_placeholder":true,"num":3},{"_placeholder":true,"num":2}]`
	c.sendEvent(`454-9["echo",`+four+`]`, 4)
	for _, want := range []string{`454-["echo",` + four + `]`, `464-9[` + four + `]`} {
		c.want(want)
		for i := range 4 {
			c.want("b:" + string([]byte{byte(i)}))
		}
	}
}

func TestUnknownEvent(t *testing.T) {
	srv, url := startServer(t, transport.ServerOptions{})
	ns := srv.Of("/")
	c := connectRaw(t, url, "/")
	c.send(`421["what",1]`)
	c.want(`431[{"ok":false,"error":{"code":"unknown_event","message":"no handler for an event of the name \"what\""}}]`)
	c.send(`42["what"]`) // asks for no answer
	c.sendEvent(`451-2["what",{"_placeholder":true,"num":0}]`, 1)
	if got := c.next(); !strings.HasPrefix(got, `432[{"ok":false,"error":{"code":"unknown_event"`) {
		t.Errorf("got %s", got)
	}
	ns.OnUnknown(func(_ context.Context, ev *transport.Event) { _ = ev.Ack("mine", ev.Name) })
	c.send(`423["what"]`)
	c.want(`433["mine","what"]`)
	ns.On("what", func(_ context.Context, ev *transport.Event) { _ = ev.Ack("known") })
	c.send(`424["what"]`)
	c.want(`434["known"]`)
	c.send(`425["whatever"]`)
	c.want(`435["mine","whatever"]`)
	ns.OnUnknown(nil)
	c.send(`426["whatever"]`)
	if got := c.next(); !strings.HasPrefix(got, `436[{"ok":false`) {
		t.Errorf("got %s", got)
	}
}

// The server is told the same by a client without a handler.
func TestUnknownEventOfServer(t *testing.T) {
	srv, url := startServer(t, transport.ServerOptions{})
	sids := make(chan string, 1)
	startClient(t, transport.ClientOptions{URL: url, Dialers: []transport.Dialer{engine4.Dialer{}},
		OnConnect: func(sid string, _ transport.Conn) { sids <- sid }}, nil)
	so := srv.Of("/").Socket(receive(t, sids))
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	args, err := so.EmitAck(ctx, "what")
	if err != nil {
		t.Fatal(err)
	}
	var a transport.Ack
	if err := args.Decode(&a); err != nil || a.Error == nil || a.Error.Code != transport.CodeUnknownEvent {
		t.Errorf("answered %+v, %v", a, err)
	}
}

// A number is a name: the reference has an event 5 for who listens for "5".
func TestNumericEventName(t *testing.T) {
	srv, url := startServer(t, transport.ServerOptions{})
	for _, name := range []string{"5", "-1.5", "1000"} {
		srv.Of("/").On(name, func(_ context.Context, ev *transport.Event) { _ = ev.Ack(ev.Name, ev.Args[0]) })
	}
	c := connectRaw(t, url, "/")
	c.send(`421[5,"x"]`)
	c.want(`431["5","x"]`)
	c.send(`422[-1.50,"x"]`)
	c.want(`432["-1.5","x"]`)
	c.send(`423[1e3,"x"]`)
	c.want(`433["1000","x"]`)
	c.send(`42[7]`)
	c.send(`421["5","still connected"]`)
	c.want(`431["5","still connected"]`)
	for _, name := range []string{`{}`, `null`, `true`, `[]`} {
		c := connectRaw(t, url, "/")
		c.send(`42[` + name + `]`)
		c.wantClosed()
	}
}

// In revision 4 a client's credentials for a namespace are a query behind its name.
func TestNamespaceQuery(t *testing.T) {
	srv, url := startServer(t, transport.ServerOptions{Engines: []transport.NewEngine{engine3.New, engine4.New}})
	auths := make(chan string, 1)
	srv.Of("/abc").OnConnect(func(_ context.Context, s *transport.Socket, auth transport.Value) error {
		auths <- string(auth.JSON) + string(s.Auth().JSON)
		return nil
	})
	srv.Of("/abc").On("ping me", func(_ context.Context, ev *transport.Event) { _ = ev.Ack("pong") })
	token := strings.Repeat("t", 700) // as long as a token often is
	for _, tc := range []struct{ connect, want string }{
		{`40/abc?token=1&u%C3%A9=a%20b&l=1&l=2`, `{"l":["1","2"],"token":"1","ué":"a b"}`},
		{`40/abc?token=` + token + `,`, `{"token":"` + token + `"}`},
		{`40/abc`, ``},
		{`40/abc?,`, ``},
	} {
		c := dialRevision3(t, url)
		c.send(tc.connect)
		c.want(`40/abc,`)
		if got := receive(t, auths); got != tc.want+tc.want {
			t.Errorf("%.60s: the handler got %s, want %s twice", tc.connect, got, tc.want)
		}
		c.send(`42/abc?a=b,1["ping me"]`)
		c.want(`43/abc,1["pong"]`)
	}
	t.Run("a namespace that there is not", func(t *testing.T) {
		c := dialRevision3(t, url)
		c.send(`40/nowhere?a=b`)
		c.want(`44/nowhere,"Invalid namespace"`)
	})
	t.Run("revision 5 has no such thing", func(t *testing.T) {
		c := dialRaw(t, url)
		c.send(`40/abc?a=b,`)
		c.want(`44/abc?a=b,{"message":"Invalid namespace"}`)
	})
}

// A client that polls is told of its end in one response, and that the connection closes in a later one: a client that
// finds both in one takes the connection for broken, and connects again.
func TestKickOverPolling(t *testing.T) {
	for _, eio := range []string{"3", "4"} {
		t.Run("engine "+eio, func(t *testing.T) {
			srv, url := startServer(t, transport.ServerOptions{Engines: []transport.NewEngine{engine3.New, engine4.New},
				EngineOptions: transport.EngineOptions{DrainTimeout: patience}})
			ns := srv.Of("/")
			sids := make(chan string, 1)
			ns.OnConnect(func(_ context.Context, s *transport.Socket, _ transport.Value) error {
				sids <- s.Sid()
				return nil
			})
			for try := range 20 {
				p := pollRaw(t, url, eio)
				sid := receive(t, sids)
				polled := make(chan string, 1)
				if try%2 == 0 { // while a poll waits, and before it comes
					go func() { polled <- p.poll() }()
					time.Sleep(time.Duration(try) * time.Millisecond)
				}
				ns.Socket(sid).Disconnect()
				if try%2 == 1 {
					time.Sleep(time.Duration(try) * time.Millisecond)
					polled <- p.poll()
				}
				if got := strings.TrimPrefix(receive(t, polled), "2:"); got != "41" {
					t.Fatalf("try %d: told %q, want 41 alone", try, got)
				}
				if got := strings.TrimPrefix(p.poll(), "1:"); got != "1" {
					t.Fatalf("try %d: then %q, want 1", try, got)
				}
			}
		})
	}
}

// dialRevision3 connects over a WebSocket as clients of Socket.IO 2 do.
func dialRevision3(t *testing.T, url string) *rawClient {
	t.Helper()
	c := dialEngine(t, url, "3")
	c.want("40")
	return c
}

// poller speaks Engine.IO over polling by hand.
type poller struct {
	t   *testing.T
	url string
}

// pollRaw opens a session, and with it the main namespace.
func pollRaw(t *testing.T, url, eio string) *poller {
	t.Helper()
	p := &poller{t, url + "/socket.io/?transport=polling&EIO=" + eio}
	open := p.poll()
	at := strings.Index(open, "{")
	var body struct{ Sid string }
	if err := json.NewDecoder(strings.NewReader(open[max(at, 0):])).Decode(&body); err != nil {
		t.Fatalf("handshake %q: %v", open, err)
	}
	p.url += "&sid=" + body.Sid
	if eio == "4" {
		if res, answer := do(t, http.MethodPost, p.url, "40", nil); res.StatusCode != http.StatusOK {
			t.Fatalf("CONNECT answered %d %s", res.StatusCode, answer)
		}
	}
	if eio == "4" || !strings.Contains(open, "2:40") {
		if got := p.poll(); !strings.Contains(got, "40") {
			t.Fatalf("CONNECT answered %q", got)
		}
	}
	return p
}

func (p *poller) poll() string {
	p.t.Helper()
	res, err := http.Get(p.url)
	if err != nil {
		p.t.Error(err)
		return ""
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil || res.StatusCode != http.StatusOK {
		p.t.Errorf("poll answered %d %s, %v", res.StatusCode, body, err)
	}
	return string(body)
}
