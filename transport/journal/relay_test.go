package journal_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"tbmsock/transport"
	"tbmsock/transport/engine3"
	"tbmsock/transport/engine4"
	"tbmsock/transport/journal"
)

// patience bounds every wait of a test: some send 240,000 events, on a machine that may have other things to do.
const patience = 5 * time.Minute

// relay is a server with a journal in memory, as the server role puts them together.
type relay struct {
	t      *testing.T
	url    string
	server *transport.Server
	j      *journal.Journal
	feed   *transport.Feed
}

func startRelay(t *testing.T, o journal.Options, queueLimit int) *relay {
	t.Helper()
	return startRelayOn(t, o, queueLimit, func(j transport.Journal) transport.Journal { return j })
}

// startRelayOn starts a relay whose journal is seen through wrap.
func startRelayOn(t *testing.T, o journal.Options, queueLimit int, wrap func(transport.Journal) transport.Journal) *relay {
	t.Helper()
	if o.Dir == "" {
		o.Memory = true
	}
	ctx := context.Background()
	j, err := journal.Open(ctx, o)
	if err != nil {
		t.Fatal(err)
	}
	feed, err := transport.NewFeed(ctx, wrap(j), func(err error) { t.Logf("feed: %v", err) })
	if err != nil {
		t.Fatal(err)
	}
	s, err := transport.NewServer(transport.ServerOptions{Engines: []transport.NewEngine{engine4.New, engine3.New}, QueueLimit: queueLimit})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := transport.NewRelay(s.Of("/"), transport.RelayOptions{Feed: feed}); err != nil {
		t.Fatal(err)
	}
	feedCtx, stop := context.WithCancel(ctx)
	var wg sync.WaitGroup
	wg.Go(func() { feed.Run(feedCtx) })
	web := httptest.NewServer(s)
	t.Cleanup(func() {
		_ = s.Shutdown(ctx)
		web.Close()
		stop()
		wg.Wait()
		if err := j.Close(ctx); err != nil {
			t.Error(err)
		}
	})
	return &relay{t: t, url: web.URL, server: s, j: j, feed: feed}
}

// client is a connected client of the relay.
func (r *relay) client(opts transport.ClientOptions, before func(*transport.Client)) *transport.Client {
	r.t.Helper()
	opts.URL, opts.Dialers = r.url, []transport.Dialer{engine4.Dialer{}}
	connected := make(chan struct{})
	var once sync.Once
	opts.OnConnect = func(string, transport.Conn) { once.Do(func() { close(connected) }) }
	c, err := transport.NewClient(opts)
	if err != nil {
		r.t.Fatal(err)
	}
	if before != nil {
		before(c)
	}
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); _ = c.Run(ctx) }()
	r.t.Cleanup(func() { stop(); <-done })
	select {
	case <-connected:
	case <-time.After(patience):
		r.t.Fatal("not connected")
	}
	return c
}

// follower are the options of a client that declares that it will follow: an event is acknowledged before it is
// delivered, so one that was published before the connection may still come live.
func follower() transport.ClientOptions {
	return transport.ClientOptions{Auth: map[string]any{"follow": true}}
}

// ask emits and returns the answer.
func (r *relay) ask(c *transport.Client, event string, arg any) transport.Ack {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	args, err := c.EmitAck(ctx, event, arg)
	if err != nil {
		r.t.Fatal(err)
	}
	var a transport.Ack
	if err := args.Decode(&a); err != nil {
		r.t.Fatal(err)
	}
	return a
}

func packetOf(seq int, room string) map[string]any {
	e := map[string]any{"source": "s", "boot": "b", "seq": seq, "time": time.Now().UTC(), "packet": map[string]any{"seq": seq}}
	if room != "" {
		e["room"] = room
	}
	return e
}

// seen are the events of one listener.
type seen struct {
	mu      sync.Mutex
	offsets []uint64
	seqs    []int
	live    int // not replayed
	changed chan struct{}
}

func (s *seen) on(c *transport.Client) {
	s.changed = make(chan struct{}, 1)
	c.On(transport.EventTelemetry, func(_ context.Context, ev *transport.Event) {
		var e struct{ Seq int }
		_ = ev.Args[0].Decode(&e)
		s.mu.Lock()
		defer s.mu.Unlock()
		if offset, replayed, ok := transport.OffsetOf(ev); ok {
			s.offsets = append(s.offsets, offset)
			if !replayed {
				s.live++
			}
		}
		s.seqs = append(s.seqs, e.Seq)
		select {
		case s.changed <- struct{}{}:
		default:
		}
	})
}

func (s *seen) wait(t *testing.T, what string, ok func(*seen) bool) {
	t.Helper()
	deadline := time.NewTimer(patience)
	defer deadline.Stop()
	for {
		s.mu.Lock()
		done := ok(s)
		n := len(s.seqs)
		s.mu.Unlock()
		if done {
			return
		}
		select {
		case <-s.changed:
		case <-deadline.C:
			t.Fatalf("not in time, after %d events: %s", n, what)
		}
	}
}

func TestAckHasTheOffsetAndAResendIsHarmless(t *testing.T) {
	r := startRelay(t, journal.Options{}, 0)
	var s seen
	r.client(transport.ClientOptions{}, s.on)
	pub := r.client(transport.ClientOptions{}, nil)
	for seq, want := range map[int]uint64{1: 1} {
		for range 3 {
			if a := r.ask(pub, transport.EventTelemetry, packetOf(seq, "")); !a.OK || a.Offset != want {
				t.Errorf("answer is %+v, want offset %d", a, want)
			}
		}
	}
	// A value without an envelope is never a repeat.
	for want := uint64(2); want <= 3; want++ {
		if a := r.ask(pub, transport.EventTelemetry, 42); !a.OK || a.Offset != want {
			t.Errorf("answer is %+v, want offset %d", a, want)
		}
	}
	s.wait(t, "three events", func(s *seen) bool { return len(s.seqs) >= 3 })
	if len(s.seqs) != 3 || len(s.offsets) != 0 {
		t.Errorf("a listener that did not join with since got %d events, %d with offsets", len(s.seqs), len(s.offsets))
	}
}

func TestJoinSince(t *testing.T) {
	r := startRelay(t, journal.Options{}, 0)
	pub := r.client(transport.ClientOptions{}, nil)
	var middle time.Time
	for i := 1; i <= 20; i++ {
		room := []string{"", "ops", "lab"}[i%3]
		if a := r.ask(pub, transport.EventTelemetry, packetOf(i, room)); !a.OK {
			t.Fatalf("answer is %+v", a)
		}
		if i == 10 {
			middle = time.Now()
			time.Sleep(2 * time.Millisecond) // the journal's times are milliseconds
		}
	}
	for _, tc := range []struct {
		name, arg string
		first     int
		sees      func(seq int) bool
	}{
		{"offset", `{"room":"ops","since":{"offset":5}}`, 5, func(n int) bool { return n%3 != 2 }},
		{"time", `{"room":"ops","since":{"time":"` + middle.UTC().Format(time.RFC3339Nano) + `"}}`, 11, func(n int) bool { return n%3 != 2 }},
		{"last", `{"room":"ops","since":{"last":4}}`, 17, func(n int) bool { return n%3 != 2 }},
		{"two rooms", `{"room":["ops","lab"],"since":{"offset":1}}`, 1, func(int) bool { return true }},
		{"no room", `{"since":{"offset":1}}`, 1, func(n int) bool { return n%3 == 0 }},
		{"none", `{"room":"ops","since":{"last":0}}`, 21, func(n int) bool { return n%3 != 2 }},
		{"beyond", `{"room":"ops","since":{"offset":500}}`, 500, func(int) bool { return false }},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var s seen
			c := r.client(follower(), s.on)
			if a := r.ask(c, "join", json.RawMessage(tc.arg)); !a.OK || a.Offset == 0 {
				t.Fatalf("answer is %+v", a)
			}
			var want []int
			for n := tc.first; n <= 20; n++ {
				if tc.sees(n) {
					want = append(want, n)
				}
			}
			s.wait(t, "replay", func(s *seen) bool { return len(s.seqs) >= len(want) })
			if fmt.Sprint(s.seqs) != fmt.Sprint(want) || s.live != 0 {
				t.Errorf("got %v, %d of them live, want %v", s.seqs, s.live, want)
			}
		})
	}
	for _, bad := range []string{`{"room":"ops","since":{}}`, `{"room":"ops","since":{"offset":1,"last":2}}`, `{"room":"ops","since":5}`, `{"room":"ops","since":{"time":"noon"}}`, `{"room":["ops"]}`, `{"room":[3],"since":{"last":1}}`,
		`{"room":"ops","offsets":true}`, `{"room":"ops","since":{"last":1},"offsets":"yes"}`} {
		c := r.client(transport.ClientOptions{}, nil)
		if a := r.ask(c, "join", json.RawMessage(bad)); a.OK || a.Error == nil || a.Error.Code != transport.CodeBadArguments {
			t.Errorf("%s is answered with %+v", bad, a)
		}
	}
}

// Followers join at any place while packets keep coming: each sees every offset from its place on exactly once, in order.
func TestSeamHasNoHoleAndNoRepeat(t *testing.T) {
	r := startRelay(t, journal.Options{}, 0)
	pub := r.client(transport.ClientOptions{}, nil)
	const total, followers = 20_000, 12
	published := make(chan error, 1)
	go func() {
		for i := 1; i <= total; i++ {
			b, err := json.Marshal(packetOf(i, "ops"))
			if err == nil {
				err = pub.Publish(context.Background(), transport.EventTelemetry, json.RawMessage(b))
			}
			if err != nil {
				published <- err
				return
			}
		}
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		published <- pub.Flush(ctx)
	}()
	all := make([]seen, followers)
	firsts := make([]uint64, followers)
	for i := range all {
		c := r.client(follower(), all[i].on)
		st, err := r.j.State(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		since := map[string]any{"offset": 1 + st.Last*uint64(i%4)/4}
		if i%4 == 3 {
			since = map[string]any{"last": 0}
		}
		a := r.ask(c, "join", map[string]any{"room": "ops", "since": since, "offsets": true})
		if !a.OK {
			t.Fatalf("answer is %+v", a)
		}
		firsts[i] = a.Offset
	}
	if err := <-published; err != nil {
		t.Fatal(err)
	}
	for i := range all {
		all[i].wait(t, "the last packet", func(s *seen) bool { return len(s.seqs) > 0 && s.seqs[len(s.seqs)-1] == total })
		for n, offset := range all[i].offsets {
			if want := firsts[i] + uint64(n); offset != want {
				t.Fatalf("follower %d: offset %d in place %d, want %d", i, offset, n, want)
			}
		}
		if n := len(all[i].seqs); n != len(all[i].offsets) || all[i].seqs[0] != int(firsts[i]) {
			t.Fatalf("follower %d: %d events, %d offsets, the first is %d, want %d", i, n, len(all[i].offsets), all[i].seqs[0], firsts[i])
		}
	}
}

// A follower that reads slowly falls behind into the journal instead of losing events or its connection.
func TestSlowFollowerLosesNothing(t *testing.T) {
	r := startRelay(t, journal.Options{}, 16<<10)
	pub := r.client(transport.ClientOptions{}, nil)
	gate := make(chan struct{})
	var s seen
	c := r.client(transport.ClientOptions{}, func(c *transport.Client) {
		s.changed = make(chan struct{}, 1)
		first := true
		c.On(transport.EventTelemetry, func(_ context.Context, ev *transport.Event) {
			if first {
				first = false
				<-gate // it reads nothing for a while
			}
			offset, _, _ := transport.OffsetOf(ev)
			s.mu.Lock()
			s.offsets = append(s.offsets, offset)
			s.seqs = append(s.seqs, 0)
			s.mu.Unlock()
			select {
			case s.changed <- struct{}{}:
			default:
			}
		})
		c.On("dropped", func(context.Context, *transport.Event) { t.Error("events were dropped") })
	})
	if a := r.ask(c, "join", json.RawMessage(`{"since":{"last":0},"offsets":true}`)); !a.OK {
		t.Fatalf("answer is %+v", a)
	}
	big := make([]byte, 4<<10)
	const total = 3000 // 16 MB through a queue of 16 KB, beyond what sockets hold
	for i := range total {
		b, err := json.Marshal(map[string]any{"source": "s", "boot": "b", "seq": i + 1, "packet": big})
		if err != nil {
			t.Fatal(err)
		}
		if err := pub.Publish(context.Background(), transport.EventTelemetry, json.RawMessage(b)); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := pub.Flush(ctx); err != nil {
		t.Fatal(err)
	}
	close(gate)
	s.wait(t, "everything", func(s *seen) bool { return len(s.offsets) >= total })
	for i, o := range s.offsets {
		if o != uint64(i+1) {
			t.Fatalf("offset %d in place %d", o, i+1)
		}
	}
}

// What the journal cannot take reaches nobody; the publisher sends it again, in its order, until it is taken.
func TestFullJournalDelaysThePublisher(t *testing.T) {
	r := startRelay(t, journal.Options{RetainBytes: 1 << 20, RetainAge: 20 * time.Second, RefuseWhenFull: true}, 0)
	var s seen
	r.client(transport.ClientOptions{}, s.on)
	delayed := make(chan *transport.AckError, 100)
	pub := r.client(transport.ClientOptions{Publish: transport.PublishOptions{RetryAfter: 50 * time.Millisecond, OnDelayed: func(e *transport.AckError) {
		select {
		case delayed <- e:
		default:
		}
	}}}, nil)
	big := make([]byte, 24<<10)
	const total = 60 // 2 MB into 1 MiB, which is free again when its entries have aged
	for i := range total {
		b, err := json.Marshal(map[string]any{"source": "s", "boot": "b", "seq": i + 1, "packet": big})
		if err != nil {
			t.Fatal(err)
		}
		if err := pub.Publish(context.Background(), transport.EventTelemetry, json.RawMessage(b)); err != nil {
			t.Fatal(err)
		}
	}
	select {
	case e := <-delayed:
		if e.Code != transport.CodeJournalFull {
			t.Errorf("delayed for %v", e)
		}
	case <-time.After(patience):
		t.Fatal("a full journal delays nobody")
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := pub.Flush(ctx); err != nil {
		t.Fatal(err)
	}
	for told := false; !told; { // that it is over, each time
		select {
		case e := <-delayed:
			told = e == nil && len(delayed) == 0
		case <-time.After(patience):
			t.Fatal("nobody is told that events are taken again")
		}
	}
	s.wait(t, "everything", func(s *seen) bool { return len(s.seqs) >= total })
	for i, n := range s.seqs {
		if n != i+1 {
			t.Fatalf("seq %d in place %d", n, i+1)
		}
	}
	if st := pub.PublishStats(); st.Acked != total || st.Refused != 0 || st.Delayed == 0 {
		t.Errorf("publisher's counts are %+v", st)
	}
}

// A client follows over broken connections, with the client's own means.
func TestClientFollowsOverBrokenConnections(t *testing.T) {
	r := startRelay(t, journal.Options{}, 0)
	pub := r.client(transport.ClientOptions{}, nil)
	var s seen
	joins := make(chan uint64, 100)
	c := r.client(transport.ClientOptions{Backoff: transport.Backoff{Min: 5 * time.Millisecond, Max: 10 * time.Millisecond}}, func(c *transport.Client) {
		s.on(c)
		if err := c.Follow(transport.FollowOptions{Rooms: []string{"ops"}, From: func(transport.JournalStatus) transport.Since {
			s.mu.Lock()
			defer s.mu.Unlock()
			if n := len(s.offsets); n > 0 {
				return transport.Since{Offset: s.offsets[n-1] + 1}
			}
			return transport.Since{Offset: 1}
		}, OnFollow: func(offset uint64, err error) {
			if err != nil && !errors.Is(err, transport.ErrClosed) {
				t.Error(err)
			}
			joins <- offset
		}}); err != nil {
			t.Fatal(err)
		}
	})
	joined := func() {
		t.Helper()
		select {
		case <-joins:
		case <-time.After(patience):
			t.Fatal("it does not join")
		}
	}
	joined()
	for i := 1; i <= 600; i++ {
		b, err := json.Marshal(packetOf(i, "ops"))
		if err != nil {
			t.Fatal(err)
		}
		if err := pub.Publish(context.Background(), transport.EventTelemetry, json.RawMessage(b)); err != nil {
			t.Fatal(err)
		}
		if i%200 == 0 {
			c.Hold()
			c.Release()
			joined()
		}
	}
	s.wait(t, "everything", func(s *seen) bool { return len(s.seqs) >= 600 })
	for i, n := range s.seqs {
		if n != i+1 {
			t.Fatalf("seq %d in place %d", n, i+1)
		}
	}
}
