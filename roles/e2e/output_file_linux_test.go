package e2e

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// seqsIn are the seqs that a logger's file holds; none if it is not there.
func seqsIn(t *testing.T, path string) []uint64 {
	t.Helper()
	if _, err := os.Stat(path); errors.Is(err, os.ErrNotExist) {
		return nil
	}
	boots, seqs := recorded(t, path)
	if len(boots) == 0 {
		return nil
	}
	return seqs[boots[0]]
}

// until waits for a condition.
func until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	deadline, again := time.NewTimer(patience), time.NewTicker(20*time.Millisecond)
	defer deadline.Stop()
	defer again.Stop()
	for !ok() {
		select {
		case <-again.C:
		case <-deadline.C:
			t.Fatalf("never: %s", what)
		}
	}
}

// oneToN reports whether the seqs are 1, 2, …, n, each once and in order.
func oneToN(seqs []uint64, n uint64) bool {
	if len(seqs) != int(n) {
		return false
	}
	for i, s := range seqs {
		if s != uint64(i+1) {
			return false
		}
	}
	return true
}

// A file that is moved again and again while packets come, with and without rotation: the moved files and the new one
// hold each packet once. A moved file once took all packets until midnight, and with --rotate-size a rotation failed
// every ten seconds for ever.
func TestOutputFileIsMoved(t *testing.T) {
	if testing.Short() {
		t.Skip("starts processes")
	}
	for _, rotate := range []string{"0", "20kB"} {
		t.Run("rotate-size "+rotate, func(t *testing.T) {
			dir := t.TempDir()
			file := filepath.Join(dir, "packets.jsonl")
			url := startPeer(t, "tbmsock").url()
			logger := start(t, tbmsock(t), "logger", "--url", url, "--output", file, "--plain", "--rotate-size", rotate, "--room", "ops")
			logger.logged("joined")
			source := start(t, tbmsock(t), "telemetry", "--url", url, "--rate", "100hz", "--count", "400", "--room", "ops")
			var moved []string
			for i := range 6 {
				until(t, "packets in the file", func() bool { return len(seqsIn(t, file)) > 3 })
				moved = append(moved, filepath.Join(dir, fmt.Sprintf("moved.%d", i)))
				if err := os.Rename(file, moved[i]); err != nil {
					t.Fatal(err)
				}
			}
			logger.lineWith("#400 ")
			if code := source.wait(); code != 0 {
				t.Errorf("telemetry ends with %d", code)
			}
			if code := logger.interrupt(); code != 0 {
				t.Errorf("logger ends with %d", code)
			}
			closed, _ := filepath.Glob(filepath.Join(dir, "packets-*.jsonl"))
			var all []uint64
			for _, f := range slices.Concat(moved, closed, []string{file}) {
				all = append(all, seqsIn(t, f)...)
			}
			slices.Sort(all)
			if !oneToN(all, 400) {
				t.Errorf("%d packets of 400 are in %d moved files, %d closed ones and the open one: %v", len(all), len(moved), len(closed), all)
			}
			if log := logger.log(); strings.Count(log, "the file was moved") != 6 || strings.Contains(log, "level=error") || !strings.Contains(log, "summary: complete") {
				t.Errorf("it says:\n%s", log)
			}
		})
	}
}

// The file is removed while packets come: those that come after are in a new file, none missing; those that were
// removed with it are not called complete. They once all went into the removed file, until midnight.
func TestOutputFileIsRemoved(t *testing.T) {
	if testing.Short() {
		t.Skip("starts processes")
	}
	file := filepath.Join(t.TempDir(), "packets.jsonl")
	url := startPeer(t, "tbmsock").url()
	logger := start(t, tbmsock(t), "logger", "--url", url, "--output", file, "--room", "ops")
	logger.logged("joined")
	for seq := range uint64(10) { // each over a connection of its own: the first ones are in the file for a while
		publishSeqs(t, url, seq+1, seq+1)
	}
	until(t, "ten packets", func() bool { return len(seqsIn(t, file)) == 10 })
	logger.lineWith("#10 ")
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	publishSeqs(t, url, 11, 20)
	logger.lineWith("#20 ")
	if code := logger.interrupt(); code != 0 {
		t.Errorf("logger ends with %d", code)
	}
	got := seqsIn(t, file)
	for len(got) > 0 && got[0] <= 10 { // those written just before the removal are saved too
		got = got[1:]
	}
	if !slices.Equal(got, []uint64{11, 12, 13, 14, 15, 16, 17, 18, 19, 20}) {
		t.Errorf("the new file holds %v", got)
	}
	if log := logger.log(); !strings.Contains(log, "removed by another program") || !strings.Contains(log, "removed_from_file_bytes=") || strings.Contains(log, "summary: complete") {
		t.Errorf("it says:\n%s", log)
	}
}

// The file is removed while nothing comes: it is there again before the next packet.
func TestOutputFileIsRemovedWhileIdle(t *testing.T) {
	if testing.Short() {
		t.Skip("starts processes")
	}
	file := filepath.Join(t.TempDir(), "packets.csv")
	logger := start(t, tbmsock(t), "logger", "--url", "http://127.0.0.1:1", "--output", file)
	logger.logged("waiting for the server")
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	until(t, "a new file with its header", func() bool { b, _ := os.ReadFile(file); return strings.HasPrefix(string(b), "received,event,") })
	if code := logger.interrupt(); code != 0 {
		t.Errorf("logger ends with %d", code)
	}
}

// The file's directory is removed: packets wait until it is there again. If it never is, they are counted, and the
// logger does not end with code 0.
func TestOutputDirectoryIsRemoved(t *testing.T) {
	if testing.Short() {
		t.Skip("starts processes")
	}
	for _, mended := range []bool{true, false} {
		t.Run(fmt.Sprintf("mended %t", mended), func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "data")
			file := filepath.Join(dir, "packets.jsonl")
			if err := os.Mkdir(dir, 0o700); err != nil {
				t.Fatal(err)
			}
			url := startPeer(t, "tbmsock").url()
			logger := start(t, tbmsock(t), "logger", "--url", url, "--output", file, "--room", "ops")
			logger.logged("joined")
			if err := os.RemoveAll(dir); err != nil {
				t.Fatal(err)
			}
			logger.logged("cannot be opened again")
			publishSeqs(t, url, 1, 20)
			logger.lineWith("#20 ")
			if mended {
				if err := os.Mkdir(dir, 0o700); err != nil {
					t.Fatal(err)
				}
				logger.logged("what waited has been written")
			}
			code := logger.interrupt()
			log := logger.log()
			if mended {
				if code != 0 || !oneToN(seqsIn(t, file), 20) || !strings.Contains(log, "summary: complete") {
					t.Errorf("it ends with %d, the file holds %v", code, seqsIn(t, file))
				}
				return
			}
			if code != 1 || !strings.Contains(log, "20 lines could not be written") || !strings.Contains(log, "not_in_file=20") || strings.Contains(log, "summary: complete") {
				t.Errorf("it ends with %d, and says:\n%s", code, log)
			}
		})
	}
}

// A symbolic link as --output stays one: it was replaced by a file at the first rotation. A logger that is started
// again goes on behind it.
func TestOutputFileIsASymbolicLink(t *testing.T) {
	if testing.Short() {
		t.Skip("starts processes")
	}
	dir := t.TempDir()
	link, data := filepath.Join(dir, "current.jsonl"), filepath.Join(dir, "data")
	if err := errors.Join(os.Mkdir(data, 0o700), os.Symlink("data/run.jsonl", link)); err != nil {
		t.Fatal(err)
	}
	url := startPeer(t, "tbmsock").url()
	for n := range uint64(2) {
		logger := start(t, tbmsock(t), "logger", "--url", url, "--room", "ops", "--output", link, "--rotate-size", "1kB", "--plain", "--since", "all")
		publishSeqs(t, url, 15*n+1, 15*n+15)
		logger.lineWith(fmt.Sprintf("#%d ", 15*n+15))
		if code := logger.interrupt(); code != 0 {
			t.Errorf("logger ends with %d", code)
		}
	}
	if info, err := os.Lstat(link); err != nil || info.Mode()&os.ModeSymlink == 0 {
		t.Errorf("the link is %v, %v", info, err)
	}
	closed, _ := filepath.Glob(filepath.Join(data, "run-*.jsonl"))
	var all []uint64
	for _, f := range append(closed, filepath.Join(data, "run.jsonl")) {
		all = append(all, seqsIn(t, f)...)
	}
	if !oneToN(all, 30) || len(closed) < 2 {
		t.Errorf("%q and the open file hold %v", closed, all)
	}
	if left, _ := filepath.Glob(filepath.Join(dir, "current*")); len(left) != 1 {
		t.Errorf("beside the link stand %q", left)
	}
}
