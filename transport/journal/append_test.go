package journal

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"tbmsock/transport"
)

func TestRepeats(t *testing.T) {
	j := openJournal(t, Options{Dir: t.TempDir()})
	other := entry("tbm-1", "b", 0)
	check := func(what string, got []appended, want ...appended) {
		t.Helper()
		for i, a := range got {
			if a != want[i] {
				t.Errorf("%s: entry %d: %+v, want %+v", what, i, a, want[i])
			}
		}
	}
	check("new", appendAll(t, j, series("tbm-1", "b", 1, 3)...), appended{offset: 1}, appended{offset: 2}, appended{offset: 3})
	check("again", appendAll(t, j, series("tbm-1", "b", 2, 4)...), appended{2, true, nil}, appended{3, true, nil}, appended{offset: 4})
	check("twice at once", appendAll(t, j, entry("tbm-1", "b", 5), entry("tbm-1", "b", 5), entry("tbm-1", "b", 5)), appended{offset: 5}, appended{5, true, nil}, appended{5, true, nil})
	check("another boot, another source", appendAll(t, j, entry("tbm-1", "c", 1), entry("tbm-2", "b", 1)), appended{offset: 6}, appended{offset: 7})
	check("values without a name", appendAll(t, j, other, other), appended{offset: 8}, appended{offset: 9})
	check("late", appendAll(t, j, entry("tbm-1", "b", 9), entry("tbm-1", "b", 7), entry("tbm-1", "b", 9), entry("tbm-1", "b", 7)),
		appended{offset: 10}, appended{offset: 11}, appended{10, true, nil}, appended{11, true, nil})
	if got := readAll(t, j, 1, all); len(got) != 11 {
		t.Errorf("%d entries", len(got))
	}
}

// A start reads the stored table and the blocks since, whatever they are.
func TestTableIsStored(t *testing.T) {
	dir := t.TempDir()
	j, err := Open(within(t), Options{Dir: dir, SyncInterval: time.Minute, CacheBytes: 1})
	if err != nil {
		t.Fatal(err)
	}
	const n = saveBlocks + 500
	for seq := uint64(1); seq <= n; seq++ {
		appendOK(t, j, entry("tbm-1", "b", seq))
	}
	// As a crash leaves it.
	crashed := filepath.Join(t.TempDir(), "crashed")
	copyDir(t, crashed, dir)
	closeJournal(t, j)
	j = openJournal(t, Options{Dir: crashed, SyncInterval: time.Minute})
	j.mu.Lock()
	unsaved, runs := j.unsaved.blocks, len(j.table.runs)
	j.mu.Unlock()
	if unsaved != n-saveBlocks || runs != 1 {
		t.Errorf("%d blocks were read, want %d; %d runs", unsaved, n-saveBlocks, runs)
	}
	for _, seq := range []uint64{1, 17, saveBlocks, n} {
		if a := appendAll(t, j, entry("tbm-1", "b", seq))[0]; !a.duplicate || a.err != nil {
			t.Errorf("seq %d: %+v", seq, a)
		}
	}
	if a := appendAll(t, j, entry("tbm-1", "b", n+1))[0]; a != (appended{offset: n + 1}) {
		t.Errorf("%+v", a)
	}
}

// Where blocks were lost that the table has, what they held is new again, and their offsets are not given again.
func TestLostWithThePower(t *testing.T) {
	dir := t.TempDir()
	j, err := Open(within(t), Options{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	for seq := uint64(1); seq <= 20; seq++ {
		appendOK(t, j, entry("tbm-1", "b", seq))
	}
	closeJournal(t, j) // which stores the table
	// A power cut with fsync at intervals: the end of the file never reached the disk.
	if err := os.Truncate(blockFile(t, dir), blockFileSize(t, dir)/2); err != nil {
		t.Fatal(err)
	}
	warnings := make(chan string, 100)
	j = openJournal(t, Options{Dir: dir, OnWarning: func(s string) { warnings <- s }})
	left := readAll(t, j, 1, all)
	if len(left) < 8 || len(left) > 10 {
		t.Fatalf("%d entries are left", len(left))
	}
	for want, s := fmt.Sprintf("has lost %d blocks", 20-len(left)), ""; !strings.Contains(s, want); {
		s = next(t, warnings)
	}
	n := uint64(len(left))
	for i, a := range appendAll(t, j, series("tbm-1", "b", n-1, 20)...) {
		seq := n - 1 + uint64(i)
		if a.err != nil || a.duplicate != (seq <= n) || !a.duplicate && a.offset <= 20 {
			t.Errorf("resent seq %d: %+v", seq, a)
		}
	}
	seq := uint64(1)
	for _, e := range readAll(t, j, 1, all) {
		if e.Seq != seq {
			t.Errorf("seq %d, want %d", e.Seq, seq)
		}
		seq++
	}
	if seq != 21 {
		t.Errorf("the last seq is %d", seq-1)
	}
}

// What waits is bounded: Append blocks, and its context ends that.
func TestQueueIsBounded(t *testing.T) {
	var q queue
	q.init(1000 + 2*waitingBytes)
	w := func() *waiting { return &waiting{data: make([]byte, 400)} }
	ctx, cancel := context.WithCancel(within(t))
	for range 2 {
		if err := q.put(ctx, w()); err != nil {
			t.Fatal(err)
		}
	}
	result := make(chan error)
	go func() { result <- q.put(ctx, w()) }()
	cancel()
	if err := <-result; !errors.Is(err, context.Canceled) || !errors.Is(err, transport.ErrJournalUnavailable) {
		t.Error(err)
	}
	go func() { result <- q.put(within(t), w()) }()
	if got := q.take(1, 1000); len(got) != 1 {
		t.Errorf("%d taken", len(got))
	}
	if err := <-result; err != nil {
		t.Error(err)
	}
	go func() { result <- q.put(within(t), w()) }()
	q.close()
	if err := <-result; !errors.Is(err, transport.ErrJournalClosed) {
		t.Error(err)
	}
	if got := q.takeAll(); len(got) != 2 {
		t.Errorf("%d left", len(got))
	}
	// One that is larger than the whole queue is let in alone.
	q = queue{}
	q.init(100)
	if err := q.put(within(t), w()); err != nil {
		t.Error(err)
	}
}

// The bound was for the bytes that are written: of tiny entries twelve times as much waited in memory.
func TestQueueCountsWhatItTakes(t *testing.T) {
	const limit = 1 << 20
	var q queue
	q.init(limit)
	ctx, cancel := context.WithCancel(context.Background())
	cancel() // nothing waits for room
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	n := 0
	for err := error(nil); err == nil; n++ {
		e := transport.JournalEntry{Namespace: "/", Sid: "0123456789012345678901"}
		e.Value.JSON = []byte("1")
		w := &waiting{done: func(uint64, bool, error) {}}
		w.data = appendEntry(make([]byte, 0, 64+24), &e)
		w.entry = e
		err = q.put(ctx, w)
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	if took := int64(after.HeapAlloc) - int64(before.HeapAlloc); took > limit*3/2 {
		t.Errorf("%d entries take %d bytes, and %d may wait", n, took, limit)
	}
	if got := q.takeAll(); len(got) != n-1 || q.bytes != 0 || q.data != 0 {
		t.Errorf("%d taken of %d; then there are %d and %d bytes", len(got), n-1, q.bytes, q.data)
	}
}

// Appends under way at once share blocks, and with that fsyncs.
func TestAppendsShareBlocks(t *testing.T) {
	j := openJournal(t, Options{Dir: t.TempDir()})
	appendOK(t, j, series("tbm-1", "b", 1, 10_000)...)
	j.mu.Lock()
	blocks := j.table.applied
	j.mu.Unlock()
	if blocks > 1000 {
		t.Errorf("10,000 entries in %d blocks", blocks)
	}
	t.Logf("10,000 entries in %d blocks", blocks)
}

// The embedded server opens no port, and writes nothing in memory mode.
func TestNoPortIsOpened(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("reads /proc")
	}
	j := openJournal(t, Options{Dir: t.TempDir()})
	m := openJournal(t, Options{Memory: true})
	appendOK(t, j, entry("tbm-1", "b", 1))
	appendOK(t, m, entry("tbm-1", "b", 1))
	// All sockets of this process, and all that listen on the machine.
	sockets := map[string]bool{}
	fds, err := filepath.Glob("/proc/self/fd/*")
	if err != nil || len(fds) == 0 {
		t.Fatal(fds, err)
	}
	for _, fd := range fds {
		if link, err := os.Readlink(fd); err == nil && strings.HasPrefix(link, "socket:[") {
			sockets[strings.Trim(link, "socket:[]")] = true
		}
	}
	for _, table := range []string{"tcp", "tcp6", "udp", "udp6"} {
		data, err := os.ReadFile("/proc/self/net/" + table)
		if err != nil {
			t.Fatal(err)
		}
		for line := range bytes.Lines(data) {
			if f := bytes.Fields(line); len(f) > 9 && sockets[string(f[9])] {
				t.Errorf("an open %s socket: %s", table, line)
			}
		}
	}
	err = filepath.WalkDir(m.store.embedded.dir, func(path string, d os.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() && strings.HasSuffix(path, ".blk") {
			err = fmt.Errorf("%s has been written", path)
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
}
