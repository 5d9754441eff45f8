package journal

import (
	"context"
	"errors"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"github.com/nats-io/nats.go/jetstream"

	"tbmsock/internal/freeport"
	"tbmsock/transport"
)

// startNATS starts one NATS server with files in the directory, at a port that is free if port is 0. The caller stops it; a test that
// has ended does so too.
func startNATS(t testing.TB, dir string, port int) *server.Server {
	t.Helper()
	o := &server.Options{Host: "127.0.0.1", Port: port, JetStream: true, StoreDir: dir, NoSigs: true, NoLog: true}
	for range 3 {
		if port == 0 {
			o.Port = freeport.Below(t, 1)[0] // somebody may take it meanwhile
		}
		if s := tryNATS(t, o); s != nil {
			t.Cleanup(func() { stopNATS(s) })
			return s
		}
	}
	t.Fatal("the NATS server does not start")
	return nil
}

// tryNATS returns nil if the server cannot listen.
func tryNATS(t testing.TB, o *server.Options) *server.Server {
	t.Helper()
	s, err := server.NewServer(o.Clone())
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	if !s.ReadyForConnections(patience) {
		stopNATS(s)
		return nil
	}
	return s
}

func stopNATS(s *server.Server) {
	s.Shutdown()
	s.WaitForShutdown()
}

// until waits for what no channel tells.
func until(t testing.TB, what string, ok func() bool) {
	t.Helper()
	again := time.NewTicker(5 * time.Millisecond)
	defer again.Stop()
	for end := time.After(patience); !ok(); {
		select {
		case <-again.C:
		case <-end:
			t.Fatal("never: " + what)
		}
	}
}

func portOf(t testing.TB, s *server.Server) int {
	t.Helper()
	a, ok := s.Addr().(*net.TCPAddr)
	if !ok {
		t.Fatalf("address %v", s.Addr())
	}
	return a.Port
}

// Blocks that came while a node read its last ones stood in memory behind the first few of those: a replay went over what was
// missing between them.
func TestBlocksThatComeWhileOthersAreRead(t *testing.T) {
	s := startNATS(t, t.TempDir(), 0)
	a := openJournal(t, Options{URL: s.ClientURL()})
	for seq := uint64(1); seq <= 50; seq++ {
		appendOK(t, a, entry("tbm-1", "b", seq))
	}
	// A node whose table is up to date, and that has read 20 of them when a new one comes.
	b := openJournal(t, Options{URL: s.ClientURL()})
	b.mu.Lock()
	read := b.cache[:20]
	b.cache, b.cached = append([]*block(nil), read...), 0
	b.mu.Unlock()
	appendOK(t, a, entry("tbm-1", "b", 51))
	until(t, "the block has come", func() bool {
		b.mu.Lock()
		defer b.mu.Unlock()
		return b.table.next == 52
	})
	for i, e := range readAll(t, b, 1, 51) {
		if e.Offset != uint64(i+1) {
			t.Fatalf("offset %d in place %d", e.Offset, i+1)
		}
	}
	// And the rest is not put behind it.
	if err := b.warm(within(t), 1); err != nil {
		t.Fatal(err)
	}
	for i, e := range readAll(t, b, 1, 51) {
		if e.Offset != uint64(i+1) {
			t.Fatalf("then offset %d in place %d", e.Offset, i+1)
		}
	}
}

// A node that is behind said that the journal ended with what it had seen: a logger took that for a journal that had been cut, and
// wrote all of it again.
func TestStateOfANodeThatIsBehind(t *testing.T) {
	s := startNATS(t, t.TempDir(), 0)
	a := openJournal(t, Options{URL: s.ClientURL()})
	b := openJournal(t, Options{URL: s.ClientURL()})
	// Nothing comes to it by itself, as when its connection has just been away.
	changeStream(t, a, func(c *jetstream.StreamConfig) { c.RePublish = nil })
	appendOK(t, a, series("s", "b", 1, 100)...)
	if s, err := b.State(within(t)); err != nil || s.Last != 100 {
		t.Errorf("state %+v, %v", s, err)
	}
	appendOK(t, a, series("s", "b", 101, 200)...)
	if o, err := b.Locate(within(t), transport.JournalStart{Last: 1}); err != nil || o != 200 {
		t.Errorf("the last one is at %d, %v", o, err)
	}
	// Where it cannot be had, that is said.
	ctx, cancel := context.WithTimeout(within(t), 50*time.Millisecond)
	defer cancel()
	if err := b.reach(ctx, extent{id: idOf(t, b), last: 1_000_000}); !errors.Is(err, transport.ErrJournalUnavailable) {
		t.Errorf("what is not there: %v", err)
	}
}

// A block whose answer was lost comes from the server while the writer tries it again: both looked at its number, one without the lock.
func TestBlockComesWhileItIsTriedAgain(t *testing.T) {
	s := startNATS(t, t.TempDir(), 0)
	j := openJournal(t, Options{URL: s.ClientURL()})
	e := entry("a", "b", 1)
	w := &waiting{key: keyOf("a", "b"), since: time.Now(), done: func(uint64, bool, error) {}}
	w.data = appendEntry(nil, &e)
	w.entry = e
	p := j.prepare([]*waiting{w})
	p.unknown = true
	m := &message{p.block.seq, p.data}
	var wg sync.WaitGroup
	wg.Go(func() { j.live(m) })
	if err := j.publish(within(t), p); err != nil {
		t.Error(err)
	}
	wg.Wait()
	if got := readAll(t, j, 1, all); len(got) != 1 {
		t.Errorf("%d entries", len(got))
	}
}

// A node that only reads went on with what it knew of a stream that had been made anew.
func TestReaderOfAStreamThatIsMadeAnew(t *testing.T) {
	s := startNATS(t, t.TempDir(), 0)
	a, err := Open(within(t), Options{URL: s.ClientURL()})
	if err != nil {
		t.Fatal(err)
	}
	appendOK(t, a, series("a", "b", 1, 10)...)
	r, err := OpenReader(within(t), Options{URL: s.ClientURL(), OnWarning: func(string) {}})
	if err != nil {
		t.Fatal(err)
	}
	defer closeJournal(t, r)
	ended := make(chan error, 1)
	go func() { ended <- r.Tail(within(t), 1, func([]transport.JournalEntry) error { return nil }) }()
	closeJournal(t, a)
	_, js, err := r.store.conn()
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"TBM", "TBM_table"} {
		if err := js.DeleteStream(within(t), name); err != nil {
			t.Fatal(err)
		}
	}
	a = openJournal(t, Options{URL: s.ClientURL()})
	appendOK(t, a, series("new", "b", 1, 3)...)
	id := idOf(t, a)
	if s, err := r.State(within(t)); err != nil || s.ID != id || s.Last != 3 {
		t.Errorf("state %+v, %v; want journal %s", s, err, id)
	}
	if got := readAll(t, r, 1, all); len(got) != 3 || got[0].Source != "new" {
		t.Errorf("%d entries", len(got))
	}
	if err := next(t, ended); !errors.Is(err, errAnother) {
		t.Errorf("who followed the old one: %v", err)
	}
}

// A server that takes its time is no broken one; one that has said what is wrong is not waited for.
func TestSlowAnswer(t *testing.T) {
	j := openJournal(t, Options{Memory: true, ackTimeout: 20 * time.Millisecond, AppendTimeout: patience, OnWarning: func(string) {}})
	nc, _, err := j.store.conn()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := nc.Subscribe("slow", func(m *nats.Msg) {
		time.AfterFunc(100*time.Millisecond, func() { _ = m.Respond([]byte(`{"seq":7}`)) })
	}); err != nil {
		t.Fatal(err)
	}
	if seq, err := j.store.request(within(t), &nats.Msg{Subject: "slow"}); err != nil || seq != 7 {
		t.Errorf("a slow answer: %d, %v", seq, err)
	}
	// And one that never comes.
	if _, err := nc.Subscribe("never", func(*nats.Msg) { j.store.embedded.log.Errorf("no disk") }); err != nil {
		t.Fatal(err)
	}
	begun := time.Now()
	if _, err := j.store.request(within(t), &nats.Msg{Subject: "never"}); !errors.Is(err, errUnknown) {
		t.Errorf("no answer: %v", err)
	}
	if took := time.Since(begun); took > patience/2 {
		t.Errorf("it was awaited for %v", took)
	}
}

// The end of a connection is told late; it ended what the next one waited for.
func TestEndOfTheConnectionBefore(t *testing.T) {
	j := openJournal(t, Options{Memory: true})
	before, _, err := j.store.conn()
	if err != nil {
		t.Fatal(err)
	}
	if err := j.store.restart(within(t)); err != nil {
		t.Fatal(err)
	}
	up := j.store.up
	j.store.down(before)
	if up.Err() != nil {
		t.Error("the new connection is taken for lost")
	}
	now, _, err := j.store.conn()
	if err != nil {
		t.Fatal(err)
	}
	if j.store.down(now); up.Err() == nil {
		t.Error("the new connection is not taken for lost")
	}
}
