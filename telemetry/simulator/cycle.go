package simulator

import (
	"math"
	"time"

	"tbmsock/telemetry"
)

// The stroke's phases.
const (
	rotateFor    = 25.0 // s: free rotating, at least
	freeSpeed    = 28.0 // mm/min: free advancing
	increaseFor  = 75.0 // s: increasing
	decreaseAt   = 14.0 // mm before the stroke's end: decreasing
	leastShare   = 0.12 // of the load when the head touches the face
	gapAfterStop = 1.0  // mm that the machine is drawn back in a stop
)

// cycle is what the machine is doing: the stroke's five phases, the ring, the stops.
type cycle struct {
	state telemetry.State
	phase telemetry.Phase
	since float64 // s in this state and phase
	left  float64 // s that a ring or a stop still takes

	stroke float64 // mm
	gap    float64 // mm between head and face
	ring   int
	built  float64 // s that the ring takes in all
	rings  int     // built since the start
}

func (c *cycle) enter(s telemetry.State, p telemetry.Phase) {
	c.state, c.phase, c.since = s, p, 0
}

// turning tells whether the head turns.
func (c *cycle) turning() bool { return c.state == telemetry.StateBoring }

// stepCycle decides what the machine does next; share is how far it is under load, 0 to 1.
func (m *Machine) stepCycle(h float64) (share float64) {
	c := &m.cycle
	c.since += h
	if m.gasTrip() {
		return 0
	}
	switch c.state {
	case telemetry.StateBoring:
		return m.stepStroke(h)
	case telemetry.StateRingBuilding:
		c.left -= h
		// Segment by segment the cylinders are drawn back, and come to rest on the new ring.
		done := 1 - c.left/c.built
		c.stroke = min(c.stroke, m.spec.stroke*(1-clamp((done-0.1)/0.8, 0, 1)))
		if c.left > 0 {
			return 0
		}
		c.stroke, c.gap = 0, m.spec.gap
		c.ring++
		c.rings++
		if c.rings%m.spec.serviceEach == 0 {
			m.stop(m.spec.serviceFor, 0.2)
			return 0
		}
		c.enter(telemetry.StateBoring, telemetry.PhaseFreeRotating)
	case telemetry.StateStandstill:
		if c.left -= h; c.left <= 0 {
			c.enter(telemetry.StateBoring, telemetry.PhaseFreeRotating)
		}
	case telemetry.StateFault:
		// The gas is gone: boring goes on when the air has been good for a minute.
		if c.left -= h; c.left <= 0 {
			c.gap = max(c.gap, gapAfterStop)
			c.enter(telemetry.StateBoring, telemetry.PhaseFreeRotating)
		}
	}
	return 0
}

// gasTrip cuts the power off at 20 % LEL, and lets it come back below 10 %.
func (m *Machine) gasTrip() bool {
	c := &m.cycle
	if ch4 := m.plant.ch4(m); ch4 >= 20 || c.state == telemetry.StateFault && ch4 >= 10 {
		if c.state != telemetry.StateFault {
			m.resume = *c
			c.enter(telemetry.StateFault, telemetry.PhaseNone)
		}
		c.left = 60
		return true
	}
	if c.state == telemetry.StateFault && m.resume.state == telemetry.StateRingBuilding && c.left <= 1 {
		// The ring is built on from where it was.
		*c = m.resume
		m.resume = cycle{}
	}
	return false
}

// stepStroke passes through the five phases.
func (m *Machine) stepStroke(h float64) (share float64) {
	c := &m.cycle
	switch c.phase {
	case telemetry.PhaseFreeRotating:
		if c.since >= rotateFor && m.head.speed > 0.9*m.head.aim {
			c.enter(telemetry.StateBoring, telemetry.PhaseFreeAdvancing)
		}
	case telemetry.PhaseFreeAdvancing:
		if c.gap <= 0 {
			c.enter(telemetry.StateBoring, telemetry.PhaseIncreasing)
			return leastShare
		}
	case telemetry.PhaseIncreasing:
		x := min(c.since/increaseFor, 1)
		if x >= 1 {
			c.enter(telemetry.StateBoring, telemetry.PhaseStable)
		}
		return leastShare + (1-leastShare)*(1-math.Cos(math.Pi*x))/2
	case telemetry.PhaseStable:
		if c.stroke >= m.spec.stroke-decreaseAt {
			c.enter(telemetry.StateBoring, telemetry.PhaseDecreasing)
			return 1
		}
		if m.rnd.Float64() < h/m.spec.stopEvery.Seconds() {
			c.gap = gapAfterStop
			m.stop(m.spec.stopFor, 0.8)
			return 0
		}
		return 1
	case telemetry.PhaseDecreasing:
		if c.stroke >= m.spec.stroke {
			c.stroke = m.spec.stroke
			c.left = m.spec.ringBuild.Seconds() * math.Exp(0.15*m.rnd.NormFloat64())
			c.built = c.left
			c.enter(telemetry.StateRingBuilding, telemetry.PhaseNone)
			return 0
		}
		return max(1-c.since/40, 0.35)
	}
	return 0
}

// stop stands still for about the time.
func (m *Machine) stop(about time.Duration, spread float64) {
	m.cycle.left = about.Seconds() * math.Exp(spread*m.rnd.NormFloat64()-spread*spread/2)
	m.cycle.enter(telemetry.StateStandstill, telemetry.PhaseNone)
}
