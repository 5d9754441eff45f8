package roles

import (
	"bytes"
	"encoding/json"
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
