package simulator

import (
	"math"

	"tbmsock/telemetry"
)

// sensor is what stands between a value and its reading: a lag, noise, the steps of its converter,
// and the ends of its range.
type sensor struct {
	lag      lag
	absolute float64 // standard deviation of its noise
	relative float64 // the same, as a share of the value
	steps    float64 // a unit; 0: as fine as it is
	min, max float64
	started  bool
}

// A sensor's figures, by channel; the others are exact but for their steps. Noise is of each reading.
var sensorTable = map[string]struct{ lag, absolute, relative, steps float64 }{
	"cutterhead.speed":             {0.3, 0, 0.002, 100},
	"cutterhead.torque":            {0.4, 0, 0.008, 10},
	"cutterhead.motor_current":     {0.3, 0, 0.006, 10},
	"cutterhead.motor_temperature": {5, 0.05, 0, 10},
	"cutterhead.penetration":       {1, 0, 0.006, 100},
	"thrust.total":                 {0.3, 0, 0.003, 1},
	"thrust.sector_1":              {0.3, 0.2, 0.002, 10},
	"thrust.sector_2":              {0.3, 0.2, 0.002, 10},
	"thrust.sector_3":              {0.3, 0.2, 0.002, 10},
	"thrust.sector_4":              {0.3, 0.2, 0.002, 10},
	"thrust.advance":               {0.5, 0, 0.008, 10},
	"thrust.stroke":                {0, 0, 0, 10},
	"chamber.pressure_1":           {0.3, 0.006, 0, 200},
	"chamber.pressure_2":           {0.3, 0.006, 0, 200},
	"chamber.pressure_3":           {0.3, 0.006, 0, 200},
	"chamber.pressure_4":           {0.3, 0.006, 0, 200},
	"chamber.pressure_5":           {0.3, 0.006, 0, 200},
	"screw.speed":                  {0.3, 0, 0.003, 100},
	"screw.torque":                 {0.4, 0, 0.015, 10},
	"screw.gate":                   {0, 0.1, 0, 10},
	"conditioning.foam_flow":       {1, 0, 0.01, 1},

	"conditioning.foam_injection_ratio": {2, 0, 0.01, 10},
	"conditioning.foam_expansion_ratio": {0, 0.05, 0, 10},
	"conditioning.grease_pressure":      {0.5, 0.05, 0, 10},

	"muck.belt_scale":               {1, 0, 0.02, 1},
	"muck.belt_speed":               {2, 0, 0.002, 100},
	"guidance.chainage":             {0, 0, 0, 1000},
	"guidance.easting":              {0, 0.0008, 0, 1000},
	"guidance.northing":             {0, 0.0008, 0, 1000},
	"guidance.elevation":            {0, 0.0008, 0, 1000},
	"guidance.deviation_horizontal": {1, 0.4, 0, 10},
	"guidance.deviation_vertical":   {1, 0.4, 0, 10},
	"guidance.roll":                 {0.5, 0.01, 0, 100},
	"guidance.pitch":                {0.5, 0.01, 0, 100},
	"guidance.yaw":                  {0.5, 0.004, 0, 1000},
	"hydraulics.pump_pressure":      {0.3, 0.4, 0.002, 10},
	"hydraulics.oil_temperature":    {5, 0.03, 0, 10},
	"hydraulics.articulation_1":     {0.5, 0.05, 0, 10},
	"hydraulics.articulation_2":     {0.5, 0.05, 0, 10},
	"hydraulics.articulation_3":     {0.5, 0.05, 0, 10},
	"hydraulics.articulation_4":     {0.5, 0.05, 0, 10},
	"atmosphere.ch4":                {4, 0.03, 0, 10},
	"atmosphere.co":                 {6, 0.2, 0, 1},
	"atmosphere.co2":                {6, 0.001, 0, 1000},
	"atmosphere.h2s":                {6, 0.03, 0, 10},
	"atmosphere.o2":                 {6, 0.008, 0, 100},
	"power.voltage":                 {0.3, 0, 0.0005, 1},
	"power.current":                 {0.3, 0, 0.003, 10},
	"power.active":                  {0.5, 0, 0.002, 10},
	"power.energy":                  {0, 0, 0, 10},
}

// finer are the channels of a 0.5 m machine that the others' steps are too coarse for.
var finer = map[string]float64{
	"cutterhead.torque": 1000, "thrust.total": 100, "power.voltage": 10, "power.current": 100, "power.active": 100, "power.energy": 100,
}

func newSensors(k Kind) []sensor {
	ranges := telemetry.DefaultDictionary().For(string(k))
	ids := telemetry.ChannelIDs()
	all := make([]sensor, len(ids))
	for i, id := range ids {
		t := sensorTable[id]
		s := sensor{lag: lag{tau: t.lag}, absolute: t.absolute, relative: t.relative, steps: t.steps, min: math.Inf(-1), max: math.Inf(1)}
		if f, ok := finer[id]; ok && k == Micro {
			s.steps = f
		}
		if c := ranges.Channel(id); c != nil && !math.IsNaN(c.Min) {
			s.min, s.max = c.Min, c.Max
		}
		all[i] = s
	}
	return all
}

// sense turns what is into what the sensors show, dt seconds after the last reading.
func (m *Machine) sense(dt float64, p *telemetry.Packet) {
	for i := range m.sensors {
		v := p.At(i)
		if v == nil {
			continue
		}
		s := &m.sensors[i]
		x := *v
		if s.lag.tau > 0 {
			if !s.started {
				s.lag.x, s.started = x, true
			}
			x = s.lag.to(x, dt)
			if *v == 0 && math.Abs(x) < 0.5/max(s.steps, 1) {
				x, s.lag.x = 0, 0
			}
		}
		if s.absolute > 0 || s.relative > 0 {
			if n := s.absolute + s.relative*math.Abs(x); n > 0 {
				x += n * m.rnd.NormFloat64()
			}
		}
		*v = s.quantise(x)
	}
	for i := range m.faults.now {
		if a := &m.faults.now[i]; a.index >= 0 {
			m.spoil(a, p)
		}
	}
}

// quantise rounds to the converter's steps, within the range: the nearest number that is a multiple,
// so that it is short in text.
func (s *sensor) quantise(x float64) float64 {
	if s.steps > 0 {
		x = math.Round(x*s.steps) / s.steps
	}
	return min(max(x, s.min), s.max)
}

// spoil is what a broken sensor makes of its reading.
func (m *Machine) spoil(a *active, p *telemetry.Packet) {
	v := p.At(a.index)
	if v == nil {
		return // the machine has no such channel
	}
	s := &m.sensors[a.index]
	switch a.Kind {
	case SensorFreeze:
		if math.IsNaN(a.held) {
			a.held = *v
		}
		*v = a.held
	case SensorDrift:
		width := s.max - s.min
		if math.IsInf(width, 0) {
			width = 100
		}
		*v = s.quantise(*v + a.Severity*width/100*(m.clock-a.began)/60)
	}
}
