package transport

import (
	"slices"
	"strings"
)

// maxHoles is how many separate holes in a sequence are remembered; a packet that comes later
// than that into an older one counts as a repeat.
const maxHoles = 4096

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
	bySource map[[2]string]*sourceTrack
}

type sourceTrack struct {
	stats SourceStats
	holes []hole // in order
	vague uint64 // up to here holes have been forgotten
}

type hole struct{ from, to uint64 } // inclusive

// Add takes note of an envelope.
func (t *Tracker) Add(e *Envelope) {
	if t.bySource == nil {
		t.bySource = map[[2]string]*sourceTrack{}
	}
	key := [2]string{e.Source, e.Boot}
	s := t.bySource[key]
	if s == nil {
		s = &sourceTrack{stats: SourceStats{Source: strings.Clone(e.Source), Boot: strings.Clone(e.Boot), First: e.Seq, Last: e.Seq, Received: 1}}
		t.bySource[[2]string{s.stats.Source, s.stats.Boot}] = s
		return
	}
	s.add(e.Seq)
}

func (s *sourceTrack) add(seq uint64) {
	st := &s.stats
	switch {
	case seq == st.Last+1:
		st.Last = seq
	case seq > st.Last:
		s.holes = append(s.holes, hole{st.Last + 1, seq - 1})
		if len(s.holes) > maxHoles {
			st.Missing += s.holes[0].to - s.holes[0].from + 1
			st.Gaps++
			s.vague = s.holes[0].to
			s.holes = s.holes[1:]
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

// Has tells whether the envelope has been added before, as far as that is remembered: false may be wrong, true is not.
func (t *Tracker) Has(e *Envelope) bool {
	s := t.bySource[[2]string{e.Source, e.Boot}]
	if s == nil || e.Seq < s.stats.First || e.Seq > s.stats.Last || e.Seq <= s.vague {
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

// Stats lists what has been seen, by source and then boot.
func (t *Tracker) Stats() []SourceStats {
	all := make([]SourceStats, 0, len(t.bySource))
	for _, s := range t.bySource {
		st := s.stats
		for _, h := range s.holes {
			st.Gaps++
			st.Missing += h.to - h.from + 1
		}
		all = append(all, st)
	}
	slices.SortFunc(all, func(a, b SourceStats) int {
		if c := strings.Compare(a.Source, b.Source); c != 0 {
			return c
		}
		return strings.Compare(a.Boot, b.Boot)
	})
	return all
}
