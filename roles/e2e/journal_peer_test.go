package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"sync"
	"testing"
	"time"

	"tbmsock/roles/dashboard"
	"tbmsock/telemetry"
	"tbmsock/transport"
	"tbmsock/transport/engine3"
	"tbmsock/transport/engine4"
)

// journalPeer is a server that grants "since" by the wire contract, from a journal in memory that the
// test fills: what it replays, and when its clients are cut off, is the test's to say.
type journalPeer struct {
	t    *testing.T
	addr string

	mu      sync.Mutex
	entries []transport.Value // offset n stands at n-1
	times   []time.Time
	joins   []json.RawMessage // what was asked for
	live    map[*transport.Socket]bool
	sio     *transport.Server
	http    *http.Server
}

func startJournalPeer(t *testing.T) *journalPeer {
	t.Helper()
	p := &journalPeer{t: t, live: map[*transport.Socket]bool{}}
	p.start()
	t.Cleanup(p.stop)
	return p
}

func (p *journalPeer) url() string { return "http://" + p.addr }

func (p *journalPeer) start() {
	p.t.Helper()
	var ln net.Listener
	var err error
	if p.addr == "" {
		ln = listenAgain(p.t)
	} else if ln, err = net.Listen("tcp", p.addr); err != nil {
		p.t.Fatal(err)
	}
	p.addr = ln.Addr().String()
	p.sio, err = transport.NewServer(transport.ServerOptions{Engines: []transport.NewEngine{engine4.New, engine3.New}, QueueLimit: 64 << 20,
		EngineOptions: transport.EngineOptions{DrainTimeout: time.Second}})
	if err != nil {
		p.t.Fatal(err)
	}
	ns := p.sio.Of("/")
	if _, err := transport.NewRelay(ns, transport.RelayOptions{}); err != nil {
		p.t.Fatal(err)
	}
	ns.On("join", p.join)
	ns.OnDisconnect(func(s *transport.Socket, _ transport.Reason) {
		p.mu.Lock()
		defer p.mu.Unlock()
		delete(p.live, s)
	})
	files, _ := dashboard.Embedded()
	web, err := dashboard.NewHandler(dashboard.Options{Files: files, Policy: dashboard.PolicyOwn})
	if err != nil {
		p.t.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.Handle("/socket.io/", p.sio)
	mux.HandleFunc("/dictionary", func(w http.ResponseWriter, _ *http.Request) {
		_ = json.NewEncoder(w).Encode(telemetry.DefaultDictionary())
	})
	mux.HandleFunc("/status", func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write([]byte(`{"path":"/socket.io/","namespaces":[]}`))
	})
	mux.Handle("/", web)
	p.http = &http.Server{Handler: mux}
	hs := p.http
	go func() { _ = hs.Serve(ln) }()
}

func (p *journalPeer) stop() {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	_ = p.sio.Shutdown(ctx)
	_ = p.http.Close()
}

type replayNote struct {
	Offset   int  `json:"offset"`
	Replayed bool `json:"replayed"`
}

// join replays and goes live under the lock: nothing comes between.
func (p *journalPeer) join(_ context.Context, ev *transport.Event) {
	var arg struct {
		Room  string
		Since *struct {
			Offset *int
			Time   *time.Time
			Last   *int
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.joins = append(p.joins, json.RawMessage(ev.Args[0].JSON))
	if err := ev.Args[0].Decode(&arg); err != nil || arg.Since == nil {
		_ = ev.Ack(transport.Ack{Error: &transport.AckError{Code: transport.CodeBadArguments, Message: "this peer replays always"}})
		return
	}
	first := 0
	switch s := arg.Since; {
	case s.Offset != nil:
		first = max(*s.Offset-1, 0)
	case s.Time != nil:
		for first < len(p.times) && p.times[first].Before(*s.Time) {
			first++
		}
	case s.Last != nil:
		first = max(len(p.entries)-*s.Last, 0)
	}
	so := ev.Socket()
	if err := so.Join(arg.Room); err != nil {
		p.t.Error(err)
	}
	_ = ev.Ack(transport.Ack{OK: true, Room: arg.Room})
	for i := first; i < len(p.entries); i++ {
		_ = so.Emit(transport.EventTelemetry, p.entries[i], replayNote{i + 1, true})
	}
	p.live[so] = true
}

// append puts the reading at its time into the journal, and sends it to those who are there.
func (p *journalPeer) append(m *machine, at time.Time) {
	var v transport.Value
	switch e := m.event(at).(type) {
	case json.RawMessage:
		v.JSON = e
	case []byte:
		v = binaryValueOf(e)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.entries, p.times = append(p.entries, v), append(p.times, at)
	for so := range p.live {
		_ = so.Emit(transport.EventTelemetry, v, replayNote{len(p.entries), false})
	}
}

func binaryValueOf(b []byte) transport.Value {
	return transport.Value{JSON: json.RawMessage(`{"_placeholder":true,"num":0}`), Attachments: [][]byte{b}}
}

func (p *journalPeer) joined() []json.RawMessage {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append([]json.RawMessage(nil), p.joins...)
}

// A page that was cut off asks for what it has missed, from the last that it had, and shows it all.
func TestDashboardFillsTheHole(t *testing.T) {
	b := startBrowser(t)
	peer := startJournalPeer(t)
	json1 := newMachine(t, peer.url(), "tbm-1", "ops", false)
	proto := newMachine(t, peer.url(), "tbm-2", "ops", true)
	now := time.Now().Add(-40 * time.Minute)
	step := func(n int) {
		for range n {
			peer.append(json1, now)
			peer.append(proto, now)
			now = now.Add(time.Second)
		}
	}
	step(2400 - 100) // up to 100 s ago; the page asks for the last 15 min
	p := b.open("hole", peer.url()+"/", nil)
	p.wait(`return document.querySelector('button[data-source="tbm-2"]')`)
	at := func(n uint64) string {
		return fmt.Sprintf(`return document.querySelector('[data-testid="seq"]')?.textContent === '%d'`, n)
	}
	p.wait(at(2300))
	step(20)
	p.wait(at(2320))

	peer.stop()
	p.waitText(banner, "Disconnected")
	step(60) // while nobody listens
	peer.start()
	p.wait(at(2380))
	step(20)
	p.wait(at(2400))
	if got := p.text(`[data-testid="missing"] b`); got != "0" {
		t.Errorf("missing %s", got)
	}
	p.waitText(pill, "Live")
	p.press("6")
	p.waitText(`[data-testid="line"]`, "kept: what was missed is replayed")
	// 15 min of each, of one a second, and 100 more: all of them, once.
	var received int
	if err := json.Unmarshal(p.wait(`return Number(document.querySelector('tbm-line tbody tr td:nth-child(5)').textContent)`), &received); err != nil {
		t.Fatal(err)
	}
	if want := 15*60 - 100 + 100; received < want-5 || received > want {
		t.Errorf("the page has %d packets of tbm-1, want %d", received, want)
	}
	joins := peer.joined()
	if want := `{"room":"ops","since":{"offset":4640}}`; len(joins) != 2 || string(joins[1]) != want {
		t.Errorf("it asked for %s, want %s at last", joins, want)
	}

	// All that the journal has, over a connection of its own.
	p.press("1")
	p.wait(`const d = document.querySelector('[data-testid="trends"]'); return d && Number(d.dataset.to) > 0`)
	p.do(map[string]any{"do": "eval", "js": `[...document.querySelectorAll('.trends .tools button')].find((b) => b.textContent.trim() === 'All').click()`})
	p.wait(`const d = document.querySelector('[data-testid="trends"]').dataset; return Math.abs(d.to - d.from - 2400 * 1000) < 30000`)
	if joins := peer.joined(); len(joins) != 3 || string(joins[2]) != `{"room":"ops","since":{"offset":0}}` {
		t.Errorf("for the whole journal it asked for %s", joins)
	}
}
