package e2e

import (
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
