package e2e

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"tbmsock/roles/bench"
)

func runLoad(t *testing.T, server *process, url string, args ...string) bench.Result {
	t.Helper()
	p := start(t, tbmsock(t), append([]string{"bench", "--json", "--duration", "1s", "--url", url,
		"--server-pid", fmt.Sprint(server.cmd.Process.Pid)}, args...)...)
	line := p.line()
	if code := p.wait(); code != 0 {
		t.Fatalf("code %d: %s", code, p.log())
	}
	var res struct {
		bench.Result
		Revision string `json:"engine"`
	}
	if err := json.Unmarshal([]byte(line), &res); err != nil {
		t.Fatalf("%q: %v", line, err)
	}
	return res.Result
}

// The load against every server that there is: nothing is lost, and what is told hangs together.
func TestBench(t *testing.T) {
	if testing.Short() {
		t.Skip("starts processes")
	}
	for _, peer := range []string{"tbmsock", "node", "python"} {
		for _, engine := range []string{"4", "3"} {
			if peer == "python" && engine == "3" {
				continue // python-socketio 5 does not speak it
			}
			t.Run(peer+" engine "+engine, func(t *testing.T) {
				server := startPeer(t, peer)
				url := server.url()
				for _, rate := range []string{"100hz", "max"} {
					r := runLoad(t, server, url, "--engine", engine, "--clients", "10", "--ack", "--rate", rate)
					if r.Published < 50 || r.Wanted != 10*r.Published || r.Delivered != r.Wanted || r.Lost+r.Late+r.Dropped != 0 || r.Ended != 0 {
						t.Errorf("%s: %+v", rate, r)
					}
					if r.Acks != r.Published || r.Negative != 0 || r.AckLatency.P50 <= 0 {
						t.Errorf("%s: %d acks, %d negative, of %d messages, %+v", rate, r.Acks, r.Negative, r.Published, r.AckLatency)
					}
					if l := r.Latency; l.P50 <= 0 || l.P99 < l.P50 || l.P999 < l.P99 || l.Max < l.P999 {
						t.Errorf("%s: latency %+v", rate, l)
					}
					if s := r.Server; s == nil || s.Before < 1e6 || s.Max < s.Before {
						t.Errorf("%s: server %+v", rate, s)
					}
				}
			})
		}
	}
	t.Run("stalled and idle clients", func(t *testing.T) {
		// With room for all that is sent, those that read get all of it, however late they are.
		server := start(t, tbmsock(t), "server", "--listen", "127.0.0.1:0", "--queue-limit", "8MiB")
		url := server.url()
		r := runLoad(t, server, url, "--clients", "10", "--stall", "3", "--size", "16KiB", "--rate", "200hz")
		if r.Stalled != 3 || r.Wanted != 7*r.Published || r.Delivered != r.Wanted || r.Published < 100 {
			t.Errorf("%+v", r)
		}
		if r := runLoad(t, server, url, "--clients", "10", "--rate", "off"); !r.Idle || r.Published != 0 || r.Ended != 0 {
			t.Errorf("%+v", r)
		}
	})
	t.Run("for people", func(t *testing.T) {
		server := startPeer(t, "tbmsock")
		p := start(t, tbmsock(t), "bench", "--duration", "2s", "--url", server.url())
		p.lineWith("lost 0, late or repeated 0")
		p.lineWith("p99.9")
		if code := p.wait(); code != 0 || !strings.Contains(p.log(), " of 2: 100 clients, ") {
			t.Errorf("code %d, progress %q", code, p.log())
		}
	})
	t.Run("a wrong rate", func(t *testing.T) {
		p := start(t, tbmsock(t), "bench", "--rate", "fast")
		if code := p.wait(); code != 2 || !strings.Contains(p.log(), "or max, or off") {
			t.Errorf("code %d, %q", code, p.log())
		}
	})
}
