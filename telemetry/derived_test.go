package telemetry

import (
	"bufio"
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"math"
	"os"
	"testing"
	"time"
)

var update = flag.Bool("update", false, "write testdata anew")

// vectorsFile holds readings and what follows from them, a line each. The page derives the same channels in its own
// language, and its tests read the same file.
const vectorsFile = "testdata/derived.jsonl"

type derivedVector struct {
	Time    time.Time           `json:"time"`
	Packet  *Packet             `json:"packet"`
	Derived map[string]*float64 `json:"derived"` // null: not defined
}

// vectorPackets is a bit more than two rings of an EPB machine's life, with what the rules have an opinion of.
func vectorPackets() (all []derivedVector) {
	at := time.Date(2026, 1, 5, 6, 0, 30, 0, time.UTC)
	chainage := 1607.4
	for i := range 60 {
		p := &Packet{Machine: "epb", State: StateBoring, Phase: PhaseStable, Ring: 1071 + i/25,
			Cutterhead: &Cutterhead{Speed: 1.8 + 0.01*float64(i%7), Torque: 1900 + 13*float64(i%11)},
			Thrust:     &Thrust{Total: 11000 + 37*float64(i%13), Advance: 42 + float64(i%5)},
			Guidance:   &Guidance{Chainage: chainage}}
		step := 20 * time.Second
		switch {
		case i%25 >= 20:
			p.State, p.Phase = StateRingBuilding, PhaseNone
			p.Cutterhead.Speed, p.Thrust.Advance = 0, 0
		case i%25 == 0:
			p.Phase = PhaseFreeAdvancing
		case i%25 == 1:
			p.Thrust.Advance = 0.1 // turns, and does not penetrate
		case i == 12:
			step = 61 * time.Second // too long a hole
		case i == 15:
			step = -5 * time.Second // a clock that is put right
		case i == 33:
			p.Thrust = nil
		case i == 40:
			step = 25 * time.Hour // longer than the window
		case i == 38:
			p.Machine = "unheard of"
		}
		at = at.Add(step)
		chainage += 0.06
		all = append(all, derivedVector{Time: at, Packet: p})
	}
	return all
}

func TestDerivedVectors(t *testing.T) {
	d, dictionary := NewDeriver(), DefaultDictionary()
	var got bytes.Buffer
	for _, v := range vectorPackets() {
		r := Reading{Packet: v.Packet, Derived: d.Update(dictionary.For(v.Packet.Machine).Geometry(), v.Time, v.Packet)}
		v.Derived = map[string]*float64{}
		for _, id := range DerivedIDs() {
			v.Derived[id] = nil
			if x, ok := r.Value(id); ok {
				v.Derived[id] = &x
			}
		}
		line, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&got, "%s\n", line)
	}
	if *update {
		if err := os.WriteFile(vectorsFile, got.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.Open(vectorsFile)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = want.Close() }()
	a, b := bufio.NewScanner(want), bufio.NewScanner(&got)
	n := 0
	for a.Scan() {
		n++
		if !b.Scan() {
			t.Fatalf("%s has more than %d lines", vectorsFile, n-1)
		}
		var x, y derivedVector
		if json.Unmarshal(a.Bytes(), &x) != nil || json.Unmarshal(b.Bytes(), &y) != nil {
			t.Fatalf("line %d: %s", n, a.Bytes())
		}
		for id, v := range x.Derived {
			w := y.Derived[id]
			if (v == nil) != (w == nil) || v != nil && math.Abs(*v-*w) > 1e-9*math.Abs(*v) {
				t.Errorf("line %d: %s differs: %s, now %s (write anew with -update)", n, id, a.Bytes(), b.Bytes())
			}
		}
	}
	if n != 60 || b.Scan() {
		t.Errorf("%s has %d lines", vectorsFile, n)
	}
}

// A source's clock that was set back stopped the utilisation until it had caught up; one that had been ahead for years
// left minutes in the window that never aged.
func TestDeriverAfterTheClockWasSetBack(t *testing.T) {
	d := NewDeriver()
	at := epoch
	drive := func(state State, minutes int) (utilisation float64) {
		t.Helper()
		for range minutes * 60 {
			at = at.Add(time.Second)
			utilisation = d.Update(Geometry{}, at, &Packet{State: state}).Utilisation
		}
		return utilisation
	}
	drive(StateBoring, 60)
	at = at.Add(-8 * time.Hour)
	if u := drive(StateStandstill, 60); math.Abs(u-50) > 1 {
		t.Errorf("an hour of boring and one of none, and the clock set back between them: utilisation %.1f %%", u)
	}
	at = at.AddDate(10, 0, 0)
	drive(StateBoring, 60)
	at = at.AddDate(-10, 0, 0)
	if u := drive(StateStandstill, 2); u > 1 {
		t.Errorf("what a clock stamped that was years ahead is still in the window: utilisation %.1f %%", u)
	}
	// Late packets are left out.
	d, at = NewDeriver(), epoch
	drive(StateBoring, 2)
	d.Update(Geometry{}, at.Add(-30*time.Second), &Packet{State: StateStandstill})
	d.Update(Geometry{}, at.Add(-29*time.Second), &Packet{State: StateStandstill})
	if u := drive(StateBoring, 1); u < 99 {
		t.Errorf("after late packets: utilisation %.1f %%", u)
	}
}
