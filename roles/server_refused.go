package roles

import (
	"fmt"
	"net/url"
	"sync"
	"time"

	"github.com/sirupsen/logrus"

	"tbmsock/transport"
)

// Of each reason for refusals refusedLines are logged in a refusedWindow. The others are counted, and logged together
// when the window ends.
const (
	refusedLines  = 5
	refusedWindow = 10 * time.Second
)

// refusedLog logs refused requests. Anyone can send such requests, as many as they like: what it writes and what it
// holds is bounded by the number of reasons. It is safe for concurrent use.
type refusedLog struct {
	log   *logrus.Logger
	after func(time.Duration, func()) // calls the function when the time has passed

	mu      sync.Mutex
	windows map[transport.RefusedReason]*refusedCount // those that are open
}

type refusedCount struct {
	lines      int
	suppressed int
}

func newRefusedLog(log *logrus.Logger) *refusedLog {
	return &refusedLog{
		log:     log,
		after:   func(d time.Duration, f func()) { time.AfterFunc(d, f) },
		windows: map[transport.RefusedReason]*refusedCount{},
	}
}

// note logs a refused request, or counts it.
func (l *refusedLog) note(r transport.Refused) {
	level := refusedLevel(r.Reason)
	if !l.log.IsLevelEnabled(level) || !l.take(r.Reason) {
		return
	}
	fields := logrus.Fields{"client": r.RemoteAddr, "reason": r.Reason.String(), "method": r.Method}
	for name, value := range map[string]string{"origin": r.Origin, "eio": r.Version, "transport": r.Transport} {
		if value != "" {
			fields[name] = value
		}
	}
	switch {
	case r.Reason == transport.RefusedOrigin && transport.CheckOrigin(r.Origin) == nil:
		fields["allow_with"] = fmt.Sprintf("--cors-origin %s", r.Origin)
	case r.Reason == transport.RefusedJSONP && transport.CheckJSONP(r.Origin) == nil:
		fields["allow_with"] = fmt.Sprintf("--jsonp %s", r.Origin)
	case r.Reason == transport.RefusedHost:
		fields["host"] = r.Host
		if name := (&url.URL{Host: r.Host}).Hostname(); checkHost(name) == nil {
			fields["allow_with"] = "--host " + name
		}
	case r.Err != nil:
		fields[logrus.ErrorKey] = r.Err
	}
	l.log.WithFields(fields).Log(level, "request refused")
}

// refusedLevel is warn for what an operator can mend by a flag.
func refusedLevel(r transport.RefusedReason) logrus.Level {
	switch r {
	case transport.RefusedOrigin, transport.RefusedJSONP, transport.RefusedHost, transport.RefusedFull:
		return logrus.WarnLevel
	case transport.RefusedStopping:
		return logrus.DebugLevel
	}
	return logrus.InfoLevel
}

// take reports whether a request that was refused for the reason may be logged now. Otherwise it is counted.
func (l *refusedLog) take(reason transport.RefusedReason) bool {
	l.mu.Lock()
	w := l.windows[reason]
	begun := w == nil
	if begun {
		w = &refusedCount{}
		l.windows[reason] = w
	}
	may := w.lines < refusedLines
	if may {
		w.lines++
	} else {
		w.suppressed++
	}
	l.mu.Unlock()
	if begun {
		l.after(refusedWindow, func() { l.end(reason) })
	}
	return may
}

// end logs how many requests were not logged, and ends the window.
func (l *refusedLog) end(reason transport.RefusedReason) {
	l.mu.Lock()
	w := l.windows[reason]
	delete(l.windows, reason)
	l.mu.Unlock()
	if w == nil || w.suppressed == 0 {
		return
	}
	l.log.WithFields(logrus.Fields{"reason": reason.String(), "suppressed": w.suppressed}).
		Log(refusedLevel(reason), "more requests refused")
}

// flush ends all windows.
func (l *refusedLog) flush() {
	for _, reason := range transport.RefusedReasons() {
		l.end(reason)
	}
}
