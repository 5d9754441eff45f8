package journal

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"tbmsock/transport"
)

// patience bounds every wait of a test.
const patience = 30 * time.Second

func within(t testing.TB) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	return ctx
}

// openJournal opens a journal until the test ends.
func openJournal(t testing.TB, opts Options) *Journal {
	t.Helper()
	if opts.OnWarning == nil {
		opts.OnWarning = func(s string) { t.Log("warning:", s) }
	}
	j, err := Open(within(t), opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { closeJournal(t, j) })
	return j
}

func closeJournal(t testing.TB, j *Journal) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := j.Close(ctx); err != nil {
		t.Error(err)
	}
}

// changeStream changes the settings of a journal's stream, behind its back.
func changeStream(t testing.TB, j *Journal, change func(*jetstream.StreamConfig)) {
	t.Helper()
	_, js, err := j.store.conn()
	if err != nil {
		t.Fatal(err)
	}
	stream, err := js.Stream(within(t), j.opts.Stream)
	if err != nil {
		t.Fatal(err)
	}
	c := stream.CachedInfo().Config
	change(&c)
	if _, err := js.UpdateStream(within(t), c); err != nil {
		t.Fatal(err)
	}
}

// entry is a telemetry event as the relay would hand it over.
func entry(source, boot string, seq uint64) transport.JournalEntry {
	e := transport.JournalEntry{Source: source, Boot: boot, Seq: seq, Namespace: "/", Sid: "sid-" + source}
	if seq > 0 {
		e.Time = time.Unix(1_800_000_000, int64(seq)).UTC()
	}
	e.Value.JSON = json.RawMessage(fmt.Sprintf(`{"source":%q,"boot":%q,"seq":%d,"packet":{"thrust":{"total_kN":%d}}}`, source, boot, seq, 11000+seq))
	return e
}

// appended is the answer to one Append.
type appended struct {
	offset    uint64
	duplicate bool
	err       error
}

// appendAll appends the entries at once and returns their answers in order.
func appendAll(t testing.TB, j transport.Journal, entries ...transport.JournalEntry) []appended {
	t.Helper()
	answers, err := tryAppend(within(t), j, entries...)
	if err != nil {
		t.Fatal(err)
	}
	return answers
}

// tryAppend is appendAll for any goroutine.
func tryAppend(ctx context.Context, j transport.Journal, entries ...transport.JournalEntry) ([]appended, error) {
	answers := make([]appended, len(entries))
	var wg sync.WaitGroup
	wg.Add(len(entries))
	for i, e := range entries {
		j.Append(ctx, e, func(offset uint64, duplicate bool, err error) {
			answers[i] = appended{offset, duplicate, err}
			wg.Done()
		})
	}
	done := make(chan struct{})
	go func() { wg.Wait(); close(done) }()
	select {
	case <-done:
		return answers, nil
	case <-ctx.Done():
		return nil, errors.New("not every append has been answered")
	}
}

// appendOK appends the entries and fails the test unless all are taken as new.
func appendOK(t testing.TB, j transport.Journal, entries ...transport.JournalEntry) []uint64 {
	t.Helper()
	offsets := make([]uint64, len(entries))
	for i, a := range appendAll(t, j, entries...) {
		if a.err != nil || a.duplicate {
			t.Fatalf("entry %d (%s seq %d): %+v", i, entries[i].Source, entries[i].Seq, a)
		}
		offsets[i] = a.offset
	}
	return offsets
}

// run of n entries of one source.
func series(source, boot string, from, to uint64) []transport.JournalEntry {
	var entries []transport.JournalEntry
	for seq := from; seq <= to; seq++ {
		entries = append(entries, entry(source, boot, seq))
	}
	return entries
}

// readAll returns what Read yields.
func readAll(t testing.TB, j transport.Journal, from, to uint64) []transport.JournalEntry {
	t.Helper()
	var entries []transport.JournalEntry
	for e, err := range j.Read(within(t), from, to) {
		if err != nil {
			t.Fatal(err)
		}
		entries = append(entries, e)
	}
	return entries
}

const all = ^uint64(0)
