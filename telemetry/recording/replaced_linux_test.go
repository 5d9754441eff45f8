package recording

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// openLooking is open with a look before each line.
func openLooking(t *testing.T, o Options) *File {
	t.Helper()
	f := open(t, o)
	f.mu.Lock()
	f.lookEvery = 0
	f.mu.Unlock()
	return f
}

func numbered(i int) string { return fmt.Sprintf("{\"seq\":%d}\n", i) }

func lines(from, to int) string {
	var b strings.Builder
	for i := from; i <= to; i++ {
		b.WriteString(numbered(i))
	}
	return b.String()
}

func (f *File) writeLines(from, to int) {
	for i := from; i <= to; i++ {
		f.Write([]byte(numbered(i)))
	}
}

func content(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// checkReports compares what was reported with the parts that must occur, one each and in order.
func checkReports(t *testing.T, told *reports, want ...string) {
	t.Helper()
	all := told.all()
	if len(all) != len(want) {
		t.Fatalf("reports are %q, want %q", all, want)
	}
	for i := range want {
		if !strings.Contains(all[i], want[i]) {
			t.Errorf("report %d is %q, want %q", i, all[i], want[i])
		}
	}
}

// Lines went into the removed file until the next rotation, and were lost.
func TestRemovedFileIsOpenedAgain(t *testing.T) {
	path := filepath.Join(t.TempDir(), "p.jsonl")
	var told reports
	f := openLooking(t, Options{Path: path, Report: told.add})
	f.writeLines(1, 10)
	f.Reopen() // all ten are known to be in the file
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	f.writeLines(11, 20)
	if got := content(t, path); got != lines(11, 20) {
		t.Errorf("the new file holds %q", got)
	}
	if n := f.Removed(); n != int64(len(lines(1, 10))) {
		t.Errorf("%d bytes are counted as removed", n)
	}
	shut(t, f)
	checkReports(t, &told, ErrRemoved.Error())
}

// A file that is removed while nothing is written is there again within a second or so.
func TestRemovedFileOfAnIdleWriter(t *testing.T) {
	path := filepath.Join(t.TempDir(), "p.csv")
	f := openLooking(t, Options{Path: path, Header: []byte("a,b\n")})
	f.Write([]byte("1,2\n"))
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	// The line may have been written to the removed file only.
	eventually(t, "opened again", func() bool { b, err := os.ReadFile(path); return err == nil && string(b) == "a,b\n1,2\n" })
	shut(t, f)
}

// The file is removed again and again while lines are written: each line that was written after a removal is in a file
// that exists, also those that went into the removed one before that was noticed.
func TestNoLineIsLostInARemovedFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "p.jsonl")
	f := open(t, Options{Path: path})
	var written atomic.Int64
	stop := make(chan struct{})
	var writer sync.WaitGroup
	writer.Go(func() {
		for i := 1; ; i++ {
			select {
			case <-stop:
				return
			default:
			}
			f.Write([]byte(numbered(i)))
			written.Store(int64(i))
		}
	})
	const removals = 50
	var kept []*os.File // descriptors of the removed files
	var after []int64   // the line that was written last when each removal was over
	for range removals {
		begun := written.Load()
		eventually(t, "written", func() bool { return written.Load() > begun+3 && exists(path) })
		file, err := os.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
		kept, after = append(kept, file), append(after, written.Load())
	}
	close(stop)
	writer.Wait()
	shut(t, f)
	last, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	end := int64(0)
	for i, file := range append(kept, last) {
		b, err := io.ReadAll(file)
		if err != nil {
			t.Fatal(err)
		}
		_ = file.Close()
		var seqs []int64
		for line := range strings.Lines(string(b)) {
			var n int64
			if _, err := fmt.Sscanf(line, "{\"seq\":%d}\n", &n); err != nil {
				t.Fatalf("file %d holds %q", i, line)
			}
			if len(seqs) > 0 && n != seqs[len(seqs)-1]+1 {
				t.Fatalf("file %d: %d follows %d", i, n, seqs[len(seqs)-1])
			}
			seqs = append(seqs, n)
		}
		if len(seqs) == 0 {
			continue // it was removed before its first line
		}
		if i > 0 && (seqs[0] > after[i-1]+1 || seqs[0] > end+1) {
			t.Fatalf("file %d begins with %d; the one before ends with %d, and was gone when %d had been written", i, seqs[0], end, after[i-1])
		}
		end = seqs[len(seqs)-1]
	}
	if end != written.Load() {
		t.Errorf("the last file ends with %d of %d", end, written.Load())
	}
}

// A file that was moved took all further lines; with a limit of its size a rotation was tried every ten seconds for
// ever.
func TestMovedFileIsOpenedAgain(t *testing.T) {
	for _, maxBytes := range []int64{0, 100} {
		t.Run(fmt.Sprint("MaxBytes ", maxBytes), func(t *testing.T) {
			dir := t.TempDir()
			path := filepath.Join(dir, "p.jsonl")
			var told reports
			f := openLooking(t, Options{Path: path, MaxBytes: maxBytes, Plain: true, Report: told.add})
			const moves, each = 20, 25
			var parts []string
			for i := range moves {
				f.writeLines(i*each+1, (i+1)*each)
				for _, c := range closedFiles(path) { // in the order of the lines, under names that are not ours
					part := filepath.Join(dir, fmt.Sprintf("moved.%03d", len(parts)))
					parts = append(parts, part)
					if err := os.Rename(c.path, part); err != nil {
						t.Fatal(err)
					}
				}
				part := filepath.Join(dir, fmt.Sprintf("moved.%03d", len(parts)))
				parts = append(parts, part)
				if err := os.Rename(path, part); err != nil {
					t.Fatal(err)
				}
			}
			f.writeLines(moves*each+1, moves*each+3)
			shut(t, f)
			got := ""
			for _, p := range append(parts, path) {
				got += content(t, p)
			}
			if got != lines(1, moves*each+3) {
				t.Errorf("the files hold\n%s", got)
			}
			if f.Removed() != 0 {
				t.Errorf("%d bytes are counted as removed", f.Removed())
			}
			checkReports(t, &told, slices.Repeat([]string{"<nil>: the file was moved"}, moves)...)
		})
	}
}

// Whoever moves a file may leave a new one in its place, as logrotate does with "create".
func TestMovedFileWithASuccessor(t *testing.T) {
	path := filepath.Join(t.TempDir(), "p.csv")
	f := openLooking(t, Options{Path: path, Header: []byte("n\n")})
	f.Write([]byte("1\n"))
	if err := errors.Join(os.Rename(path, path+".1"), os.WriteFile(path, nil, 0o600)); err != nil {
		t.Fatal(err)
	}
	f.Reopen() // SIGHUP
	if got := content(t, path); got != "n\n" {
		t.Errorf("the new file begins with %q", got)
	}
	f.Write([]byte("2\n"))
	shut(t, f)
	if a, b := content(t, path+".1"), content(t, path); a != "n\n1\n" || b != "n\n2\n" {
		t.Errorf("the files hold %q and %q", a, b)
	}
}

// Where no file can be opened at the path, lines wait, and are written once one can.
func TestLinesWaitForAPath(t *testing.T) {
	precious := "precious\n"
	for _, tc := range []struct {
		name  string
		spoil func(t *testing.T, path string)
		mend  func(t *testing.T, path string)
		says  string
	}{
		{
			"the directory was removed",
			func(t *testing.T, path string) { must(t, os.RemoveAll(filepath.Dir(path))) },
			func(t *testing.T, path string) { must(t, os.Mkdir(filepath.Dir(path), 0o700)) },
			"no such file or directory",
		},
		{
			"a file stands in the directory's place",
			func(t *testing.T, path string) {
				must(t, os.RemoveAll(filepath.Dir(path)))
				must(t, os.WriteFile(filepath.Dir(path), nil, 0o600))
			},
			func(t *testing.T, path string) {
				must(t, os.Remove(filepath.Dir(path)))
				must(t, os.Mkdir(filepath.Dir(path), 0o700))
			},
			"not a directory",
		},
		{
			"somebody else's file",
			func(t *testing.T, path string) {
				must(t, os.WriteFile(path+".tmp", []byte(precious), 0o600))
				must(t, os.Rename(path+".tmp", path))
			},
			func(t *testing.T, path string) {
				if got := content(t, path); got != precious {
					t.Errorf("it has become %q", got)
				}
				must(t, os.Remove(path))
			},
			"was not written by a logger",
		},
		{
			"a directory",
			func(t *testing.T, path string) { must(t, os.Remove(path)); must(t, os.Mkdir(path, 0o700)) },
			func(t *testing.T, path string) { must(t, os.Remove(path)) },
			"is a directory",
		},
		{
			"a link that leads to itself",
			func(t *testing.T, path string) { must(t, os.Remove(path)); must(t, os.Symlink(path, path)) },
			func(t *testing.T, path string) { must(t, os.Remove(path)) },
			"too many levels of symbolic links",
		},
	} {
		for _, mended := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s, mended %t", tc.name, mended), func(t *testing.T) {
				path := filepath.Join(t.TempDir(), "dir", "p.jsonl")
				must(t, os.Mkdir(filepath.Dir(path), 0o700))
				var told reports
				ours := func(start []byte) bool { return start[0] == '{' }
				f := openLooking(t, Options{Path: path, MaxBytes: 100, MaxAge: time.Hour, Report: told.add, Ours: ours})
				f.writeLines(1, 5)
				f.Reopen()
				tc.spoil(t, path)
				f.writeLines(6, 50)
				checkReports(t, &told, tc.says)
				if !mended {
					if err := f.Close(); err == nil || !strings.Contains(err.Error(), "45 lines could not be written") || f.Dropped() != 45 {
						t.Errorf("Close says %v; %d are dropped", err, f.Dropped())
					}
					return
				}
				tc.mend(t, path)
				eventually(t, "written", func() bool { f.mu.Lock(); defer f.mu.Unlock(); return !f.trouble })
				shut(t, f)
				if got, _ := contents(t, path); got != lines(6, 50) {
					t.Errorf("the files hold %q", got)
				}
				checkReports(t, &told, tc.says, ErrRemoved.Error(), "<nil>: the disk takes lines again")
			})
		}
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// A line that was written into a removed file, and could be put nowhere else, is counted as lost.
func TestLineInARemovedFileIsCounted(t *testing.T) {
	path := filepath.Join(t.TempDir(), "dir", "p.jsonl")
	must(t, os.Mkdir(filepath.Dir(path), 0o700))
	f := openLooking(t, Options{Path: path})
	f.writeLines(1, 1)
	must(t, os.RemoveAll(filepath.Dir(path)))
	if err := f.Close(); err == nil || f.Dropped() != 1 {
		t.Errorf("Close says %v; %d are dropped", err, f.Dropped())
	}
}

// Another process has opened the path after the file was moved away: the two do not write to one file.
func TestMovedFileWhosePathIsTaken(t *testing.T) {
	path := filepath.Join(t.TempDir(), "p.jsonl")
	var told reports
	first := openLooking(t, Options{Path: path, Report: told.add})
	first.writeLines(1, 2)
	must(t, os.Rename(path, path+".1"))
	second := openLooking(t, Options{Path: path})
	first.writeLines(3, 4)
	second.writeLines(100, 101)
	checkReports(t, &told, ErrInUse.Error())
	shut(t, second)
	shut(t, first)
	if a, b := content(t, path+".1"), content(t, path); a != lines(1, 2) || b != lines(100, 101)+lines(3, 4) {
		t.Errorf("the files hold %q and %q", a, b)
	}
}

// A file with a second name that is removed keeps its lines there: nothing is lost, and nothing written twice.
func TestRemovedNameOfAHardLink(t *testing.T) {
	path := filepath.Join(t.TempDir(), "p.jsonl")
	var told reports
	f := openLooking(t, Options{Path: path, MaxBytes: 1000, Report: told.add})
	must(t, os.Link(path, path+".link"))
	f.writeLines(1, 10)
	must(t, os.Remove(path))
	f.writeLines(11, 20)
	shut(t, f)
	if a, b := content(t, path+".link"), content(t, path); a != lines(1, 10) || b != lines(11, 20) {
		t.Errorf("the files hold %q and %q", a, b)
	}
	checkReports(t, &told, "<nil>: the file was moved")
}

// A file that another program truncates (copytruncate of logrotate, a shell's ">") goes on at its new end. Its size was
// taken for what it had been: it was rotated too early, and a line of which a full disk took a part was cut off
// wrongly.
func TestTruncatedFile(t *testing.T) {
	const head = "{\"head\"}\n"
	for _, tc := range []struct {
		name    string
		size    int64
		left    string
		removed int
	}{
		{"to nothing", 0, head, len(lines(1, 5))},
		{"at a line's end", int64(len(head + lines(1, 2))), head + lines(1, 2), len(lines(3, 5))},
		{"within a line", int64(len(head+lines(1, 2)) + 4), head + lines(1, 2), len(lines(3, 5)) - 4},
	} {
		t.Run(tc.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "p.jsonl")
			var told reports
			f := openLooking(t, Options{Path: path, MaxBytes: 110, Plain: true, Header: []byte(head), Report: told.add})
			f.writeLines(1, 5)
			must(t, os.Truncate(path, tc.size))
			f.writeLines(6, 10)
			shut(t, f)
			if got, closed := contents(t, path); got != tc.left+lines(6, 10) || len(closed) > 0 {
				t.Errorf("the file holds %q; closed are %q", got, closed)
			}
			if f.Removed() != int64(tc.removed) {
				t.Errorf("%d bytes are counted as removed, want %d", f.Removed(), tc.removed)
			}
			checkReports(t, &told, ErrTruncated.Error())
		})
	}
}

// While one process rotates, another that opens the path must not get hold of the file that was just closed.
func TestOpenDuringRotation(t *testing.T) {
	path := filepath.Join(t.TempDir(), "p.jsonl")
	f := openLooking(t, Options{Path: path, MaxBytes: 10, Plain: true, Keep: 1})
	stop := make(chan struct{})
	var writer sync.WaitGroup
	writer.Go(func() {
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			default:
				f.Write([]byte(numbered(i)))
			}
		}
	})
	for end := time.Now().Add(2 * time.Second); time.Now().Before(end); {
		second, _, err := Open(Options{Path: path, Plain: true})
		if err == nil {
			_ = second.Close()
			t.Error("the path was opened twice")
			break
		}
		if !errors.Is(err, ErrInUse) && !errors.Is(err, errElsewhere) {
			t.Error(err)
			break
		}
	}
	close(stop)
	writer.Wait()
	shut(t, f)
}

// A process that is killed while it rotates leaves the file with two names: it goes on under its own.
func TestCrashWithinRotation(t *testing.T) {
	path := filepath.Join(t.TempDir(), "p.jsonl")
	f := openLooking(t, Options{Path: path})
	f.writeLines(1, 3)
	shut(t, f)
	must(t, os.Link(path, strings.TrimSuffix(path, ".jsonl")+"-000007-20260302T060000.000Z.jsonl"))
	f = openLooking(t, Options{Path: path, MaxBytes: 50})
	f.writeLines(4, 8)
	eventually(t, "compressed", func() bool { all := closedFiles(path); return len(all) == 1 && all[0].packed })
	shut(t, f)
	if got, _ := contents(t, path); got != lines(1, 8) {
		t.Errorf("the files hold %q", got)
	}
}
