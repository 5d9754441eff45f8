package transport

import (
	"math/rand/v2"
	"strconv"
	"strings"
	"testing"
)

func TestTracker(t *testing.T) {
	for _, tc := range []struct {
		name string
		seqs []uint64
		want SourceStats
	}{
		{"in order", []uint64{1, 2, 3}, SourceStats{First: 1, Last: 3, Received: 3}},
		{"joined late", []uint64{7, 8}, SourceStats{First: 7, Last: 8, Received: 2}},
		{"a gap", []uint64{1, 5, 6}, SourceStats{First: 1, Last: 6, Received: 3, Gaps: 1, Missing: 3}},
		{"two gaps", []uint64{1, 3, 5}, SourceStats{First: 1, Last: 5, Received: 3, Gaps: 2, Missing: 2}},
		{"a repeat", []uint64{1, 2, 2, 1}, SourceStats{First: 1, Last: 2, Received: 2, Repeats: 2}},
		{"out of order", []uint64{1, 4, 3, 2}, SourceStats{First: 1, Last: 4, Received: 4, OutOfOrder: 2}},
		{"into the middle of a gap", []uint64{1, 5, 3}, SourceStats{First: 1, Last: 5, Received: 3, OutOfOrder: 1, Gaps: 2, Missing: 2}},
		{"before the first", []uint64{5, 2, 3}, SourceStats{First: 2, Last: 5, Received: 3, OutOfOrder: 2, Gaps: 1, Missing: 1}},
		{"late, and then again", []uint64{1, 3, 2, 2}, SourceStats{First: 1, Last: 3, Received: 3, OutOfOrder: 1, Repeats: 1}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var tr Tracker
			for _, s := range tc.seqs {
				tr.Add(&Envelope{Source: "s", Boot: "b", Seq: s})
			}
			tc.want.Source, tc.want.Boot = "s", "b"
			if got := tr.Stats(); len(got) != 1 || got[0] != tc.want {
				t.Errorf("got %+v, want %+v", got, tc.want)
			}
		})
	}
	t.Run("by source and boot", func(t *testing.T) {
		var tr Tracker
		for _, e := range []Envelope{{Source: "b", Boot: "1", Seq: 1}, {Source: "a", Boot: "2", Seq: 9}, {Source: "a", Boot: "1", Seq: 1}, {Source: "b", Boot: "1", Seq: 2}} {
			tr.Add(&e)
		}
		got := tr.Stats()
		if len(got) != 3 || got[0].Source+got[0].Boot != "a1" || got[1].First != 9 || got[2].Received != 2 {
			t.Errorf("got %+v", got)
		}
	})
}

// Against a plain set, with packets lost, repeated and shuffled at random.
func TestTrackerAgainstModel(t *testing.T) {
	rnd := rand.New(rand.NewPCG(3, 4))
	for round := range 200 {
		var tr Tracker
		seen := map[uint64]bool{}
		var repeats uint64
		first, last := uint64(0), uint64(0)
		for range 300 {
			seq := 1 + rnd.Uint64N(200)
			if seen[seq] {
				repeats++
			}
			seen[seq] = true
			if first == 0 || seq < first {
				first = seq
			}
			last = max(last, seq)
			tr.Add(&Envelope{Source: "s", Boot: "b", Seq: seq})
		}
		got := tr.Stats()[0]
		if got.Received != uint64(len(seen)) || got.Repeats != repeats || got.First != first || got.Last != last || got.Missing != last-first+1-uint64(len(seen)) {
			t.Fatalf("round %d: got %+v, want %d received, %d repeats, %d..%d", round, got, len(seen), repeats, first, last)
		}
	}
}

func TestTrackerHas(t *testing.T) {
	var tr Tracker
	at := func(seq uint64) *Envelope { return &Envelope{Source: "s", Boot: "b", Seq: seq} }
	for _, seq := range []uint64{3, 4, 8, 6} {
		tr.Add(at(seq))
	}
	for seq, want := range map[uint64]bool{1: false, 2: false, 3: true, 4: true, 5: false, 6: true, 7: false, 8: true, 9: false} {
		if got := tr.Has(at(seq)); got != want {
			t.Errorf("Has(%d) is %t", seq, got)
		}
	}
	if tr.Has(&Envelope{Source: "s", Boot: "c", Seq: 3}) {
		t.Error("it has a packet of another run")
	}
	// More holes than are remembered: what lies in those that were forgotten may not be taken for there.
	var holed Tracker
	for seq := uint64(2); seq <= 2*(maxHoles+10); seq += 2 {
		holed.Add(at(seq))
	}
	for seq := uint64(3); seq < 2*(maxHoles+10); seq += 2 {
		if holed.Has(at(seq)) {
			t.Fatalf("it has %d, which never came", seq)
		}
	}
	if !holed.Has(at(2 * maxHoles)) {
		t.Error("what came last is not known")
	}
}

// Names come from the network: 200,000 runs took 65 MB, and each was a line of the summary.
func TestTrackerIsBounded(t *testing.T) {
	long := strings.Repeat("x", maxNames/16)
	for _, tc := range []struct {
		name  string
		boot  func(i int) string
		runs  int // that come
		kept  int
		bound bool
	}{
		{"many runs", strconv.Itoa, maxRuns + 100, maxRuns, true},
		{"long names", func(i int) string { return strconv.Itoa(i) + long }, 20, 16, true},
		{"unbounded", strconv.Itoa, maxRuns + 100, maxRuns + 101, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			tr := Tracker{Unbounded: !tc.bound}
			for i := range tc.runs {
				for _, seq := range []uint64{1, 4} { // two are missing
					tr.Add(&Envelope{Source: "s", Boot: tc.boot(i), Seq: seq})
				}
				tr.Add(&Envelope{Source: "lasting", Boot: "b", Seq: uint64(i + 1)})
			}
			gone := uint64(tc.runs + 1 - tc.kept)
			if f := tr.Forgotten(); len(tr.Stats()) != tc.kept || f.Runs != gone || f.Missing != 2*gone {
				t.Errorf("%d runs are known, want %d; %+v", len(tr.Stats()), tc.kept, f)
			}
			if !tr.Has(&Envelope{Source: "lasting", Boot: "b", Seq: 1}) || tr.Has(&Envelope{Source: "s", Boot: tc.boot(0), Seq: 1}) == tc.bound {
				t.Error("it has not forgotten the one that was silent longest")
			}
		})
	}
	t.Run("many holes", func(t *testing.T) {
		var tr Tracker
		const runs, each = 100, 2000
		for seq := uint64(2); seq <= 2*each; seq += 2 {
			for i := range runs {
				tr.Add(&Envelope{Source: "s", Boot: strconv.Itoa(i), Seq: seq})
			}
		}
		held := 0
		for run := tr.byAge.Front(); run != nil; run = run.Next() {
			held += len(run.Value.(*sourceTrack).holes)
		}
		if held > maxAllHoles || held != tr.holes {
			t.Errorf("%d holes are remembered, and %d counted", held, tr.holes)
		}
		for _, s := range tr.Stats() {
			if s.Missing != each-1 || s.Gaps != each-1 {
				t.Fatalf("%+v", s)
			}
		}
	})
}
