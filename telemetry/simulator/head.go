package simulator

import "math"

// The laws of the heads. Forces in kN, torques in kNm, pressures in kPa, lengths in m, but the
// penetration in mm a revolution.

// discRadius is that of a 19-inch disc, m.
const discRadius = 0.241

// Shares of a head's torque that are lost in the drive: 0.05 to 0.12.
const driveLoss = 0.08

// cuttingCoefficient is tan(φ/2) of a disc that penetrates p mm, with cos φ = (Rd − p)/Rd: rolling
// force over normal force.
func cuttingCoefficient(p float64) float64 {
	if p <= 0 {
		return 0
	}
	phi := math.Acos((discRadius - p/1000) / discRadius)
	return math.Tan(phi / 2)
}

// discTorque is the torque of a head of n discs on radius r, each pressed with fn:
// T = tan(φ/2)·N·Fn·0.55R/(1−η).
func discTorque(n int, fn, p, r float64) float64 {
	return cuttingCoefficient(p) * float64(n) * fn * 0.55 * r / (1 - driveLoss)
}

// soil is what an EPB head turns in.
type soil struct {
	cutting  float64 // e_c, kPa: energy to cut a unit of volume
	cohesion float64 // τ0, kPa: 4 to 20
	friction float64 // tan δ: 0.01 to 0.06
	faces    float64 // n_f: sides of the head that rub, 1.5 to 2
	opening  float64 // ξ: open share of the head, 0.25 to 0.45
}

// epbTorque is the torque of a head of radius r and width w that turns in soil under the pressure
// effective (p_c − u):
// T = (e_c·A·p/2π + n_f(1−ξ)(2π/3)R³τ + πDWRτ)/(1−η), τ = τ0 + tanδ·(p_c−u).
func epbTorque(s soil, p, r, w, effective float64) float64 {
	tau := s.cohesion + s.friction*max(effective, 0)
	cut := s.cutting * math.Pi * r * r * (p / 1000) / (2 * math.Pi)
	face := s.faces * (1 - s.opening) * (2 * math.Pi / 3) * r * r * r * tau
	rim := math.Pi * 2 * r * w * r * tau
	return (cut + face + rim) / (1 - driveLoss)
}

// load is what the ground asks of a head at a penetration.
type load struct {
	thrust float64 // kN: in all
	torque float64 // kNm
}

// carry is the load at penetration p with the chamber at pressure pc (bar), the ground as it is,
// and towing kN of friction.
func (s *spec) carry(g *Ground, p, pc, towing float64) load {
	if s.discForce > 0 {
		fn := g.fpi * p
		return load{thrust: float64(s.cutters)*fn + towing, torque: discTorque(s.cutters, fn, p, s.radius())}
	}
	l := load{thrust: g.fpi*float64(s.cutters)*p + towing}
	if s.inThrust {
		l.thrust += pc * 100 * s.area()
	}
	l.torque = epbTorque(g.soil, p, s.radius(), s.arm*s.diameter, pc*100-g.water)
	return l
}

// penetration is what the operator bores with, mm/rev: the aim, unless a limit of the machine comes
// first. share is how far the machine is under load, 0 to 1.
func (s *spec) penetration(g *Ground, n, pc, towing, share float64) float64 {
	p := s.aim
	if s.discForce > 0 {
		p = s.discForce / g.fpi
	}
	p = min(p*share, s.maxSpeed/max(n, 0.1))
	if l := s.carry(g, p, pc, towing); l.torque <= s.maxTorque && l.thrust <= s.maxThrust {
		return p
	}
	// Thrust and torque grow with the penetration: the greatest that both allow is between 0 and p.
	lo, hi := 0.0, p
	for range 12 {
		mid := (lo + hi) / 2
		if l := s.carry(g, mid, pc, towing); l.torque <= s.maxTorque && l.thrust <= s.maxThrust {
			lo = mid
		} else {
			hi = mid
		}
	}
	return lo
}
