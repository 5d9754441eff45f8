package recording

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"tbmsock/internal/smalldisk"
)

func TestFullDiskIsToldAndTriedAgain(t *testing.T) {
	dir := smalldisk.Mount(t, "64k")
	path := filepath.Join(dir, "p.jsonl")
	var mu sync.Mutex
	var reports []string
	f := open(t, Options{Path: path, Report: func(err error, what string) {
		mu.Lock()
		defer mu.Unlock()
		reports = append(reports, fmt.Sprint(err, ": ", what))
	}})
	ballast := filepath.Join(dir, "ballast")
	if err := os.WriteFile(ballast, make([]byte, 48<<10), 0o600); err != nil {
		t.Fatal(err)
	}
	want := ""
	for i := range 400 {
		line := fmt.Sprintf("{\"seq\":%d,\"pad\":%q}\n", i, strings.Repeat("x", 100))
		want += line
		f.Write([]byte(line))
	}
	b, err := os.ReadFile(path)
	if err != nil || len(b) == len(want) || !strings.HasPrefix(want, string(b)) || !strings.HasSuffix(string(b), "\n") {
		t.Fatalf("a full disk holds %d of %d bytes, %v; whole lines: %v", len(b), len(want), err, strings.HasSuffix(string(b), "\n"))
	}
	mu.Lock()
	if len(reports) != 1 || !strings.Contains(reports[0], "no space left") {
		t.Errorf("reports are %q", reports)
	}
	mu.Unlock()
	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the disk has room and all is written", func() bool {
		b, err := os.ReadFile(path)
		return err == nil && string(b) == want
	})
	shut(t, f)
	mu.Lock()
	defer mu.Unlock()
	if len(reports) != 2 || !strings.Contains(reports[1], "written") || f.Dropped() != 0 {
		t.Errorf("reports are %q, %d dropped", reports, f.Dropped())
	}
}

func TestFullDiskForTooLong(t *testing.T) {
	dir := smalldisk.Mount(t, "64k")
	reports := 0
	var mu sync.Mutex
	f := open(t, Options{Path: filepath.Join(dir, "p.jsonl"), MaxPending: 8 << 10, Report: func(error, string) { mu.Lock(); reports++; mu.Unlock() }})
	line := []byte(strings.Repeat("x", 999) + "\n")
	const lines = 200
	for range lines {
		f.Write(line)
	}
	if f.Dropped() == 0 {
		t.Error("nothing was dropped, though memory is bounded")
	}
	err := f.Close()
	b, readErr := os.ReadFile(filepath.Join(dir, "p.jsonl"))
	if readErr != nil {
		t.Fatal(readErr)
	}
	// Those that were dropped counted nowhere.
	missing := lines - len(b)/len(line)
	if err == nil || !strings.Contains(err.Error(), fmt.Sprintf(" %d lines could not be written", missing)) || f.Dropped() != uint64(missing) {
		t.Errorf("Close says %v, %d are dropped, and %d are missing", err, f.Dropped(), missing)
	}
	if reports != 2 {
		t.Errorf("%d reports, want one of the disk and one of the dropping", reports)
	}
}
