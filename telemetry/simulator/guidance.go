package simulator

import "math"

// guidance is where the machine is and how it is steered. The tunnel's line is a straight or a
// curve of constant grade; the machine swings about it, a little high and to the left, as operators
// like to drive.
type guidance struct {
	chainage                     float64 // m
	easting, northing, elevation float64 // m
	design                       float64 // deg: the line's azimuth here
	grade                        float64 // deg: the line's grade
	curve                        float64 // m
	side, height                 axis
	roll                         float64 // deg
	turn                         float64 // +1 or -1: the way that the head turns
	rollDrift                    wander
}

// axis is the swing about the line in one direction: d″ = −(d−aim)/L² − 2ζ·d′/L + w over distance.
type axis struct {
	aim       float64 // mm
	deviation float64 // mm
	heading   float64 // deg off the line
	command   float64 // what the cylinders are told, −1 to 1
	push      wander  // of the ground, over distance
}

const swing = 7.0 // m: L

func newGuidance(s *Scenario) guidance {
	g := guidance{
		chainage: s.Start.Chainage, easting: s.Start.Easting, northing: s.Start.Northing, elevation: s.Start.Elevation,
		design: s.Start.Azimuth, grade: degrees(math.Atan(s.Start.Grade / 100)), curve: s.Curve, turn: 1,
		side: axis{aim: -8, deviation: -8}, height: axis{aim: 27, deviation: 27},
		rollDrift: wander{tau: 1200, sigma: 0.25},
	}
	g.side.push = wander{tau: 2, sigma: 0.012}
	g.height.push = wander{tau: 2, sigma: 0.012}
	return g
}

func (g *guidance) yaw() float64   { return math.Mod(g.design+g.side.heading+360, 360) }
func (g *guidance) pitch() float64 { return g.grade + g.height.heading }

// step moves the machine along its own axis:
// ds = v·dt; ΔE = ds·cosθ·sinψ; ΔN = ds·cosθ·cosψ; ΔZ = ds·sinθ.
func (g *guidance) step(m *Machine, h float64) {
	ds := m.head.advance / 1000 / 60 * h // m
	if m.cycle.gap > 0 && m.head.advance > 0 {
		ds = 0 // the head alone comes up to the face
	}
	if ds > 0 {
		psi, theta := radians(g.yaw()), radians(g.pitch())
		g.chainage += ds
		g.easting += ds * math.Cos(theta) * math.Sin(psi)
		g.northing += ds * math.Cos(theta) * math.Cos(psi)
		g.elevation += ds * math.Sin(theta)
		if g.curve != 0 {
			g.design = math.Mod(g.design+degrees(ds/g.curve)+360, 360)
		}
		g.side.step(m, ds)
		g.height.step(m, ds)
	}
	if m.head.speed > 0 {
		// The head's torque rolls the shield; before it goes too far the head is turned the other way.
		target := g.turn*1.6*m.head.torque/m.spec.maxTorque + g.rollDrift.step(h, m.rnd)
		g.roll += (target - g.roll) * min(h/2400, 1)
		if g.roll*g.turn > 0.9 && m.head.advance == 0 {
			g.turn = -g.turn
		}
	}
}

func (a *axis) step(m *Machine, ds float64) {
	w := a.push.step(ds, m.rnd)
	off := (a.deviation - a.aim) / 1000 // m
	slope := math.Tan(radians(a.heading))
	bend := -off/(swing*swing) - 1.4*slope/swing // per m
	a.command = clamp(bend*600, -1, 1)
	a.heading += degrees(bend+w/swing*0.5) * ds
	a.deviation += ds * slope * 1000
}

// sectors are the pressures of the four groups of cylinders, bar: top, right, bottom, left. Their
// sum carries the thrust, F = Σ P·n·πd²/4; they differ by the weight of the head and by steering.
func (m *Machine) sectors() [4]float64 {
	mean := m.head.thrust / m.spec.ramArea() / 100
	up, right := 0.1+0.06*m.guidance.height.command, 0.06*m.guidance.side.command
	return [4]float64{mean * (1 - up), mean * (1 - right), mean * (1 + up), mean * (1 + right)}
}
