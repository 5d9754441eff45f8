// Package simulator is a tunnel boring machine that bores, for demonstrations and tests: an EPB
// machine in soil, a shield in hard rock, or a student team's 0.5 m machine, whose readings hang
// together by the published laws instead of being drawn apart. It is seeded, so that the same seed
// gives the same packets, and stepped by the time that its caller passes: it has no clock, no
// socket and no goroutine of its own.
package simulator

import (
	"fmt"
	"math"
	"math/rand/v2"
	"time"

	"tbmsock/telemetry"
)

// Options configures a [Machine].
type Options struct {
	Machine   Kind // EPB if empty
	Seed      uint64
	Start     time.Time // of the simulation: nothing moves before it
	Scenario  *Scenario // the machine's built-in one if nil
	Noiseless bool      // readings are what is, not what sensors show of it
}

// Machine is one simulated machine. It is for one goroutine.
type Machine struct {
	kind     Kind
	spec     spec
	scenario *Scenario
	rnd      *rand.Rand
	last     time.Time
	clock    float64 // s since the start

	timed, placed []Planned // faults that have not begun
	faults        faults
	cycle         cycle
	resume        cycle // what a power cut has broken off
	ground        Ground
	head          head
	chamber       chamber
	guidance      guidance
	plant         plant
	sensors       []sensor // by channel; nil: noiseless

	hardness wander // of the ground, over distance
	grip     wander // of the ground on the shield, over distance
	operator wander // of who bores, over time
}

// head is the turning head and what pushes it.
type head struct {
	aim         float64 // rpm
	speed       float64 // rpm
	spin        lag
	bite        lag
	penetration float64 // mm/rev
	advance     float64 // mm/min
	towing      float64 // kN
	load
}

const (
	maxStep = 0.1           // s: the machine is stepped so fine, or as fine as it is read
	maxGap  = 4 * time.Hour // a machine that was not read for longer stood still for the rest
)

// New makes a machine that begins with the first stroke of its first ring.
func New(opts Options) (*Machine, error) {
	if opts.Machine == "" {
		opts.Machine = EPB
	}
	sp, ok := specs[opts.Machine]
	if !ok {
		return nil, fmt.Errorf("machine %q: use %s, %s or %s", opts.Machine, EPB, HardRock, Micro)
	}
	if opts.Scenario == nil {
		s, err := DefaultScenario(opts.Machine)
		if err != nil {
			return nil, err
		}
		opts.Scenario = s
	}
	for _, l := range opts.Scenario.Layers {
		if rock := l.Ground.soil == (soil{}); rock != (sp.discForce > 0) {
			return nil, fmt.Errorf("scenario: machine %s does not bore in %s", opts.Machine, l.Ground.name)
		}
	}
	m := &Machine{
		kind: opts.Machine, spec: sp, scenario: opts.Scenario, last: opts.Start,
		rnd:      rand.New(rand.NewPCG(opts.Seed, 0x7b35)),
		faults:   newFaults(),
		head:     head{spin: lag{tau: 6}, bite: lag{tau: 2.5}},
		hardness: wander{tau: 0.25, sigma: 1},
		grip:     wander{tau: 0.8, sigma: 0.38},
		operator: wander{tau: 240, sigma: 0.06},
	}
	m.timed, m.placed = opts.Scenario.plan()
	m.cycle = cycle{ring: opts.Scenario.Start.Ring, gap: sp.gap}
	m.cycle.enter(telemetry.StateBoring, telemetry.PhaseFreeRotating)
	m.ground = m.scenario.at(m.scenario.Start.Chainage)
	m.chamber = newChamber(m)
	m.guidance = newGuidance(m.scenario)
	m.plant = newPlant(m)
	if !opts.Noiseless {
		m.sensors = newSensors(opts.Machine)
	}
	m.step(0)
	return m, nil
}

// Next steps the machine to the time and writes its reading into dst, whose memory is used again. A
// time before the last one counts as the last one.
func (m *Machine) Next(at time.Time, dst *telemetry.Packet) {
	dt := min(max(at.Sub(m.last), 0), maxGap)
	if at.After(m.last) {
		m.last = at
	}
	if dt > 0 {
		n := int((dt-1)/(100*time.Millisecond)) + 1
		h := dt.Seconds() / float64(n)
		for range n {
			m.step(h)
		}
	}
	m.read(dst)
	if m.sensors != nil {
		m.sense(dt.Seconds(), dst)
	}
}

// step moves everything by h seconds.
func (m *Machine) step(h float64) {
	m.clock += h
	m.stepFaults(h)
	share := m.stepCycle(h)
	m.stepHead(h, share)
	m.chamber.step(m, h)
	m.push()
	m.guidance.step(m, h)
	m.plant.step(m, h)
}

// stepHead turns and advances: the advance rate is speed times penetration, v = n·p, and thrust and
// torque are what the ground asks for that.
func (m *Machine) stepHead(h, share float64) {
	s, hd, c := &m.spec, &m.head, &m.cycle
	jam := m.faults.jam.x
	ds := hd.advance / 60 / 1000 * h // m
	hardness := m.hardness.step(ds, m.rnd)
	grip := m.grip.step(ds, m.rnd)
	mood := m.operator.step(h, m.rnd)
	m.ground = m.scenario.at(m.guidance.chainage)
	g := &m.ground
	g.fpi *= max(1+g.spread*hardness, 0.3) * max(1-0.45*jam, 0.2)
	g.soil.cohesion *= max(1+0.5*g.spread*hardness, 0.3) * (1 + 1.1*m.faults.clog.x) * (1 + 0.3*jam)
	g.soil.cutting *= max(1+g.spread*hardness, 0.3)
	hd.towing = s.towing * max(1+grip, 0.3) * (1 + 1.85*jam)

	hd.aim = s.speed * g.speed * (1 + 0.5*mood) * max(1-0.686*jam, 0.15)
	spin := 0.0
	if c.turning() {
		spin = hd.aim
	}
	if hd.speed = hd.spin.to(spin, h); hd.speed < 0.01 {
		hd.speed = 0
	}
	pc := m.chamber.pressure
	aim := 0.0
	switch {
	case c.phase == telemetry.PhaseFreeAdvancing:
		aim = freeSpeed / max(hd.speed, 0.5)
	case share > 0:
		// In a jam the operator pushes with all that there is, and gets little for it, in jerks.
		limits := *s
		limits.maxThrust *= 1 + jam
		jerk := 1.0
		if jam > 0.01 {
			jerk = 1 + (0.7*math.Exp(m.faults.jamRun.x)-1)*min(jam, 1)
		}
		aim = limits.penetration(g, hd.speed, pc, hd.towing, share*(1+mood)*jerk*(1-0.55*min(m.faults.leak.x, 1)))
		if jam > 0.01 && s.discForce > 0 {
			// Loose rock: the discs would go in deeper, but the muck does not get out.
			aim = min(aim, s.discForce/65*share*(1+mood)*jerk)
		}
	}
	hd.penetration = hd.bite.to(aim, h)
	if c.phase == telemetry.PhaseIncreasing && hd.penetration > 1.1*aim {
		hd.penetration, hd.bite.x = 1.1*aim, 1.1*aim // the face does not give way to a head that comes too fast
	}
	if hd.speed == 0 || hd.penetration < 0.005 || !c.turning() || c.phase == telemetry.PhaseFreeRotating {
		hd.penetration = 0
		if !c.turning() || c.phase == telemetry.PhaseFreeRotating {
			hd.bite.x = 0
		}
	}
	hd.advance = hd.speed * hd.penetration
	moved := hd.advance / 60 * h // mm
	c.stroke = min(c.stroke+moved, s.stroke)
	if c.gap > 0 {
		c.gap -= moved
	}
}

// push sets thrust and torque, with the chamber as it is now.
func (m *Machine) push() {
	s, hd, c := &m.spec, &m.head, &m.cycle
	cutting := hd.penetration
	if c.phase == telemetry.PhaseFreeAdvancing || c.phase == telemetry.PhaseFreeRotating {
		cutting = 0 // there is nothing before the head
	}
	hd.load = s.carry(&m.ground, cutting, m.chamber.pressure, hd.towing)
	if hd.advance == 0 {
		hd.thrust -= hd.towing * (1 - s.hold)
	}
	// The head's own weight and seals, where nothing else holds it.
	hd.torque = max(hd.torque, 0.03*s.maxTorque)
	if hd.speed < 0.3*s.speed {
		hd.torque *= hd.speed / (0.3 * s.speed)
	}
}
