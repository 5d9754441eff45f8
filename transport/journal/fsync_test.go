package journal

import (
	"bufio"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// With fsync always an acknowledgement comes after the fsync of what it stands for, as the kernel sees it; with an
// interval it does not wait.
func TestAcknowledgedMeansSynced(t *testing.T) {
	strace, err := exec.LookPath("strace")
	if err != nil {
		if os.Getenv("CI") != "" {
			t.Fatal("needs strace (Debian: strace)")
		}
		t.Skip("needs strace (Debian: strace)")
	}
	for _, sync := range []string{"0s", "1h"} {
		t.Run("fsync "+sync, func(t *testing.T) {
			dir, log := t.TempDir(), filepath.Join(t.TempDir(), "strace")
			cmd := exec.Command(strace, "-f", "-y", "-s", "20", "-e", "trace=pwrite64,write,fsync", "-o", log, os.Args[0])
			cmd.Env = append(os.Environ(), childRole+"=append", "DIR="+dir, "BOOT=b", "SYNC="+sync)
			cmd.Stderr = os.Stderr
			stdout, err := cmd.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			lines := bufio.NewScanner(stdout)
			acked := 0
			for acked < 500 && lines.Scan() {
				if lines.Text() != "open" {
					acked++
				}
			}
			_ = stdout.Close() // the child's next line ends it
			_ = cmd.Wait()
			if acked < 500 {
				t.Skipf("strace cannot be used here: %d acknowledgements", acked)
			}
			written, synced, early := 0, 0, 0
			for _, c := range systemCalls(t, log) {
				switch {
				case strings.HasPrefix(c.name, "pwrite64") && isBlockFile(c.args):
					written++
					synced = 0
				case c.name == "fsync" && isBlockFile(c.args):
					synced++
				case c.name == "write" && ackLine.MatchString(c.args) && written > 0:
					if synced == 0 {
						early++
					}
				}
			}
			t.Logf("%d writes of blocks; %d acknowledgements before an fsync", written, early)
			if written < 5 {
				t.Fatal("the writes are not seen")
			}
			if sync == "0s" && early > 0 {
				t.Errorf("%d acknowledgements came before the fsync", early)
			}
			if sync != "0s" && early == 0 {
				t.Error("with an interval each acknowledgement waits for an fsync; or this test sees nothing")
			}
		})
	}
}

var ackLine = regexp.MustCompile(`^1<[^>]*>, "\d+ \d+ false`)

func isBlockFile(args string) bool { return strings.Contains(args, "/streams/TBM/msgs/") }

type systemCall struct{ name, args string }

// systemCalls lists the calls in the order in which they ended; but a write when it began, for a reader may
// see it from then on.
func systemCalls(t *testing.T, log string) []systemCall {
	t.Helper()
	f, err := os.Open(log)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	begun := map[string]string{} // by thread
	var calls []systemCall
	add := func(s string) {
		if name, args, ok := strings.Cut(s, "("); ok {
			calls = append(calls, systemCall{name, args})
		}
	}
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		thread, call, ok := strings.Cut(lines.Text(), " ")
		call = strings.TrimSpace(call)
		switch {
		case !ok:
		case strings.HasSuffix(call, "<unfinished ...>"):
			if strings.HasPrefix(call, "fsync") {
				begun[thread] = call
			} else {
				add(call)
			}
		case strings.HasPrefix(call, "<... fsync resumed>"):
			add(begun[thread])
		case strings.HasPrefix(call, "<... "):
		default:
			add(call)
		}
	}
	return calls
}
