package telemetry

import (
	"math"
	"time"
)

// Geometry is what of a machine's build the derived channels need.
type Geometry struct {
	Diameter float64 // m
	Cutters  int     // discs or tools on the head
}

// Area of the face, m².
func (g Geometry) Area() float64 { return math.Pi * g.Diameter * g.Diameter / 4 }

// Derived are the channels that follow from packets. NaN stands for what is not defined: a machine
// that does not penetrate has no index.
type Derived struct {
	Penetration    float64 // mm/rev: advance rate over speed
	FPI            float64 // kN a cutter for each mm/rev: field penetration index, F/(N·p)
	TPI            float64 // kNm a cutter for each mm/rev: torque index, T/(N·p)
	SpecificEnergy float64 // kWh/m³: F/A + 2πT/(A·p), Teale 1965
	Utilisation    float64 // %: share of boring in the time that was seen, 24 h at most
	AdvancePerRing float64 // mm: of the last ring that was seen whole
}

// derivedFields are the derived channels, in the dictionary's order.
var derivedFields = []struct {
	id    string
	field func(*Derived) *float64
}{
	{"derived.penetration", func(d *Derived) *float64 { return &d.Penetration }},
	{"derived.fpi", func(d *Derived) *float64 { return &d.FPI }},
	{"derived.tpi", func(d *Derived) *float64 { return &d.TPI }},
	{"derived.specific_energy", func(d *Derived) *float64 { return &d.SpecificEnergy }},
	{"derived.utilisation", func(d *Derived) *float64 { return &d.Utilisation }},
	{"derived.advance_per_ring", func(d *Derived) *float64 { return &d.AdvancePerRing }},
}

// NoDerived has no value in any channel.
func NoDerived() Derived {
	nan := math.NaN()
	return Derived{nan, nan, nan, nan, nan, nan}
}

// DerivedIDs lists the derived channels, in a stable order.
func DerivedIDs() []string {
	ids := make([]string, len(derivedFields))
	for i, f := range derivedFields {
		ids[i] = f.id
	}
	return ids
}

// Set changes a derived channel; false if there is none of the id.
func (d *Derived) Set(id string, v float64) bool {
	for _, f := range derivedFields {
		if f.id == id {
			*f.field(d) = v
			return true
		}
	}
	return false
}

// leastPenetration is the mm/rev below which the indices say nothing: they grow beyond all bounds.
const leastPenetration = 0.1

// Derive computes what follows from one packet alone; utilisation and advance per ring are NaN, as
// is what needs a geometry that is not known (zero).
func (g Geometry) Derive(p *Packet) Derived {
	d := NoDerived()
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

const (
	utilisationWindow = 24 * 60          // minutes
	longestHole       = 60 * time.Second // between two packets; what is longer was not seen
)

// Deriver computes the derived channels of one source, packet by packet. It is for one goroutine.
type Deriver struct {
	last    time.Time
	state   State
	minutes [utilisationWindow]minute
	seen    time.Duration // in the window
	boring  time.Duration
	swept   int64 // minute in which what is too old was last dropped

	ring     int
	ringFrom float64 // m: chainage at which the ring began
	whole    bool    // the ring was seen from its beginning
	advance  float64 // mm
}

// minute is what was seen in one minute of the clock.
type minute struct {
	number       int64
	seen, boring time.Duration
}

// NewDeriver makes one that has seen nothing.
func NewDeriver() *Deriver { return &Deriver{advance: math.NaN()} }

// Update is the next packet, measured at the time; g is the build of its machine.
func (d *Deriver) Update(g Geometry, at time.Time, p *Packet) Derived {
	out := g.Derive(p)
	if hole := at.Sub(d.last); !d.last.IsZero() && hole > 0 && hole <= longestHole {
		d.count(at, hole)
	}
	// A packet that comes late is older than the last one by little; a clock that was set back stays behind.
	if at.After(d.last) || d.last.Sub(at) > longestHole {
		d.last = at
	}
	d.state = p.State
	if now := at.Unix() / 60; now != d.swept {
		d.swept = now
		d.forget(now)
	}
	out.Utilisation = math.NaN()
	if d.seen > 0 {
		out.Utilisation = 100 * float64(d.boring) / float64(d.seen)
	}
	if p.Guidance != nil {
		if p.Ring != d.ring {
			if d.whole && p.Ring == d.ring+1 {
				d.advance = (p.Guidance.Chainage - d.ringFrom) * 1000
			}
			d.whole = d.ring != 0
			d.ring, d.ringFrom = p.Ring, p.Guidance.Chainage
		}
		out.AdvancePerRing = d.advance
	}
	return out
}

// count adds the time since the last packet, in which the machine was in that packet's state.
func (d *Deriver) count(at time.Time, span time.Duration) {
	number := at.Unix() / 60
	m := &d.minutes[((number%utilisationWindow)+utilisationWindow)%utilisationWindow]
	if m.number != number {
		d.seen -= m.seen
		d.boring -= m.boring
		*m = minute{number: number}
	}
	m.seen += span
	d.seen += span
	if d.state == StateBoring {
		m.boring += span
		d.boring += span
	}
}

// forget drops what lies outside the window: a minute in which nothing came is not written over.
func (d *Deriver) forget(now int64) {
	for i := range d.minutes {
		m := &d.minutes[i]
		old := m.number <= now-utilisationWindow || m.number >= now+utilisationWindow // by a clock that was set back since
		if m.seen > 0 && old {
			d.seen -= m.seen
			d.boring -= m.boring
			*m = minute{}
		}
	}
}

// Reading is a packet and what follows from it.
type Reading struct {
	Packet  *Packet
	Derived Derived
}

// Value returns the channel's value, of the packet or derived; ok is false where there is none.
func (r *Reading) Value(id string) (v float64, ok bool) {
	for i := range derivedFields {
		if derivedFields[i].id == id {
			v = *derivedFields[i].field(&r.Derived)
			return v, !math.IsNaN(v)
		}
	}
	return r.Packet.Value(id)
}
