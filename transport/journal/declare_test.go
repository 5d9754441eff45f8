package journal_test

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"tbmsock/transport"
	"tbmsock/transport/engine3"
	"tbmsock/transport/engine4"
	"tbmsock/transport/journal"
	"tbmsock/transport/wire"
)

// rawFollower is a WebSocket that speaks the protocol by hand, in either revision.
type rawFollower struct {
	t      *testing.T
	socket *wire.Socket
}

func dialFollower(t *testing.T, url, query string) *rawFollower {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	s, err := wire.Dial(ctx, "ws"+strings.TrimPrefix(url, "http")+"/socket.io/?transport=websocket&"+query, nil, 16<<20)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close(transport.ReasonTransportClose) })
	return &rawFollower{t, s}
}

func (f *rawFollower) send(text string) {
	f.t.Helper()
	if err := f.socket.WriteMessage(false, []byte(text)); err != nil {
		f.t.Fatal(err)
	}
}

// next returns the next message that is not a heartbeat.
func (f *rawFollower) next() string {
	f.t.Helper()
	for {
		if err := f.socket.SetReadDeadline(time.Now().Add(patience)); err != nil {
			f.t.Fatal(err)
		}
		_, data, err := f.socket.Read()
		if err != nil {
			f.t.Fatal(err)
		}
		switch text := string(data); text {
		case "2":
			f.send("3")
		case "3":
		default:
			return text
		}
	}
}

// publishSteadily publishes packets for everyone until stopped, and returns how many there were.
func publishSteadily(t *testing.T, pub *transport.Client) (stop func() int) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	n := 0
	wg.Go(func() {
		for ctx.Err() == nil {
			b, err := json.Marshal(packetOf(n+1, ""))
			if err == nil {
				err = pub.Publish(context.Background(), transport.EventTelemetry, json.RawMessage(b))
			}
			if err != nil {
				t.Error(err)
				return
			}
			n++
			time.Sleep(200 * time.Microsecond)
		}
	})
	stop = sync.OnceValue(func() int { cancel(); wg.Wait(); return n })
	t.Cleanup(func() { stop() })
	return stop
}

func (r *relay) waitLast(last uint64) {
	r.t.Helper()
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		st, err := r.j.State(context.Background())
		if err != nil {
			r.t.Fatal(err)
		}
		if st.Last >= last {
			return
		}
	}
	r.t.Fatalf("the journal does not reach offset %d", last)
}

// Events without a room reached a follower live, without an offset, between CONNECT and its join, and again by the
// replay.
func TestNothingBetweenConnectAndJoin(t *testing.T) {
	r := startRelay(t, journal.Options{}, 0)
	stop := publishSteadily(t, r.client(transport.ClientOptions{}, nil))
	r.waitLast(10)
	for _, tc := range []struct{ name, query, connect string }{
		{"revision 5, by the query", "EIO=4&follow=1", "40"},
		{"revision 5, by auth", "EIO=4", `40{"follow":true}`},
		{"revision 4, by the query", "EIO=3&follow=true", ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := *r
			r.t = t
			f := dialFollower(t, r.url, tc.query)
			f.next() // the handshake
			if tc.connect != "" {
				f.send(tc.connect)
			}
			if m := f.next(); !strings.HasPrefix(m, "40") {
				t.Fatalf("CONNECT is answered by %.200q", m)
			}
			m := f.next()
			var announced []json.RawMessage
			var status transport.JournalStatus
			if json.Unmarshal([]byte(strings.TrimPrefix(m, "42")), &announced) != nil || len(announced) != 2 ||
				string(announced[0]) != `"journal"` || json.Unmarshal(announced[1], &status) != nil ||
				!status.OK || status.Journal == "" || status.First != 1 || status.Last < 10 {
				t.Fatalf("the first event is %.200q", m)
			}
			r.waitLast(status.Last + 50) // a slow client: live events pass it
			f.send(`420["join",["not a room"]]`)
			if m := f.next(); !strings.HasPrefix(m, `430[{"ok":false`) {
				t.Fatalf("an event before the join: %.200q", m)
			}
			f.send(`421["join","ops"]`) // a plain join is membership, not the end of the wait
			if m := f.next(); m != `431[{"ok":true,"room":"ops"}]` {
				t.Fatalf("an event before the join with since: %.200q", m)
			}
			r.waitLast(status.Last + 100)
			f.send(fmt.Sprintf(`422["join",{"room":["ops"],"since":{"offset":1,"journal":%q},"offsets":true}]`, status.Journal))
			if m := f.next(); !strings.HasPrefix(m, `432[{"ok":true`) {
				t.Fatalf("an event before the answer to the join: %.200q", m)
			}
			live := false
			for want := uint64(1); want < 400 || !live; want++ {
				var ev []struct {
					Seq, Offset uint64
					Replayed    bool
				}
				m := f.next()
				if strings.HasPrefix(m, `42["caught_up",`) {
					m = f.next()
				}
				m = strings.Replace(m, `["log_telemetry",`, "[", 1)
				if err := json.Unmarshal([]byte(strings.TrimPrefix(m, "42")), &ev); err != nil || len(ev) != 2 {
					t.Fatalf("event %d is %.200q: %v", want, m, err)
				}
				if ev[0].Seq != want || ev[1].Offset != want {
					t.Fatalf("got seq %d at offset %d, want %d", ev[0].Seq, ev[1].Offset, want)
				}
				live = !ev[1].Replayed
			}
		})
	}
	stop()
}

// Only followers that ask get the second argument: a listener of one argument broke as a follower.
func TestOffsetsOnlyForThoseWhoAsk(t *testing.T) {
	r := startRelay(t, journal.Options{}, 0)
	pub := r.client(transport.ClientOptions{}, nil)
	if a := r.ask(pub, transport.EventTelemetry, 1); !a.OK {
		t.Fatal(a)
	}
	with, without := dialFollower(t, r.url, "EIO=3&follow=1"), dialFollower(t, r.url, "EIO=3&follow=1")
	for f, offsets := range map[*rawFollower]string{with: `,"offsets":true`, without: ""} {
		for range 3 { // handshake, CONNECT, journal
			f.next()
		}
		f.send(`420["join",{"since":{"offset":1}` + offsets + `}]`)
		f.next()
	}
	if m := with.next(); m != `42["log_telemetry",1,{"offset":1,"replayed":true}]` {
		t.Errorf("got %s", m)
	}
	if m := with.next(); m != `42["caught_up",{"offset":2}]` {
		t.Errorf("got %s", m)
	}
	if m := without.next(); m != `42["log_telemetry",1]` {
		t.Errorf("got %s", m)
	}
	if a := r.ask(pub, transport.EventTelemetry, 2); !a.OK {
		t.Fatal(a)
	}
	if m := with.next(); m != `42["log_telemetry",2,{"offset":2,"replayed":false}]` {
		t.Errorf("got %s", m)
	}
	if m := without.next(); m != `42["log_telemetry",2]` {
		t.Errorf("got %s", m)
	}
}

// An offset of another journal is refused, not taken for a place in this one.
func TestJoinNamesItsJournal(t *testing.T) {
	r := startRelay(t, journal.Options{}, 0)
	c := r.client(transport.ClientOptions{}, nil)
	a := r.ask(c, "join", json.RawMessage(`{"since":{"offset":7,"journal":"another"}}`))
	if a.OK || a.Error == nil || a.Error.Code != transport.CodeOtherJournal || !strings.Contains(a.Error.Message, `"another"`) {
		t.Errorf("answer is %+v", a)
	}
}

// gatedJournal holds up State until its gate is opened.
type gatedJournal struct {
	transport.Journal
	mu   sync.Mutex
	gate chan struct{} // nil: open
}

func (g *gatedJournal) State(ctx context.Context) (transport.JournalState, error) {
	g.mu.Lock()
	gate := g.gate
	g.mu.Unlock()
	if gate != nil {
		select {
		case <-gate:
		case <-ctx.Done():
			return transport.JournalState{}, ctx.Err()
		}
	}
	return g.Journal.State(ctx)
}

// A server that took more than a second to answer was taken for one without a journal: events came live, without
// offsets, and again by the replay.
func TestSlowServerIsNotOneWithoutJournal(t *testing.T) {
	for _, dialer := range []transport.Dialer{engine4.Dialer{}, engine3.Dialer{}} {
		t.Run(fmt.Sprint("Engine.IO ", dialer.Revision()), func(t *testing.T) {
			var g *gatedJournal
			r := startRelayOn(t, journal.Options{}, 0, func(j transport.Journal) transport.Journal {
				g = &gatedJournal{Journal: j}
				return g
			})
			stop := publishSteadily(t, r.client(transport.ClientOptions{}, nil))
			gate := make(chan struct{})
			g.mu.Lock()
			g.gate = gate
			g.mu.Unlock()
			var s seen
			follows := make(chan error, 100)
			c, err := transport.NewClient(transport.ClientOptions{URL: r.url, Dialers: []transport.Dialer{dialer}})
			if err != nil {
				t.Fatal(err)
			}
			s.on(c)
			if err := c.Follow(transport.FollowOptions{
				From:     func(transport.JournalStatus) transport.Since { return transport.Since{Offset: 1} },
				OnFollow: func(_ uint64, err error) { follows <- err },
			}); err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithCancel(context.Background())
			done := make(chan struct{})
			go func() { defer close(done); _ = c.Run(ctx) }()
			defer func() { cancel(); <-done }()
			select {
			case err := <-follows:
				t.Fatalf("decided while the server was slow: %v", err)
			case <-time.After(1500 * time.Millisecond): // longer than the old limit; no event may come however long it is
			}
			s.mu.Lock()
			if n := len(s.seqs); n > 0 {
				t.Errorf("%d events came before the replay", n)
			}
			s.mu.Unlock()
			close(gate)
			select {
			case err := <-follows:
				if err != nil {
					t.Fatal(err)
				}
			case <-time.After(patience):
				t.Fatal("it does not follow")
			}
			n := stop()
			s.wait(t, "everything", func(s *seen) bool { return len(s.seqs) >= n })
			for i, seq := range s.seqs {
				if seq != i+1 || s.offsets[i] != uint64(i+1) {
					t.Fatalf("seq %d at offset %d in place %d", seq, s.offsets[i], i+1)
				}
			}
		})
	}
}
