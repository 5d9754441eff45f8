package roles

import (
	"fmt"
	"strings"
	"time"

	"github.com/sirupsen/logrus"

	"tbmsock/telemetry"
	"tbmsock/telemetry/recording"
)

// maxWatched is how many sources are judged at a time: the names come from the network. Beyond it the source that has
// been silent longest is evicted, unless it has been heard within activeFor: an active source is never evicted.
const (
	maxWatched = 256
	activeFor  = time.Minute
)

// groupedChanges is the number of channels from which on their becoming stale together is one line.
const groupedChanges = 4

// watches judge the channels of each source. They are for one goroutine.
type watches struct {
	dictionary *telemetry.Dictionary
	log        *logrus.Logger // may be nil
	bySource   map[string]*sourceWatch
	nextLook   time.Time // all are active until then
	unjudged   uint64    // packets of sources for which there was no room
}

type sourceWatch struct {
	source  string
	monitor *telemetry.Monitor
	deriver *telemetry.Deriver
	silent  time.Time // since when nothing has come, and this was told; zero: packets come
	changes []telemetry.Change
}

func newWatches(d *telemetry.Dictionary, log *logrus.Logger) *watches {
	return &watches{dictionary: d, log: log, bySource: map[string]*sourceWatch{}}
}

// of returns the source's watch; nil if maxWatched others are active.
func (w *watches) of(source string, now time.Time) *sourceWatch {
	s := w.bySource[source]
	if s != nil {
		return s
	}
	if len(w.bySource) >= maxWatched && !w.evict(now) {
		if w.unjudged++; w.unjudged == 1 && w.log != nil {
			w.log.WithFields(logrus.Fields{"source": source, "active": maxWatched}).
				Error("too many active sources; limits of further sources are not judged")
		}
		return nil
	}
	s = &sourceWatch{source: strings.Clone(source), monitor: telemetry.NewMonitor(w.dictionary), deriver: telemetry.NewDeriver()}
	w.bySource[s.source] = s
	return s
}

// evict makes room for a source, and reports whether it could.
func (w *watches) evict(now time.Time) bool {
	if now.Before(w.nextLook) {
		return false
	}
	var oldest *sourceWatch
	for _, s := range w.bySource {
		if oldest == nil || s.monitor.Heard().Before(oldest.monitor.Heard()) {
			oldest = s
		}
	}
	silent := now.Sub(oldest.monitor.Heard())
	if silent < activeFor {
		w.nextLook = now.Add(activeFor - silent)
		return false
	}
	delete(w.bySource, oldest.source)
	if w.log != nil {
		w.log.WithFields(logrus.Fields{"source": oldest.source, "silent": silent.Round(time.Second).String(), "unjudged": w.unjudged}).
			Warn("too many sources; the one that has been silent longest is no longer judged")
	}
	w.unjudged = 0
	return true
}

// observe completes the record by its derived channels, and returns what has changed. now is when it was received, by
// the steady clock: setting the wall clock makes nothing stale.
func (w *watches) observe(r *recording.Record, now time.Time) *sourceWatch {
	s := w.of(r.Envelope.Source, now)
	if s == nil {
		r.Derived = w.dictionary.For(r.Packet.Machine).Geometry().Derive(r.Packet)
		return nil
	}
	at := r.Envelope.Time
	if at.IsZero() {
		at = r.Received
	}
	r.Derived = s.deriver.Update(w.dictionary.For(r.Packet.Machine).Geometry(), at, r.Packet)
	reading, _ := r.Reading()
	s.changes = s.changes[:0]
	s.monitor.Observe(at, now, &reading, s.note)
	return s
}

func (s *sourceWatch) note(c telemetry.Change) { s.changes = append(s.changes, c) }

// normal is the state of channels that nobody judges.
func normal(string) telemetry.ChannelState { return telemetry.StateNormal }

func (s *sourceWatch) state() func(string) telemetry.ChannelState {
	if s == nil {
		return normal
	}
	return s.monitor.State
}

// writeChanges gives each change its line. In text, a source that falls silent or comes back is one line,
// not one a channel.
func (s *sourceWatch) writeChanges(f *lineForm, now time.Time, write func([]byte)) {
	if f.format == "text" {
		s.foldSilence(f.words, now, write)
	}
	for i := range s.changes {
		if line := f.change(s.source, &s.changes[i]); line != nil {
			write(line)
		}
	}
}

func (s *sourceWatch) foldSilence(t *textForm, now time.Time, write func([]byte)) {
	gone, back := 0, 0
	for _, c := range s.changes {
		if c.To == telemetry.StateStale && !c.Frozen {
			gone++
		}
		if c.From == telemetry.StateStale && c.To == telemetry.StateNormal {
			back++
		}
	}
	heard := s.monitor.Heard()
	switch {
	case s.silent.IsZero() && gone >= groupedChanges:
		s.silent = heard
		write(t.silent(now, s.source, fmt.Sprintf("no packet for %s: %d channels", now.Sub(heard).Round(100*time.Millisecond), gone), telemetry.StateStale))
	case !s.silent.IsZero() && back > 0:
		write(t.silent(now, s.source, fmt.Sprintf("packets come again, after %s", heard.Sub(s.silent).Round(100*time.Millisecond)), telemetry.StateNormal))
	case s.silent.IsZero():
		return
	}
	kept := s.changes[:0]
	for _, c := range s.changes {
		if folded := c.To == telemetry.StateStale && !c.Frozen || c.From == telemetry.StateStale && c.To == telemetry.StateNormal; !folded {
			kept = append(kept, c)
		}
	}
	s.changes = kept
	if back > 0 {
		s.silent = time.Time{}
	}
}
