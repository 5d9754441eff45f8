package recording

import (
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// clock is a time that the test moves.
type clock struct {
	mu sync.Mutex
	t  time.Time
}

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.t
}

func (c *clock) add(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.t = c.t.Add(d)
}

func newClock() *clock { return &clock{t: time.Date(2026, 3, 2, 23, 59, 0, 0, time.UTC)} }

func open(t *testing.T, o Options) *File {
	t.Helper()
	f, _, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func shut(t *testing.T, f *File) {
	t.Helper()
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
}

// contents are all lines in the order in which they were written: of the closed files by name, then of the open one.
func contents(t *testing.T, path string) (all string, files []string) {
	t.Helper()
	entries, err := os.ReadDir(filepath.Dir(path))
	if err != nil {
		t.Fatal(err)
	}
	open := ""
	for _, e := range entries {
		b, err := os.ReadFile(filepath.Join(filepath.Dir(path), e.Name()))
		if errors.Is(err, fs.ErrNotExist) {
			return contents(t, path) // it was compressed, or removed, meanwhile
		}
		if err != nil {
			t.Fatal(err)
		}
		if strings.HasSuffix(e.Name(), ".gz") {
			z, err := gzip.NewReader(bytes.NewReader(b))
			if err != nil {
				t.Fatal(err)
			}
			if b, err = io.ReadAll(z); err != nil {
				t.Fatal(err)
			}
		}
		if e.Name() == filepath.Base(path) {
			open = string(b)
			continue
		}
		files = append(files, e.Name())
		all += string(b)
	}
	return all + open, files
}

// eventually waits for what another goroutine does.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	deadline := time.NewTimer(20 * time.Second)
	defer deadline.Stop()
	again := time.NewTicker(5 * time.Millisecond)
	defer again.Stop()
	for !ok() {
		select {
		case <-again.C:
		case <-deadline.C:
			t.Fatalf("not in time: %s", what)
		}
	}
}

func TestRotationBySizeKeepsEveryLine(t *testing.T) {
	path := filepath.Join(t.TempDir(), "packets.jsonl")
	c := newClock()
	f := open(t, Options{Path: path, MaxBytes: 100, Now: c.now})
	want := ""
	for i := range 50 {
		line := fmt.Sprintf("{\"seq\":%d}\n", i)
		want += line
		f.Write([]byte(line))
		c.add(time.Millisecond)
	}
	packed := func() bool {
		_, files := contents(t, path)
		for _, n := range files {
			if !strings.HasSuffix(n, ".jsonl.gz") {
				return false
			}
		}
		return len(files) >= 5
	}
	eventually(t, "all closed files are compressed", packed)
	shut(t, f)
	if got, _ := contents(t, path); got != want {
		t.Errorf("files hold\n%swant\n%s", got, want)
	}
	info, err := os.Stat(path)
	if err != nil || info.Size() > 100 {
		t.Errorf("the open file has %d bytes, %v", info.Size(), err)
	}
}

func TestRotationByTimeAndKeep(t *testing.T) {
	path := filepath.Join(t.TempDir(), "packets.csv")
	c := newClock()
	header := []byte("time,value\n")
	f := open(t, Options{Path: path, MaxAge: 24 * time.Hour, Keep: 2, Plain: true, Header: header, Now: c.now})
	for day := range 5 {
		f.Write(fmt.Appendf(nil, "%d,1\n", day))
		c.add(24 * time.Hour)
	}
	eventually(t, "two closed files are left", func() bool {
		_, files := contents(t, path)
		return len(files) == 2
	})
	shut(t, f)
	got, files := contents(t, path)
	// The writer also closes a file whose day is over without a line: then the open one has its header alone.
	if !strings.HasPrefix(strings.ReplaceAll(got, "time,value\n", ""), "2,1\n3,1\n4,1\n") && !strings.HasPrefix(strings.ReplaceAll(got, "time,value\n", ""), "3,1\n4,1\n") {
		t.Errorf("%v hold\n%s", files, got)
	}
	if strings.Count(got, "time,value\n") != 3 {
		t.Errorf("not every file has its header:\n%s", got)
	}
}

func TestTornLineIsCutAtEveryByte(t *testing.T) {
	const whole, torn = "{\"seq\":1}\n{\"seq\":2}\n", "{\"seq\":3,\"long\":true}"
	for n := range len(torn) + 1 {
		path := filepath.Join(t.TempDir(), "p.jsonl")
		if err := os.WriteFile(path, []byte(whole+torn[:n]), 0o600); err != nil {
			t.Fatal(err)
		}
		f, cut, err := Open(Options{Path: path})
		if err != nil || cut != int64(n) {
			t.Fatalf("cut %d bytes of %d, %v", cut, n, err)
		}
		f.Write([]byte("{\"seq\":3}\n"))
		shut(t, f)
		if got, _ := contents(t, path); got != whole+"{\"seq\":3}\n" {
			t.Fatalf("torn after %d bytes: file holds %q", n, got)
		}
	}
}

func TestFileWithOtherColumnsIsClosedFirst(t *testing.T) {
	path := filepath.Join(t.TempDir(), "p.csv")
	if err := os.WriteFile(path, []byte("a,b\n1,2\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	f := open(t, Options{Path: path, Header: []byte("a,b,c\n"), Plain: true})
	f.Write([]byte("1,2,3\n"))
	shut(t, f)
	got, files := contents(t, path)
	if len(files) != 1 || got != "a,b\n1,2\na,b,c\n1,2,3\n" {
		t.Errorf("%v hold %q", files, got)
	}
	// The same columns go on.
	f = open(t, Options{Path: path, Header: []byte("a,b,c\n"), Plain: true})
	f.Write([]byte("4,5,6\n"))
	shut(t, f)
	if got, files := contents(t, path); len(files) != 1 || got != "a,b\n1,2\na,b,c\n1,2,3\n4,5,6\n" {
		t.Errorf("%v hold %q", files, got)
	}
}

// A file of somebody else is refused. One without a newline was cut to nothing, as half a line that a crash had left.
func TestForeignFileStaysAsItIs(t *testing.T) {
	ours := func(start []byte) bool {
		n := min(len(start), len("ours"))
		return string(start[:n]) == "ours"[:n]
	}
	for text, taken := range map[string]bool{"": true, "o": true, "ours 1\nours": true, "{\"precious\": true}": false, "precious\n": false, strings.Repeat("x", 200): false} {
		path := filepath.Join(t.TempDir(), "config.json")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		f, _, err := Open(Options{Path: path, Ours: ours})
		if (err == nil) != taken {
			t.Errorf("%q: error is %v", text, err)
		}
		if err == nil {
			shut(t, f)
			continue
		}
		if !strings.Contains(err.Error(), path) || !strings.Contains(err.Error(), "name another") {
			t.Errorf("%q: error is %v", text, err)
		}
		if b, err := os.ReadFile(path); err != nil || string(b) != text {
			t.Errorf("%q has become %q, %v", text, b, err)
		}
	}
}

func TestTwoWritersOfOneFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "p.jsonl")
	f := open(t, Options{Path: path})
	if _, _, err := Open(Options{Path: path}); !errors.Is(err, ErrInUse) {
		t.Errorf("error is %v", err)
	}
	shut(t, f)
	shut(t, open(t, Options{Path: path}))
}

// The place is looked for when nobody else can write the file any more. It was before that, and what another one still wrote
// was written again.
func TestPlaceIsReadBehindTheLock(t *testing.T) {
	path := filepath.Join(t.TempDir(), "p.jsonl")
	first := open(t, Options{Path: path, Resume: true})
	if p := first.Place(); p != (Place{}) {
		t.Errorf("a new file has the place %+v", p)
	}
	for i := range 3 {
		first.Write(fmt.Appendf(nil, "{\"event\":\"e\",\"offset\":%d,\"journal\":\"a\"}\n", i+1))
		if _, _, err := Open(Options{Path: path, Resume: true}); !errors.Is(err, ErrInUse) {
			t.Errorf("error is %v", err)
		}
	}
	shut(t, first)
	second := open(t, Options{Path: path, Resume: true})
	if p := second.Place(); p != (Place{Offset: 3, Journal: "a"}) {
		t.Errorf("the place is %+v", p)
	}
	shut(t, second)
}

func TestPlacesThatAreNoFile(t *testing.T) {
	dir := t.TempDir()
	for _, path := range []string{dir, filepath.Join(dir, "none", "p.jsonl"), os.DevNull} {
		if f, _, err := Open(Options{Path: path}); err == nil {
			shut(t, f)
			t.Errorf("%s is taken", path)
		}
	}
}

func TestSyncPolicies(t *testing.T) {
	for _, s := range []SyncPolicy{{}, {Always: true}, {Interval: time.Millisecond}} {
		path := filepath.Join(t.TempDir(), "p.jsonl")
		f := open(t, Options{Path: path, Sync: s})
		f.Write([]byte("1\n"))
		if s.Interval > 0 {
			eventually(t, "synced", func() bool { f.mu.Lock(); defer f.mu.Unlock(); return !f.dirty })
		}
		f.mu.Lock()
		if s.Always && f.dirty {
			t.Error("written, but not synced")
		}
		f.mu.Unlock()
		shut(t, f)
	}
}

// reports are what a File has told.
type reports struct {
	mu   sync.Mutex
	text []string
}

func (r *reports) add(err error, what string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.text = append(r.text, fmt.Sprint(err, ": ", what))
}

func (r *reports) all() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.text)
}

// An fsync that fails is told once, and once when it is over. It made the line wait that was in the file already, which was
// then written again each second; and told of lines that wait though none did.
func TestFailedSyncWritesNoLineTwice(t *testing.T) {
	for _, s := range []SyncPolicy{{Always: true}, {Interval: time.Millisecond}} {
		t.Run(fmt.Sprintf("%+v", s), func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "p.jsonl")
			var told reports
			f := open(t, Options{Path: path, Sync: s, MaxBytes: 25, Plain: true, Report: told.add})
			tries := 0
			set := func(fsync func(*os.File) error) { f.mu.Lock(); f.fsync = fsync; f.mu.Unlock() }
			set(func(*os.File) error { tries++; return errors.New("broken disk") })
			want := ""
			for i := range 9 { // into two files
				line := fmt.Sprintf("%04d\n", i)
				want += line
				f.Write([]byte(line))
			}
			eventually(t, "synced again and again", func() bool { f.mu.Lock(); defer f.mu.Unlock(); return tries > 9 })
			set((*os.File).Sync)
			eventually(t, "synced", func() bool { f.mu.Lock(); defer f.mu.Unlock(); return !f.dirty })
			shut(t, f)
			if got, files := contents(t, path); got != want || len(files) != 1 {
				t.Errorf("%d closed files, and all hold\n%swant\n%s", len(files), got, want)
			}
			if r := told.all(); len(r) != 2 || !strings.Contains(r[0], "cannot be forced") || !strings.Contains(r[1], "forced to the disk again") {
				t.Errorf("reports are %q", r)
			}
		})
	}
}

// Where no new file can be begun the old one goes on. Each line tried it again, and none was written.
func TestFailedRotationStopsNoLine(t *testing.T) {
	path := filepath.Join(t.TempDir(), "p.jsonl")
	obstacle := path + ".new"
	if err := os.Mkdir(obstacle, 0o700); err != nil {
		t.Fatal(err)
	}
	var told reports
	f := open(t, Options{Path: path, MaxBytes: 20, Plain: true, Report: told.add})
	want := ""
	for i := range 10 {
		line := fmt.Sprintf("%04d\n", i)
		want += line
		f.Write([]byte(line))
	}
	if got, _ := os.ReadFile(path); string(got) != want {
		t.Errorf("the file holds %q, want %q", got, want)
	}
	if err := os.Remove(obstacle); err != nil {
		t.Fatal(err)
	}
	f.mu.Lock()
	f.rotateAfter = time.Now() // the pause is over
	f.mu.Unlock()
	eventually(t, "rotated", func() bool { f.mu.Lock(); defer f.mu.Unlock(); return f.size == 0 })
	f.Write([]byte("last\n"))
	shut(t, f)
	if got, files := contents(t, path); got != want+"last\n" || len(files) != 1 {
		t.Errorf("%d closed files, and all hold %q", len(files), got)
	}
	if r := told.all(); len(r) != 2 || !strings.Contains(r[0], "go on into the old one") || !strings.Contains(r[1], "has been begun") {
		t.Errorf("reports are %q", r)
	}
}

// What was being compressed when the process was killed is done by the next run.
func TestCompressionGoesOnAfterACrash(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "p.jsonl")
	left := filepath.Join(dir, "p-20260302T060000.000Z.jsonl")
	for name, text := range map[string]string{left: "1\n", left + ".gz.part": "half of a gzi", path: "2\n"} {
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	f := open(t, Options{Path: path})
	eventually(t, "compressed", func() bool { return exists(left+".gz") && !exists(left) && !exists(left+".gz.part") })
	shut(t, f)
	if got, _ := contents(t, path); got != "1\n2\n" {
		t.Errorf("files hold %q", got)
	}
}
