package journal

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"tbmsock/transport"
)

// The test binary is its own child: a process that can be killed, or that runs as another user.
const childRole = "TBMSOCK_JOURNAL_TEST_CHILD"

// child is the other process's main. Arguments stand in the environment.
func child(role string) int {
	opts := Options{Dir: os.Getenv("DIR"), OnWarning: func(s string) { fmt.Fprintln(os.Stderr, "warning:", s) }}
	if d, err := time.ParseDuration(os.Getenv("SYNC")); err == nil {
		opts.SyncInterval = d
	}
	j, err := Open(context.Background(), opts)
	if err != nil {
		fmt.Println("error:", err)
		return 1
	}
	fmt.Println("open")
	switch role {
	case "append":
		childAppend(j)
	case "open":
		_, _ = io.Copy(io.Discard, os.Stdin)
	}
	if err := j.Close(context.Background()); err != nil {
		fmt.Println("error:", err)
		return 1
	}
	return 0
}

// childAppend appends until the process ends, and writes a line for each acknowledgement.
func childAppend(j *Journal) {
	boot := os.Getenv("BOOT")
	slots := make(chan struct{}, 64)
	for seq := uint64(1); ; seq++ {
		slots <- struct{}{}
		j.Append(context.Background(), entry("tbm-1", boot, seq), func(offset uint64, duplicate bool, err error) {
			if err != nil {
				fmt.Println("error:", err)
			} else {
				fmt.Printf("%d %d %t\n", seq, offset, duplicate)
			}
			<-slots
		})
	}
}

// startChild runs a child on the directory until the test ends.
func startChild(t *testing.T, role, dir string, env ...string) (*exec.Cmd, io.WriteCloser, *bufio.Scanner) {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), append([]string{childRole + "=" + role, "DIR=" + dir}, env...)...)
	cmd.Stderr = os.Stderr
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var once sync.Once
	end := func() { once.Do(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() }) }
	t.Cleanup(end)
	return cmd, stdin, bufio.NewScanner(stdout)
}

// What was acknowledged is there after a kill, whenever it comes, and a repeat is known as one.
func TestKilled(t *testing.T) {
	for _, sync := range []string{"0s", "1m"} {
		t.Run("fsync "+sync, func(t *testing.T) {
			dir := t.TempDir()
			type acked struct {
				boot   string
				seq    uint64
				offset uint64
			}
			var known []acked
			for round := range 5 {
				boot := fmt.Sprintf("boot-%d", round)
				cmd, _, lines := startChild(t, "append", dir, "BOOT="+boot, "SYNC="+sync)
				n := 0
				for lines.Scan() {
					a := acked{boot: boot}
					var duplicate bool
					if lines.Text() == "open" {
						continue
					}
					if _, err := fmt.Sscanf(lines.Text(), "%d %d %t", &a.seq, &a.offset, &duplicate); err != nil || duplicate {
						t.Fatalf("child: %s", lines.Text())
					}
					known = append(known, a)
					if n++; n == 100+round*333 {
						if err := cmd.Process.Kill(); err != nil {
							t.Fatal(err)
						}
					}
				}
				_ = cmd.Wait()
				if n < 100 {
					t.Fatalf("round %d: the child ended after %d entries", round, n)
				}
			}

			j := openJournal(t, Options{Dir: dir})
			got := map[uint64]transport.JournalEntry{}
			next := uint64(1)
			last := map[string]uint64{}
			for _, e := range readAll(t, j, 1, all) {
				if e.Offset != next {
					t.Fatalf("offset %d, want %d", e.Offset, next)
				}
				if e.Seq != last[e.Boot]+1 {
					t.Fatalf("%s: seq %d after %d", e.Boot, e.Seq, last[e.Boot])
				}
				next, last[e.Boot] = next+1, e.Seq
				got[e.Offset] = e
			}
			for _, a := range known {
				if e := got[a.offset]; e.Boot != a.boot || e.Seq != a.seq {
					t.Fatalf("%+v was acknowledged; there is %s %d", a, e.Boot, e.Seq)
				}
			}
			for boot, seq := range last {
				for i, a := range appendAll(t, j, series("tbm-1", boot, 1, seq+1)...) {
					if a.err != nil || a.duplicate != (uint64(i) < seq) {
						t.Fatalf("%s: resent seq %d: %+v", boot, i+1, a)
					}
				}
			}
			t.Logf("%d acknowledged, %d there", len(known), len(got))
		})
	}
}

// A file that was cut off anywhere in its last record costs that record and nothing else.
func TestTornFile(t *testing.T) {
	origin := t.TempDir()
	j, err := Open(within(t), Options{Dir: origin})
	if err != nil {
		t.Fatal(err)
	}
	appendOK(t, j, series("tbm-1", "b", 1, 50)...)
	before := blockFileSize(t, origin)
	appendOK(t, j, entry("tbm-1", "b", 51))
	after := blockFileSize(t, origin)
	// As a crash leaves it: the journal is not closed first.
	crashed := filepath.Join(t.TempDir(), "crashed")
	copyDir(t, crashed, origin)
	closeJournal(t, j)
	if after <= before || after-before > 1000 {
		t.Fatalf("the last record has %d bytes", after-before)
	}
	for size := before; size <= after; size++ {
		dir := filepath.Join(t.TempDir(), "torn")
		copyDir(t, dir, crashed)
		if err := os.Truncate(blockFile(t, dir), size); err != nil {
			t.Fatal(err)
		}
		j, err := Open(within(t), Options{Dir: dir})
		if err != nil {
			t.Fatalf("cut at byte %d of %d: %v", size-before, after-before, err)
		}
		want := 50
		if size == after {
			want = 51
		}
		if got := readAll(t, j, 1, all); len(got) != want || got[want-1].Seq != uint64(want) {
			t.Errorf("cut at byte %d of %d: %d entries are left", size-before, after-before, len(got))
		}
		// And it goes on as if nothing had been.
		a := appendAll(t, j, entry("tbm-1", "b", 51), entry("tbm-1", "b", 52))
		if a[0].err != nil || a[0].duplicate != (want == 51) || a[0].offset != 51 || a[1] != (appended{offset: 52}) {
			t.Errorf("cut at byte %d: going on: %+v", size-before, a)
		}
		closeJournal(t, j)
		_ = os.RemoveAll(dir)
	}
	t.Logf("cut at each of %d bytes", after-before+1)
}

// blockFile is the one file that the stream of blocks has in a small journal.
func blockFile(t *testing.T, dir string) string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "jetstream", "*", "streams", "TBM", "msgs", "*.blk"))
	if err != nil || len(files) != 1 {
		t.Fatalf("files of the stream: %v, %v", files, err)
	}
	return files[0]
}

func blockFileSize(t *testing.T, dir string) int64 {
	t.Helper()
	info, err := os.Stat(blockFile(t, dir))
	if err != nil {
		t.Fatal(err)
	}
	return info.Size()
}

// copyDir copies what a journal has written.
func copyDir(t *testing.T, to, from string) {
	t.Helper()
	if err := os.CopyFS(filepath.Join(to, "jetstream"), os.DirFS(filepath.Join(from, "jetstream"))); err != nil {
		t.Fatal(err)
	}
}

func TestOneProcessADirectory(t *testing.T) {
	dir := t.TempDir()
	cmd, stdin, lines := startChild(t, "open", dir)
	if !lines.Scan() || lines.Text() != "open" {
		t.Fatalf("child: %s", lines.Text())
	}
	_, err := Open(within(t), Options{Dir: dir})
	want := fmt.Sprintf("journal in %s: another process is using this journal (process %d)", dir, cmd.Process.Pid)
	if err == nil || err.Error() != want {
		t.Errorf("got  %v\nwant %s", err, want)
	}
	_ = stdin.Close()
	if err := cmd.Wait(); err != nil {
		t.Fatal(err)
	}
	openJournal(t, Options{Dir: dir})
	if _, err := Open(within(t), Options{Dir: dir}); err == nil || !strings.Contains(err.Error(), "another process") {
		t.Errorf("twice in one process: %v", err)
	}
}

// blockFileOf is any file of the journal's own that is not empty.
func blockFileOf(t *testing.T, dir string) string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "jetstream", "*", "streams", "TBM", "meta.inf"))
	if err != nil || len(files) != 1 {
		t.Fatalf("%v, %v", files, err)
	}
	return files[0]
}
