package e2e

import (
	"fmt"
	"testing"

	"tbmsock/transport"
)

// A client that polls gets every event of a burst, in order and on one connection: python-engineio refuses an answer
// with more than 16 packets, attachments among them, and ends the connection.
func TestPollingBursts(t *testing.T) {
	if testing.Short() {
		t.Skip("starts clients")
	}
	r := startRelay(t, nil)
	ns := r.sio.Of("/")
	t.Run("all", func(t *testing.T) {
		for _, kind := range []string{"node 2", "node 4", "python"} {
			t.Run(kind, func(t *testing.T) {
				t.Parallel()
				o := driverOptions{URL: r.url(), Transports: []string{"polling"}, Listen: []string{"private"}}
				startClient := func() *driver { return startDriver(t, kind, o) }
				if kind == "python" {
					startClient = func() *driver { return startListener(t, o) }
				}
				d := startClient()
				burst := func(n int, arg func(i int) (sent any, want string)) {
					t.Helper()
					for i := range n {
						sent, _ := arg(i)
						if err := ns.To(d.first.Sid).Emit("private", sent); err != nil {
							t.Fatal(err)
						}
					}
					for i := range n {
						_, want := arg(i)
						d.wantEvent("private", want)
					}
				}
				number := func(i int) (any, string) { return i, fmt.Sprint(i) }
				for _, n := range []int{200, 300, 3000} {
					burst(n, number)
				}
				for _, attachments := range []int{1, 10} { // no client is sent more
					burst(50, func(i int) (any, string) {
						var sent []any
						want := fmt.Sprint("[", i)
						for a := range attachments {
							sent = append(sent, []byte{byte(i), byte(a)})
							want += "," + binJSON(byte(i), byte(a))
						}
						return append([]any{i}, sent...), want + "]"
					})
				}
				burst(1, number)
				if len(d.held["disconnect"]) > 0 || len(d.held["connect"]) > 0 {
					t.Errorf("the connection ended: %v", d.held)
				}
				if d.first.Transport != "polling" {
					t.Errorf("connected by %s", d.first.Transport)
				}
			})
		}
	})
}

// A late joiner that polls gets the journal's entries, however many there are.
func TestPollingFollower(t *testing.T) {
	if testing.Short() {
		t.Skip("starts processes")
	}
	server := start(t, tbmsock(t), "server", "--listen", "127.0.0.1:0", "--data-dir", "memory", "--web", "off", "--log-level", "warn")
	url := server.url()
	publishSeqs(t, url, 1, 100)
	for _, kind := range []string{"node 2", "node 4", "python"} {
		t.Run(kind, func(t *testing.T) {
			o := driverOptions{URL: url, Transports: []string{"polling"}, Listen: []string{transport.EventTelemetry},
				Join: map[string]any{"room": "ops", "since": map[string]any{"offset": 1}, "offsets": true}}
			var d *driver
			if kind == "python" {
				d = startListener(t, o)
			} else {
				d = startDriver(t, kind, o)
				d.emitAck("join", o.Join)
			}
			for offset := 1; offset <= 100; offset++ {
				r := d.next("event")
				want := fmt.Sprintf(`{"offset":%d,"replayed":true}`, offset)
				if len(r.Args) != 2 || canonical(r.Args[1]) != want {
					t.Fatalf("got %s, want %s", joined(r.Args), want)
				}
			}
			if len(d.held["disconnect"]) > 0 {
				t.Errorf("the connection ended: %v", d.held)
			}
		})
	}
}

// A client that is put out while it polls hears it from the server, behind all events that were sent before: with the
// close packet in the same answer it would take the connection for lost, and come back.
func TestKickOverPolling(t *testing.T) {
	if testing.Short() {
		t.Skip("starts clients")
	}
	r := startRelay(t, nil)
	ns := r.sio.Of("/")
	t.Run("all", func(t *testing.T) {
		for _, kind := range []string{"node 2", "node 3", "node 4"} {
			t.Run(kind, func(t *testing.T) {
				t.Parallel()
				d := startDriver(t, kind, driverOptions{URL: r.url(), Transports: []string{"polling"}, Listen: []string{"private"}})
				sid := d.first.Sid
				for i := range 60 {
					if err := ns.To(sid).Emit("private", i); err != nil {
						t.Fatal(err)
					}
					ns.Socket(sid).Disconnect()
					d.wantEvent("private", fmt.Sprint(i))
					if got := d.next("disconnect").Reason; got != "io server disconnect" {
						t.Fatalf("try %d: the client says %q", i, got)
					}
					d.do(map[string]any{"do": "connect"})
					sid = d.next("connect").Sid
				}
			})
		}
	})
}
