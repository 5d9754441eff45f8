package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// tmpfs is a disk of its own, of the size.
func tmpfs(t *testing.T, size string) string {
	t.Helper()
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size="+size); err != nil {
		missing(t, "no tmpfs to fill: %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, 0); err != nil {
			t.Error(err)
		}
	})
	return dir
}

// The disk is full: that is told, the console goes on, and when there is room again the file has everything.
func TestFullDiskOfALogger(t *testing.T) {
	if testing.Short() {
		t.Skip("starts processes")
	}
	dir := tmpfs(t, "256k")
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
