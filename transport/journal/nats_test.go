package journal

import (
	"context"
	"errors"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"

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
	_, js, err := a.store.conn()
	if err != nil {
		t.Fatal(err)
	}
	stream, err := js.Stream(within(t), "TBM")
	if err != nil {
		t.Fatal(err)
	}
	c := stream.CachedInfo().Config
	c.RePublish = nil
	if _, err := js.UpdateStream(within(t), c); err != nil {
		t.Fatal(err)
	}
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
	if err := b.reach(ctx, 1_000_000); !errors.Is(err, transport.ErrJournalUnavailable) {
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
