package simulator

// chamber is the pressure before the bulkhead and what holds it: a screw, or a slurry pump's valve.
type chamber struct {
	aim      float64 // bar at the axis
	pressure float64 // bar at the axis
	screw    float64 // rpm
	integral float64 // of the screw's control
	gate     float64 // %: of the screw, or of the slurry valve
	extract  float64 // m³/min of muck that leaves, loose and with foam
	grease   wander
	mood     wander // of who sets the pressure
	surge    wander // of the slurry pump; of the muck's flow through the screw
}

const (
	stiffness   = 70.0 // K, bar: conditioned muck, with the foam's air in it
	screwYield  = 0.8  // η_s: how full the screw runs
	muckGravity = 0.11 // bar a metre of depth: conditioned muck
)

func newChamber(m *Machine) chamber {
	return chamber{aim: m.spec.pressure, pressure: m.spec.pressure,
		grease: wander{tau: 300, sigma: 0.6}, mood: wander{tau: 2400, sigma: 0.06}, surge: wander{tau: 20, sigma: 1}}
}

// step holds the balance: dp_c/dt = K·[A·v·(1+FIR) − η_s·V_s·n_s]/V_c.
func (c *chamber) step(m *Machine, h float64) {
	s := &m.spec
	if s.pressure == 0 {
		return
	}
	c.grease.step(h, m.rnd)
	surge := c.surge.step(h, m.rnd)
	leak := m.faults.leak.x
	if s.slurry {
		// The pump holds the circuit at its pressure; the valve follows the muck.
		aim := c.aim + 0.09*surge - 0.5*leak
		c.pressure += (aim - c.pressure) * min(h/8, 1)
		gate := 25.0
		if m.head.advance > 0 {
			gate = 40 + 0.6*m.head.advance + 4*surge
		}
		c.gate += (clamp(gate, 0, 100) - c.gate) * min(h/5, 1)
		return
	}
	in := s.area() * m.head.advance / 1000 * (1 + m.ground.foam) // m³/min
	perRev := screwYield * s.screwVol * (1 + 0.04*surge)
	wanted := 0.0
	if m.head.advance > 1 {
		// Feed forward what comes in, and correct what the pressure shows.
		wrong := c.pressure - c.aim - c.mood.step(h, m.rnd)
		c.integral = clamp(c.integral+0.02*wrong*h, -2, 2)
		wanted = clamp(in/(screwYield*s.screwVol)+4*wrong+c.integral, 0, s.screwMax)
	}
	c.screw += (wanted - c.screw) * min(h/3, 1)
	if wanted == 0 && c.screw < 0.02 {
		c.screw = 0
	}
	c.gate += ((25+50*min(c.screw/3, 1))*sign(c.screw) - c.gate) * min(h/4, 1)
	c.extract = perRev * c.screw
	c.pressure += stiffness * (in - c.extract) / 60 / (s.area() * s.chamberLen) * h
	if m.head.advance == 0 {
		// Water drains into the ground; bentonite is pumped in before it matters.
		c.pressure += (c.aim - 0.15 - c.pressure) * min(h/900, 1)
	}
	c.pressure -= leak * max(c.pressure-1.1, 0) / 25 * h
	c.pressure = max(c.pressure, 0)
}

func sign(x float64) float64 {
	if x > 0 {
		return 1
	}
	return 0
}
