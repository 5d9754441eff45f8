package transport

import (
	"container/list"
	"slices"
	"strings"
)

// Bounds of a tracker: names and holes come from the network. A packet that comes late into a hole that has been forgotten
// counts as a repeat.
const (
	maxRuns     = 8192    // runs of sources; the one that has been silent longest is forgotten
	maxNames    = 8 << 20 // bytes of their names
	maxHoles    = 4096    // separate holes in the sequence of a run
	maxAllHoles = 1 << 17 // in those of all runs; the run that has most forgets its oldest
)

// SourceStats is what a [Tracker] has seen of one run of one source.
type SourceStats struct {
	Source, Boot string
	First, Last  uint64 // lowest and highest seq
	Received     uint64 // packets, repeats left out
	Repeats      uint64 // packets that had come before
	OutOfOrder   uint64 // packets that came after a later one
	Gaps         int    // holes between First and Last, now
	Missing      uint64 // packets in them
}

// Tracker checks envelopes for completeness. It is for one goroutine.
type Tracker struct {
	// Unbounded lets it forget nothing, for what is bounded itself.
	Unbounded bool

	bySource  map[[2]string]*list.Element // of byAge
	byAge     list.List                   // of *sourceTrack, the one that has been silent longest first
	names     int                         // bytes
	holes     int
	forgotten Forgotten
}

// Forgotten is what a [Tracker] had no room to remember.
type Forgotten struct {
	Runs    uint64 // which begin anew if they are heard of again
	Missing uint64 // packets that were missing in them
}

type sourceTrack struct {
	stats SourceStats
	event string // under which seq came
	seq   uint64 // that arrived last; see AddAs
	holes []hole // in order
	vague uint64 // up to here holes have been forgotten
}

type hole struct{ from, to uint64 } // inclusive

// Add notes an envelope that has arrived.
func (t *Tracker) Add(e *Envelope) { t.note(e, true) }

// AddAs is [Tracker.Add] for an envelope that may arrive under several names, aliases of one event: it counts once.
// Those of one run come together, while those of other sources may come between.
func (t *Tracker) AddAs(event string, e *Envelope) {
	if run := t.bySource[[2]string{e.Source, e.Boot}]; run != nil {
		if s := run.Value.(*sourceTrack); s.seq == e.Seq && s.event != event {
			return
		}
	}
	s := t.note(e, true)
	if s.seq = e.Seq; s.event != event {
		s.event = strings.Clone(event) // it may be part of a large message
	}
}

// Fill notes an envelope that arrived at an earlier time, unknown to the tracker: it is not missing, and counts neither
// as a repeat nor as out of order.
func (t *Tracker) Fill(e *Envelope) { t.note(e, false) }

func (t *Tracker) note(e *Envelope, arrived bool) *sourceTrack {
	if t.bySource == nil {
		t.bySource = map[[2]string]*list.Element{}
	}
	if known := t.bySource[[2]string{e.Source, e.Boot}]; known != nil {
		t.byAge.MoveToBack(known)
		s := known.Value.(*sourceTrack)
		before := len(s.holes)
		s.add(e.Seq, arrived)
		t.holes += len(s.holes) - before
		if t.holes > maxAllHoles && !t.Unbounded {
			t.forgetHoles()
		}
		return s
	}
	s := &sourceTrack{stats: SourceStats{Source: strings.Clone(e.Source), Boot: strings.Clone(e.Boot), First: e.Seq, Last: e.Seq, Received: 1}}
	t.bySource[s.key()] = t.byAge.PushBack(s)
	t.names += s.names()
	for !t.Unbounded && t.byAge.Len() > 1 && (t.byAge.Len() > maxRuns || t.names > maxNames) {
		t.forget(t.byAge.Front())
	}
	return s
}

func (s *sourceTrack) key() [2]string { return [2]string{s.stats.Source, s.stats.Boot} }
func (s *sourceTrack) names() int     { return len(s.stats.Source) + len(s.stats.Boot) }

func (t *Tracker) forget(run *list.Element) {
	s := t.byAge.Remove(run).(*sourceTrack)
	delete(t.bySource, s.key())
	t.names -= s.names()
	t.holes -= len(s.holes)
	t.forgotten.Runs++
	t.forgotten.Missing += s.now().Missing
}

// forgetHoles forgets half of the holes of the run that has most. Few are looked for in this way, since many go at once.
func (t *Tracker) forgetHoles() {
	var most *sourceTrack
	for run := t.byAge.Front(); run != nil; run = run.Next() {
		if s := run.Value.(*sourceTrack); most == nil || len(s.holes) > len(most.holes) {
			most = s
		}
	}
	n := (len(most.holes) + 1) / 2
	most.forgetHoles(n)
	t.holes -= n
}

// Forgotten tells what there was no room for.
func (t *Tracker) Forgotten() Forgotten { return t.forgotten }

func (s *sourceTrack) add(seq uint64, arrived bool) {
	st := &s.stats
	if !arrived {
		outOfOrder, repeats := st.OutOfOrder, st.Repeats
		defer func() { st.OutOfOrder, st.Repeats = outOfOrder, repeats }()
	}
	switch {
	case seq == st.Last+1:
		st.Last = seq
	case seq > st.Last:
		s.holes = append(s.holes, hole{st.Last + 1, seq - 1})
		if len(s.holes) > maxHoles {
			s.forgetHoles(1)
		}
		st.Last = seq
	case seq < st.First:
		if seq+1 < st.First {
			s.holes = slices.Insert(s.holes, 0, hole{seq + 1, st.First - 1})
		}
		st.First = seq
		st.OutOfOrder++
	case s.fill(seq):
		st.OutOfOrder++
	default:
		st.Repeats++
		return
	}
	st.Received++
}

// forgetHoles forgets the n oldest, but for their number.
func (s *sourceTrack) forgetHoles(n int) {
	for _, h := range s.holes[:n] {
		s.stats.Missing += h.to - h.from + 1
		s.stats.Gaps++
		s.vague = h.to
	}
	s.holes = slices.Delete(s.holes, 0, n)
}

// now is what has been seen, with the holes that there are now.
func (s *sourceTrack) now() SourceStats {
	st := s.stats
	for _, h := range s.holes {
		st.Gaps++
		st.Missing += h.to - h.from + 1
	}
	return st
}

// Has reports whether the envelope has been noted before. It may be false for one that has been forgotten; true is
// always right.
func (t *Tracker) Has(e *Envelope) bool {
	run := t.bySource[[2]string{e.Source, e.Boot}]
	if run == nil {
		return false
	}
	s := run.Value.(*sourceTrack)
	if e.Seq < s.stats.First || e.Seq > s.stats.Last || e.Seq <= s.vague {
		return false
	}
	i := s.holeAt(e.Seq)
	return i == len(s.holes) || s.holes[i].from > e.Seq
}

// holeAt is the first hole that does not end before seq.
func (s *sourceTrack) holeAt(seq uint64) int {
	i, _ := slices.BinarySearchFunc(s.holes, seq, func(h hole, seq uint64) int {
		if h.to < seq {
			return -1
		}
		return 1
	})
	return i
}

// fill takes seq out of its hole; false if it is in none.
func (s *sourceTrack) fill(seq uint64) bool {
	i := s.holeAt(seq)
	if i == len(s.holes) || s.holes[i].from > seq {
		return false
	}
	h := s.holes[i]
	switch {
	case h.from == h.to:
		s.holes = slices.Delete(s.holes, i, i+1)
	case seq == h.from:
		s.holes[i].from++
	case seq == h.to:
		s.holes[i].to--
	default:
		s.holes[i].to = seq - 1
		s.holes = slices.Insert(s.holes, i+1, hole{seq + 1, h.to})
	}
	return true
}

// Stats lists what has been seen and not been forgotten, by source and then boot.
func (t *Tracker) Stats() []SourceStats {
	all := make([]SourceStats, 0, len(t.bySource))
	for run := t.byAge.Front(); run != nil; run = run.Next() {
		all = append(all, run.Value.(*sourceTrack).now())
	}
	slices.SortFunc(all, func(a, b SourceStats) int {
		if c := strings.Compare(a.Source, b.Source); c != 0 {
			return c
		}
		return strings.Compare(a.Boot, b.Boot)
	})
	return all
}
