package e2e

import (
	"context"
	"fmt"
	"os"
	"regexp"
	"strconv"
	"sync"
	"testing"
	"time"

	"tbmsock/transport"
	"tbmsock/transport/engine3"
	"tbmsock/transport/engine4"
)

// replayReader is a late joiner of a kind. It takes every event that comes, with its offset.
type replayReader struct {
	name    string
	dialer  transport.Dialer
	way     string
	next    uint64 // offset that must come
	seq     uint64 // of the last envelope
	wrong   string
	reached map[uint64]chan struct{} // closed when the offset has come
}

func (r *replayReader) take(ev *transport.Event) {
	offset, _, ok := transport.OffsetOf(ev)
	e, isEnvelope := transport.EnvelopeOf(ev.Args[0])
	switch {
	case r.wrong != "":
	case !ok || !isEnvelope:
		r.wrong = fmt.Sprintf("an event without offset or envelope behind offset %d", r.next-1)
	case offset != r.next || e.Seq != r.seq+1:
		r.wrong = fmt.Sprintf("offset %d with seq %d came behind offset %d with seq %d", offset, e.Seq, r.next-1, r.seq)
	}
	r.next, r.seq = offset+1, e.Seq
	if c := r.reached[offset]; c != nil {
		close(c)
	}
}

// Late joiners of every kind read a long journal while packets keep coming: each gets all of it once and in order, past
// the seam too. When as many come again the server takes no more memory than it has: what it takes does not grow with
// what it replays.
func TestReplay(t *testing.T) {
	if testing.Short() {
		t.Skip("starts processes")
	}
	t.Setenv("GOGC", "20") // the server's: so that it holds little more than it needs
	const stored, during, after = 40_000, 2_000, 500
	const all = stored + during + after
	server := start(t, tbmsock(t), "server", "--listen", "127.0.0.1:0", "--data-dir", t.TempDir(), "--web", "off", "--log-level", "warn")
	url := server.url()
	publishSeqs(t, url, 1, stored)
	replayToAll(t, url, all, func() {
		publishSeqs(t, url, stored+1, stored+during) // while they read
		publishSeqs(t, url, stored+during+1, all)
	})
	before := peakMemory(t, server.cmd.Process.Pid)
	replayToAll(t, url, all, func() {})
	grown := peakMemory(t, server.cmd.Process.Pid) - before
	t.Logf("the server took %d KiB more to replay the same again, after %d MiB", grown>>10, before>>20)
	if grown > 24<<20 { // what it has sent is 40 MiB
		t.Error("too much")
	}
}

// replayToAll lets joiners of every kind read from the first offset up to the last, and runs meanwhile once all of them
// have begun.
func replayToAll(t *testing.T, url string, last uint64, meanwhile func()) {
	t.Helper()
	readers := []*replayReader{
		{name: "engine 4, WebSocket", dialer: engine4.Dialer{}, way: "websocket"},
		{name: "engine 4, upgrade", dialer: engine4.Dialer{}},
		{name: "engine 4, polling", dialer: engine4.Dialer{}, way: "polling"},
		{name: "engine 3, WebSocket", dialer: engine3.Dialer{}, way: "websocket"},
		{name: "engine 3, polling", dialer: engine3.Dialer{}, way: "polling"},
	}
	ctx, stop := context.WithCancel(context.Background())
	var running sync.WaitGroup
	defer func() { stop(); running.Wait() }()
	for _, r := range readers {
		r.next = 1
		r.reached = map[uint64]chan struct{}{100: make(chan struct{}), last: make(chan struct{})}
		opts := transport.ClientOptions{URL: url, Dialers: []transport.Dialer{r.dialer}}
		if r.way != "" {
			opts.Transports = []string{r.way}
		}
		c, err := transport.NewClient(opts)
		if err != nil {
			t.Fatal(err)
		}
		c.On(transport.EventTelemetry, func(_ context.Context, ev *transport.Event) { r.take(ev) })
		err = c.Follow(transport.FollowOptions{Rooms: []string{"ops"}, From: func(transport.JournalStatus) transport.Since { return transport.Since{Offset: 1} }})
		if err != nil {
			t.Fatal(err)
		}
		running.Go(func() { _ = c.Run(ctx) })
	}
	for _, r := range readers {
		await(t, r.reached[100], patience, r.name+" reads the journal")
	}
	meanwhile()
	for _, r := range readers {
		await(t, r.reached[last], 4*patience, r.name+" has read all")
	}
	stop()
	running.Wait()
	for _, r := range readers {
		if r.wrong != "" {
			t.Errorf("%s: %s", r.name, r.wrong)
		}
	}
}

// peakMemory is the most that a process has had in memory, in bytes.
func peakMemory(t *testing.T, pid int) int64 {
	t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Skipf("the memory of a process cannot be read here: %v", err)
	}
	m := regexp.MustCompile(`VmHWM:\s+(\d+) kB`).FindSubmatch(status)
	if m == nil {
		t.Fatalf("no VmHWM in %s", status)
	}
	kib, err := strconv.ParseInt(string(m[1]), 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return kib << 10
}

// await waits for the channel to be closed.
func await(t *testing.T, done <-chan struct{}, limit time.Duration, what string) {
	t.Helper()
	select {
	case <-done:
	case <-time.After(limit):
		t.Fatalf("not within %v: %s", limit, what)
	}
}
