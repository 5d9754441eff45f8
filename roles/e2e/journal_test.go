package e2e

import (
	"bufio"
	"encoding/json"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"tbmsock/internal/freeport"
)

// link is a TCP proxy that can be cut.
type link struct {
	t    *testing.T
	ln   net.Listener
	to   string
	wg   sync.WaitGroup
	mu   sync.Mutex
	cut  bool
	open map[net.Conn]bool
}

func newLink(t *testing.T, to string) *link {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l := &link{t: t, ln: ln, to: to, open: map[net.Conn]bool{}}
	l.wg.Add(1)
	go l.serve()
	t.Cleanup(func() {
		_ = ln.Close()
		l.set(true)
		l.wg.Wait()
	})
	return l
}

func (l *link) url() string { return "http://" + l.ln.Addr().String() }

// set cuts the link, or mends it.
func (l *link) set(cut bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.cut = cut
	if cut {
		for c := range l.open {
			_ = c.Close()
		}
	}
}

func (l *link) serve() {
	defer l.wg.Done()
	for {
		c, err := l.ln.Accept()
		if err != nil {
			return
		}
		up, err := net.Dial("tcp", l.to)
		l.mu.Lock()
		if err != nil || l.cut {
			l.mu.Unlock()
			_ = c.Close()
			if err == nil {
				_ = up.Close()
			}
			continue
		}
		l.open[c], l.open[up] = true, true
		l.mu.Unlock()
		for _, pair := range [][2]net.Conn{{c, up}, {up, c}} {
			l.wg.Add(1)
			go func() {
				defer l.wg.Done()
				_, _ = io.Copy(pair[0], pair[1])
				_ = pair[0].Close()
				_ = pair[1].Close()
				l.mu.Lock()
				delete(l.open, pair[0])
				delete(l.open, pair[1])
				l.mu.Unlock()
			}()
		}
	}
}

// recorded are the seqs of each boot in a logger's file, in the order in which they stand there.
func recorded(t *testing.T, path string) (boots []string, seqs map[string][]uint64) {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	seqs = map[string][]uint64{}
	s := bufio.NewScanner(f)
	s.Buffer(nil, 1<<20)
	last := uint64(0)
	for s.Scan() {
		var l struct {
			Offset   uint64
			Envelope *struct {
				Boot string
				Seq  uint64
			}
		}
		if err := json.Unmarshal(s.Bytes(), &l); err != nil {
			t.Fatalf("%s: %.200q: %v", path, s.Text(), err)
		}
		if l.Envelope == nil {
			continue
		}
		if l.Offset <= last {
			t.Fatalf("%s: offset %d after %d", path, l.Offset, last)
		}
		last = l.Offset
		if seqs[l.Envelope.Boot] == nil {
			boots = append(boots, l.Envelope.Boot)
		}
		seqs[l.Envelope.Boot] = append(seqs[l.Envelope.Boot], l.Envelope.Seq)
	}
	return boots, seqs
}

// whole fails unless each boot's seqs are 1, 2, 3, …, each once.
func whole(t *testing.T, path string) (packets int, boots int) {
	t.Helper()
	names, seqs := recorded(t, path)
	for _, boot := range names {
		for i, s := range seqs[boot] {
			if s != uint64(i+1) {
				t.Fatalf("%s, boot %s: seq %d in place %d", path, boot, s, i+1)
			}
		}
		packets += len(seqs[boot])
	}
	return packets, len(names)
}

// awaitPackets waits until a logger's file has so many packets.
func awaitPackets(t *testing.T, path string, packets int) {
	t.Helper()
	deadline := time.NewTimer(patience)
	defer deadline.Stop()
	again := time.NewTicker(50 * time.Millisecond)
	defer again.Stop()
	for {
		n, _ := whole(t, path)
		if n >= packets {
			return
		}
		select {
		case <-again.C:
		case <-deadline.C:
			t.Fatalf("%s has %d packets of %d", path, n, packets)
		}
	}
}

// stored is how many entries the journal of a running server has.
func stored(t *testing.T, dir string) int {
	t.Helper()
	p := start(t, tbmsock(t), "journal", "ls", "--data-dir", dir, "--format", "json")
	out := ""
	for line := range p.lines {
		out += line
	}
	if code := p.wait(); code != 0 {
		t.Fatalf("journal ls ends with %d: %s", code, p.log())
	}
	var list struct {
		Last uint64 `json:"last_offset"`
	}
	if err := json.Unmarshal([]byte(out), &list); err != nil || list.Last == 0 {
		t.Fatalf("journal ls says %s, %v", out, err)
	}
	return int(list.Last)
}

// Sources, servers and loggers are killed and links cut while telemetry flows: both files hold every packet exactly once. With
// TBMSOCK_LONG set (make test-long) it takes more than a minute, as the promise has it; in CI less.
func TestNothingIsLost(t *testing.T) {
	if testing.Short() {
		t.Skip("starts processes")
	}
	pause, kills, cut := 700*time.Millisecond, 2, 2*time.Second
	if os.Getenv("TBMSOCK_LONG") != "" {
		pause, kills, cut = 4*time.Second, 6, 10*time.Second // of the server; of the source and of each logger half as many
	}
	dir := t.TempDir()
	data := filepath.Join(dir, "data")
	addr := freeport.Address(t)
	wire := newLink(t, addr)
	serve := func() *process {
		p := start(t, tbmsock(t), "server", "--listen", addr, "--data-dir", data)
		p.url()
		return p
	}
	files := []string{filepath.Join(dir, "a.jsonl"), filepath.Join(dir, "b.jsonl")}
	log := func(i int) *process {
		url := "http://" + addr
		if i == 1 {
			url = wire.url()
		}
		return start(t, tbmsock(t), "logger", "--url", url, "--room", "ops", "--output", files[i], "--rotate-size", "0", "--rotate-every", "0s", "--since", "all")
	}
	wait := func(d time.Duration) { // that packets flow meanwhile is the test
		timer := time.NewTimer(d)
		<-timer.C
	}
	server := serve()
	loggers := []*process{log(0), log(1)}
	measure := func() *process {
		return start(t, tbmsock(t), "telemetry", "--url", wire.url(), "--rate", "200hz", "--room", "ops", "--encoding", "protobuf", "--outbox", filepath.Join(dir, "outbox"), "--drain", "30s")
	}
	source := measure()
	loggers[0].lineWith("#1 ")
	boots := 1
	for n := range kills {
		wait(pause)
		server.kill()
		wait(pause / 4)
		server = serve()
		wait(pause)
		loggers[n%2].kill()
		loggers[n%2] = log(n % 2) // behind its own last packet
		if n%2 == 0 {
			wait(pause / 2)
			source.kill()
			source = measure()
			boots++
		}
	}
	wire.set(true)
	wait(cut)
	wire.set(false)
	wait(pause)
	if code := source.interrupt(); code != 0 {
		t.Errorf("telemetry ends with %d", code)
	}
	// Everything that the outbox has taken is in the journal now; each boot's packets are 1, 2, 3, … in it, and in the files.
	if log := source.log(); !strings.Contains(log, "telemetry ends") || strings.Contains(log, "not everything could be sent") {
		t.Fatalf("telemetry has not sent everything:\n%s", log)
	} else if !strings.Contains(log, "dropped=0") {
		t.Errorf("telemetry has dropped something:\n%s", log)
	}
	sent := stored(t, data)
	for i, l := range loggers {
		awaitPackets(t, files[i], sent)
		if code := l.interrupt(); code != 0 {
			t.Errorf("logger %d ends with %d", i, code)
		}
		if n, b := whole(t, files[i]); n != sent || b != boots {
			t.Errorf("logger %d has %d packets of %d boots, want %d of %d", i, n, b, sent, boots)
		}
		// Not even the journal may lack the end: the last boot has as many packets as were read.
		names, seqs := recorded(t, files[i])
		if last, end := names[len(names)-1], transportEnd(source.log()); uint64(len(seqs[last])) != end || end == 0 {
			t.Errorf("logger %d has %d packets of the last boot, of which telemetry has taken %d", i, len(seqs[last]), end)
		}
	}
	if code := server.interrupt(); code != 0 {
		t.Errorf("server ends with %d", code)
	}
	verify := start(t, tbmsock(t), "journal", "verify", "--data-dir", data)
	if code := verify.wait(); code != 0 {
		t.Errorf("journal verify ends with %d:\n%s", code, verify.log())
	}
	t.Logf("%d packets", sent)
}
