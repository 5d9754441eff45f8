package journal

import (
	"errors"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"tbmsock/internal/smalldisk"
	"tbmsock/transport"
)

// Below the reserve entries are refused before the disk is full; with room again they are taken, and nothing that
// was acknowledged is missing.
func TestDiskAlmostFull(t *testing.T) {
	disk := smalldisk.Mount(t, "32m")
	var h health
	dir := filepath.Join(disk, "data")
	j := openJournal(t, Options{Dir: dir, Reserve: 8 << 20, OnHealth: h.tell, brokenFor: time.Minute})
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
	disk := smalldisk.Mount(t, "32m")
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
	disk := smalldisk.Mount(t, "32m")
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
