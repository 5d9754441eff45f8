package e2e

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
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

// An outbox that had filled its disk kept everything that the server had acknowledged, took no new packet, and lost
// what then no longer fitted into memory; a restart repeated that.
func TestOutboxRecoversFromAFullDisk(t *testing.T) {
	if testing.Short() {
		t.Skip("starts processes")
	}
	for _, restart := range []bool{false, true} {
		name := "same run"
		if restart {
			name = "killed while full"
		}
		t.Run(name, func(t *testing.T) {
			disk, file := smalldisk.Mount(t, "1m"), filepath.Join(t.TempDir(), "p.jsonl")
			addr := freeport.Address(t)
			run := func(count string) *process {
				return start(t, tbmsock(t), "telemetry", "--url", "http://"+addr, "--rate", "200hz", "--count", count,
					"--outbox", filepath.Join(disk, "outbox"), "--drain", "60s")
			}
			source := run("2000") // more than the disk holds
			source.logged("no space left on device")
			if restart {
				source.kill()
				source = run("1500")
			}
			server := start(t, tbmsock(t), "server", "--listen", addr, "--data-dir", "memory")
			server.url()
			if code := source.wait(); code != 0 {
				t.Errorf("telemetry ends with %d", code)
			}
			log, last := source.log(), "#2000 "
			if restart {
				last = "#1500 "
			}
			if !strings.Contains(log, "dropped=0") || !strings.Contains(log, " waiting=0") {
				t.Errorf("it says:\n%s", log)
			}
			logger := start(t, tbmsock(t), "logger", "--url", "http://"+addr, "--output", file, "--plain", "--since", "all")
			logger.lineWith(last)
			if code := logger.interrupt(); code != 0 {
				t.Errorf("logger ends with %d", code)
			}
			n, boots := whole(t, file)
			if !restart && (n != 2000 || boots != 1) || restart && (n < 1500+500 || boots != 2) {
				t.Errorf("%d packets of %d boots", n, boots)
			}
			used := int64(0)
			files, err := filepath.Glob(filepath.Join(disk, "outbox", "*.seg"))
			if err != nil {
				t.Fatal(err)
			}
			for _, f := range files {
				info, err := os.Stat(f)
				if err != nil {
					t.Fatal(err)
				}
				used += info.Size()
			}
			if used > 960<<10 {
				t.Errorf("the outbox still takes %d bytes", used)
			}
		})
	}
}

// Somebody else has filled the disk, and it stays so: packets are sent from memory.
func TestOutboxOnADiskFullOfOthers(t *testing.T) {
	if testing.Short() {
		t.Skip("starts processes")
	}
	disk, file := smalldisk.Mount(t, "1m"), filepath.Join(t.TempDir(), "p.jsonl")
	if err := os.Mkdir(filepath.Join(disk, "outbox"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(disk, "ballast"), make([]byte, 2<<20), 0o600); !errors.Is(err, syscall.ENOSPC) {
		t.Fatal(err)
	}
	addr := freeport.Address(t)
	source := start(t, tbmsock(t), "telemetry", "--url", "http://"+addr, "--rate", "200hz", "--count", "1000",
		"--outbox", filepath.Join(disk, "outbox"), "--drain", "60s")
	source.logged("no space left on device")
	server := start(t, tbmsock(t), "server", "--listen", addr, "--data-dir", "memory")
	server.url()
	if code := source.wait(); code != 0 {
		t.Errorf("telemetry ends with %d", code)
	}
	if log := source.log(); !strings.Contains(log, "acknowledged=1000 ") || !strings.Contains(log, "dropped=0") {
		t.Errorf("it says:\n%s", log)
	}
	logger := start(t, tbmsock(t), "logger", "--url", "http://"+addr, "--output", file, "--plain", "--since", "all")
	logger.lineWith("#1000 ")
	if code := logger.interrupt(); code != 0 {
		t.Errorf("logger ends with %d", code)
	}
	if n, boots := whole(t, file); n != 1000 || boots != 1 {
		t.Errorf("%d packets of %d boots", n, boots)
	}
}
