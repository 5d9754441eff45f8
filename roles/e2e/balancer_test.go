package e2e

import (
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"tbmsock/internal/freeport"
)

// example is a file of examples/cluster with the ports that it names replaced.
func example(t *testing.T, name string, ports map[string]string, more ...string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", "..", "examples", "cluster", name))
	if err != nil {
		t.Fatal(err)
	}
	var pairs []string
	for from, to := range ports {
		if strings.Count(string(text), from) != 1 {
			t.Fatalf("%s names %s %d times", name, from, strings.Count(string(text), from))
		}
		pairs = append(pairs, from, to)
	}
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(strings.NewReplacer(append(pairs, more...)...).Replace(string(text))), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// balancers start with the example's file, in front of the nodes.
var balancers = map[string]func(t *testing.T, ports map[string]string) *process{
	"haproxy": func(t *testing.T, ports map[string]string) *process {
		return start(t, program(t, "haproxy", "haproxy"), "-db", "-f", example(t, "haproxy.cfg", ports))
	},
	"nginx": func(t *testing.T, ports map[string]string) *process {
		dir := t.TempDir()
		// Where it may write, whoever runs the test.
		paths := "http {\n"
		for _, name := range []string{"client_body", "proxy", "fastcgi", "uwsgi", "scgi"} {
			paths += fmt.Sprintf("    %s_temp_path %s;\n", name, filepath.Join(dir, name))
		}
		user := ""
		if os.Getuid() == 0 {
			user = "user root;"
		}
		p := start(t, program(t, "nginx", "nginx-light"), "-c", example(t, "nginx.conf", ports, "http {\n", paths+"    access_log off;\n"), "-p", dir,
			"-g", fmt.Sprintf("daemon off; error_log stderr; pid %s; %s", filepath.Join(dir, "pid"), user))
		t.Cleanup(func() { p.interrupt() }) // its workers would outlive a kill
		return p
	},
}

// program finds one that Debian puts where only root looks.
func program(t *testing.T, name, debian string) string {
	t.Helper()
	for _, path := range []string{name, "/usr/sbin/" + name} {
		if path, err := exec.LookPath(path); err == nil {
			return path
		}
	}
	missing(t, "no %s (Debian: %s)", name, debian)
	return ""
}

// Real clients of every kind come through HAProxy and nginx with the files of examples/cluster, and find another node when
// theirs is killed.
func TestBalancers(t *testing.T) {
	if testing.Short() {
		t.Skip("starts processes")
	}
	h := startHub(t, 3)
	for name, run := range balancers {
		t.Run(name, func(t *testing.T) { throughBalancer(t, h, run) })
	}
}

func throughBalancer(t *testing.T, h *hub, run func(*testing.T, map[string]string) *process) {
	port := freeport.Below(t, 1)[0]
	ports := map[string]string{"127.0.0.1:8000": fmt.Sprint("127.0.0.1:", port)}
	for i, addr := range h.addrs {
		ports[fmt.Sprint("127.0.0.1:", 8081+i)] = addr
	}
	url := "http://" + ports["127.0.0.1:8000"]
	balancer := run(t, ports)
	awaitReady(t, url, balancer)

	dir := t.TempDir()
	file := filepath.Join(dir, "packets.jsonl")
	logger := start(t, tbmsock(t), "logger", "--url", url, "--room", "ops", "--output", file, "--since", "now", "--rotate-size", "0", "--rotate-every", "0s")
	logger.logged("joined")
	source := start(t, tbmsock(t), "telemetry", "--url", url, "--rate", "50hz", "--room", "ops", "--outbox", filepath.Join(dir, "outbox"), "--drain", "30s")

	type through struct {
		*driver
		name string
		last string // transport that it ends up with
	}
	var clients []through
	for _, kind := range []string{"node 4", "node 2", "python"} {
		for _, way := range ways {
			d := startDriver(t, kind, driverOptions{URL: url, Transports: way.transports, Listen: []string{"log_telemetry"}})
			clients = append(clients, through{d, kind + " " + way.name, way.last})
		}
	}
	seq := 0
	room := "room of " + t.Name()
	check := func() {
		t.Helper()
		for _, c := range clients {
			if got := c.emitAck("join", room); !strings.Contains(got, `"ok":true`) {
				t.Fatalf("%s: join answered %s", c.name, got)
			}
		}
		for _, from := range clients {
			seq++
			e := map[string]any{"source": room, "boot": "b", "seq": seq, "time": "2026-01-02T03:04:05Z", "room": room, "packet": strings.Repeat("x", 50_000)}
			if got := from.emitAck("log_telemetry", e); !strings.Contains(got, `"ok":true`) {
				t.Fatalf("%s: log_telemetry answered %s", from.name, got)
			}
			for _, to := range clients {
				if to != from {
					if r := to.next("event"); !strings.Contains(joined(r.Args), fmt.Sprintf(`"seq":%d,`, seq)) {
						t.Fatalf("from %s to %s: %.200s", from.name, to.name, joined(r.Args))
					}
				}
			}
		}
		for _, c := range clients {
			if got := c.transport(); got != c.last {
				t.Errorf("%s comes by %s", c.name, got)
			}
		}
	}
	check()

	// All come from one address, so one node has them.
	down := -1
	for i := range h.nodes {
		if h.has(i, room) {
			if down >= 0 {
				t.Errorf("clients of one address are on nodes %d and %d", down, i)
			}
			down = i
		}
	}
	if down < 0 {
		t.Fatal("the clients are on no node")
	}
	h.nodes[down].kill()
	for _, c := range clients {
		if r := c.next("disconnect"); r.On == "" {
			t.Errorf("%s has not noticed", c.name)
		}
		c.next("connect")
	}
	check()
	if code := source.interrupt(); code != 0 {
		t.Errorf("telemetry ends with %d", code)
	}
	if log := source.log(); strings.Contains(log, "not everything could be sent") {
		t.Errorf("telemetry has not sent everything:\n%s", log)
	}
	var packets int
	if _, err := fmt.Sscanf(afterLast(source.log(), " packets="), "%d", &packets); err != nil || packets == 0 {
		t.Fatalf("telemetry has not said how many packets it has taken: %v\n%s", err, source.log())
	}
	awaitPackets(t, file, packets)
	if n, boots := whole(t, file); n != packets || boots != 1 {
		t.Errorf("the logger has %d packets of %d boots, want %d of one", n, boots, packets)
	}
	for _, c := range clients {
		c.kill()
	}
	logger.interrupt()
	balancer.interrupt()
	h.start(down)
}

// afterLast is what follows the last place of a mark.
func afterLast(s, mark string) string { return s[strings.LastIndex(s, mark)+len(mark):] }

// awaitReady waits until a node answers through the balancer.
func awaitReady(t *testing.T, url string, balancer *process) {
	t.Helper()
	again := time.NewTicker(20 * time.Millisecond)
	defer again.Stop()
	for end := time.After(patience); ; {
		resp, err := http.Get(url + "/readyz")
		if err == nil {
			_ = resp.Body.Close()
			if resp.StatusCode == http.StatusOK {
				return
			}
		}
		select {
		case <-again.C:
		case <-balancer.done:
			t.Fatalf("the balancer has ended:\n%s", balancer.log())
		case <-end:
			t.Fatalf("no node answers through the balancer: %v\n%s", err, balancer.log())
		}
	}
}
