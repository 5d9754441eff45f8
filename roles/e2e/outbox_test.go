package e2e

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"tbmsock/internal/freeport"
	"tbmsock/transport"
	"tbmsock/transport/spool"
)

// waitingIn reads the outbox that a killed telemetry has left, from a copy: the last seq of each boot in it.
func waitingIn(t *testing.T, dir string) map[string]uint64 {
	t.Helper()
	to := filepath.Join(t.TempDir(), "copy")
	if err := os.CopyFS(to, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	s, found, err := spool.Open(spool.Options{Dir: to})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	last := map[string]uint64{}
	for range found.Records {
		_, record, err := s.Next(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		// A letter for the form stands before the envelope.
		v := transport.Value{JSON: record[1:]}
		if record[0] == 'B' {
			v = transport.Value{JSON: json.RawMessage(`{"_placeholder":true,"num":0}`), Attachments: [][]byte{record[1:]}}
		}
		e, ok := transport.EnvelopeOf(v)
		if !ok {
			t.Fatalf("the outbox holds %q", record)
		}
		if last[e.Boot] = max(last[e.Boot], e.Seq); last[e.Boot] != e.Seq {
			t.Fatalf("boot %s: seq %d after %d", e.Boot, e.Seq, last[e.Boot])
		}
	}
	return last
}

// The source is killed with packets that no server has, and the server too: the logger's file holds every seq of every
// boot exactly once, up to the last that the outbox had taken.
func TestOutboxOutlivesItsSource(t *testing.T) {
	if testing.Short() {
		t.Skip("starts processes")
	}
	for _, encoding := range []string{"json", "protobuf"} {
		t.Run(encoding, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			outbox, file := filepath.Join(dir, "outbox"), filepath.Join(dir, "p.jsonl")
			addr := freeport.Address(t)
			serve := func() *process {
				p := start(t, tbmsock(t), "server", "--listen", addr, "--data-dir", filepath.Join(dir, "data"))
				p.url()
				return p
			}
			source := func() *process {
				return start(t, tbmsock(t), "telemetry", "--url", "http://"+addr, "--rate", "100hz", "--room", "ops",
					"--encoding", encoding, "--outbox", outbox, "--outbox-limit", "16MiB", "--drain", "20s")
			}
			wait := func(d time.Duration) { // that readings are taken meanwhile is the test
				timer := time.NewTimer(d)
				<-timer.C
			}
			taken := map[string]uint64{}
			server := serve()
			logger := start(t, tbmsock(t), "logger", "--url", "http://"+addr, "--room", "ops", "--output", file, "--rotate-size", "0", "--rotate-every", "0s", "--since", "all")
			logger.logged("joined")
			src := source()
			logger.lineWith("#20 ")
			for range 3 {
				// The server first, then the source, in the middle of what waits.
				server.kill()
				src.logged("disconnected")
				wait(500 * time.Millisecond)
				src.kill()
				left := waitingIn(t, outbox)
				if len(left) == 0 {
					t.Fatal("nothing waits in the outbox, though no server was there")
				}
				for boot, seq := range left {
					taken[boot] = max(taken[boot], seq)
				}
				src = source()
				src.logged("packets of an earlier run wait: they are sent first")
				src.logged("waiting for the server")
				wait(300 * time.Millisecond)
				server = serve()
				src.logged("connected")
				wait(300 * time.Millisecond)
				// And in the middle of what flows.
				src.kill()
				src = source()
				src.logged("connected")
			}
			if code := src.interrupt(); code != 0 {
				t.Errorf("telemetry ends with %d", code)
			}
			for _, want := range []string{"waiting=0", "dropped=0", "damaged=0", "refused=0"} {
				if !strings.Contains(src.log(), want) {
					t.Fatalf("telemetry does not say %s:\n%s", want, src.log())
				}
			}
			if left := waitingIn(t, outbox); len(left) != 0 {
				t.Errorf("the outbox still holds %v", left)
			}
			// All is acknowledged, so it stands in the journal, and a reader of that has all of it.
			all := filepath.Join(dir, "all.jsonl")
			reader := start(t, tbmsock(t), "logger", "--url", "http://"+addr, "--room", "ops", "--output", all, "--rotate-size", "0", "--rotate-every", "0s", "--since", "all")
			end := transportEnd(src.log())
			for _, l := range []struct {
				path string
				p    *process
			}{{file, logger}, {all, reader}} {
				deadline := time.NewTimer(patience)
				for {
					_, seqs := recorded(t, l.path)
					if complete(seqs, taken, end) {
						break
					}
					select {
					case <-deadline.C:
						t.Fatalf("%s: taken were %v, and %d packets of the last boot", l.path, taken, end)
					case <-time.After(50 * time.Millisecond):
					}
				}
				if code := l.p.interrupt(); code != 0 {
					t.Errorf("logger ends with %d", code)
				}
				n, boots := whole(t, l.path)
				if boots != 7 {
					t.Errorf("%s: %d boots, want 7", l.path, boots)
				}
				t.Logf("%d packets of %d boots", n, boots)
			}
		})
	}
}

// transportEnd is how many packets a telemetry says at its end it has taken.
func transportEnd(log string) (packets uint64) {
	for _, f := range strings.Fields(log) {
		if text, ok := strings.CutPrefix(f, "packets="); ok {
			_ = json.Unmarshal([]byte(text), &packets) // the last one counts; 0 is never complete
		}
	}
	return packets
}

// complete tells whether all that was taken is there, and a boot that has just as many packets as the last one.
func complete(seqs map[string][]uint64, taken map[string]uint64, end uint64) bool {
	for boot, seq := range taken {
		if uint64(len(seqs[boot])) < seq {
			return false
		}
	}
	for boot, list := range seqs {
		if _, ok := taken[boot]; !ok && end > 0 && uint64(len(list)) == end {
			return true
		}
	}
	return false
}

// A second telemetry on the same outbox, and an outbox that cannot be, are told in a line.
func TestOutboxErrors(t *testing.T) {
	if testing.Short() {
		t.Skip("starts processes")
	}
	dir := t.TempDir()
	first := start(t, tbmsock(t), "telemetry", "--url", "http://127.0.0.1:1", "--outbox", dir, "--drain", "0s")
	first.logged("waiting for the server")
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{dir: "another process uses this directory (process ", file: "not a directory"} {
		p := start(t, tbmsock(t), "telemetry", "--url", "http://127.0.0.1:1", "--outbox", path)
		if code := p.wait(); code != 1 {
			t.Errorf("code %d", code)
		}
		if log := strings.TrimSpace(p.log()); !strings.HasPrefix(log, "tbmsock telemetry: --outbox: spool in "+path) || !strings.Contains(log, want) || strings.Contains(log, "\n") {
			t.Errorf("log is %q, want %q", log, want)
		}
	}
	first.interrupt()
}
