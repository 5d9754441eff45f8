package roles

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/sirupsen/logrus"

	"tbmsock/transport"
)

// refusedLogger returns a log of refused requests whose windows end when the test says so.
func refusedLogger(level logrus.Level) (l *refusedLog, out *bytes.Buffer, endWindows func()) {
	out = &bytes.Buffer{}
	log := logrus.New()
	log.Out, log.Level = out, level
	log.Formatter = &logrus.TextFormatter{DisableColors: true, DisableTimestamp: true}
	l = newRefusedLog(log)
	var ends []func()
	l.after = func(d time.Duration, f func()) {
		if d == refusedWindow {
			ends = append(ends, f)
		}
	}
	return l, out, func() {
		for _, f := range ends {
			f()
		}
		ends = nil
	}
}

func TestRefusedRequestsAreLogged(t *testing.T) {
	for _, tc := range []struct {
		name    string
		refused transport.Refused
		want    string // all that is logged; parts separated by spaces, all present
	}{
		{"an origin that a flag would allow", transport.Refused{Reason: transport.RefusedOrigin, RemoteAddr: "10.0.0.9:50", Method: "GET", Origin: "http://ops.example:4200", Version: "4", Err: transport.ErrForbidden},
			`level=warning msg="request refused" allow_with="--cors-origin http://ops.example:4200" client="10.0.0.9:50" eio=4 method=GET origin="http://ops.example:4200" reason=origin` + "\n"},
		{"the origin of a page from a file", transport.Refused{Reason: transport.RefusedOrigin, RemoteAddr: "10.0.0.9:50", Method: "GET", Origin: "null"},
			`level=warning msg="request refused" allow_with="--cors-origin null" client="10.0.0.9:50" method=GET origin=null reason=origin` + "\n"},
		{"an origin that no flag can allow", transport.Refused{Reason: transport.RefusedOrigin, RemoteAddr: "10.0.0.9:50", Method: "GET", Origin: "nonsense\n\x1b[2J", Err: errors.New("Forbidden")},
			`level=warning msg="request refused" client="10.0.0.9:50" error=Forbidden method=GET origin="nonsense\n\x1b[2J" reason=origin` + "\n"},
		{"JSONP of a page", transport.Refused{Reason: transport.RefusedJSONP, RemoteAddr: "10.0.0.9:50", Method: "GET", Origin: "http://old.example", Version: "3", Err: transport.ErrForbidden},
			`level=warning msg="request refused" allow_with="--jsonp http://old.example" client="10.0.0.9:50" eio=3 method=GET origin="http://old.example" reason=JSONP` + "\n"},
		{"JSONP of a page that does not tell its origin", transport.Refused{Reason: transport.RefusedJSONP, RemoteAddr: "10.0.0.9:50", Method: "GET", Err: transport.ErrForbidden},
			`level=warning msg="request refused" client="10.0.0.9:50" error=Forbidden method=GET reason=JSONP` + "\n"},
		{"a name that a flag would allow", transport.Refused{Reason: transport.RefusedHost, RemoteAddr: "10.0.0.9:50", Method: "GET", Host: "tbm.example:8080", Err: transport.ErrForbidden},
			`level=warning msg="request refused" allow_with="--host tbm.example" client="10.0.0.9:50" host="tbm.example:8080" method=GET reason=host` + "\n"},
		{"a name that no flag can allow", transport.Refused{Reason: transport.RefusedHost, RemoteAddr: "10.0.0.9:50", Method: "GET", Host: "a b\x1b[2J", Err: transport.ErrForbidden},
			`level=warning msg="request refused" client="10.0.0.9:50" host="a b\x1b[2J" method=GET reason=host` + "\n"},
		{"an unknown session", transport.Refused{Reason: transport.RefusedSession, RemoteAddr: "10.0.0.9:50", Method: "POST", Version: "3", Transport: "polling", Err: transport.ErrUnknownSession},
			`level=info msg="request refused" client="10.0.0.9:50" eio=3 error="Session ID unknown" method=POST reason="unknown session" transport=polling` + "\n"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			l, out, _ := refusedLogger(logrus.InfoLevel)
			l.note(tc.refused)
			if out.String() != tc.want {
				t.Errorf("logged %s want %s", out, tc.want)
			}
		})
	}
}

// A flood of requests is a few lines and their number, for each reason by itself.
func TestRefusedRequestsAreLoggedInBounds(t *testing.T) {
	l, out, endWindows := refusedLogger(logrus.InfoLevel)
	for i := range 1000 {
		l.note(transport.Refused{Reason: transport.RefusedSession, RemoteAddr: fmt.Sprint("10.0.0.9:", i)})
		if i%100 == 0 {
			l.note(transport.Refused{Reason: transport.RefusedOrigin, Origin: fmt.Sprintf("http://%d.example", i)})
		}
		l.note(transport.Refused{Reason: transport.RefusedStopping}) // below the level: not counted either
	}
	if n := strings.Count(out.String(), "request refused"); n != 2*refusedLines {
		t.Errorf("%d lines for two reasons", n)
	}
	if len(l.windows) != 2 {
		t.Errorf("%d windows are held", len(l.windows))
	}
	endWindows()
	for _, want := range []string{
		fmt.Sprintf(`level=info msg="more requests refused" reason="unknown session" suppressed=%d`, 1000-refusedLines),
		fmt.Sprintf(`level=warning msg="more requests refused" reason=origin suppressed=%d`, 10-refusedLines),
	} {
		if strings.Count(out.String(), want+"\n") != 1 {
			t.Errorf("logged %s want %s", out, want)
		}
	}
	out.Reset()
	l.note(transport.Refused{Reason: transport.RefusedSession})
	endWindows()
	if got := out.String(); strings.Count(got, "\n") != 1 || !strings.Contains(got, "request refused") {
		t.Errorf("a new window logged %s", got)
	}
	out.Reset()
	for range refusedLines + 3 {
		l.note(transport.Refused{Reason: transport.RefusedVersion, Version: "7"})
	}
	l.flush()
	if want := "suppressed=3"; !strings.Contains(out.String(), want) {
		t.Errorf("at the end it logged %s want %s", out, want)
	}
}
