package roles

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/sirupsen/logrus"

	"tbmsock/telemetry/recording"
	"tbmsock/transport"
)

// testLogger is a logger without a connection, and what it logs.
func testLogger() (l *loggerRole, said *bytes.Buffer) {
	said = new(bytes.Buffer)
	log := logrus.New()
	log.SetOutput(said)
	return &loggerRole{log: log}, said
}

// A logger that has received nothing goes on where it was answered that it follows: with --since now taken again on each
// connection, what was sent while the link was down was lost, and nobody was told.
func TestIdleLoggerGoesOnWhereItBegan(t *testing.T) {
	none := uint64(0)
	now := transport.Since{Last: &none}
	const begins = 21
	a := transport.JournalStatus{OK: true, Journal: "a", First: 1, Last: begins - 1}
	for _, tc := range []struct {
		name  string
		again transport.JournalStatus
		want  uint64
	}{
		{"nothing has come", a, begins},
		{"five have come", transport.JournalStatus{OK: true, Journal: "a", First: 1, Last: 25}, begins},
		{"another journal", transport.JournalStatus{OK: true, Journal: "b", First: 1, Last: 25}, 1},
		{"the journal was cut", transport.JournalStatus{OK: true, Journal: "a", First: 1, Last: 7}, 1},
		{"the journal was empty and lost", transport.JournalStatus{OK: true, Journal: "c"}, 1},
	} {
		t.Run(tc.name, func(t *testing.T) {
			l, _ := testLogger()
			if got := l.from(a, now); !sameSince(got, now) {
				t.Fatalf("the first connection begins at %+v", got)
			}
			l.following(begins, nil)
			for range 2 { // the second time after a link that broke before the join was answered
				if got := l.from(tc.again, now); !sameSince(got, transport.Since{Offset: tc.want}) {
					t.Errorf("it goes on at %s, want offset %d", sinceText(got), tc.want)
				}
			}
		})
	}
}

// A journal that cannot be read for a moment is no reason to forget the place in it.
func TestPlaceOutlivesATemporaryRefusal(t *testing.T) {
	l, _ := testLogger()
	l.place = recording.Place{Offset: 7, Journal: "a"}
	l.following(0, &transport.AckError{Code: transport.CodeJournalUnavailable})
	if got := l.from(transport.JournalStatus{OK: true, Journal: "a", First: 1, Last: 9}, transport.Since{}); got.Offset != 8 {
		t.Errorf("it goes on at %s, want offset 8", sinceText(got))
	}
}

func sinceText(s transport.Since) string {
	b, _ := json.Marshal(s)
	return string(b)
}

func sameSince(a, b transport.Since) bool { return sinceText(a) == sinceText(b) }

// The summary said that all was complete though the journal no longer had what came next.
func TestSummaryKnowsWhatIsLost(t *testing.T) {
	at := func(l *loggerRole, offset uint64) { l.place = recording.Place{Offset: offset, Journal: "a"} }
	status := func(first, last uint64) transport.JournalStatus {
		return transport.JournalStatus{OK: true, Journal: "a", First: first, Last: last}
	}
	for _, tc := range []struct {
		name  string
		seqs  []uint64
		lose  func(l *loggerRole)
		want  []string
		never []string
	}{
		{"from the first on", []uint64{1, 2}, nil, []string{`info msg="summary: complete" `}, []string{"lost", "not everything"}},
		{"from a later one on", []uint64{7, 8}, nil, []string{`info msg="summary: complete from first to last" `}, []string{"lost", "not everything"}},
		{"a gap", []uint64{1, 3}, nil, []string{`warning msg="summary: packets are missing" `}, []string{"complete"}},
		{"a repeat", []uint64{1, 2, 2, 3}, nil, []string{`warning msg="summary: packets were repeated or out of order" `, "repeats=1"}, []string{"complete"}},
		{"disorder", []uint64{1, 3, 2}, nil, []string{`warning msg="summary: packets were repeated or out of order" `, "out_of_order=1"}, []string{"complete"}},
		{"aged out", []uint64{1, 2}, func(l *loggerRole) { at(l, 4); l.from(status(10, 20), transport.Since{}) }, []string{"warning", "packets were lost", "gone_from_journal=5"}, []string{"complete"}},
		{"aged out, asked twice", []uint64{1, 2}, func(l *loggerRole) {
			at(l, 4)
			l.from(status(10, 20), transport.Since{})
			l.from(status(10, 20), transport.Since{})
		}, []string{"gone_from_journal=5"}, nil},
		{"all aged out", []uint64{1, 2}, func(l *loggerRole) { at(l, 4); l.from(status(0, 20), transport.Since{}) }, []string{"gone_from_journal=16"}, []string{"complete"}},
		{"aged out of an idle logger", []uint64{1, 2}, func(l *loggerRole) {
			l.from(status(1, 4), transport.Since{})
			l.following(5, nil)
			l.from(status(7, 9), transport.Since{})
		}, []string{"gone_from_journal=2"}, []string{"complete"}},
		{"behind the last", []uint64{1, 2}, func(l *loggerRole) { at(l, 4); l.from(status(5, 9), transport.Since{}) }, []string{"summary: complete"}, []string{"lost"}},
		{"dropped by the server", []uint64{1, 2}, func(l *loggerRole) { l.dropped = 3 }, []string{"dropped_by_server=3"}, []string{"complete"}},
		{"too many runs", nil, func(l *loggerRole) {
			for i := range 9000 {
				l.tracker.Add(&transport.Envelope{Source: "s", Boot: strconv.Itoa(i), Seq: 1})
			}
		}, []string{"too many runs", "runs=808"}, nil},
		{"skipped by the server", []uint64{1, 2}, func(l *loggerRole) { l.withheld = 3 }, []string{"skipped_by_server=3"}, []string{"complete"}},
		{"nothing came", nil, func(l *loggerRole) { l.dropped = 3 }, []string{"dropped_by_server=3"}, nil},
	} {
		t.Run(tc.name, func(t *testing.T) {
			l, said := testLogger()
			for _, seq := range tc.seqs {
				l.tracker.Add(&transport.Envelope{Source: "s", Boot: "b", Seq: seq})
			}
			if tc.lose != nil {
				tc.lose(l)
			}
			said.Reset()
			l.summary()
			for _, w := range tc.want {
				if !strings.Contains(said.String(), w) {
					t.Errorf("it does not say %q:\n%.2000s", w, said)
				}
			}
			for _, n := range tc.never {
				if strings.Contains(said.String(), n) {
					t.Errorf("it says %q:\n%.2000s", n, said)
				}
			}
		})
	}
}

// An envelope under two names is counted once: it is no repeat.
func TestAliasIsNoRepeat(t *testing.T) {
	l, said := testLogger()
	for seq := range uint64(3) {
		for _, name := range []string{"log_telemetry", "telemetry"} {
			l.tracker.AddAs(name, &transport.Envelope{Source: "s", Boot: "b", Seq: seq + 1})
		}
	}
	l.tracker.AddAs("log_telemetry", &transport.Envelope{Source: "s", Boot: "c", Seq: 3})
	l.summary()
	if strings.Count(said.String(), "summary: complete") != 2 || strings.Contains(said.String(), "repeats=3") {
		t.Errorf("it says:\n%s", said)
	}
	l.tracker.AddAs("log_telemetry", &transport.Envelope{Source: "s", Boot: "c", Seq: 3})
	said.Reset()
	if l.summary(); !strings.Contains(said.String(), "repeats=1") {
		t.Errorf("a repeat under the same name is not counted:\n%s", said)
	}
}

// A server without a journal between two times with one: the place in the journal was forgotten, and everything was
// logged again.
func TestPlaceOutlivesAServerWithoutJournal(t *testing.T) {
	l, _ := testLogger()
	l.place = recording.Place{Offset: 7, Journal: "a"}
	l.following(0, &transport.AckError{Code: transport.CodeNoJournal})
	if got := l.from(transport.JournalStatus{OK: true, Journal: "a", First: 1, Last: 9}, transport.Since{Offset: 1}); got.Offset != 8 {
		t.Errorf("it resumes at %s, want offset 8", sinceText(got))
	}
}

// What another journal has again, and the file has already, is not missing.
func TestWhatTheFileHasIsNotMissing(t *testing.T) {
	l, said := testLogger()
	l.logged = &transport.Tracker{}
	for seq := range uint64(10) {
		l.logged.Add(&transport.Envelope{Source: "s", Boot: "b", Seq: seq + 1})
	}
	for i, seq := range []uint64{11, 3, 4, 5, 6, 7, 8, 9, 10, 12} {
		e := transport.Envelope{Source: "s", Boot: "b", Seq: seq}
		ev := &transport.Event{Name: transport.EventTelemetry, Args: transport.Args{{JSON: []byte(`1`)}, {JSON: fmt.Appendf(nil, `{"offset":%d}`, i+1)}}}
		_, repeat := l.isRepeat(ev, &e)
		if repeat != (seq <= 10) {
			t.Errorf("seq %d is a repeat: %t", seq, repeat)
		}
		if !repeat {
			l.tracker.Add(&e)
		}
	}
	l.summary()
	if !strings.Contains(said.String(), "summary: complete") || !strings.Contains(said.String(), "first=3 ") || !strings.Contains(said.String(), "missing=0 ") {
		t.Errorf("it says:\n%s", said)
	}
}

// A server without a journal sends the events of all sources under all names as they come. The second name of an event
// counted as a repeat if another source's came between, so that the summary warned of repeats that there were none of.
func TestAliasesOfSeveralSourcesAreNoRepeats(t *testing.T) {
	l, said := testLogger()
	for seq := range uint64(3) {
		for _, name := range []string{"log_telemetry", "telemetry"} {
			for _, source := range []string{"a", "b"} {
				l.tracker.AddAs(name, &transport.Envelope{Source: source, Boot: "b", Seq: seq + 1})
			}
		}
	}
	if l.summary(); strings.Count(said.String(), "summary: complete") != 2 {
		t.Errorf("it says:\n%s", said)
	}
}

// envelopeEvent is an event with an envelope of source s and boot b, and with an offset unless that is 0.
func envelopeEvent(seq, offset uint64) *transport.Event {
	ev := &transport.Event{Name: transport.EventTelemetry,
		Args: transport.Args{{JSON: fmt.Appendf(nil, `{"source":"s","boot":"b","seq":%d,"packet":{"x":1}}`, seq)}}}
	if offset > 0 {
		ev.Args = append(ev.Args, transport.Value{JSON: fmt.Appendf(nil, `{"offset":%d,"replayed":true}`, offset)})
	}
	return ev
}

// A server was started without its journal, and with it again: a packet that was logged live, and that the source sent
// again since its acknowledgement was lost, was logged twice. So it was if the logger was started again in between.
func TestPacketsOfAServerWithoutJournalAreLoggedOnce(t *testing.T) {
	for _, restarted := range []bool{false, true} {
		t.Run(fmt.Sprintf("restarted %t", restarted), func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "packets.jsonl")
			begin := func() *loggerRole {
				l, _ := testLogger()
				l.ctx, l.clock, l.out, l.path = t.Context(), systemClock, io.Discard, path
				l.form, l.fileForm = newLineForm("json", nil, false, false, nil), newLineForm("json", nil, false, false, nil)
				var err error
				if l.file, _, err = recording.Open(recording.Options{Path: path, Resume: true}); err != nil {
					t.Fatal(err)
				}
				l.goOn(l.file.Place())
				return l
			}
			end := func(l *loggerRole) {
				if err := l.file.Close(); err != nil {
					t.Error(err)
				}
			}
			journal := transport.JournalStatus{OK: true, Journal: "a", First: 1, Last: 7}
			first := transport.Since{Offset: 5}
			l := begin()
			if got := l.from(journal, first); got.Offset != 5 {
				t.Fatalf("it begins at %s", sinceText(got))
			}
			l.event(t.Context(), envelopeEvent(1, 5))
			l.following(0, &transport.AckError{Code: transport.CodeNoJournal})
			l.event(t.Context(), envelopeEvent(2, 0))
			l.event(t.Context(), envelopeEvent(3, 0)) // not acknowledged, and sent again
			if restarted {
				end(l)
				l = begin()
			}
			if got := l.from(journal, first); got.Offset != 6 {
				t.Errorf("it resumes at %s, want offset 6", sinceText(got))
			}
			l.event(t.Context(), envelopeEvent(3, 6))
			l.event(t.Context(), envelopeEvent(4, 7))
			end(l)
			file, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			for seq := 1; seq <= 4; seq++ {
				if n := strings.Count(string(file), fmt.Sprintf(`"seq":%d,`, seq)); n != 1 {
					t.Errorf("seq %d is in the file %d times", seq, n)
				}
			}
		})
	}
}

// A logger that began with a server without a journal begins where its flags say when there is one.
func TestSinceCountsAfterAServerWithoutJournal(t *testing.T) {
	l, _ := testLogger()
	l.unplaced = true
	first := transport.Since{Offset: 5}
	if got := l.from(transport.JournalStatus{OK: true, Journal: "a", First: 1, Last: 9}, first); !sameSince(got, first) {
		t.Errorf("it begins at %s, want offset 5", sinceText(got))
	}
}

// Each new connection counted the same skipped entries again.
func TestSkippedEntriesCountOnce(t *testing.T) {
	l, _ := testLogger()
	l.place = recording.Place{Offset: 4, Journal: "a"}
	note := &transport.Event{Name: transport.EventSkipped, Args: transport.Args{
		{JSON: []byte(`{"offset":5,"replayed":true,"error":{"code":"bad_arguments","message":"m"}}`)}}}
	for range 2 {
		l.skippedByServer(t.Context(), note)
	}
	if l.withheld != 1 {
		t.Errorf("%d entries are counted, want 1", l.withheld)
	}
}
