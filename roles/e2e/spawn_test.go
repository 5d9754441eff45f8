package e2e

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"tbmsock/internal/freeport"
)

// panicChild, in the environment, makes the test binary a test that ends without its Cleanup.
const panicChild = "TBMSOCK_E2E_PANIC"

// panics is that child's main: it starts a child of its own, and panics when its input ends.
func panics() int {
	cmd := exec.Command("sleep", "600")
	if err := spawn(cmd); err != nil {
		fmt.Println(err)
		return 1
	}
	fmt.Println(cmd.Process.Pid)
	_, _ = io.Copy(io.Discard, os.Stdin)
	panic("as go test -timeout does")
}

const (
	builtPrefix = "tbmsock-e2e"
	staleAfter  = 2 * time.Hour // no test runs for as long
)

// sweep removes the directories of tests that have ended without their Cleanup.
func sweep(dir string, now time.Time) {
	left, _ := filepath.Glob(filepath.Join(dir, builtPrefix+"*"))
	for _, path := range left {
		if info, err := os.Lstat(path); err == nil && info.IsDir() && now.Sub(info.ModTime()) > staleAfter {
			_ = os.RemoveAll(path) // another user's stays
		}
	}
}

func TestSweep(t *testing.T) {
	dir := t.TempDir()
	now := time.Now()
	for name, age := range map[string]time.Duration{"tbmsock-e2e1": 3 * time.Hour, "tbmsock-e2e2": time.Hour, "other": 3 * time.Hour} {
		path := filepath.Join(dir, name)
		if err := os.Mkdir(path, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(path, now, now.Add(-age)); err != nil {
			t.Fatal(err)
		}
	}
	sweep(dir, now)
	left, _ := filepath.Glob(filepath.Join(dir, "*"))
	for i := range left {
		left[i] = filepath.Base(left[i])
	}
	if got := strings.Join(left, " "); got != "other tbmsock-e2e2" {
		t.Errorf("left are %s", got)
	}
}

// A port that was free a moment ago was once taken by the test of another checkout, and the server's test failed.
func TestServerTriesItsPortAgain(t *testing.T) {
	if testing.Short() {
		t.Skip("starts processes")
	}
	ln := freeport.Listen(t)
	defer func() { _ = ln.Close() }()
	addr := ln.Addr().String()
	p := start(t, tbmsock(t), "server", "--listen", addr)
	p.logged("address already in use")
	_ = ln.Close()
	if url := p.url(); url != "http://"+addr {
		t.Errorf("listening on %s", url)
	}
	if strings.Contains(p.log(), "address already in use") {
		t.Errorf("the log is that of another try:\n%s", p.log())
	}
}
