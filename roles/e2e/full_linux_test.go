package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"tbmsock/internal/freeport"
	"tbmsock/internal/smalldisk"
)

// The disk is full: that is told, the console goes on, and when there is room again the file has everything.
func TestFullDiskOfALogger(t *testing.T) {
	if testing.Short() {
		t.Skip("starts processes")
	}
	dir := smalldisk.Mount(t, "256k")
	ballast, file := filepath.Join(dir, "ballast"), filepath.Join(dir, "p.jsonl")
	if err := os.WriteFile(ballast, make([]byte, 192<<10), 0o600); err != nil {
		t.Fatal(err)
	}
	url := startPeer(t, "tbmsock").url()
	logger := start(t, tbmsock(t), "logger", "--url", url, "--output", file, "--plain")
	logger.logged("connected")
	source := start(t, tbmsock(t), "telemetry", "--url", url, "--rate", "100hz", "--count", "150")
	logger.logged("no space left on device")
	logger.lineWith("#150 ")
	if code := source.wait(); code != 0 {
		t.Errorf("telemetry ends with %d", code)
	}
	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	logger.logged("the disk takes lines again")
	if code := logger.interrupt(); code != 0 {
		t.Errorf("logger ends with %d", code)
	}
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(string(b), `"envelope"`); n != 150 || !strings.HasSuffix(string(b), "}\n") {
		t.Errorf("the file has %d packets of 150", n)
	}
}

// The disk is still full when a logger ends: it says how much is not in its file, and not that all is complete.
func TestFullDiskAtALoggersEnd(t *testing.T) {
	if testing.Short() {
		t.Skip("starts processes")
	}
	dir := smalldisk.Mount(t, "64k")
	if err := os.WriteFile(filepath.Join(dir, "ballast"), make([]byte, 48<<10), 0o600); err != nil {
		t.Fatal(err)
	}
	url := startPeer(t, "tbmsock").url()
	logger := start(t, tbmsock(t), "logger", "--url", url, "--output", filepath.Join(dir, "p.jsonl"))
	logger.logged("connected")
	source := start(t, tbmsock(t), "telemetry", "--url", url, "--rate", "100hz", "--count", "100")
	logger.lineWith("#100 ")
	if code := source.wait(); code != 0 {
		t.Errorf("telemetry ends with %d", code)
	}
	if code := logger.interrupt(); code != 1 {
		t.Errorf("logger ends with %d", code)
	}
	if log := logger.log(); !strings.Contains(log, "lines could not be written") || !strings.Contains(log, "not_in_file=") || strings.Contains(log, "summary: complete") {
		t.Errorf("it says:\n%s", log)
	}
}

// The disk of an outbox is full while no server is there: that is told once, readings are taken on, and when there is
// room again not one is missing.
func TestFullDiskOfAnOutbox(t *testing.T) {
	if testing.Short() {
		t.Skip("starts processes")
	}
	disk, file := smalldisk.Mount(t, "1m"), filepath.Join(t.TempDir(), "p.jsonl")
	ballast := filepath.Join(disk, "ballast")
	if err := os.WriteFile(ballast, make([]byte, 960<<10), 0o600); err != nil {
		t.Fatal(err)
	}
	addr := freeport.Address(t)
	source := start(t, tbmsock(t), "telemetry", "--url", "http://"+addr, "--rate", "100hz", "--count", "250", "--outbox", filepath.Join(disk, "outbox"), "--drain", "20s")
	source.logged("no space left on device")
	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	source.logged("the disk takes packets again")
	server := start(t, tbmsock(t), "server", "--listen", addr, "--data-dir", "memory")
	server.url()
	if code := source.wait(); code != 0 {
		t.Errorf("telemetry ends with %d", code)
	}
	log := source.log()
	if n := strings.Count(log, "packets cannot be written"); n != 1 || !strings.Contains(log, "acknowledged=250") || !strings.Contains(log, "dropped=0") {
		t.Errorf("told %d times:\n%s", n, log)
	}
	logger := start(t, tbmsock(t), "logger", "--url", "http://"+addr, "--output", file, "--plain", "--since", "all")
	logger.lineWith("#250 ")
	if code := logger.interrupt(); code != 0 {
		t.Errorf("logger ends with %d", code)
	}
	if n, boots := whole(t, file); n != 250 || boots != 1 {
		t.Errorf("%d packets of %d boots", n, boots)
	}
}
