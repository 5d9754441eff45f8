package simulator

import (
	"math"
	"testing"
	"time"

	"tbmsock/telemetry"
)

var start = time.Date(2026, 3, 2, 6, 0, 0, 0, time.UTC)

// within fails if got is not within the share of want.
func within(t *testing.T, what string, got, want, share float64) {
	t.Helper()
	if !(math.Abs(got-want) <= share*math.Abs(want)) {
		t.Errorf("%s is %.4g, want %.4g ± %.3g %%", what, got, want, share*100)
	}
}

func between(t *testing.T, what string, got, lo, hi float64) {
	t.Helper()
	if !(got >= lo && got <= hi) {
		t.Errorf("%s is %.4g, want %.4g to %.4g", what, got, lo, hi)
	}
}

// stat gathers a mean and a spread.
type stat struct {
	n, sum, squares, max float64
}

func (s *stat) add(v float64) {
	s.n++
	s.sum += v
	s.squares += v * v
	s.max = math.Max(s.max, v)
}
func (s *stat) mean() float64 { return s.sum / s.n }
func (s *stat) sd() float64   { return math.Sqrt(max(s.squares/s.n-s.mean()*s.mean(), 0)) }

func newMachine(t testing.TB, o Options) *Machine {
	t.Helper()
	o.Start = start
	m, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// The published values that a head of these dimensions comes to.
func TestHeadTorques(t *testing.T) {
	central := soil{cutting: 860, cohesion: 12, friction: 0.035, faces: 1.75, opening: 0.35}
	clogged := soil{cutting: 1000, cohesion: 20, friction: 0.06, faces: 2, opening: 0.25}
	within(t, "EPB head, 6.3 m, central", epbTorque(central, 22.5, 3.15, 0.07*6.3, 0), 1443, 0.02)
	within(t, "EPB head, 6.3 m, clogged", epbTorque(clogged, 22.5, 3.15, 0.07*6.3, 100), 3751, 0.03)
	soft := central
	soft.cohesion = 6.5 // nothing stands above a head so close to the surface
	within(t, "head of 0.5 m", epbTorque(soft, 7, 0.25, 0.035, 0), 0.55, 0.05)
	// 13.7 MN on 7.93 m at an index of 120 kN a cutter and mm/rev; 55 discs of 249 kN.
	p := 13700.0 / 55 / 120
	within(t, "disc head, 7.93 m", discTorque(55, 120*p, p, 7.93/2), 2134, 0.02)
	if c := cuttingCoefficient(0); c != 0 {
		t.Errorf("a disc that does not penetrate has the cutting coefficient %g", c)
	}
}

// day is what a day of a machine's boring shows.
type day struct {
	thrust, torque, speed, advance, penetration, fpi, tpi, axis stat
	boring                                                      float64 // share of the time
	byGround                                                    map[string]*stat
}

// simulateDay takes a reading each second for 24 hours and checks, on each, what must always hold.
func simulateDay(t *testing.T, k Kind, seed uint64) day {
	t.Helper()
	m := newMachine(t, Options{Machine: k, Seed: seed, Noiseless: true})
	s := &m.spec
	d := day{byGround: map[string]*stat{}}
	var p telemetry.Packet
	var energy, chainage float64
	var ring int
	phase := telemetry.PhaseNone
	worst := map[string]float64{}
	off := func(what string, got, want float64) {
		worst[what] = math.Max(worst[what], math.Abs(got-want)/math.Max(math.Abs(want), 1e-9))
	}
	for i := 1; i <= 86400; i++ {
		m.Next(start.Add(time.Duration(i)*time.Second), &p)
		if p.Power.Energy < energy || p.Guidance.Chainage < chainage || p.Ring < ring {
			t.Fatalf("second %d: energy %g after %g, chainage %g after %g, ring %d after %d", i, p.Power.Energy, energy, p.Guidance.Chainage, chainage, p.Ring, ring)
		}
		energy, chainage, ring = p.Power.Energy, p.Guidance.Chainage, p.Ring
		off("v = n·p", p.Thrust.Advance, p.Cutterhead.Speed*p.Cutterhead.Penetration)
		off("F = Σ P·A", (p.Thrust.Sector1+p.Thrust.Sector2+p.Thrust.Sector3+p.Thrust.Sector4)/4*100*s.ramArea(), p.Thrust.Total)
		if p.State == telemetry.StateBoring {
			d.boring += 1.0 / 86400
			if p.Phase < phase {
				t.Fatalf("second %d: phase %s after %s", i, p.Phase, phase)
			}
		} else if p.Thrust.Advance != 0 || p.Phase != telemetry.PhaseNone {
			t.Fatalf("second %d: advances at %g mm/min in phase %s while %s", i, p.Thrust.Advance, p.Phase, p.State)
		}
		phase = p.Phase
		if p.Phase != telemetry.PhaseStable || p.Cutterhead.Penetration < 0.5 {
			continue
		}
		d.see(m, &p, off)
	}
	for what, w := range worst {
		if w > 1e-6 {
			t.Errorf("%s is off by %.2g of its value", what, w)
		}
	}
	return d
}

// see holds one reading of stable boring against the laws.
func (d *day) see(m *Machine, p *telemetry.Packet, off func(what string, got, want float64)) {
	s, g := &m.spec, &m.ground
	pen, area := p.Cutterhead.Penetration, s.area()
	n := float64(s.cutters)
	fpi, tpi := p.Thrust.Total/(n*pen), p.Cutterhead.Torque/(n*pen)
	geometry := telemetry.Geometry{Diameter: s.diameter, Cutters: s.cutters}
	derived := geometry.Derive(p)
	off("FPI", derived.FPI, fpi)
	off("TPI", derived.TPI, tpi)
	off("specific energy", derived.SpecificEnergy, (p.Thrust.Total/area+2*math.Pi*p.Cutterhead.Torque/(area*pen/1000))/3600)
	if s.discForce > 0 {
		fn := (p.Thrust.Total - m.head.towing) / n
		off("disc torque", p.Cutterhead.Torque, math.Max(discTorque(s.cutters, fn, pen, s.radius()), 0.03*s.maxTorque))
	} else {
		off("EPB torque", p.Cutterhead.Torque, epbTorque(g.soil, pen, s.radius(), 0.07*s.diameter, m.chamber.pressure*100-g.water))
	}
	if p.Conditioning != nil {
		off("foam", p.Conditioning.FoamFlow, p.Conditioning.FoamInjectionRatio/100*area*p.Thrust.Advance)
	}
	d.thrust.add(p.Thrust.Total)
	d.torque.add(p.Cutterhead.Torque)
	d.speed.add(p.Cutterhead.Speed)
	d.advance.add(p.Thrust.Advance)
	d.penetration.add(pen)
	d.fpi.add(fpi)
	d.tpi.add(tpi)
	if p.Chamber != nil {
		d.axis.add(m.chamber.pressure)
	}
	if d.byGround[g.name] == nil {
		d.byGround[g.name] = &stat{}
	}
	d.byGround[g.name].add(fpi)
}

func TestPhysicsOfADay(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: simulated days")
	}
	for _, tc := range []struct {
		kind  Kind
		check func(t *testing.T, d day)
	}{
		// Measured: EPB 6 to 9 m, mean and greatest.
		{EPB, func(t *testing.T, d day) {
			within(t, "mean thrust", d.thrust.mean(), 11258, 0.05)
			between(t, "greatest thrust", d.thrust.max, 11600, 13235)
			within(t, "mean torque", d.torque.mean(), 1980, 0.06)
			between(t, "greatest torque", d.torque.max, 2050, 2410)
			within(t, "mean advance", d.advance.mean(), 46, 0.08)
			between(t, "greatest advance", d.advance.max, 50, 80)
			between(t, "mean penetration", d.penetration.mean(), 10, 35)
			between(t, "greatest speed", d.speed.max, 1.5, 3.4)
			between(t, "mean face pressure", d.axis.mean(), 3.4, 3.7)
			between(t, "mean FPI, weak ground", d.fpi.mean(), 4, 15)
		}},
		// Measured: 7.93 m, granite, mean ± spread.
		{HardRock, func(t *testing.T, d day) {
			between(t, "mean thrust", d.thrust.mean(), 20864-4788/2, 20864+4788/2)
			between(t, "spread of thrust", d.thrust.sd(), 4788*0.5, 4788*1.2)
			between(t, "mean torque", d.torque.mean(), 1938-587/2, 1938+587/2)
			between(t, "spread of torque", d.torque.sd(), 587*0.5, 587*1.2)
			between(t, "mean speed", d.speed.mean(), 3.5-0.25, 3.5+0.25)
			between(t, "spread of speed", d.speed.sd(), 0.02, 1)
			between(t, "mean advance", d.advance.mean(), 11.7-3.5, 11.7+3.5)
			between(t, "spread of advance", d.advance.sd(), 3.5, 14)
			between(t, "greatest advance", d.advance.max, 20, 120)
			within(t, "mean FPI", d.fpi.mean(), 120, 0.25)
			between(t, "spread of FPI", d.fpi.sd(), 25, 63*1.1)
			between(t, "mean TPI", d.tpi.mean(), 10.4-2.6, 10.4+2.6)
			if g := d.byGround["granite"]; g == nil || g.n == 0 {
				t.Error("no granite in a day")
			}
		}},
		// A student team's machine.
		{Micro, func(t *testing.T, d day) {
			between(t, "mean thrust", d.thrust.mean(), 6, 25)
			between(t, "greatest thrust", d.thrust.max, 15, 25)
			between(t, "mean torque", d.torque.mean(), 0.45, 0.75)
			between(t, "greatest torque", d.torque.max, 0.6, 0.9)
			within(t, "mean advance", d.advance.mean(), 42, 0.12)
			between(t, "greatest advance", d.advance.max, 45, 60)
			between(t, "greatest speed", d.speed.max, 5, 15)
			between(t, "mean slurry pressure", d.axis.mean(), 1.9, 2.45)
		}},
	} {
		t.Run(string(tc.kind), func(t *testing.T) {
			for seed := uint64(1); seed <= days; seed++ {
				d := simulateDay(t, tc.kind, seed)
				between(t, "utilisation", d.boring, 0.24, 0.55)
				tc.check(t, d)
				if t.Failed() {
					t.Fatalf("with seed %d", seed)
				}
			}
		})
	}
}

// In each of the rocks the index of the whole machine lies where it was measured.
func TestPenetrationIndexByRock(t *testing.T) {
	for rock, want := range map[string][2]float64{"granite": {57, 183}, "competent": {25, 60}, "fractured": {12, 35}, "weak": {4, 15}} {
		s, err := ParseScenario([]byte("layers: [{length: 500, ground: " + rock + "}]"))
		if err != nil {
			t.Fatal(err)
		}
		m := newMachine(t, Options{Machine: HardRock, Seed: 7, Scenario: s, Noiseless: true})
		var p telemetry.Packet
		var fpi stat
		for i := range 4 * 3600 {
			m.Next(start.Add(time.Duration(i)*time.Second), &p)
			if p.Phase == telemetry.PhaseStable {
				fpi.add(telemetry.Geometry{Diameter: 7.93, Cutters: 52}.Derive(&p).FPI)
			}
		}
		between(t, "mean FPI in "+rock, fpi.mean(), want[0], want[1])
	}
}

// A real jam, beside normal: F 32.3 against 20.9 MN, T 789 against 1,938 kNm, n 1.1 against 3.5 rpm, v 2.7
// against 11.7 mm/min, FPI 284 against 120.
func TestJamHasTheRatiosOfARealOne(t *testing.T) {
	var normal, jam [5]stat
	for seed := uint64(1); seed <= 2*days; seed++ {
		m := newMachine(t, Options{Machine: HardRock, Seed: seed, Noiseless: true})
		var p telemetry.Packet
		for i := range 10 * 3600 {
			m.Next(start.Add(time.Duration(i)*time.Second), &p)
			if i%5400 == 3600 {
				if err := m.Inject(Fault{Kind: Jam, For: 20 * time.Minute}); err != nil {
					t.Fatal(err)
				}
			}
			if p.Phase != telemetry.PhaseStable {
				continue
			}
			into := &normal
			if j := m.faults.jam.x; j > 0.95 {
				into = &jam
			} else if j > 0.02 {
				continue
			}
			for i, v := range []float64{p.Thrust.Total, p.Cutterhead.Torque, p.Cutterhead.Speed, p.Thrust.Advance,
				p.Thrust.Total / (52 * p.Cutterhead.Penetration)} {
				into[i].add(v)
			}
		}
	}
	if jam[0].n < 1800 {
		t.Fatalf("only %v s of jams", jam[0].n)
	}
	for i, want := range []struct {
		name         string
		jam, normal  float64
		withinShares float64
	}{{"thrust", 32.3, 20.9, 0.1}, {"torque", 789, 1938, 0.15}, {"speed", 1.1, 3.5, 0.05}, {"advance", 2.7, 11.7, 0.15}, {"FPI", 284, 120, 0.15}} {
		within(t, "ratio of "+want.name+" in a jam", jam[i].mean()/normal[i].mean(), want.jam/want.normal, want.withinShares)
	}
}
