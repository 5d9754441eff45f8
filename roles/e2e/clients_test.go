package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"tbmsock/transport"
)

// The relay's whole contract, for every client, by every way, in two namespaces.
func TestClients(t *testing.T) {
	if testing.Short() {
		t.Skip("starts many clients")
	}
	r := startRelay(t, nil)
	t.Run("all", func(t *testing.T) {
		for _, kind := range clientKinds {
			for _, way := range ways {
				for _, nsp := range []string{"/", "/tbm"} {
					t.Run(kind+" "+way.name+" "+nsp, func(t *testing.T) {
						t.Parallel()
						d := startDriver(t, kind, driverOptions{URL: r.url(), Namespace: nsp, Transports: way.transports,
							Listen: []string{"log_telemetry", "private", "question"}})
						if way.transports != nil && d.first.Transport != way.first {
							t.Errorf("began by %s", d.first.Transport)
						}
						contract(t, d, r.sio.Of(nsp))
						if got := d.transport(); got != way.last {
							t.Errorf("ended by %s, want %s", got, way.last)
						}
					})
				}
			}
		}
	})
}

func contract(t *testing.T, d *driver, ns *transport.Namespace) {
	t.Helper()
	room := "room of " + t.Name()
	quoted, err := json.Marshal(room)
	if err != nil {
		t.Fatal(err)
	}
	so := ns.Socket(d.first.Sid)
	if so == nil {
		t.Fatalf("the server does not know the sid %q", d.first.Sid)
	}
	send := func(to string, v any) {
		t.Helper()
		if err := ns.To(to).Emit("log_telemetry", v); err != nil {
			t.Fatal(err)
		}
	}

	// Join, receive in the room and not outside it, leave.
	if got, want := d.emitAck("join", room), fmt.Sprintf(`{"ok":true,"room":%s}`, quoted); got != want {
		t.Fatalf("join answered %s", got)
	}
	if got := d.emitAck("rooms"); got != fmt.Sprintf("[%s]", quoted) {
		t.Errorf("rooms answered %s", got)
	}
	send(room+" not", "outside")
	send(room, "inside")
	d.wantEvent("log_telemetry", `"inside"`)
	d.emitAck("leave", map[string]string{"room": room})
	send(room, "after leaving")
	if err := ns.To(d.first.Sid).Emit("private", 1); err != nil {
		t.Fatal(err)
	}
	d.wantEvent("private", `1`)

	// Values both ways, unicode, 100 KB, binary. What the client publishes goes to a second
	// client, so a Go one listens.
	large := strings.Repeat("é😀x", 100_000/7)
	for _, v := range []any{42, "é😀 \u2028 \"", nil, true, []any{1.5, "a"}, map[string]any{"a": []any{1}, "é": "😀"}, large} {
		want, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		if err := so.Emit("log_telemetry", v); err != nil {
			t.Fatal(err)
		}
		d.wantEvent("log_telemetry", canonical(want))
		if got := d.emitAck("ask me", v); got != canonical(want) {
			t.Errorf("answered %.200s, want %.200s", got, want)
		}
		d.wantEvent("question", canonical(want))
	}
	for _, b := range [][]byte{{1, 2, 255}, {}, []byte(strings.Repeat("\x00\x1e\xff", 10_000))} {
		if err := so.Emit("log_telemetry", b); err != nil {
			t.Fatal(err)
		}
		d.wantEvent("log_telemetry", binJSON(b...))
		if got := d.emitAck("ask me", bin(b...)); got != binJSON(b...) {
			t.Errorf("answered %.200s", got)
		}
		d.wantEvent("question", binJSON(b...))
	}
	if got, want := d.emitAck("ask me", map[string]any{"a": bin(1), "b": []any{bin(2)}}), `{"a":`+binJSON(1)+`,"b":[`+binJSON(2)+`]}`; got != want {
		t.Errorf("answered %s", got)
	}
	d.next("event")

	// What it publishes does not come back, not even in a room that it is in.
	d.emitAck("join", room)
	env := map[string]any{"source": "s", "boot": "b", "seq": 1, "time": "2026-01-02T03:04:05Z", "room": room, "packet": 1}
	if got := d.emitAck("log_telemetry", env); got != `{"ok":true}` {
		t.Errorf("log_telemetry answered %s", got)
	}
	if err := so.Emit("private", "end"); err != nil {
		t.Fatal(err)
	}
	d.wantEvent("private", `"end"`)
}

// Clients of different ages see each other's events.
func TestClientsOfAllAgesTogether(t *testing.T) {
	if testing.Short() {
		t.Skip("starts many clients")
	}
	r := startRelay(t, nil)
	var all []*driver
	for _, kind := range clientKinds {
		all = append(all, startDriver(t, kind, driverOptions{URL: r.url(), Listen: []string{"log_telemetry", "telemetry"}}))
	}
	for i, from := range all {
		for _, v := range []any{map[string]any{"from": clientKinds[i]}, bin(byte(i), 255)} {
			want, err := json.Marshal(v)
			if err != nil {
				t.Fatal(err)
			}
			if got := from.emitAck("telemetry", v); got != `{"ok":true}` {
				t.Errorf("%s: answered %s", clientKinds[i], got)
			}
			for j, to := range all {
				if i != j {
					to.wantEvent("log_telemetry", canonical(want))
					to.wantEvent("telemetry", canonical(want)) // its alias
				}
			}
		}
	}
}

// A thousand messages each way, while the client goes from polling to a WebSocket: all of them,
// once, in order.
func TestUpgradeLosesNothing(t *testing.T) {
	if testing.Short() {
		t.Skip("starts many clients")
	}
	const total = 1000
	for _, kind := range clientKinds {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			fromClient := make(chan int, 2*total)
			r := startRelay(t, func(s *transport.Server) {
				ns := s.Of("/burst")
				ns.On("n", func(_ context.Context, ev *transport.Event) {
					var n int
					if err := ev.Args.Decode(&n); err != nil {
						t.Error(err)
					}
					fromClient <- n
				})
				ns.OnConnect(func(_ context.Context, so *transport.Socket, _ transport.Value) error {
					go func() {
						// Spread over the time that an upgrade takes.
						tick := time.NewTicker(300 * time.Microsecond)
						defer tick.Stop()
						for n := 1; n <= total; n++ {
							if err := so.Emit("n", n); err != nil {
								return
							}
							<-tick.C
						}
					}()
					return nil
				})
			})
			d := startDriver(t, kind, driverOptions{URL: r.url(), Namespace: "/burst", Burst: total, Listen: []string{"n"}})
			seen := map[string]bool{}
			for n := 1; n <= total; n++ {
				got := joined(d.next("event").Args)
				// python-socketio hands each event to a thread of its own, so their order is
				// not the wire's.
				if seen[got] || kind != "python" && got != fmt.Sprint(n) {
					t.Fatalf("got %s, want %d", got, n)
				}
				seen[got] = true
			}
			for n := 1; n <= total; n++ {
				select {
				case got := <-fromClient:
					if got != n {
						t.Fatalf("the server got %d, want %d", got, n)
					}
				case <-time.After(patience):
					t.Fatalf("the server got %d of %d", n-1, total)
				}
			}
			if got := d.transport(); got != "websocket" {
				t.Errorf("it was not upgraded: %s", got)
			}
			if len(fromClient) > 0 {
				t.Errorf("%d messages more", len(fromClient))
			}
		})
	}
}

// When the server goes and comes back, every client does too, by itself.
func TestReconnect(t *testing.T) {
	if testing.Short() {
		t.Skip("starts many clients")
	}
	for _, way := range ways {
		t.Run(way.name, func(t *testing.T) {
			t.Parallel()
			r := startRelay(t, nil)
			var all []*driver
			for _, kind := range clientKinds {
				all = append(all, startDriver(t, kind, driverOptions{URL: r.url(), Transports: way.transports, Listen: []string{"log_telemetry"}}))
			}
			r.stop()
			for _, d := range all {
				d.next("disconnect")
			}
			r.start(nil)
			for i, d := range all {
				if c := d.next("connect"); c.Sid == d.first.Sid {
					t.Errorf("%s: the same sid again", clientKinds[i])
				}
			}
			if err := r.sio.Of("/").Emit("log_telemetry", "back"); err != nil {
				t.Fatal(err)
			}
			for _, d := range all {
				d.wantEvent("log_telemetry", `"back"`)
			}
		})
	}
}

// A client that the connect handler refuses is told why, each in its own way.
func TestRefused(t *testing.T) {
	if testing.Short() {
		t.Skip("starts many clients")
	}
	r := startRelay(t, func(s *transport.Server) {
		s.Of("/closed").OnConnect(func(context.Context, *transport.Socket, transport.Value) error {
			return &transport.Refusal{Message: "not you"}
		})
	})
	for _, kind := range clientKinds[:3] {
		t.Run(kind, func(t *testing.T) {
			d := launch(t, kind, driverOptions{URL: r.url(), Namespace: "/closed"})
			if e := d.next("connect_error"); !strings.Contains(e.Message, "not you") {
				t.Errorf("told %q", e.Message)
			}
		})
	}
}
