// Package simulator is a machine that bores, for demonstrations and tests: seeded, so that the
// same seed gives the same packets, and stepped by the time that its caller passes.
package simulator

import (
	"fmt"
	"math"
	"math/rand/v2"
	"time"

	"tbmsock/telemetry"
)

// Kind is a kind of machine.
type Kind string

// The machines.
const (
	EPB      Kind = "epb"      // earth pressure balance, 6.3 m
	HardRock Kind = "hardrock" // gripper or shield in rock, 7.9 m
	Micro    Kind = "micro"    // microtunnelling, 0.5 m
)

// figures are a machine's typical readings while it bores.
type figures struct {
	speed       float64 // rpm
	penetration float64 // mm/rev
	thrust      float64 // kN
	torque      float64 // kNm
	pressure    float64 // bar
	stroke      float64 // mm, one ring
	building    time.Duration
}

var machines = map[Kind]figures{
	EPB:      {2.0, 23, 11258, 1980, 3.5, 1200, 30 * time.Minute},
	HardRock: {3.5, 3.3, 20864, 1938, 0, 1200, 30 * time.Minute},
	Micro:    {6, 7, 15, 0.55, 2.1, 500, 10 * time.Minute},
}

// Options configures a [Machine].
type Options struct {
	Machine Kind // EPB if empty
	Seed    uint64
	Start   time.Time // of the simulation: nothing moves before it
}

// Machine is one simulated machine. It is for one goroutine.
type Machine struct {
	f        figures
	rnd      *rand.Rand
	last     time.Time
	ring     int
	stroke   float64       // mm
	building time.Duration // left of the ring that is being built
	chainage float64       // m
	hardness float64       // of the ground, about 1; wanders
}

// New makes a machine that begins with the first stroke of its first ring.
func New(opts Options) (*Machine, error) {
	if opts.Machine == "" {
		opts.Machine = EPB
	}
	f, ok := machines[opts.Machine]
	if !ok {
		return nil, fmt.Errorf("machine %q: use %s, %s or %s", opts.Machine, EPB, HardRock, Micro)
	}
	return &Machine{f: f, rnd: rand.New(rand.NewPCG(opts.Seed, 0x7b35)), last: opts.Start, ring: 1, hardness: 1}, nil
}

// Next steps the machine to the time and writes its reading into dst. A time before the last one
// counts as the last one.
func (m *Machine) Next(at time.Time, dst *telemetry.Packet) {
	dt := max(at.Sub(m.last), 0)
	if at.After(m.last) {
		m.last = at
	}
	m.clear(dst)
	dst.State, dst.Phase, dst.Ring = telemetry.StateBoring, telemetry.PhaseStable, m.ring
	if m.building > 0 {
		m.building -= dt
		dst.State, dst.Phase = telemetry.StateRingBuilding, telemetry.PhaseNone
		if m.building <= 0 {
			m.ring++
			m.stroke = 0
		}
	} else {
		m.bore(dt, dst)
	}
	dst.Thrust.Stroke = round(m.stroke, 1)
	dst.Guidance.Chainage = round(m.chainage, 4)
	if m.f.pressure > 0 {
		c := dst.Chamber
		for i, cell := range []*float64{&c.Pressure1, &c.Pressure2, &c.Pressure3, &c.Pressure4, &c.Pressure5} {
			// The cells lower down carry the weight of the muck above them.
			depth := []float64{-0.15, -0.08, 0.08, 0.08, -0.08}[i]
			*cell = round(m.f.pressure*(1+0.005*m.rnd.NormFloat64())+depth, 3)
		}
	}
}

// clear makes dst a reading of a machine that does nothing, in the groups that this one has, whose
// memory is used again.
func (m *Machine) clear(dst *telemetry.Packet) {
	fresh(&dst.Cutterhead)
	fresh(&dst.Thrust)
	fresh(&dst.Guidance)
	if m.f.pressure > 0 {
		fresh(&dst.Chamber)
	}
}

func fresh[T any](p **T) {
	if *p == nil {
		*p = new(T)
		return
	}
	var zero T
	**p = zero
}

// bore advances: in harder ground the penetration falls and the thrust rises, and the advance
// rate is speed times penetration.
func (m *Machine) bore(dt time.Duration, dst *telemetry.Packet) {
	// An Ornstein-Uhlenbeck walk with a time constant of two minutes.
	tau := dt.Seconds() / 120
	m.hardness += (1-m.hardness)*min(tau, 1) + 0.2*math.Sqrt(min(tau, 1))*m.rnd.NormFloat64()
	m.hardness = min(max(m.hardness, 0.5), 2)
	noise := func() float64 { return 1 + 0.01*m.rnd.NormFloat64() }
	penetration := m.f.penetration / m.hardness
	speed := m.f.speed * noise()
	advance := speed * penetration // mm/min
	m.stroke += advance * dt.Minutes()
	m.chainage += advance * dt.Minutes() / 1000
	if m.stroke >= m.f.stroke {
		m.stroke = m.f.stroke
		m.building = m.f.building
	}
	dst.Cutterhead.Speed = round(speed, 2)
	dst.Cutterhead.Torque = round(m.f.torque*math.Sqrt(m.hardness)*noise(), 2)
	dst.Thrust.Total = round(m.f.thrust*m.hardness*noise(), 1)
	dst.Cutterhead.Penetration = round(penetration, 2)
	dst.Thrust.Advance = round(advance, 1)
}

func round(v float64, digits int) float64 {
	p := math.Pow10(digits)
	return math.Round(v*p) / p
}
