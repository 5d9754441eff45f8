package telemetry

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"
)

// monitorYAML has a channel with all limits, hysteresis and persistence, and one that may freeze.
const monitorYAML = `
groups:
  - id: chamber
    channels:
      - {id: pressure_1, name: Face pressure, unit: bar, rate_hz: 1, range: [0, 10], limits: {low_alarm: 1, low_warn: 2, high_warn: 4, high_alarm: 5}, hysteresis: 0.5, persistence: 2s, stale_after: 5s}
      - {id: pressure_2, name: Second, unit: bar, rate_hz: 1, stale_after: 60s, frozen_after: 10s}
machines:
  - id: deep
    channels:
      - {id: chamber.pressure_1, limits: {high_alarm: 8}}
`

var epoch = time.Date(2026, 3, 2, 6, 0, 0, 0, time.UTC)

type watched struct {
	t       *testing.T
	m       *Monitor
	changes []string
}

func newWatched(t *testing.T) *watched {
	d, err := ParseDictionary([]byte(monitorYAML))
	if err != nil {
		t.Fatal(err)
	}
	return &watched{t: t, m: NewMonitor(d)}
}

func (w *watched) tell(c Change) {
	w.changes = append(w.changes, fmt.Sprintf("%v %s %s: %s", c.At.Sub(epoch).Seconds(), c.Channel.ID, c.To, c.Reason()))
}

// see is a reading at the second, with the pressures.
func (w *watched) see(second, p1, p2 float64, machine string) {
	at := epoch.Add(time.Duration(second * float64(time.Second)))
	p := &Packet{Machine: machine, State: StateBoring, Phase: PhaseStable, Chamber: &Chamber{Pressure1: p1, Pressure2: p2}}
	w.m.Observe(at, at, &Reading{Packet: p}, w.tell)
}

func (w *watched) want(want ...string) {
	w.t.Helper()
	if !slices.Equal(w.changes, want) {
		w.t.Errorf("changes are\n  %s\nwant\n  %s", strings.Join(w.changes, "\n  "), strings.Join(want, "\n  "))
	}
}

func TestMonitor(t *testing.T) {
	for _, tc := range []struct {
		name string
		in   []float64 // the pressure, second by second
		want []string
	}{
		{"nothing", []float64{3, 3, 3.9, 2.1}, nil},
		{"at the limit is beyond it, after the persistence", []float64{3, 4, 4, 4, 4}, []string{"3 warn high"}},
		{"too short", []float64{3, 4.5, 4.5, 3, 4.5, 4.5, 3}, nil},
		{"hysteresis holds the state", []float64{4.2, 4.2, 4.2, 3.9, 3.6, 3.51, 3.5}, []string{"2 warn high", "6 normal"}},
		{"through the warning to the alarm and back", []float64{4.2, 4.2, 4.2, 5, 5, 5, 4.6, 4.5, 3.4}, []string{"2 warn high", "5 alarm high", "7 warn high", "8 normal"}},
		{"straight to the alarm", []float64{5, 5, 5, 3}, []string{"2 alarm high", "3 normal"}},
		{"low", []float64{2, 2, 2, 1, 1, 1, 1.4, 1.5, 2.4, 2.5}, []string{"2 warn low", "5 alarm low", "7 warn low", "9 normal"}},
		{"from one side to the other", []float64{5, 5, 5, 1, 1, 1}, []string{"2 alarm high", "3 normal", "5 alarm low"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := newWatched(t)
			for i, v := range tc.in {
				w.see(float64(i), v, float64(i), "")
			}
			var got []string
			for _, c := range w.changes {
				second, rest, _ := strings.Cut(c, " chamber.pressure_1 ")
				state, _, _ := strings.Cut(rest, ":")
				got = append(got, second+" "+state)
			}
			if !slices.Equal(got, tc.want) {
				t.Errorf("changes are %q, want %q", got, tc.want)
			}
		})
	}
}

func TestMonitorSilence(t *testing.T) {
	w := newWatched(t)
	w.m.Check(epoch, w.tell) // nothing has ever come: nothing to be stale
	w.see(0, 4.5, 1, "")
	w.see(2, 4.5, 2, "")
	w.m.Check(epoch.Add(6*time.Second), w.tell)
	w.m.Check(epoch.Add(7*time.Second), w.tell)
	w.m.Check(epoch.Add(8*time.Second), w.tell)
	w.see(9, 4.5, 3, "") // the persistence begins anew: nobody knows what was between
	w.see(11, 4.5, 4, "")
	w.m.Check(epoch.Add(90*time.Second), w.tell)
	w.want("2 chamber.pressure_1 warn high: at or above 4 bar", "7 chamber.pressure_1 stale: no value for 5s",
		"9 chamber.pressure_1 normal: was stale", "11 chamber.pressure_1 warn high: at or above 4 bar",
		"90 chamber.pressure_1 stale: no value for 1m19s", "90 chamber.pressure_2 stale: no value for 1m19s")
	if w.m.State("chamber.pressure_2") != StateStale || !w.m.Heard().Equal(epoch.Add(11*time.Second)) {
		t.Error("state or time of the last packet is wrong")
	}
}

func TestMonitorFrozenSensor(t *testing.T) {
	w := newWatched(t)
	for s := range 15 {
		w.see(float64(s), 3, 7, "")
	}
	w.see(15, 3, 7.01, "")
	w.want("10 chamber.pressure_2 stale: the same value for 10s", "15 chamber.pressure_2 normal: was stale")

	// The source's clock is set back: the time begins anew, and does not stand still until the clock has caught up.
	w = newWatched(t)
	for s := range 5 {
		w.see(float64(3600+s), 3, 7, "")
	}
	for s := range 12 {
		w.see(float64(s), 3, 7, "")
	}
	w.want("10 chamber.pressure_2 stale: the same value for 10s")

	// A machine that stands still may show the same for ever.
	w = newWatched(t)
	for s := range 60 {
		at := epoch.Add(time.Duration(s) * time.Second)
		w.m.Observe(at, at, &Reading{Packet: &Packet{State: StateStandstill, Chamber: &Chamber{Pressure1: 3, Pressure2: 7}}}, w.tell)
	}
	w.want()
}

func TestMonitorTakesTheLimitsOfTheMachine(t *testing.T) {
	w := newWatched(t)
	for s := range 4 {
		w.see(float64(s), 7, float64(s), "deep")
	}
	w.want()
	for s := range 4 {
		w.see(float64(s+4), 8, float64(s), "deep")
	}
	w.want("6 chamber.pressure_1 alarm high: at or above 8 bar")
}

// A value that is not there, or no number, changes nothing.
func TestMonitorWithoutValue(t *testing.T) {
	w := newWatched(t)
	w.see(0, math.NaN(), 1, "")
	w.m.Observe(epoch, epoch, &Reading{Packet: &Packet{}}, w.tell)
	w.see(1, math.Inf(1), 1, "")
	w.see(4, math.Inf(1), 2, "")
	w.want("4 chamber.pressure_1 alarm high: at or above 5 bar")
}

func TestDeriver(t *testing.T) {
	g := Geometry{Diameter: 2, Cutters: 10}
	p := &Packet{State: StateBoring, Phase: PhaseStable, Ring: 5, Cutterhead: &Cutterhead{Speed: 2, Torque: 100}, Thrust: &Thrust{Total: 3000, Advance: 20}, Guidance: &Guidance{Chainage: 10}}
	d := NewDeriver()
	got := d.Update(g, epoch, p)
	// By hand: p = 20/2 = 10 mm/rev; FPI = 3000/(10·10); TPI = 100/(10·10); SE = (3000/π + 2π·100/(π·0.01))/3600.
	for _, v := range []struct {
		name      string
		got, want float64
	}{{"penetration", got.Penetration, 10}, {"FPI", got.FPI, 30}, {"TPI", got.TPI, 1}, {"specific energy", got.SpecificEnergy, 5.8208}} {
		if math.Abs(v.got-v.want) > 1e-3 {
			t.Errorf("%s is %v, want %v", v.name, v.got, v.want)
		}
	}
	if !math.IsNaN(got.Utilisation) || !math.IsNaN(got.AdvancePerRing) {
		t.Errorf("one packet has utilisation %v and advance per ring %v", got.Utilisation, got.AdvancePerRing)
	}
	// A minute of boring, a minute of standing, an hour of silence that counts for nothing.
	at := epoch
	next := func(step time.Duration) Derived { at = at.Add(step); return d.Update(g, at, p) }
	for range 6 {
		got = next(10 * time.Second)
	}
	p.State = StateStandstill
	for range 6 {
		got = next(10 * time.Second)
	}
	if math.Abs(got.Utilisation-100*7.0/12) > 1e-9 { // the first of the second six still bored until then
		t.Errorf("utilisation is %v", got.Utilisation)
	}
	before := got.Utilisation
	if got = next(time.Hour); got.Utilisation != before {
		t.Errorf("utilisation is %v after an hour of silence, was %v", got.Utilisation, before)
	}
	if got = next(25 * time.Hour); !math.IsNaN(got.Utilisation) {
		t.Errorf("utilisation is %v a day later", got.Utilisation)
	}
	// Ring 5 was not seen from its beginning, ring 6 was.
	p.Ring, p.Guidance.Chainage = 6, 11
	next(time.Second)
	p.Ring, p.Guidance.Chainage = 7, 12.25
	got = next(time.Second)
	if math.Abs(got.AdvancePerRing-1250) > 1e-6 {
		t.Errorf("advance per ring is %v", got.AdvancePerRing)
	}
	r := Reading{Packet: p, Derived: got}
	if v, ok := r.Value("derived.advance_per_ring"); !ok || v != got.AdvancePerRing {
		t.Errorf("reading has %v, %v", v, ok)
	}
	if v, ok := r.Value("thrust.total"); !ok || v != 3000 {
		t.Errorf("reading has thrust %v, %v", v, ok)
	}
	p.Cutterhead.Speed = 0
	if _, ok := (&Reading{p, g.Derive(p)}).Value("derived.fpi"); ok {
		t.Error("a head that does not turn has an index")
	}
}

func TestMatchChannels(t *testing.T) {
	for _, tc := range []struct {
		in   []string
		want string
	}{
		{[]string{"thrust.total", "cutterhead.*", "cutterhead.speed"}, "thrust.total cutterhead.speed cutterhead.torque cutterhead.motor_current cutterhead.motor_temperature cutterhead.penetration"},
		{[]string{"derived.f*"}, "derived.fpi"},
		{[]string{"*.torque"}, "cutterhead.torque screw.torque"},
	} {
		if got, err := MatchChannels(tc.in); err != nil || strings.Join(got, " ") != tc.want {
			t.Errorf("%q gives %q, %v", tc.in, got, err)
		}
	}
	for _, bad := range []string{"thrust", "hope.*", "thrust.[", ""} {
		if _, err := MatchChannels([]string{bad}); err == nil || !strings.Contains(err.Error(), "channel") {
			t.Errorf("%q: error is %v", bad, err)
		}
	}
}
