package journal

import (
	"context"
	"errors"
	"testing"
	"time"

	"tbmsock/transport"
)

// A node that was refused once said that it took nothing until an entry came and was taken. None came: whoever is not ready is sent
// nobody.
func TestHealthComesBackByItself(t *testing.T) {
	dir := t.TempDir()
	s := startNATS(t, dir, 0)
	told := make(chan error, 100)
	j := openJournal(t, Options{URL: s.ClientURL(), AppendTimeout: 300 * time.Millisecond, OnHealth: func(err error) { told <- err }, OnWarning: func(string) {}})
	appendOK(t, j, entry("tbm-1", "b", 1))
	port := portOf(t, s)
	stopNATS(s)
	appendAll(t, j, entry("tbm-1", "b", 2))
	if err := next(t, told); !errors.Is(err, transport.ErrJournalUnavailable) {
		t.Fatalf("told %v", err)
	}
	startNATS(t, dir, port)
	if err := next(t, told); err != nil {
		t.Errorf("told %v", err)
	}
	appendOK(t, j, entry("tbm-1", "b", 2))
}

// A full journal takes entries again when the oldest have gone, and says so.
func TestHealthComesBackWhenThereIsRoom(t *testing.T) {
	told := make(chan error, 100)
	j := openJournal(t, Options{Memory: true, RetainBytes: 1 << 20, RefuseWhenFull: true, OnHealth: func(err error) { told <- err }})
	for seq := uint64(1); len(told) == 0; seq++ {
		if seq > 20 {
			t.Fatal("it never is full")
		}
		appendAll(t, j, big("tbm-1", seq, 100<<10))
	}
	if err := next(t, told); !errors.Is(err, transport.ErrJournalFull) {
		t.Fatalf("told %v", err)
	}
	// A full journal stays one. Nothing is changed here, so this may run beside the writer.
	j.probe(context.Background())
	if len(told) > 0 {
		t.Errorf("full, it told %v", <-told)
	}
	_, js, err := j.store.conn()
	if err != nil {
		t.Fatal(err)
	}
	stream, err := js.Stream(within(t), "TBM")
	if err == nil {
		err = stream.Purge(within(t))
	}
	if err != nil {
		t.Fatal(err)
	}
	if err := next(t, told); err != nil {
		t.Errorf("told %v", err)
	}
}

func next[T any](t testing.TB, ch <-chan T) T {
	t.Helper()
	select {
	case v := <-ch:
		return v
	case <-time.After(patience):
		t.Fatal("nothing came")
		panic("not reached")
	}
}
