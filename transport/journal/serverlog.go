package journal

import (
	"fmt"
	"strings"
	"sync"
)

// serverLog passes on what the embedded server warns of, and keeps the latest of it.
type serverLog struct {
	warn func(string)

	mu   sync.Mutex
	last string
	n    int // how much it has said
}

func (l *serverLog) tell(format string, v ...any) {
	if strings.HasPrefix(format, "Maximum payloads over") || strings.HasPrefix(format, "Plaintext passwords") {
		return // meant for a server on a network, with a file for its settings
	}
	s := fmt.Sprintf(format, v...)
	l.mu.Lock()
	l.last = s
	l.n++
	l.mu.Unlock()
	l.warn(s)
}

// latest returns the latest warning, or what if there was none.
func (l *serverLog) latest(what string) string {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.last == "" {
		return what
	}
	return l.last
}

// count is how much the server has said.
func (l *serverLog) count() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.n
}

// forget lets latest begin anew.
func (l *serverLog) forget() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.last = ""
}

func (l *serverLog) Warnf(format string, v ...any)  { l.tell(format, v...) }
func (l *serverLog) Errorf(format string, v ...any) { l.tell(format, v...) }

// Fatalf does not end the process: only main does.
func (l *serverLog) Fatalf(format string, v ...any) { l.tell(format, v...) }
func (l *serverLog) Noticef(string, ...any)         {}
func (l *serverLog) Debugf(string, ...any)          {}
func (l *serverLog) Tracef(string, ...any)          {}
