package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// A logger that has received nothing when its link breaks gets what was sent meanwhile.
func TestIdleLoggerMissesNothing(t *testing.T) {
	if testing.Short() {
		t.Skip("starts processes")
	}
	url := startPeer(t, "tbmsock").url()
	wire := newLink(t, strings.TrimPrefix(url, "http://"))
	file := filepath.Join(t.TempDir(), "packets.jsonl")
	logger := start(t, tbmsock(t), "logger", "--url", wire.url(), "--room", "ops", "--output", file)
	logger.logged("joined")
	wire.set(true)
	logger.logged("disconnected")
	publishSeqs(t, url, 1, 5)
	wire.set(false)
	logger.lineWith("#5 ")
	if code := logger.interrupt(); code != 0 {
		t.Errorf("logger ends with %d", code)
	}
	if n, _ := whole(t, file); n != 5 {
		t.Errorf("%d packets of 5", n)
	}
}

// A file is gone on with behind its last packet also where --since is given, by flag or environment: started twice with
// --since all a logger had everything twice in its file.
func TestSinceDoesNotRepeatAFile(t *testing.T) {
	if testing.Short() {
		t.Skip("starts processes")
	}
	url := startPeer(t, "tbmsock").url()
	file := filepath.Join(t.TempDir(), "packets.jsonl")
	publishSeqs(t, url, 1, 5)
	for n, last := range []uint64{5, 10} {
		flags := []string{"logger", "--url", url, "--room", "ops", "--output", file}
		var logger *process
		if n == 0 {
			logger = start(t, tbmsock(t), append(flags, "--since", "all")...)
		} else {
			logger = startWith(t, []string{"TBMSOCK_SINCE=all"}, tbmsock(t), flags...)
			logger.logged("going on behind the file's last packet")
			publishSeqs(t, url, 6, last)
		}
		logger.lineWith(fmt.Sprintf("#%d ", last))
		if code := logger.interrupt(); code != 0 {
			t.Errorf("logger ends with %d", code)
		}
		if n, _ := whole(t, file); n != int(last) {
			t.Errorf("%d packets of %d", n, last)
		}
	}
}

// A file of text has no places in it. That a logger begins anew with it was not told.
func TestFileThatCannotBeGoneOnWith(t *testing.T) {
	if testing.Short() {
		t.Skip("starts processes")
	}
	const warning = "cannot be gone on with"
	for _, tc := range []struct {
		name  string
		flags []string
		warns bool
	}{
		{"packets.log", nil, true},
		{"packets.jsonl", []string{"--alarms-only"}, true},
		{"packets.csv", nil, false},
	} {
		flags := append([]string{"logger", "--url", "http://127.0.0.1:1", "--output", filepath.Join(t.TempDir(), tc.name)}, tc.flags...)
		logger := start(t, tbmsock(t), flags...)
		logger.logged("waiting for the server")
		if got := strings.Contains(logger.log(), warning); got != tc.warns {
			t.Errorf("%s %v: warned is %t", tc.name, tc.flags, got)
		}
		logger.kill()
	}
}

// --output names somebody else's file: that is an error, and the file stays as it is.
func TestForeignOutput(t *testing.T) {
	if testing.Short() {
		t.Skip("starts processes")
	}
	for _, name := range []string{"config.json", "table.csv", "notes.txt"} {
		const precious = `{"precious": true}`
		file := filepath.Join(t.TempDir(), name)
		if err := os.WriteFile(file, []byte(precious), 0o600); err != nil {
			t.Fatal(err)
		}
		p := start(t, tbmsock(t), "logger", "--output", file)
		if code := p.wait(); code != 2 || !strings.Contains(p.log(), file) || !strings.Contains(p.log(), "was not written by a logger") {
			t.Errorf("it ends with %d: %s", code, p.log())
		}
		if b, err := os.ReadFile(file); err != nil || string(b) != precious {
			t.Errorf("%s has become %q, %v", name, b, err)
		}
	}
}
