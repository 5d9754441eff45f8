package e2e

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"tbmsock/transport"
)

// reading is a value that is worth compressing, about so many bytes of JSON.
func reading(n int) map[string]any {
	groups := map[string]any{}
	for i := 0; i*40 < n; i++ {
		groups[fmt.Sprintf("thrust_%d", i)] = map[string]any{"total": 10859 + i, "phase": "é"}
	}
	return groups
}

// Clients of all ages with and without compression in one room: each gets each packet as it was sent,
// and a packet is compressed once for all of them, whatever engine and way they have.
func TestCompression(t *testing.T) {
	if testing.Short() {
		t.Skip("starts many clients")
	}
	r := &relay{t: t, compress: transport.DefaultCompress}
	r.start(nil)
	t.Cleanup(r.stop)
	small := map[string]any{"threshold": 1024, "serverMaxWindowBits": 10, "serverNoContextTakeover": true}
	var all []*driver
	var names []string
	for _, c := range []struct {
		kind    string
		ways    []string
		deflate any
		agreed  bool
	}{
		{"node 2", nil, nil, true}, {"node 3", nil, nil, true}, {"node 4", nil, nil, true},
		{"node 2", []string{"websocket"}, true, true}, {"node 4", []string{"websocket"}, map[string]any{"threshold": 64}, true},
		{"node 4", []string{"websocket"}, small, true},
		{"node 2", nil, false, false}, {"node 3", nil, false, false}, {"node 4", nil, false, false},
		{"node 4", []string{"polling"}, nil, false}, {"python", nil, nil, false}, {"python", []string{"polling"}, nil, false},
	} {
		d := startDriver(t, c.kind, driverOptions{URL: r.url(), Transports: c.ways, Deflate: c.deflate, Listen: []string{"log_telemetry"}})
		name := fmt.Sprint(c.kind, " ", c.ways, " ", c.deflate)
		all, names = append(all, d), append(names, name)
		if c.kind == "python" {
			continue
		}
		extensions := ""
		waitUntil(t, name+" is upgraded", func() bool {
			d.do(map[string]any{"do": "transport"})
			is := d.next("transport")
			extensions = is.Extensions
			return is.Transport == "websocket" || c.ways != nil
		})
		if agreed := strings.Contains(extensions, "permessage-deflate"); agreed != c.agreed {
			t.Errorf("%s has the extensions %q", name, extensions)
		}
	}
	n := r.sio.Counters()
	for _, tc := range []struct {
		name  string
		value any
		forms uint64
	}{
		{"small", "a few bytes", 0},
		{"5 KB", reading(5_000), 1},
		{"200 KB", reading(200_000), 1},
		{"bytes", bin([]byte(strings.Repeat("thrust", 5_000))...), 0}, // see below
	} {
		t.Run(tc.name, func(t *testing.T) {
			want, err := json.Marshal(tc.value)
			if err != nil {
				t.Fatal(err)
			}
			value, forms := tc.value, tc.forms
			if tc.name == "bytes" {
				value, forms = []byte(strings.Repeat("thrust", 5_000)), 2 // the engines' binary forms differ
			}
			before := n.Compressed.Load()
			if err := r.sio.Of("/").Emit("log_telemetry", value); err != nil {
				t.Fatal(err)
			}
			for _, d := range all {
				d.wantEvent("log_telemetry", canonical(want))
			}
			if got := n.Compressed.Load() - before; got != forms {
				t.Errorf("compressed %d times, want %d", got, forms)
			}
		})
	}
	// What they send is compressed too, by those that have agreed.
	for i, from := range all {
		t.Run("from "+names[i], func(t *testing.T) {
			value := reading(4_000 + i*100)
			want, err := json.Marshal(value)
			if err != nil {
				t.Fatal(err)
			}
			if got := from.emitAck("log_telemetry", value); got != `{"ok":true}` {
				t.Errorf("answered %s", got)
			}
			for j, to := range all {
				if i != j {
					to.wantEvent("log_telemetry", canonical(want))
				}
			}
		})
	}
	if from, to := n.CompressedFrom.Load(), n.CompressedTo.Load(); to*3 > from {
		t.Errorf("%d bytes became %d", from, to)
	}
}

// The relay's whole contract with compression, for every client.
func TestClientsCompressed(t *testing.T) {
	if testing.Short() {
		t.Skip("starts many clients")
	}
	r := &relay{t: t, compress: 64}
	r.start(nil)
	t.Cleanup(r.stop)
	t.Run("all", func(t *testing.T) {
		for _, kind := range clientKinds {
			for _, way := range ways {
				t.Run(kind+" "+way.name, func(t *testing.T) {
					t.Parallel()
					d := startDriver(t, kind, driverOptions{URL: r.url(), Transports: way.transports, Deflate: map[string]any{"threshold": 64},
						Listen: []string{"log_telemetry", "private", "question"}})
					contract(t, d, r.sio.Of("/"))
				})
			}
		}
	})
}

// Our own clients against socket.io on Node that compresses, and against our server.
func TestRolesCompress(t *testing.T) {
	if testing.Short() {
		t.Skip("starts processes")
	}
	for _, peer := range []string{"node with deflate", "tbmsock"} {
		for _, way := range []string{"auto", "websocket"} {
			for _, engine := range []string{"4", "3"} {
				t.Run(peer+" "+way+" engine "+engine, func(t *testing.T) {
					t.Parallel()
					var server *process
					if peer == "tbmsock" {
						server = start(t, tbmsock(t), "server", "--listen", "127.0.0.1:0", "--compress", "256")
					} else {
						server = startPeer(t, peer)
					}
					url := server.url()
					flags := []string{"--url", url, "--transport", way, "--engine", engine, "--drain", "2s", "--compress", "256"}
					logger := start(t, tbmsock(t), append([]string{"logger", "--room", "ops", "--format", "json"}, flags...)...)
					logger.logged("joined")
					source := start(t, tbmsock(t), append([]string{"telemetry", "--rate", "100hz", "--count", "100", "--room", "ops"}, flags...)...)
					for n := range 100 {
						if l := loggedLine(t, logger.line()); l.Envelope == nil || l.Envelope.Seq != uint64(n+1) {
							t.Fatalf("packet %d is %+v", n+1, l)
						}
					}
					if code := source.wait(); code != 0 {
						t.Errorf("telemetry ends with %d", code)
					}
					if peer != "tbmsock" {
						for range 2 {
							if got, want := server.lineWith("extensions of"), "extensions of engine "+engine+" permessage-deflate"; got != want {
								t.Errorf("the server says %q, want %q", got, want)
							}
						}
						return
					}
					if c := compressedStatus(t, url); c == nil || c.Packets < 50 || c.To*4 > c.From*3 {
						t.Errorf("the server says that it compressed %+v", c)
					}
				})
			}
		}
	}
}

type compressed struct{ Packets, From, To uint64 }

// compressedStatus is what /status says of compression.
func compressedStatus(t *testing.T, url string) *compressed {
	t.Helper()
	res, err := http.Get(url + "/status")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	var status struct{ Compressed *compressed }
	if err := json.NewDecoder(res.Body).Decode(&status); err != nil {
		t.Fatal(err)
	}
	return status.Compressed
}

// A browser, which offers compression by itself, agrees to ours, and the page works with it.
func TestBrowserCompresses(t *testing.T) {
	b := startBrowser(t)
	url := start(t, tbmsock(t), "server", "--listen", "127.0.0.1:0", "--compress", "256").url()
	start(t, tbmsock(t), "telemetry", "--url", url, "--rate", "10hz", "--room", "ops")
	p := b.open("compressed", url+"/", nil)
	p.waitText(pill, "Live")
	first := p.waitNumber(fmt.Sprintf(`return Number(document.querySelector(%q)?.textContent) || 0`, seq))
	p.wait(fmt.Sprintf(`return Number(document.querySelector(%q).textContent) > %v`, seq, first+20))
	if got := p.text(`[data-testid="missing"] b`); got != "0" {
		t.Errorf("missing %s", got)
	}
	p.do(map[string]any{"do": "eval", "js": `
		window.own = new WebSocket(location.origin.replace('http', 'ws') + '/socket.io/?EIO=4&transport=websocket');`})
	var extensions string
	if err := json.Unmarshal(p.wait(`return window.own.readyState === 1 && (window.own.extensions || 'none')`), &extensions); err != nil {
		t.Fatal(err)
	}
	if want := "permessage-deflate; server_no_context_takeover; client_no_context_takeover"; extensions != want {
		t.Errorf("the browser has %q, want %q", extensions, want)
	}
	p.do(map[string]any{"do": "eval", "js": `window.own.close();`})
	if c := compressedStatus(t, url); c == nil || c.Packets < 10 {
		t.Errorf("the server says that it compressed %+v", c)
	}
}

// waitUntil asks until it is so.
func waitUntil(t *testing.T, what string, so func() bool) {
	t.Helper()
	deadline := time.NewTimer(patience)
	defer deadline.Stop()
	again := time.NewTicker(20 * time.Millisecond)
	defer again.Stop()
	for !so() {
		select {
		case <-again.C:
		case <-deadline.C:
			t.Fatalf("it never came to be: %s", what)
		}
	}
}
