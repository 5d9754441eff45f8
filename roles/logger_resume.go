package roles

import (
	"errors"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/sirupsen/logrus"
	"github.com/urfave/cli/v2"

	"tbmsock/telemetry/recording"
	"tbmsock/transport"
)

// sinceValue is where a logger begins: now, all, an offset, a time, how long ago, or last=n.
type sinceValue struct {
	text  string
	since transport.Since
}

func (v *sinceValue) String() string { return v.text }

func (v *sinceValue) Set(s string) error {
	since, err := parseSince(s, time.Now())
	if err != nil {
		return err
	}
	v.text, v.since = s, since
	return nil
}

func parseSince(s string, now time.Time) (transport.Since, error) {
	if s == "now" {
		none := uint64(0)
		return transport.Since{Last: &none}, nil
	}
	if s == "all" {
		return transport.Since{Offset: 1}, nil
	}
	if text, ok := strings.CutPrefix(s, "last="); ok {
		if n, err := strconv.ParseUint(text, 10, 63); err == nil {
			return transport.Since{Last: &n}, nil
		}
	}
	if n, err := strconv.ParseUint(s, 10, 63); err == nil && n > 0 {
		return transport.Since{Offset: n}, nil
	}
	if t, err := time.Parse(time.RFC3339, s); err == nil {
		return transport.Since{Time: &t}, nil
	}
	if d, err := time.ParseDuration(s); err == nil && d > 0 {
		t := now.Add(-d).UTC()
		return transport.Since{Time: &t}, nil
	}
	return transport.Since{}, errors.New("use now, all, an offset such as 1200, a time such as 2026-01-05T06:00:00Z, how long ago such as 2h, or last=100")
}

func sinceFlag() cli.Flag {
	now, _ := parseSince("now", time.Time{})
	return valueFlag("since", "where to begin in the server's journal: now, all, an offset, a time (RFC 3339), how long ago (2h), or last=100; a file that is gone on with begins behind its last packet", &sinceValue{"now", now})
}

// follow makes the logger begin where the flags say, unless its own file does, and go on where it was on each further
// connection.
func (l *loggerRole) follow(c *cli.Context, rooms []string) error {
	first := c.Generic("since").(*sinceValue).since
	return l.client.Follow(transport.FollowOptions{
		Rooms:    rooms,
		From:     func(status transport.JournalStatus) transport.Since { return l.from(status, first) },
		OnFollow: l.following,
	})
}

// goOn makes it begin behind the file's last packet, if the file has one.
func (l *loggerRole) goOn(place recording.Place) {
	l.unplaced = place.Unplaced
	if l.place = place; place.Offset > 0 {
		l.log.WithFields(logrus.Fields{"file": l.path, "offset": place.Offset, "journal": place.Journal}).Info("going on behind the file's last packet")
	}
}

// from is where to begin on a connection.
func (l *loggerRole) from(status transport.JournalStatus, first transport.Since) transport.Since {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.unplaced {
		// The server kept no journal for a while. A packet of that time is in its journal now if its source sent it
		// again, having seen no acknowledgement.
		l.recall()
	}
	was := l.place
	l.place.Journal = status.Journal
	fields := logrus.Fields{"offset": was.Offset, "journal_first": status.First, "journal_last": status.Last}
	switch {
	case was.Offset == 0 && l.anew: // a link that broke before the new journal's first event came
		return transport.Since{Offset: 1}
	case was.Offset == 0 && l.begins > 0: // nothing has come since the connection before
		if was.Journal != status.Journal || l.begins > status.Last+1 {
			l.log.WithFields(fields).Warn("the server's journal is another one, or has been cut: everything in it is taken")
			l.begins = 1
			return transport.Since{Offset: 1}
		}
		l.begins = l.noteGone(l.begins, status)
		return transport.Since{Offset: l.begins}
	case was.Offset == 0:
		return first
	case was.Offset == math.MaxUint64: // the logger ends
		return transport.Since{Offset: 1}
	case was.Journal != "" && status.Journal != "" && was.Journal != status.Journal:
		fields["journal"], fields["journal_before"] = status.Journal, was.Journal
		l.log.WithFields(fields).Warn("the server has another journal than the one that was followed: everything in it is taken, but for packets that have been logged")
		l.beginAnew()
		return transport.Since{Offset: 1}
	case status.Last < was.Offset: // also a journal that was set back to a copy of an earlier day
		l.log.WithFields(fields).Warn("the server's journal is another one, or has been cut: everything in it is taken, but for packets that have been logged")
		l.beginAnew()
		return transport.Since{Offset: 1}
	}
	next := l.noteGone(was.Offset+1, status)
	l.place.Offset = next - 1
	return transport.Since{Offset: next}
}

// noteGone tells of offsets that were still wanted, from next on, and which the journal no longer has. It returns the first that
// may come. l.mu is held.
func (l *loggerRole) noteGone(next uint64, status transport.JournalStatus) uint64 {
	first := status.First
	if first == 0 { // all has aged out
		first = status.Last + 1
	}
	if first <= next {
		return next
	}
	l.gone += first - next
	l.log.WithFields(logrus.Fields{"from": next, "to": first - 1, "journal_last": status.Last}).Error("the server no longer has what came next: packets are missing")
	return first
}

// beginAnew is for a journal whose offsets say nothing of what has been logged. l.mu is held.
func (l *loggerRole) beginAnew() {
	l.place.Offset, l.anew = 0, true
	l.recall()
}

// recall makes (source, boot, seq) tell what has been logged, beside the offset. What this process has logged it knows;
// what others have is read from the file. l.mu must be held.
func (l *loggerRole) recall() {
	if l.logged != nil {
		return
	}
	l.logged = &transport.Tracker{}
	if l.fileForm == nil || !l.fileForm.resumes() {
		return
	}
	switch err := recording.Envelopes(l.ctx, l.path, l.logged); {
	case l.ctx.Err() != nil:
		l.place.Offset = math.MaxUint64 // it ends: what still comes is not taken, for it may have been logged
	case err != nil:
		l.log.WithError(err).Warn("what the file holds cannot be read: packets may be written to it twice")
	}
}

// hasLogged reports whether a packet has been logged whose offset does not tell. l.mu must be held.
func (l *loggerRole) hasLogged(e *transport.Envelope) bool {
	return l.logged != nil && (l.logged.Has(e) || l.tracker.Has(e))
}

func (l *loggerRole) following(offset uint64, err error) {
	var refusal *transport.AckError
	switch {
	case err == nil:
		l.mu.Lock()
		l.begins = offset
		l.mu.Unlock()
		l.log.WithField("from", offset).Debug("following the journal")
	case errors.As(err, &refusal) && refusal.Code == transport.CodeNoJournal:
		// The place is kept: the server may have its journal again later, and the events of the time between are not
		// in it.
		l.log.Info("the server keeps no journal; packets sent while the link is down are lost")
	default:
		l.log.WithError(err).Warn("journal cannot be followed")
	}
}

// isRepeat notes the event's offset, and tells whether it has been logged already. l.mu is held.
func (l *loggerRole) isRepeat(ev *transport.Event, e *transport.Envelope) (offset uint64, repeat bool) {
	offset, _, ok := transport.OffsetOf(ev)
	if !ok {
		return 0, false
	}
	switch last := l.place.Offset; {
	case offset < last || offset == last && ev.Name == l.lastName:
		return offset, true
	case offset > last: // not the same event under another name
		l.skipped = e != nil && l.hasLogged(e)
		if l.skipped && !l.tracker.Has(e) {
			l.tracker.Fill(e) // it stands in the file: not missing
		}
	}
	l.place.Offset, l.lastName = offset, ev.Name
	return offset, l.skipped
}
