package journal

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"tbmsock/internal/freeport"
	"tbmsock/transport"
)

// electionPatience bounds what takes a new leader or two: NATS needs up to 13 s for one on a machine that has nothing else to do.
const electionPatience = 2 * time.Minute

// cluster is three NATS servers on loopback.
type cluster struct {
	t       testing.TB
	options []*server.Options
	servers []*server.Server // nil where it is down
}

func newCluster(t testing.TB) *cluster {
	t.Helper()
	c := &cluster{t: t}
	t.Cleanup(func() { c.stopAll() })
	for range 3 {
		// Each has to know the others' addresses before it starts, so they cannot choose their ports themselves; and somebody may
		// take one meanwhile.
		if c.startAll(freeport.Below(t, 6), t.TempDir()) {
			return c
		}
		c.stopAll()
	}
	t.Fatal("the NATS servers do not start")
	return nil
}

func (c *cluster) startAll(ports []int, dir string) bool {
	c.t.Helper()
	var routes []*url.URL
	for i := range 3 {
		routes = append(routes, &url.URL{Scheme: "nats", Host: fmt.Sprintf("127.0.0.1:%d", ports[3+i])})
	}
	c.options, c.servers = nil, make([]*server.Server, 3)
	for i := range 3 {
		c.options = append(c.options, &server.Options{
			ServerName: fmt.Sprintf("n%d", i+1),
			Host:       "127.0.0.1",
			Port:       ports[i],
			Cluster:    server.ClusterOpts{Name: "test", Host: "127.0.0.1", Port: ports[3+i]},
			Routes:     routes,
			JetStream:  true,
			StoreDir:   filepath.Join(dir, fmt.Sprint(i)),
			NoSigs:     true,
			NoLog:      true,
		})
		if c.servers[i] = tryNATS(c.t, c.options[i]); c.servers[i] == nil {
			return false
		}
	}
	return true
}

func (c *cluster) start(i int) {
	c.t.Helper()
	if c.servers[i] = tryNATS(c.t, c.options[i]); c.servers[i] == nil {
		c.t.Fatalf("NATS server %d does not start", i)
	}
}

func (c *cluster) stopAll() {
	for i := range c.servers {
		c.stop(i)
	}
}

func (c *cluster) stop(i int) {
	if s := c.servers[i]; s != nil {
		s.Shutdown()
		s.WaitForShutdown()
		c.servers[i] = nil
	}
}

func (c *cluster) url() string {
	var urls []string
	for _, o := range c.options {
		urls = append(urls, fmt.Sprintf("nats://127.0.0.1:%d", o.Port))
	}
	return strings.Join(urls, ",")
}

// leader is the server that leads the stream of blocks; -1 if there is none.
func (c *cluster) leader() int {
	for i, s := range c.servers {
		if s != nil && s.JetStreamIsStreamLeader("$G", "TBM") {
			return i
		}
	}
	return -1
}

// follower collects what one node's Tail brings.
type follower struct {
	mu      sync.Mutex
	entries []transport.JournalEntry
	grown   chan struct{}
}

func follow(ctx context.Context, t *testing.T, wg *sync.WaitGroup, j *Journal) *follower {
	f := &follower{grown: make(chan struct{}, 1)}
	wg.Add(1)
	go func() {
		defer wg.Done()
		err := j.Tail(ctx, 1, func(entries []transport.JournalEntry) error {
			f.mu.Lock()
			f.entries = append(f.entries, entries...)
			f.mu.Unlock()
			select {
			case f.grown <- struct{}{}:
			default:
			}
			return nil
		})
		if !errors.Is(err, context.Canceled) {
			t.Errorf("tail: %v", err)
		}
	}()
	return f
}

// wait returns the first n entries.
func (f *follower) wait(t *testing.T, n int) []transport.JournalEntry {
	t.Helper()
	timeout := time.After(electionPatience)
	for {
		f.mu.Lock()
		entries := f.entries
		f.mu.Unlock()
		if len(entries) >= n {
			return entries
		}
		select {
		case <-f.grown:
		case <-timeout:
			t.Fatalf("%d entries after %v, want %d", len(entries), electionPatience, n)
		}
	}
}

// publish sends a run of a source to a node in order, with a window, and sends again what was refused.
func publish(t *testing.T, j *Journal, source string, from, to uint64) {
	ctx, cancel := context.WithTimeout(context.Background(), electionPatience)
	defer cancel()
	const window = 32
	for from <= to {
		last := min(from+window-1, to)
		answers, err := tryAppend(ctx, j, series(source, "b", from, last)...)
		if err != nil {
			t.Errorf("%s seq %d: %v", source, from, err)
			return
		}
		for i, a := range answers {
			if a.err == nil {
				continue
			}
			if !errors.Is(a.err, transport.ErrJournalUnavailable) || ctx.Err() != nil {
				t.Errorf("%s seq %d: %v", source, from+uint64(i), a.err)
				return
			}
			last = from + uint64(i) - 1
			break
		}
		from = last + 1
	}
}

// Three nodes on three servers write at the same time: one order for all, each seq once, while servers go down and
// come back.
func TestThreeNodes(t *testing.T) {
	c := newCluster(t)
	ctx, cancel := context.WithCancel(context.Background())
	var tails sync.WaitGroup
	defer tails.Wait()
	defer cancel()
	var nodes []*Journal
	var followers []*follower
	for i := range 3 {
		j := openJournal(t, Options{URL: c.url(), Replicas: 3, Node: fmt.Sprint("node-", i), CacheBytes: 64 << 10})
		nodes = append(nodes, j)
		followers = append(followers, follow(ctx, t, &tails, j))
	}
	const n = 1500
	var publishers sync.WaitGroup
	for i, j := range nodes {
		publishers.Add(1)
		go func() { defer publishers.Done(); publish(t, j, fmt.Sprint("tbm-", i), 1, n) }()
	}
	// The leader of the stream goes down in the midst of it, and comes back; then another does.
	for round := range 2 {
		followers[0].wait(t, 500*(round+1))
		down := c.leader()
		if down < 0 {
			down = round
		}
		c.stop(down)
		followers[0].wait(t, 500*(round+1)+500)
		c.start(down)
	}
	publishers.Wait()
	want := followers[0].wait(t, 3*n)
	for i, f := range followers {
		if got := f.wait(t, 3*n); !reflect.DeepEqual(got, want) {
			t.Errorf("node %d has another order", i)
		}
	}
	seqs := map[string]uint64{}
	for i, e := range want {
		if e.Offset != uint64(i+1) {
			t.Fatalf("entry %d has offset %d", i, e.Offset)
		}
		if e.Seq != seqs[e.Source]+1 || e.Node != "node-"+strings.TrimPrefix(e.Source, "tbm-") {
			t.Fatalf("%s: seq %d after %d, by %s", e.Source, e.Seq, seqs[e.Source], e.Node)
		}
		seqs[e.Source] = e.Seq
	}

	// A publisher that goes on at another node is known there.
	for i, a := range appendAll(t, nodes[1], series("tbm-0", "b", n-9, n+10)...) {
		if a.err != nil || a.duplicate != (i < 10) {
			t.Errorf("at another node: seq %d: %+v", n-9+i, a)
		}
	}
	// And a node that comes later has all of it, and the same replicas.
	late, err := OpenReader(within(t), Options{URL: c.url(), CacheBytes: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer closeJournal(t, late)
	if got := readAll(t, late, 1, 3*n); !reflect.DeepEqual(got, want) {
		t.Errorf("a node that comes later reads %d entries, or others", len(got))
	}
	_, js, err := late.store.conn()
	if err != nil {
		t.Fatal(err)
	}
	stream, err := js.Stream(within(t), "TBM")
	if err != nil || stream.CachedInfo().Config.Replicas != 3 {
		t.Errorf("replicas: %+v, %v", stream.CachedInfo().Config.Replicas, err)
	}
}

// With the cluster gone the publisher is told, and with the cluster back it goes on.
func TestClusterGone(t *testing.T) {
	c := newCluster(t)
	var h health
	j := openJournal(t, Options{URL: c.url(), Replicas: 3, AppendTimeout: 5 * time.Second, OnHealth: h.tell, OnWarning: func(string) {}})
	appendOK(t, j, series("tbm-1", "b", 1, 10)...)
	for i := range c.servers {
		c.stop(i)
	}
	for _, a := range appendAll(t, j, series("tbm-1", "b", 11, 20)...) {
		if !errors.Is(a.err, transport.ErrJournalUnavailable) {
			t.Errorf("without servers: %+v", a)
		}
	}
	if _, err := j.State(within(t)); !errors.Is(err, transport.ErrJournalUnavailable) {
		t.Errorf("state without servers: %v", err)
	}
	for i := range c.servers {
		c.start(i)
	}
	publish(t, j, "tbm-1", 11, 30)
	for i, e := range readAll(t, j, 1, all) {
		if e.Offset != uint64(i+1) || e.Seq != uint64(i+1) {
			t.Errorf("entry %d: offset %d, seq %d", i, e.Offset, e.Seq)
		}
	}
	told := h.all()
	if len(told) < 2 || !errors.Is(told[0], transport.ErrJournalUnavailable) || told[len(told)-1] != nil {
		t.Errorf("health: %v", told)
	}
}

// A journal whose cluster is gone can be closed all the same: what waits is refused.
func TestCloseWithoutCluster(t *testing.T) {
	c := newCluster(t)
	if _, err := OpenReader(within(t), Options{URL: c.url()}); !errors.Is(err, ErrNoJournal) {
		t.Errorf("reading what is not there: %v", err)
	}
	j, err := Open(within(t), Options{URL: c.url(), Replicas: 3, AppendTimeout: time.Hour, OnWarning: func(string) {}})
	if err != nil {
		t.Fatal(err)
	}
	appendOK(t, j, entry("tbm-1", "b", 1))
	for i := range c.servers {
		c.stop(i)
	}
	answers := make(chan error, 10)
	for _, e := range series("tbm-1", "b", 2, 11) {
		j.Append(within(t), e, func(_ uint64, _ bool, err error) { answers <- err })
	}
	ctx, cancel := context.WithTimeout(context.Background(), 300*time.Millisecond)
	defer cancel()
	begun := time.Now()
	if err := j.Close(ctx); err != nil {
		t.Error(err)
	}
	if took := time.Since(begun); took > 5*time.Second {
		t.Errorf("closing took %v", took)
	}
	for range cap(answers) {
		if err := <-answers; !errors.Is(err, transport.ErrJournalClosed) {
			t.Errorf("what waited was answered with %v", err)
		}
	}
}

// BenchmarkAppendCluster is BenchmarkAppend with three replicas, all servers in this process.
func BenchmarkAppendCluster(b *testing.B) {
	c := newCluster(b)
	j := openJournal(b, Options{URL: c.url(), Replicas: 3})
	slots := make(chan struct{}, 256)
	e := record(1)
	for b.Loop() {
		slots <- struct{}{}
		j.Append(b.Context(), e, func(_ uint64, _ bool, err error) {
			if err != nil {
				b.Error(err)
			}
			<-slots
		})
		e.Seq++
	}
	for range cap(slots) {
		slots <- struct{}{}
	}
	b.ReportMetric(float64(e.Seq-1)/b.Elapsed().Seconds(), "entries/s")
}

func TestNoServer(t *testing.T) {
	url := fmt.Sprintf("nats://user:secret@127.0.0.1:%d", freeport.Below(t, 1)[0])
	_, err := Open(within(t), Options{URL: url})
	if !errors.Is(err, transport.ErrJournalUnavailable) || strings.Contains(err.Error(), "secret") {
		t.Error(err)
	}
}
