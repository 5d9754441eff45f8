package journal

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"syscall"
	"testing"
	"time"

	"tbmsock/transport"
)

func TestEntriesComeBackAsTheyWere(t *testing.T) {
	for name, opts := range map[string]Options{
		"directory":          {Dir: t.TempDir()},
		"directory interval": {Dir: t.TempDir(), SyncInterval: time.Second},
		"memory":             {Memory: true},
	} {
		t.Run(name, func(t *testing.T) {
			opts.Node = "node-1"
			opts.CacheBytes = 1 // so that they come from the stream
			j := openJournal(t, opts)
			binary := transport.JournalEntry{Namespace: "/tbm", Sid: "s", Room: "ops"}
			binary.Value = transport.Value{JSON: []byte(`[{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}]`), Attachments: [][]byte{{0, 1, 2}, {}}}
			plain := transport.JournalEntry{Namespace: "/", Sid: "s"}
			plain.Value.JSON = []byte(`42`)
			unicode := entry("Gotthard-Süd", "b", 1)
			unicode.Room = "Tunnel ≤ 5"
			given := []transport.JournalEntry{entry("tbm-1", "b", 1), binary, plain, unicode, entry("tbm-1", "b", 2), plain}
			before := time.Now()
			offsets := appendOK(t, j, given...)
			got := readAll(t, j, 1, all)
			if len(got) != len(given) {
				t.Fatalf("%d entries, want %d", len(got), len(given))
			}
			for i, e := range got {
				if e.Offset != offsets[i] || e.Offset != uint64(i+1) {
					t.Errorf("entry %d has offset %d, acknowledged as %d", i, e.Offset, offsets[i])
				}
				if e.Node != "node-1" || e.Stored.Before(before.Add(-time.Second)) || e.Stored.After(time.Now()) {
					t.Errorf("entry %d: node %q, stored %v", i, e.Node, e.Stored)
				}
				e.Offset, e.Node, e.Stored = 0, "", time.Time{}
				if !reflect.DeepEqual(e, given[i]) {
					t.Errorf("entry %d\n got %+v\nwant %+v", i, e, given[i])
				}
			}
			s, err := j.State(within(t))
			if err != nil || s.First != 1 || s.Last != 6 || s.Bytes == 0 {
				t.Errorf("state %+v, %v", s, err)
			}
		})
	}
}

func TestEmptyJournal(t *testing.T) {
	j := openJournal(t, Options{Dir: t.TempDir()})
	if s, err := j.State(within(t)); err != nil || s != (transport.JournalState{ID: s.ID}) {
		t.Errorf("state %+v, %v", s, err)
	}
	if got := readAll(t, j, 1, all); got != nil {
		t.Errorf("read %v", got)
	}
	for _, start := range []transport.JournalStart{{}, {Offset: 1}, {Last: 5}, {Time: time.Now().Add(-time.Hour)}} {
		if o, err := j.Locate(within(t), start); err != nil || o != 1 {
			t.Errorf("%+v: %d, %v", start, o, err)
		}
	}
}

func TestStartAgain(t *testing.T) {
	dir := t.TempDir()
	next := uint64(1)
	for range 3 {
		j, err := Open(within(t), Options{Dir: dir})
		if err != nil {
			t.Fatal(err)
		}
		// The one before the last is a repeat of a run that ended with the process.
		for i, a := range appendAll(t, j, series("tbm-1", "b", max(next, 6)-5, next+9)...) {
			seq := max(next, 6) - 5 + uint64(i)
			if a.err != nil || a.duplicate != (seq < next) || a.offset != seq {
				t.Fatalf("seq %d: %+v", seq, a)
			}
		}
		next += 10
		closeJournal(t, j)
	}
	j := openJournal(t, Options{Dir: dir})
	got := readAll(t, j, 1, all)
	if len(got) != 30 {
		t.Fatalf("%d entries", len(got))
	}
	for i, e := range got {
		if e.Seq != uint64(i+1) || e.Offset != uint64(i+1) {
			t.Errorf("entry %d: offset %d, seq %d", i, e.Offset, e.Seq)
		}
	}
}

func TestLocate(t *testing.T) {
	j := openJournal(t, Options{Dir: t.TempDir(), CacheBytes: 1})
	appendOK(t, j, series("tbm-1", "b", 1, 10)...)
	middle := readAll(t, j, 10, 10)[0].Stored.Add(time.Nanosecond)
	appendOK(t, j, series("tbm-1", "b", 11, 20)...)
	for _, c := range []struct {
		start transport.JournalStart
		want  uint64
	}{
		{transport.JournalStart{}, 1},
		{transport.JournalStart{Offset: 7}, 7},
		{transport.JournalStart{Offset: 700}, 700},
		{transport.JournalStart{Last: 3}, 18},
		{transport.JournalStart{Last: 20}, 1},
		{transport.JournalStart{Last: 2000}, 1},
		{transport.JournalStart{Time: time.Unix(0, 0)}, 1},
		{transport.JournalStart{Time: middle}, 11},
		{transport.JournalStart{Time: time.Now().Add(time.Hour)}, 21},
	} {
		if got, err := j.Locate(within(t), c.start); err != nil || got != c.want {
			t.Errorf("%+v: %d, %v, want %d", c.start, got, err, c.want)
		}
	}
	for _, c := range []struct{ from, to, first, n uint64 }{{1, 20, 1, 20}, {0, 3, 1, 3}, {5, 5, 5, 1}, {18, 99, 18, 3}, {21, 99, 0, 0}, {7, 6, 0, 0}} {
		got := readAll(t, j, c.from, c.to)
		if uint64(len(got)) != c.n || c.n > 0 && got[0].Offset != c.first {
			t.Errorf("read %d to %d: %d entries", c.from, c.to, len(got))
		}
	}
}

func TestTailHasNoSeam(t *testing.T) {
	for name, cache := range map[string]int64{"from the stream": 1, "from memory": 64 << 20} {
		t.Run(name, func(t *testing.T) {
			j := openJournal(t, Options{Memory: true, CacheBytes: cache})
			const n = 20_000
			appendOK(t, j, series("tbm-1", "b", 1, 500)...)
			ctx, cancel := context.WithCancel(within(t))
			results := make(chan error, 8)
			errDone := errors.New("done")
			for i := range cap(results) {
				from := uint64(1 + i*60)
				go func() {
					next := from
					results <- j.Tail(ctx, from, func(entries []transport.JournalEntry) error {
						for _, e := range entries {
							if e.Offset != next || e.Seq != next {
								return fmt.Errorf("from %d: offset %d, seq %d, want %d", from, e.Offset, e.Seq, next)
							}
							next++
						}
						if next > n {
							return errDone
						}
						return nil
					})
				}()
			}
			appendOK(t, j, series("tbm-1", "b", 501, n)...)
			for range cap(results) {
				if err := <-results; !errors.Is(err, errDone) {
					t.Error(err)
				}
			}
			cancel()
		})
	}
}

func TestTailEnds(t *testing.T) {
	j := openJournal(t, Options{Memory: true})
	ended := make(chan error)
	// follow starts a tail from now on, and returns once it gets something.
	follow := func(ctx context.Context, boot string) {
		first := make(chan struct{}, 1)
		go func() {
			ended <- j.Tail(ctx, all, func([]transport.JournalEntry) error {
				select {
				case first <- struct{}{}:
				default:
				}
				return nil
			})
		}()
		for seq := uint64(1); ; seq++ {
			appendOK(t, j, entry("a", boot, seq))
			select {
			case <-first:
				return
			default: // it had not begun yet
			}
		}
	}
	ctx, cancel := context.WithCancel(within(t))
	follow(ctx, "1")
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	ctx = within(t)
	follow(ctx, "2")
	closeJournal(t, j)
	if err := <-ended; !errors.Is(err, transport.ErrJournalClosed) {
		t.Error(err)
	}
	if a := appendAll(t, j, entry("a", "b", 1))[0]; !errors.Is(a.err, transport.ErrJournalClosed) {
		t.Errorf("append after close: %+v", a)
	}
	for _, err := range j.Read(ctx, 1, all) {
		if !errors.Is(err, transport.ErrJournalClosed) {
			t.Errorf("read after close: %v", err)
		}
	}
	if _, err := j.State(ctx); !errors.Is(err, transport.ErrJournalUnavailable) {
		t.Errorf("state after close: %v", err)
	}
}

func TestReadIsBounded(t *testing.T) {
	j := openJournal(t, Options{Memory: true, CacheBytes: 1})
	appendOK(t, j, series("tbm-1", "b", 1, 3000)...)
	seen := uint64(0)
	for e, err := range j.Read(within(t), 1, all) {
		if err != nil {
			t.Fatal(err)
		}
		seen++
		if e.Offset != seen {
			t.Fatalf("offset %d after %d", e.Offset, seen-1)
		}
		if seen == 1500 {
			// What comes while it reads is read too, up to the end that was asked for.
			appendOK(t, j, series("tbm-1", "b", 3001, 3010)...)
		}
	}
	if seen != 3010 {
		t.Errorf("%d entries", seen)
	}
}

// Nothing is read once the context has ended, not even the rest of a block: one may hold all of these entries.
func TestReadEndsWithItsContext(t *testing.T) {
	j := openJournal(t, Options{Memory: true})
	appendOK(t, j, series("tbm-1", "b", 1, 3000)...)
	ctx, cancel := context.WithCancel(within(t))
	defer cancel()
	var last uint64
	var ended error
	for e, err := range j.Read(ctx, 1, all) {
		if err != nil {
			ended = err
			continue
		}
		if last = e.Offset; last == 10 {
			cancel()
		}
	}
	if last != 10 || !errors.Is(ended, context.Canceled) {
		t.Errorf("the last entry is %d, then %v; want 10, then %v", last, ended, context.Canceled)
	}
}

func TestCloseWritesWhatWaits(t *testing.T) {
	dir := t.TempDir()
	j, err := Open(within(t), Options{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	answers := make(chan appended, 1000)
	for _, e := range series("tbm-1", "b", 1, 1000) {
		j.Append(within(t), e, func(offset uint64, duplicate bool, err error) { answers <- appended{offset, duplicate, err} })
	}
	closeJournal(t, j)
	close(answers)
	n := 0
	for a := range answers {
		n++
		if a.err != nil || a.offset != uint64(n) {
			t.Fatalf("%+v", a)
		}
	}
	if n != 1000 {
		t.Fatalf("%d answers", n)
	}
	if got := readAll(t, openJournal(t, Options{Dir: dir}), 1, all); len(got) != 1000 {
		t.Errorf("%d entries", len(got))
	}
}

func TestOptions(t *testing.T) {
	for _, c := range []struct {
		opts Options
		want string
	}{
		{Options{}, "give one of"},
		{Options{Dir: "x", Memory: true}, "give one of"},
		{Options{Memory: true, RetainBytes: 5}, "too few"},
		{Options{Memory: true, RetainAge: time.Millisecond}, "too short"},
		{Options{Memory: true, SyncInterval: -1}, "negative"},
		{Options{Memory: true, Stream: "a.b"}, "letters"},
	} {
		if _, err := Open(within(t), c.opts); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%+v: %v", c.opts, err)
		}
	}
}

// Another process of the same user reads the journal of a running one, and cannot write it.
func TestReadWhileAnotherWrites(t *testing.T) {
	dir := t.TempDir()
	j := openJournal(t, Options{Dir: dir})
	appendOK(t, j, series("tbm-1", "b", 1, 100)...)
	r, err := OpenReader(within(t), Options{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	defer closeJournal(t, r)
	if got := readAll(t, r, 1, all); len(got) != 100 || got[99].Seq != 100 {
		t.Errorf("%d entries", len(got))
	}
	if s, err := r.State(within(t)); err != nil || s.First != 1 || s.Last != 100 {
		t.Errorf("state %+v, %v", s, err)
	}
	// What comes later comes here too.
	errDone := errors.New("done")
	go j.Append(context.Background(), entry("tbm-1", "b", 101), func(uint64, bool, error) {})
	if err := r.Tail(within(t), 101, func(entries []transport.JournalEntry) error {
		if entries[0].Offset != 101 || entries[0].Seq != 101 {
			t.Errorf("%+v", entries[0])
		}
		return errDone
	}); !errors.Is(err, errDone) {
		t.Error(err)
	}
	if info, err := os.Stat(windowPath(dir)); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the socket: %v, %v", info.Mode(), err)
	}
	nc, _, err := r.store.conn()
	if err != nil {
		t.Fatal(err)
	}
	for _, subject := range []string{"TBM.block", "$JS.API.STREAM.DELETE.TBM", "$JS.API.STREAM.PURGE.TBM"} {
		ctx, cancel := context.WithTimeout(within(t), 200*time.Millisecond)
		if m, err := nc.RequestWithContext(ctx, subject, []byte("{}")); err == nil {
			t.Errorf("a reader may publish to %s: %s", subject, m.Data)
		}
		cancel()
	}
	if got := readAll(t, j, 1, all); len(got) != 101 {
		t.Errorf("%d entries", len(got))
	}
}

func TestReaderChangesNothing(t *testing.T) {
	dir := t.TempDir()
	if _, err := OpenReader(within(t), Options{Dir: filepath.Join(dir, "none")}); !errors.Is(err, ErrNoJournal) {
		t.Errorf("no journal: %v", err)
	}
	if _, err := os.Stat(filepath.Join(dir, "none")); !os.IsNotExist(err) {
		t.Error("reading has made a directory")
	}
	j, err := Open(within(t), Options{Dir: dir, RetainBytes: 5 << 20})
	if err != nil {
		t.Fatal(err)
	}
	appendOK(t, j, series("tbm-1", "b", 1, 10)...)
	closeJournal(t, j)
	r, err := OpenReader(within(t), Options{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	if got := readAll(t, r, 1, all); len(got) != 10 {
		t.Errorf("%d entries", len(got))
	}
	if a := appendAll(t, r, entry("tbm-1", "b", 11))[0]; !errors.Is(a.err, transport.ErrJournalUnavailable) {
		t.Errorf("append: %+v", a)
	}
	closeJournal(t, r)
	meta, sum, err := metaFiles(dir, "TBM")
	if err != nil {
		t.Fatal(err)
	}
	settings, err := readMeta(meta, sum, "TBM")
	if err != nil || !strings.Contains(string(settings), fmt.Sprintf(`"max_bytes":%d,`, 5<<20)) {
		t.Errorf("settings are now %s, %v", settings, err)
	}
}

// Who reads a directory lets nobody else in; beside the socket of a server that was killed the error said only that it does not answer.
func TestTwoReaders(t *testing.T) {
	dir := t.TempDir()
	j, err := Open(within(t), Options{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	closeJournal(t, j)
	r, err := OpenReader(within(t), Options{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	defer closeJournal(t, r)
	if _, err := OpenReader(within(t), Options{Dir: dir}); !errors.Is(err, ErrInUse) || errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("without a socket: %v", err)
	}
	ln, err := net.Listen("unix", windowPath(dir))
	if err != nil {
		t.Fatal(err)
	}
	ln.(*net.UnixListener).SetUnlinkOnClose(false)
	_ = ln.Close()
	if _, err := OpenReader(within(t), Options{Dir: dir}); !errors.Is(err, ErrInUse) || !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("with a socket that nobody serves: %v", err)
	}
}

// Who looked at the journal of a server that was down gave up for good what was older than its age limit; just what somebody may have
// wanted to see.
func TestReaderExpiresNothing(t *testing.T) {
	dir := t.TempDir()
	j, err := Open(within(t), Options{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	for seq := uint64(1); seq <= 12; seq++ { // some files
		appendOK(t, j, big("a", seq, 1<<20))
	}
	closeJournal(t, j)
	limitAge(t, dir) // as journals of earlier versions have it
	// As a reader that was killed leaves it.
	left := filepath.Join(dir, mirrorPrefix+"1")
	if err := os.Mkdir(left, 0o700); err != nil {
		t.Fatal(err)
	}
	before := filesOf(t, dir)
	if _, err := os.Stat(filepath.Join(filepath.Dir(blockFileOf(t, dir)), "msgs", "2.blk")); err != nil {
		t.Fatal(err)
	}
	r, err := OpenReader(within(t), Options{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	if got := readAll(t, r, 1, all); len(got) != 12 {
		t.Errorf("%d entries", len(got))
	}
	closeJournal(t, r)
	after := filesOf(t, dir)
	for name, sum := range before {
		if after[name] != sum {
			t.Errorf("%s has been changed, or is not there any more", name)
		}
		delete(after, name)
	}
	if len(after) > 0 {
		t.Errorf("left behind: %v", after)
	}
	if _, err := os.Stat(left); !os.IsNotExist(err) {
		t.Errorf("what another reader left: %v", err)
	}
}

// filesOf are the sums of all files in a directory but its lock.
func filesOf(t *testing.T, dir string) map[string][sha256.Size]byte {
	t.Helper()
	files := map[string][sha256.Size]byte{}
	if err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() || d.Name() == "lock" {
			return err
		}
		data, err := os.ReadFile(path)
		files[path] = sha256.Sum256(data)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	return files
}
