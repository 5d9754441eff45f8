package simulator

import (
	"maps"
	"slices"
)

// Ground is what the machine bores through.
type Ground struct {
	name    string
	fpi     float64 // kN a cutter for each mm/rev: what presses the cutters into it
	soil    soil    // what an EPB head turns in
	water   float64 // u, kPa: pore pressure at the axis
	density float64 // t/m³, in place
	foam    float64 // FIR: foam over excavated volume
	spread  float64 // how far it varies within itself, as a share
	speed   float64 // share of the usual head speed
}

// grounds are those that a scenario names. In rock the field penetration index of the whole machine
// comes to 25 to 60 in competent, 12 to 35 in fractured and 4 to 15 in weak rock, and to 120 ± 63
// in granite; the index here is that of the discs alone, without the shield's friction.
var grounds = map[string]Ground{
	"clay":      {fpi: 0.55, soil: soil{900, 14, 0.028, 1.75, 0.35}, water: 120, density: 1.95, foam: 0.18, spread: 0.12, speed: 0.97},
	"silt":      {fpi: 0.6, soil: soil{1100, 12, 0.035, 1.75, 0.35}, water: 140, density: 2.0, foam: 0.15, spread: 0.12, speed: 1},
	"sand":      {fpi: 0.65, soil: soil{1400, 9.5, 0.045, 1.75, 0.35}, water: 150, density: 2.05, foam: 0.13, spread: 0.14, speed: 1.03},
	"gravel":    {fpi: 0.8, soil: soil{1900, 8, 0.055, 1.75, 0.35}, water: 150, density: 2.1, foam: 0.1, spread: 0.18, speed: 1.05},
	"granite":   {fpi: 65, density: 2.65, spread: 0.2, speed: 1},
	"competent": {fpi: 20, density: 2.6, spread: 0.18, speed: 1},
	"fractured": {fpi: 8, density: 2.5, spread: 0.22, speed: 0.92},
	"weak":      {fpi: 2.5, density: 2.3, spread: 0.2, speed: 0.8},
	"chalk":     {fpi: 0.25, soil: soil{850, 7, 0.03, 1.75, 0.35}, water: 100, density: 1.9, spread: 0.1, speed: 1},
	"loam":      {fpi: 0.1, soil: soil{700, 8.2, 0.02, 1.75, 0.35}, water: 205, density: 1.85, spread: 0.1, speed: 1},
}

// GroundNames lists the grounds that a scenario may name.
func GroundNames() []string { return slices.Sorted(maps.Keys(grounds)) }

// mix is the ground between a and b: b's share is of 0 to 1.
func mix(a, b *Ground, share float64) Ground {
	between := func(x, y float64) float64 { return x + (y-x)*share }
	g := Ground{
		name: a.name, fpi: between(a.fpi, b.fpi), water: between(a.water, b.water), density: between(a.density, b.density),
		foam: between(a.foam, b.foam), spread: between(a.spread, b.spread), speed: between(a.speed, b.speed),
		soil: soil{between(a.soil.cutting, b.soil.cutting), between(a.soil.cohesion, b.soil.cohesion), between(a.soil.friction, b.soil.friction),
			between(a.soil.faces, b.soil.faces), between(a.soil.opening, b.soil.opening)},
	}
	if share > 0.5 {
		g.name = b.name
	}
	return g
}
