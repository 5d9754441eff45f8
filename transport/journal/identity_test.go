package journal

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/nats-io/nats.go/jetstream"

	"tbmsock/transport"
)

func idOf(t *testing.T, j transport.Journal) string {
	t.Helper()
	s, err := j.State(within(t))
	if err != nil {
		t.Fatal(err)
	}
	if s.ID == "" {
		t.Fatal("a journal without an id")
	}
	return s.ID
}

// The id is the journal's for as long as its directory is there, whoever opens it.
func TestIdentity(t *testing.T) {
	dir := t.TempDir()
	j, err := Open(within(t), Options{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	id := idOf(t, j)
	if reader, err := OpenReader(within(t), Options{Dir: dir}); err != nil {
		t.Error(err)
	} else {
		if got := idOf(t, reader); got != id {
			t.Errorf("a reader beside it says %s, want %s", got, id)
		}
		closeJournal(t, reader)
	}
	appendOK(t, j, series("s", "b", 1, 3)...)
	if got := idOf(t, j); got != id {
		t.Errorf("with entries it is %s, was %s", got, id)
	}
	closeJournal(t, j)
	if got := idOf(t, openJournal(t, Options{Dir: dir, RetainBytes: 2 << 20})); got != id {
		t.Errorf("opened again, with other limits, it is %s, was %s", got, id)
	}
	if got := idOf(t, openJournal(t, Options{Dir: t.TempDir()})); got == id {
		t.Errorf("another journal has the same id %s", got)
	}
}

// A journal from before there were ids has one all the same.
func TestIdentityOfOldJournals(t *testing.T) {
	dir := t.TempDir()
	j, err := Open(within(t), Options{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	appendOK(t, j, series("s", "b", 1, 3)...)
	changeStream(t, j, func(c *jetstream.StreamConfig) { delete(c.Metadata, idKey) })
	id := idOf(t, j)
	if !strings.HasPrefix(id, "made-") {
		t.Errorf("its id is %s", id)
	}
	closeJournal(t, j)
	j = openJournal(t, Options{Dir: dir})
	if got := idOf(t, j); got != id {
		t.Errorf("opened again it is %s, was %s", got, id)
	}
	if got := readAll(t, j, 1, all); len(got) != 3 {
		t.Errorf("%d entries, want 3", len(got))
	}
}

// Nodes that make the journal of a cluster at the same moment agree about it.
func TestIdentityInACluster(t *testing.T) {
	c := newCluster(t)
	ids := make([]string, 3)
	var wg sync.WaitGroup
	for i := range ids {
		j := make(chan *Journal, 1)
		wg.Go(func() {
			opened, err := Open(within(t), Options{URL: c.url(), Replicas: 3, Node: fmt.Sprint("n", i)})
			if err != nil {
				t.Error(err)
			}
			j <- opened
		})
		t.Cleanup(func() {
			if opened := <-j; opened != nil {
				closeJournal(t, opened)
			}
		})
		wg.Go(func() {
			opened := <-j
			j <- opened
			if opened == nil {
				return
			}
			s, err := opened.State(context.Background())
			if err != nil {
				t.Error(err)
			}
			ids[i] = s.ID
		})
	}
	wg.Wait()
	if ids[0] == "" || ids[0] != ids[1] || ids[0] != ids[2] {
		t.Errorf("three nodes have %q", ids)
	}
}

// A journal whose settings were damaged had a new id without a word, and its loggers took all of it again.
func TestIdentityOutlivesItsFile(t *testing.T) {
	cut := func(t *testing.T, name string) {
		t.Helper()
		info, err := os.Stat(name)
		if err == nil {
			err = os.Truncate(name, info.Size()/2)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	for name, damage := range map[string]func(t *testing.T, dir string){
		"settings emptied": func(t *testing.T, dir string) {
			if err := os.Truncate(blockFileOf(t, dir), 0); err != nil {
				t.Fatal(err)
			}
		},
		"settings cut": func(t *testing.T, dir string) { cut(t, blockFileOf(t, dir)) },
		"sum cut":      func(t *testing.T, dir string) { cut(t, filepath.Join(filepath.Dir(blockFileOf(t, dir)), "meta.sum")) },
		"sum missing": func(t *testing.T, dir string) {
			_ = os.Remove(filepath.Join(filepath.Dir(blockFileOf(t, dir)), "meta.sum"))
		},
		"settings gone": func(t *testing.T, dir string) { _ = os.Remove(blockFileOf(t, dir)) },
		"of both streams": func(t *testing.T, dir string) {
			cut(t, blockFileOf(t, dir))
			cut(t, filepath.Join(filepath.Dir(blockFileOf(t, dir)), "..", "TBM_table", "meta.inf"))
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			j, err := Open(within(t), Options{Dir: dir})
			if err != nil {
				t.Fatal(err)
			}
			appendOK(t, j, series("a", "b", 1, 100)...)
			id := idOf(t, j)
			closeJournal(t, j)
			damage(t, dir)
			if r, err := OpenReader(within(t), Options{Dir: dir}); err == nil {
				t.Error("it can be read without them")
				closeJournal(t, r)
			}
			told := make(chan string, 100)
			j, err = Open(within(t), Options{Dir: dir, OnWarning: func(s string) { told <- s }})
			if err != nil {
				t.Fatal(err)
			}
			if got := idOf(t, j); got != id {
				t.Errorf("its id is %s, was %s", got, id)
			}
			for s := ""; !strings.Contains(s, id+" still"); s = next(t, told) {
			}
			if got := readAll(t, j, 1, all); len(got) != 100 {
				t.Errorf("%d entries", len(got))
			}
			if a := appendAll(t, j, series("a", "b", 100, 101)...); !a[0].duplicate || a[1].offset != 101 {
				t.Errorf("going on: %+v", a)
			}
			closeJournal(t, j)
			// That was it.
			j = openJournal(t, Options{Dir: dir, OnWarning: func(s string) { t.Errorf("again: %s", s) }})
			if got := idOf(t, j); got != id {
				t.Errorf("opened again its id is %s, was %s", got, id)
			}
		})
	}
}
