package telemetry

import "math"

// Geometry is what of a machine's build the derived channels need.
type Geometry struct {
	Diameter float64 // m
	Cutters  int     // discs or tools on the head
}

// Area of the face, m².
func (g Geometry) Area() float64 { return math.Pi * g.Diameter * g.Diameter / 4 }

// Derived are the channels that follow from a packet alone. NaN stands for what is not defined: a
// machine that does not penetrate has no index.
type Derived struct {
	Penetration    float64 // mm/rev: advance rate over speed
	FPI            float64 // kN a cutter for each mm/rev: field penetration index, F/(N·p)
	TPI            float64 // kNm a cutter for each mm/rev: torque index, T/(N·p)
	SpecificEnergy float64 // kWh/m³: F/A + 2πT/(A·p), Teale 1965
}

// leastPenetration is the mm/rev below which the indices say nothing: they grow beyond all bounds.
const leastPenetration = 0.1

// Derive computes the derived channels of a packet. Those that need a geometry that is not known
// (zero) are NaN.
func (g Geometry) Derive(p *Packet) Derived {
	nan := math.NaN()
	d := Derived{nan, nan, nan, nan}
	c, t := p.Cutterhead, p.Thrust
	if c == nil || t == nil || c.Speed <= 0 {
		return d
	}
	d.Penetration = t.Advance / c.Speed
	if d.Penetration < leastPenetration || p.Phase == PhaseFreeAdvancing {
		return d
	}
	if n := float64(g.Cutters); n > 0 {
		d.FPI = t.Total / (n * d.Penetration)
		d.TPI = c.Torque / (n * d.Penetration)
	}
	if a := g.Area(); a > 0 {
		d.SpecificEnergy = (t.Total/a + 2*math.Pi*c.Torque/(a*d.Penetration/1000)) / 3600
	}
	return d
}
