package journal

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"tbmsock/transport"
)

// mountTmpfs mounts a file system of that size until the test ends.
func mountTmpfs(t *testing.T, options string) string {
	t.Helper()
	if runtime.GOOS != "linux" || os.Getuid() != 0 {
		t.Skip("needs root on Linux, to mount a small file system")
	}
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, options); err != nil {
		t.Skipf("a small file system cannot be mounted here: %v", err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	return dir
}

// health records what OnHealth is told.
type health struct {
	mu   sync.Mutex
	told []error
}

func (h *health) tell(err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.told = append(h.told, err)
}

func (h *health) all() []error {
	h.mu.Lock()
	defer h.mu.Unlock()
	return append([]error(nil), h.told...)
}

// big is an entry of about that size.
func big(source string, seq uint64, size int) transport.JournalEntry {
	e := entry(source, "b", seq)
	e.Value.JSON = append(append([]byte(`"`), bytes.Repeat([]byte("x"), size)...), '"')
	return e
}

// Below the reserve entries are refused before the disk is full; with room again they are taken, and nothing that
// was acknowledged is missing.
func TestDiskAlmostFull(t *testing.T) {
	disk := mountTmpfs(t, "size=32m")
	var h health
	dir := filepath.Join(disk, "data")
	j := openJournal(t, Options{Dir: dir, Reserve: 8 << 20, OnHealth: h.tell})
	seq := uint64(1)
	for ; seq < 200; seq++ {
		a := appendAll(t, j, big("tbm-1", seq, 256<<10))[0]
		if a.err == nil {
			continue
		}
		if !errors.Is(a.err, transport.ErrJournalFull) || !strings.Contains(a.err.Error(), "disk full: ") || !strings.Contains(a.err.Error(), dir) {
			t.Errorf("refused with %v", a.err)
		}
		break
	}
	if seq < 50 || seq > 100 {
		t.Errorf("refused at seq %d", seq)
	}
	if got := readAll(t, j, 1, all); uint64(len(got)) != seq-1 {
		t.Errorf("%d entries, %d were acknowledged", len(got), seq-1)
	}
	if told := h.all(); len(told) != 1 || !errors.Is(told[0], transport.ErrJournalFull) {
		t.Errorf("health: %v", told)
	}
	if err := unix.Mount("tmpfs", disk, "tmpfs", unix.MS_REMOUNT, "size=64m"); err != nil {
		t.Fatal(err)
	}
	// The one that was refused goes first; those behind it were not to overtake it.
	if a := appendAll(t, j, big("tbm-1", seq+1, 100)); !errors.Is(a[0].err, transport.ErrJournalFull) {
		t.Errorf("overtaking: %+v", a[0])
	}
	appendOK(t, j, big("tbm-1", seq, 256<<10), big("tbm-1", seq+1, 100))
	if told := h.all(); len(told) != 2 || told[1] != nil {
		t.Errorf("health: %v", told)
	}
}

// Where the disk is full in the midst of a write, the server is started again as soon as there is room.
func TestDiskFull(t *testing.T) {
	disk := mountTmpfs(t, "size=32m")
	j := openJournal(t, Options{Dir: filepath.Join(disk, "data"), Reserve: -1 << 40, AppendTimeout: 3 * time.Second})
	seq := uint64(1)
	var refused error
	for ; seq < 1000 && refused == nil; seq++ {
		refused = appendAll(t, j, big("tbm-1", seq, 256<<10))[0].err
	}
	seq--
	if !errors.Is(refused, transport.ErrJournalFull) && !errors.Is(refused, transport.ErrJournalUnavailable) {
		t.Fatalf("refused at seq %d with %v", seq, refused)
	}
	t.Logf("refused at seq %d: %v", seq, refused)
	if err := unix.Mount("tmpfs", disk, "tmpfs", unix.MS_REMOUNT, "size=128m"); err != nil {
		t.Fatal(err)
	}
	deadline := time.Now().Add(patience)
	for {
		a := appendAll(t, j, big("tbm-1", seq, 100))[0]
		if a.err == nil {
			// A repeat if it had been written before the disk was full, but not acknowledged.
			break
		}
		t.Logf("still refused: %v", a.err)
		if time.Now().After(deadline) {
			t.Fatal(a.err)
		}
	}
	appendOK(t, j, series("tbm-1", "b", seq+1, seq+10)...)
	next := uint64(1)
	for _, e := range readAll(t, j, 1, all) {
		if e.Seq != next || e.Offset != next {
			t.Fatalf("offset %d, seq %d, want %d", e.Offset, e.Seq, next)
		}
		next++
	}
	if next != seq+11 {
		t.Errorf("the last seq is %d, want %d", next-1, seq+10)
	}
}

func TestReadOnlyDisk(t *testing.T) {
	disk := mountTmpfs(t, "size=32m")
	dir := filepath.Join(disk, "data")
	j, err := Open(within(t), Options{Dir: dir, Reserve: 1 << 20})
	if err != nil {
		t.Fatal(err)
	}
	appendOK(t, j, series("tbm-1", "b", 1, 10)...)
	closeJournal(t, j)
	if err := unix.Mount("tmpfs", disk, "tmpfs", unix.MS_REMOUNT|unix.MS_RDONLY, ""); err != nil {
		t.Fatal(err)
	}
	for _, d := range []string{dir, filepath.Join(disk, "new")} {
		_, err = Open(within(t), Options{Dir: d})
		if err == nil || !strings.Contains(err.Error(), "journal in "+d) || !strings.Contains(err.Error(), "the journal needs a directory that can be written") {
			t.Errorf("%s: %v", d, err)
		}
	}
	if err := unix.Mount("tmpfs", disk, "tmpfs", unix.MS_REMOUNT, ""); err != nil {
		t.Fatal(err)
	}
	if got := readAll(t, openJournal(t, Options{Dir: dir, Reserve: 1 << 20}), 1, all); len(got) != 10 {
		t.Errorf("%d entries", len(got))
	}
}

func TestNotADirectory(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(within(t), Options{Dir: file}); err == nil || !strings.Contains(err.Error(), "not a directory") {
		t.Error(err)
	}
}

// The oldest are given up at the limit, and readers see it by the offsets.
func TestOldestAreGivenUp(t *testing.T) {
	dir := t.TempDir()
	j, err := Open(within(t), Options{Dir: dir, RetainBytes: 4 << 20, CacheBytes: 1})
	if err != nil {
		t.Fatal(err)
	}
	for seq := uint64(1); seq <= 100; seq++ {
		appendOK(t, j, big("tbm-1", seq, 100<<10))
	}
	check := func(j *Journal) {
		t.Helper()
		s, err := j.State(within(t))
		if err != nil || s.Last != 100 || s.First < 55 || s.First > 70 || s.Bytes > 4<<20 {
			t.Errorf("state %+v, %v", s, err)
		}
		got := readAll(t, j, 1, all)
		if len(got) == 0 || got[0].Offset != s.First || uint64(len(got)) != 101-s.First {
			t.Errorf("%d entries, the first of which is %d", len(got), got[0].Offset)
		}
		if o, err := j.Locate(within(t), transport.JournalStart{Offset: 3}); err != nil || o != s.First {
			t.Errorf("locate: %d, %v", o, err)
		}
		errDone := errors.New("done")
		next := s.First
		if err := j.Tail(within(t), 5, func(entries []transport.JournalEntry) error {
			for _, e := range entries {
				if e.Offset != next {
					t.Errorf("tail: offset %d, want %d", e.Offset, next)
				}
				if next++; next > 100 {
					return errDone
				}
			}
			return nil
		}); !errors.Is(err, errDone) {
			t.Error(err)
		}
		// What was given up is still known as there.
		if a := appendAll(t, j, big("tbm-1", 2, 10))[0]; a.err != nil || !a.duplicate {
			t.Errorf("resent seq 2: %+v", a)
		}
	}
	check(j)
	closeJournal(t, j)
	check(openJournal(t, Options{Dir: dir, RetainBytes: 4 << 20, CacheBytes: 1}))
}

// Offsets go on where they were when all entries have aged out.
func TestAllAgedOut(t *testing.T) {
	dir := t.TempDir()
	opts := Options{Dir: dir, RetainAge: time.Second, CacheBytes: 1}
	j, err := Open(within(t), opts)
	if err != nil {
		t.Fatal(err)
	}
	appendOK(t, j, series("tbm-1", "b", 1, 50)...)
	deadline := time.Now().Add(patience)
	for {
		s, err := j.State(within(t))
		if err != nil {
			t.Fatal(err)
		}
		if s.First == 0 {
			if s.Last != 50 {
				t.Errorf("state %+v", s)
			}
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("after %v there is still %+v", patience, s)
		}
		time.Sleep(20 * time.Millisecond)
	}
	closeJournal(t, j)
	j = openJournal(t, opts)
	if got := readAll(t, j, 1, all); len(got) != 0 {
		t.Errorf("%d entries", len(got))
	}
	if o, err := j.Locate(within(t), transport.JournalStart{}); err != nil || o != 51 {
		t.Errorf("locate: %d, %v", o, err)
	}
	if a := appendAll(t, j, entry("tbm-1", "b", 50), entry("tbm-1", "b", 51)); !a[0].duplicate || a[1].offset != 51 {
		t.Errorf("going on: %+v", a)
	}
}

func TestRefuseWhenFull(t *testing.T) {
	var h health
	j := openJournal(t, Options{Memory: true, RetainBytes: 4 << 20, RefuseWhenFull: true, OnHealth: h.tell})
	seq := uint64(1)
	for ; seq < 100; seq++ {
		a := appendAll(t, j, big("tbm-1", seq, 100<<10))[0]
		if a.err != nil {
			if !errors.Is(a.err, transport.ErrJournalFull) {
				t.Error(a.err)
			}
			break
		}
	}
	if seq < 35 || seq > 45 {
		t.Errorf("refused at seq %d", seq)
	}
	if s, err := j.State(within(t)); err != nil || s.First != 1 || s.Last != seq-1 {
		t.Errorf("state %+v, %v", s, err)
	}
	if told := h.all(); len(told) != 1 || !errors.Is(told[0], transport.ErrJournalFull) {
		t.Errorf("health: %v", told)
	}
}

func TestTooLarge(t *testing.T) {
	j := openJournal(t, Options{Memory: true})
	a := appendAll(t, j, entry("a", "b", 1), big("a", 2, maxEmbeddedPayload), big("a", 3, 8<<20))
	if a[0].err != nil || !errors.Is(a[1].err, transport.ErrJournalTooLarge) || a[2].err != nil {
		t.Errorf("%+v", a)
	}
}
