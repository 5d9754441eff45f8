package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"tbmsock/transport"
	"tbmsock/transport/engine3"
	"tbmsock/transport/engine4"
	"tbmsock/transport/journal"
	"tbmsock/transport/wire"
)

// byHand is a client that sends what no library sends.
type byHand struct {
	t *testing.T
	*wire.Socket
}

func connectByHand(t *testing.T, url string) *byHand {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	s, err := wire.Dial(ctx, "ws"+strings.TrimPrefix(url, "http")+"/socket.io/?EIO=4&transport=websocket", nil, 16<<20)
	if err != nil {
		t.Fatal(err)
	}
	c := &byHand{t, s}
	t.Cleanup(func() { s.Close(transport.ReasonTransportClose) })
	c.send("40", 0)
	go func() { // until it is closed: a server that cannot write would end the connection
		for {
			_, data, err := s.Read()
			if err != nil {
				return
			}
			if string(data) == "2" {
				_ = s.WriteMessage(false, []byte("3"))
			}
		}
	}()
	return c
}

func (c *byHand) send(text string, attachments int) {
	c.t.Helper()
	err := c.WriteMessage(false, []byte(text))
	for i := 0; err == nil && i < attachments; i++ {
		err = c.WriteMessage(true, []byte{byte(i)})
	}
	if err != nil {
		c.t.Fatalf("%.100s: %v", text, err)
	}
}

// placeholders is an array of n placeholders.
func placeholders(n int) string {
	out := make([]string, n)
	for i := range out {
		out[i] = fmt.Sprintf(`{"_placeholder":true,"num":%d}`, i)
	}
	return "[" + strings.Join(out, ",") + "]"
}

func nested(levels int) string { return strings.Repeat("[", levels) + strings.Repeat("]", levels) }

// hostileEvents are packets upon which one library or another fails, or might.
var hostileEvents = []struct {
	name, packet string
	attachments  int
}{
	{"a mark of 1 and an attachment that is not there", `451-["log_telemetry",{"b":{"_placeholder":true,"num":0},"x":{"_placeholder":1,"num":99}}]`, 1},
	{"a mark of 1 without an attachment that is named", `451-["log_telemetry",{"_placeholder":1,"num":5}]`, 1},
	{"a mark that is text, and a num that is", `451-["log_telemetry",{"b":{"_placeholder":true,"num":0},"x":{"_placeholder":"yes","num":"0"}}]`, 1},
	{"a mark that is an object", `451-["log_telemetry",{"_placeholder":{"_placeholder":true,"num":0},"num":7}]`, 1},
	{"an escaped mark of 1", `451-["log_telemetry",{"b":{"_placeholder":true,"num":0},"x":{"\u005fplaceholder":1,"num":-9}}]`, 1},
	{"the key hasOwnProperty", `451-["log_telemetry",{"b":{"_placeholder":true,"num":0},"hasOwnProperty":1}]`, 1},
	{"the keys __proto__, toJSON and length", `451-["log_telemetry",{"b":{"_placeholder":true,"num":0},"__proto__":{"a":1},"toJSON":1,"length":9,"constructor":null}]`, 1},
	{"equal keys", `451-["log_telemetry",{"b":{"_placeholder":true,"num":0},"a":1,"a":2}]`, 1},
	{"10 attachments", `4510-["log_telemetry",` + placeholders(10) + `]`, 10},
	{"11 attachments", `4511-["log_telemetry",` + placeholders(11) + `]`, 11},
	{"256 attachments", `45256-["log_telemetry",` + placeholders(256) + `]`, 256},
	{"a binary packet without attachments", `450-["log_telemetry",1]`, 0},
	{"63 levels around an attachment", `451-["log_telemetry",` + strings.Repeat("[", 62) + `{"_placeholder":true,"num":0}` + strings.Repeat("]", 62) + `]`, 1},
	{"255 levels around an attachment", `451-["log_telemetry",` + strings.Repeat("[", 254) + `{"_placeholder":true,"num":0}` + strings.Repeat("]", 254) + `]`, 1},
	{"63 levels", `42["log_telemetry",` + nested(63) + `]`, 0},
	{"255 levels", `42["log_telemetry",` + nested(255) + `]`, 0},
	{"placeholders in an event without attachments", `42["log_telemetry",[{"_placeholder":true,"num":0},{"_placeholder":1,"num":99}]]`, 0},
	{"keys that objects have", `42["log_telemetry",{"__proto__":{"a":1},"hasOwnProperty":1,"toString":null,"constructor":1,"length":-1,"":0}]`, 0},
	{"equal keys in text", `42["log_telemetry",{"a":1,"a":2}]`, 0},
	{"50,000 keys", `42["log_telemetry",{` + strings.TrimSuffix(manyKeys(50_000), ",") + `}]`, 0},
	{"numbers beyond every type", `42["log_telemetry",[1e400,-1e400,18446744073709551616,9007199254740993,1e-400,-0]]`, 0},
	{"a number of 5,000 digits", `42["log_telemetry",` + strings.Repeat("9", 5000) + `]`, 0},
	{"half of a surrogate pair", `42["log_telemetry",["\ud800","\udc00\ud800",{"\udfff":1}]]`, 0},
	{"control characters", `42["log_telemetry","\u0000\u001e\u2028\u2029\uffff\ufeff"]`, 0},
	{"700 KB of text", `42["log_telemetry","` + strings.Repeat("é", 350_000) + `"]`, 0},
	{"names that libraries keep for themselves", `42["disconnect",{"ok":1}]`, 0},
	{"a name that is a number", `42[5,{"a":1}]`, 0},
	{"white space", "42 [ \"log_telemetry\" ,\n{ \"a\" :\t1 } \r\n]", 0},
}

func manyKeys(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, `"k%d":0,`, i)
	}
	return b.String()
}

// Whatever one client sends, every library that listens goes on: it is not disconnected, and gets what comes next.
func TestHostileEventsHarmNobody(t *testing.T) {
	if testing.Short() {
		t.Skip("starts many clients")
	}
	r := startRelay(t, nil)
	var names []string
	var begin []func() *driver
	for _, kind := range clientKinds {
		for _, way := range ways[:2] {
			names = append(names, kind+" "+way.name)
			begin = append(begin, func() *driver {
				return startDriver(t, kind, driverOptions{URL: r.url(), Transports: way.transports, Listen: []string{"log_telemetry"}})
			})
		}
	}
	all := make([]*driver, len(begin))
	for j := range all {
		all[j] = begin[j]()
	}
	sender := connectByHand(t, r.url())
	for i, tc := range hostileEvents {
		sender.send(tc.packet, tc.attachments)
		// Again and again: python-socketio handles each message in a thread of its own, where an attachment may
		// overtake the packet that announces it.
		stop, stopped := make(chan struct{}), make(chan struct{})
		go func() {
			defer close(stopped)
			for tick := time.NewTicker(200 * time.Millisecond); ; {
				if sender.WriteMessage(false, fmt.Appendf(nil, `42["log_telemetry",{"good":%d}]`, i)) != nil {
					return
				}
				select {
				case <-tick.C:
				case <-stop:
					tick.Stop()
					return
				}
			}
		}()
		for j, d := range all {
			if !d.getsGood(i) {
				t.Errorf("%s: gets nothing more after %s", names[j], tc.name)
				d.kill()
				all[j] = begin[j]()
			}
		}
		close(stop)
		<-stopped
	}
	for j, d := range all {
		if n := len(d.held["disconnect"]); n > 0 {
			t.Errorf("%s was disconnected %d times", names[j], n)
		}
	}
}

// getsGood waits for the good event; false if the client has ended, was disconnected, or gets nothing.
func (d *driver) getsGood(i int) bool {
	d.t.Helper()
	want := fmt.Sprintf(`{"good":%d}`, i)
	for deadline := time.After(patience); ; {
		for _, r := range d.held["event"] {
			if joined(r.Args) == want {
				d.held["event"] = nil
				return len(d.held["disconnect"]) == 0
			}
		}
		d.held["event"] = nil
		select {
		case line, ok := <-d.lines:
			var r report
			if !ok || json.Unmarshal([]byte(line), &r) != nil {
				return false
			}
			d.held[r.On] = append(d.held[r.On], r)
		case <-deadline:
			return false
		}
	}
}

// A journal that holds such entries is replayed to every library without harm: they get what comes before and behind.
func TestFollowersOfUnsafeEntries(t *testing.T) {
	if testing.Short() {
		t.Skip("starts many clients")
	}
	ctx := context.Background()
	j, err := journal.Open(ctx, journal.Options{Memory: true})
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range append(hostileEvents, hostileEvents[0]) {
		head, value, _ := strings.Cut(e.packet, `["log_telemetry",`)
		if e.attachments == 0 || !strings.HasPrefix(head, "45") {
			continue
		}
		v := transport.Value{JSON: json.RawMessage(value[:len(value)-1])}
		for i := range e.attachments {
			v.Attachments = append(v.Attachments, []byte{byte(i)})
		}
		appendValue(t, j, v)
	}
	appendValue(t, j, transport.Value{JSON: json.RawMessage(`{"good":0}`)})
	feed, err := transport.NewFeed(ctx, j, func(err error) { t.Errorf("feed: %v", err) })
	if err != nil {
		t.Fatal(err)
	}
	srv, err := transport.NewServer(transport.ServerOptions{Engines: []transport.NewEngine{engine4.New, engine3.New}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := transport.NewRelay(srv.Of("/"), transport.RelayOptions{Feed: feed}); err != nil {
		t.Fatal(err)
	}
	feedCtx, stop := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() { defer close(done); feed.Run(feedCtx) }()
	web := httptest.NewServer(srv)
	t.Cleanup(func() {
		shutdown, cancel := context.WithTimeout(ctx, time.Second)
		defer cancel()
		_ = srv.Shutdown(shutdown)
		web.Close()
		stop()
		<-done
		if err := j.Close(ctx); err != nil {
			t.Error(err)
		}
	})
	for _, kind := range clientKinds {
		for _, way := range ways[:2] {
			t.Run(kind+" "+way.name, func(t *testing.T) {
				d := startDriver(t, kind, driverOptions{URL: web.URL + "/?follow=1", Transports: way.transports, Listen: []string{"log_telemetry"}})
				if got := d.emitAck("join", map[string]any{"since": map[string]any{"offset": 1}}); !strings.Contains(got, `"ok":true`) {
					t.Fatalf("join answered %s", got)
				}
				if !d.getsGood(0) {
					t.Fatal("does not get the last entry")
				}
				appendValue(t, j, transport.Value{JSON: json.RawMessage(`{"good":1}`)})
				if !d.getsGood(1) {
					t.Error("gets nothing live")
				}
			})
		}
	}
}

func appendValue(t *testing.T, j *journal.Journal, v transport.Value) {
	t.Helper()
	done := make(chan error, 1)
	j.Append(context.Background(), transport.JournalEntry{Namespace: "/", Value: v}, func(_ uint64, _ bool, err error) { done <- err })
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}

// What a client sends and a Go program passes on comes back to it, with as many attachments.
func TestEchoOfBuffers(t *testing.T) {
	if testing.Short() {
		t.Skip("starts many clients")
	}
	r := startRelay(t, func(s *transport.Server) {
		s.Of("/").On("echo", func(_ context.Context, ev *transport.Event) {
			args := make([]any, len(ev.Args))
			for i, a := range ev.Args {
				args[i] = a
			}
			if err := ev.Ack(args...); err != nil {
				t.Error(err)
			}
		})
	})
	for _, kind := range clientKinds {
		for _, way := range ways[:2] {
			t.Run(kind+" "+way.name, func(t *testing.T) {
				t.Parallel()
				d := startDriver(t, kind, driverOptions{URL: r.url(), Transports: way.transports})
				want := binJSON(1) + "," + binJSON(2) + `,"text",` + "[" + binJSON(3) + "," + binJSON(4) + "]"
				if got := d.emitAck("echo", bin(1), bin(2), "text", []any{bin(3), bin(4)}); got != want {
					t.Errorf("came back as %s, want %s", got, want)
				}
			})
		}
	}
}

// A client that the server puts out is told that it was the server, and does not come back by itself.
func TestKickIsToldAsOne(t *testing.T) {
	if testing.Short() {
		t.Skip("starts many clients")
	}
	const tries = 30
	r := startRelay(t, nil)
	for _, kind := range clientKinds[:3] {
		for _, way := range ways {
			t.Run(kind+" "+way.name, func(t *testing.T) {
				t.Parallel()
				d := startDriver(t, kind, driverOptions{URL: r.url(), Transports: way.transports})
				sid := d.first.Sid
				for try := range tries {
					so := r.sio.Of("/").Socket(sid)
					if so == nil {
						t.Fatalf("try %d: the server does not know the sid %q", try, sid)
					}
					so.Disconnect()
					if got := d.next("disconnect").Reason; got != "io server disconnect" {
						t.Fatalf("try %d: told %q", try, got)
					}
					d.do(map[string]any{"do": "open"})
					sid = d.next("connect").Sid
				}
			})
		}
	}
}
