package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"tbmsock/internal/freeport"
	"tbmsock/transport"
	"tbmsock/transport/engine4"
)

// hub is several server processes over one NATS cluster.
type hub struct {
	t     *testing.T
	nats  *natsCluster
	addrs []string
	nodes []*process
}

func startHub(t *testing.T, nodes int) *hub {
	t.Helper()
	h := &hub{t: t, nats: startNATSCluster(t), nodes: make([]*process, nodes)}
	for _, port := range freeport.Below(t, nodes) {
		h.addrs = append(h.addrs, fmt.Sprintf("127.0.0.1:%d", port))
	}
	for i := range nodes {
		h.start(i)
	}
	return h
}

func (h *hub) start(i int) {
	h.t.Helper()
	h.nodes[i] = start(h.t, tbmsock(h.t), "server", "--listen", h.addrs[i], "--nats", h.nats.urls(i), "--nats-replicas", "3", "--drain", "1s")
	h.nodes[i].url()
}

func (h *hub) url(i int) string { return "http://" + h.addrs[i] }

// urls names all nodes, beginning with the i-th.
func (h *hub) urls(i int) string {
	var urls []string
	for n := range h.addrs {
		urls = append(urls, h.url((i+n)%len(h.addrs)))
	}
	return strings.Join(urls, ",")
}

// nodeStatus is what a node says of the cluster.
type nodeStatus struct {
	Namespaces []struct {
		Rooms []struct{ Name string }
	}
	Cluster *struct {
		Node      string
		Nodes     int
		Clients   int
		Connected bool
		Malformed int
		Lost      int
	}
}

func (h *hub) status(i int) nodeStatus {
	h.t.Helper()
	resp, err := http.Get(h.url(i) + "/status")
	if err != nil {
		h.t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	var s nodeStatus
	body, err := io.ReadAll(resp.Body)
	if err == nil {
		err = json.Unmarshal(body, &s)
	}
	if err != nil || s.Cluster == nil {
		h.t.Fatalf("/status of node %d: %s, %v", i, body, err)
	}
	return s
}

// has tells whether node i has somebody in the room.
func (h *hub) has(i int, room string) bool {
	h.t.Helper()
	for _, ns := range h.status(i).Namespaces {
		for _, r := range ns.Rooms {
			if r.Name == room {
				return true
			}
		}
	}
	return false
}

// sees waits until node i sees so many nodes and clients.
func (h *hub) sees(i, nodes, clients int) {
	h.t.Helper()
	again := time.NewTicker(20 * time.Millisecond)
	defer again.Stop()
	for end := time.After(patience); ; {
		s := h.status(i)
		if s.Cluster.Nodes == nodes && s.Cluster.Clients == clients {
			return
		}
		select {
		case <-again.C:
		case <-end:
			h.t.Fatalf("node %d sees %+v, want %d nodes and %d clients", i, *s.Cluster, nodes, clients)
		}
	}
}

// Three nodes are one hub to clients of all ages: rooms, personal rooms, and a source that is asked from elsewhere.
func TestThreeNodesAreOneHub(t *testing.T) {
	if testing.Short() {
		t.Skip("starts processes")
	}
	h := startHub(t, 3)
	for i := range 3 {
		h.sees(i, 3, 0)
	}
	kinds := []string{"node 4", "python", "node 2"}
	var all []*driver
	for i, kind := range kinds {
		all = append(all, startDriver(t, kind, driverOptions{URL: h.url(i), Listen: []string{"log_telemetry"}}))
	}
	for i := range 3 {
		h.sees(i, 3, 3)
	}
	envelope := func(seq int, room string) map[string]any {
		e := map[string]any{"source": "s", "boot": "b", "seq": seq, "time": "2026-01-02T03:04:05Z", "packet": seq}
		if room != "" {
			e["room"] = room
		}
		return e
	}
	text := func(v any) string {
		b, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		return canonical(b)
	}
	for _, i := range []int{1, 2} {
		if got := all[i].emitAck("join", "ops"); got != `{"ok":true,"room":"ops"}` {
			t.Fatalf("join answered %s", got)
		}
	}
	seq := 0
	send := func(from int, room string, to ...int) {
		t.Helper()
		seq++
		e := envelope(seq, room)
		if got := all[from].emitAck("log_telemetry", e); !strings.Contains(got, `"ok":true`) {
			t.Fatalf("%s: log_telemetry answered %s", kinds[from], got)
		}
		for _, i := range to {
			all[i].wantEvent("log_telemetry", text(e)) // and nothing that came between
		}
	}
	send(0, "", 1, 2)
	send(1, "ops", 2)
	send(2, "ops", 1)
	for from := range all {
		for to := range all {
			if from != to {
				send(from, all[to].first.Sid, to)
				if got := all[from].emitAck("join", all[to].first.Sid); !strings.Contains(got, transport.CodeBadRoom) {
					t.Errorf("%s joins the personal room of %s: %s", kinds[from], kinds[to], got)
				}
			}
		}
	}
	send(2, "", 0, 1)

	source := start(t, tbmsock(t), "telemetry", "--url", h.url(0), "--rate", "10hz", "--room", "nobody's")
	source.logged("joined")
	for i := range 3 {
		p := start(t, tbmsock(t), "inject", "--url", h.url(i), "--kind", "gas", "--for", "1s")
		if code := p.wait(); code != 0 {
			t.Errorf("inject through node %d ends with %d: %s", i, code, p.log())
		}
	}
	begun := time.Now()
	p := start(t, tbmsock(t), "inject", "--url", h.url(2), "--source", "tbm-9")
	if code := p.wait(); code != 1 || !strings.Contains(p.log(), transport.CodeNoSource) {
		t.Errorf("inject for nobody ends with %d: %s", code, p.log())
	}
	t.Logf("inject for nobody took %v, with the start of a process", time.Since(begun).Round(time.Millisecond))

	h.nodes[1].kill()
	h.sees(0, 2, 3)
	h.sees(2, 2, 3)
	if code := h.nodes[2].interrupt(); code != 0 {
		t.Errorf("a node ends with %d", code)
	}
	h.sees(0, 1, 2)
	if log := h.nodes[0].log(); strings.Contains(log, "WARNING: DATA RACE") {
		t.Error(log)
	}
}

// gauge publishes at a rate and notes how long nothing was acknowledged.
type gauge struct {
	client *transport.Client
	stop   context.CancelFunc
	wg     sync.WaitGroup

	mu    sync.Mutex
	worst time.Duration
}

func startGauge(t *testing.T, urls string) *gauge {
	t.Helper()
	list := strings.Split(urls, ",")
	c, err := transport.NewClient(transport.ClientOptions{URL: list[0], Others: list[1:], ComeBack: true, Dialers: []transport.Dialer{engine4.Dialer{}}})
	if err != nil {
		t.Fatal(err)
	}
	g := &gauge{client: c}
	ctx, stop := context.WithCancel(context.Background())
	g.stop = stop
	g.wg.Go(func() { _ = c.Run(ctx) })
	g.wg.Go(func() {
		tick := time.NewTicker(5 * time.Millisecond)
		defer tick.Stop()
		boot, last, acked := transport.NewID(), time.Time{}, uint64(0)
		for seq := uint64(1); ; seq++ {
			select {
			case <-tick.C:
			case <-ctx.Done():
				return
			}
			e := transport.Envelope{Source: "gauge", Boot: boot, Seq: seq, Time: time.Now(), Room: "gauge", Packet: json.RawMessage("1")}
			if err := c.Publish(ctx, transport.EventTelemetry, e); err != nil {
				return
			}
			if n := c.PublishStats().Acked; n > acked {
				acked, last = n, time.Now()
			} else if !last.IsZero() {
				g.mu.Lock()
				g.worst = max(g.worst, time.Since(last))
				g.mu.Unlock()
			}
		}
	})
	t.Cleanup(g.end)
	return g
}

func (g *gauge) end() {
	g.stop()
	g.wg.Wait()
}

// standstill is the longest time without an acknowledgement since it was asked last.
func (g *gauge) standstill() time.Duration {
	g.mu.Lock()
	defer g.mu.Unlock()
	d := g.worst
	g.worst = 0
	return d.Round(time.Millisecond)
}

// flows waits until what is published now has been acknowledged.
func (g *gauge) flows(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	want := g.client.PublishStats().Published + 1
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for g.client.PublishStats().Acked < want {
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("acknowledgements have stood still for %v: %+v", patience, g.client.PublishStats())
		}
	}
}

// Nodes, NATS servers, loggers and the source are killed while telemetry flows through three nodes: both files hold every packet exactly
// once, in order. With TBMSOCK_LONG set (make test-long) it takes minutes.
func TestNothingIsLostOnThreeNodes(t *testing.T) {
	if testing.Short() {
		t.Skip("starts processes")
	}
	pause, rounds := 700*time.Millisecond, 1
	if os.Getenv("TBMSOCK_LONG") != "" {
		pause, rounds = 4*time.Second, 5
	}
	wait := func(d time.Duration) { // that packets flow meanwhile is the test
		timer := time.NewTimer(d)
		<-timer.C
	}
	h := startHub(t, 3)
	dir := t.TempDir()
	files := []string{filepath.Join(dir, "a.jsonl"), filepath.Join(dir, "b.jsonl")}
	log := func(i int) *process {
		return start(t, tbmsock(t), "logger", "--url", h.urls(i+1), "--room", "ops", "--output", files[i], "--rotate-size", "0", "--rotate-every", "0s", "--since", "all")
	}
	loggers := []*process{log(0), log(1)}
	measure := func() *process {
		return start(t, tbmsock(t), "telemetry", "--url", h.urls(0), "--rate", "200hz", "--room", "ops", "--encoding", "protobuf", "--outbox", filepath.Join(dir, "outbox"), "--drain", "30s")
	}
	source, boots := measure(), 1
	loggers[0].lineWith("#1 ")
	loggers[1].lineWith("#1 ")
	here := startGauge(t, h.urls(0))
	here.flows(t)
	// phase does one thing and tells how long it kept acknowledgements from those who are left.
	phase := func(what string, do func()) {
		t.Helper()
		here.standstill()
		do()
		here.flows(t)
		wait(pause)
		t.Logf("%s: acknowledgements stood still for %v", what, here.standstill())
	}
	phase("nothing", func() {})
	for n := range rounds {
		down := n % 3
		phase(fmt.Sprintf("node %d killed", down), h.nodes[down].kill) // in the first round: the source's and the gauge's
		lead := h.nats.leader()
		phase(fmt.Sprintf("NATS server %d killed, the leader of the journal", lead), h.nats.servers[lead].kill)
		if rounds == 1 {
			break // two nodes and two NATS servers are enough to end with
		}
		phase("it came back", func() { h.nats.start(lead) })
		phase("the node came back", func() { h.start(down) })
		loggers[n%2].kill()
		loggers[n%2] = log(n % 2) // behind its own last packet
		if n%2 == 0 {
			source.kill()
			source = measure()
			boots++
		}
		follower := (h.nats.leader() + 1) % 3
		phase(fmt.Sprintf("NATS server %d killed, a follower", follower), h.nats.servers[follower].kill)
		phase("it came back", func() { h.nats.start(follower) })
	}
	here.flows(t)
	here.end()
	if code := source.interrupt(); code != 0 {
		t.Errorf("telemetry ends with %d", code)
	}
	if log := source.log(); !strings.Contains(log, "telemetry ends") || strings.Contains(log, "not everything could be sent") {
		t.Fatalf("telemetry has not sent everything:\n%s", log)
	}
	sent := h.nats.stored("tbm-1")
	h.nats.stored("gauge")
	for i, l := range loggers {
		awaitPackets(t, files[i], sent)
		if code := l.interrupt(); code != 0 {
			t.Errorf("logger %d ends with %d", i, code)
		}
		if n, b := whole(t, files[i]); n != sent || b != boots {
			t.Errorf("logger %d has %d packets of %d boots, want %d of %d", i, n, b, sent, boots)
		}
	}
	for i, p := range h.nodes {
		if log := p.log(); strings.Contains(log, "WARNING: DATA RACE") || strings.Contains(log, "panic:") {
			t.Errorf("node %d:\n%s", i, log)
		}
	}
	t.Logf("%d packets", sent)
}
