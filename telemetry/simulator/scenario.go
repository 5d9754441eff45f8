package simulator

import (
	"embed"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"tbmsock/telemetry/internal/yamldoc"
)

//go:embed scenarios/*.yaml
var scenarios embed.FS

const scenarioDoc = yamldoc.Doc("scenario")

// Scenario is the tunnel: where it begins, the ground along it, and what goes wrong. It is
// read-only once made.
type Scenario struct {
	Name   string
	Start  Start
	Curve  float64 // m: radius of the tunnel's curve, positive to the right; 0: straight
	Repeat bool    // the layers begin again after the last; else the last goes on
	Layers []Layer
	Faults []Planned
}

// Start is where the machine stands when the simulation begins.
type Start struct {
	Chainage  float64 `yaml:"chainage"`  // m
	Easting   float64 `yaml:"easting"`   // m
	Northing  float64 `yaml:"northing"`  // m
	Elevation float64 `yaml:"elevation"` // m
	Azimuth   float64 `yaml:"azimuth"`   // deg, clockwise from north
	Grade     float64 `yaml:"grade"`     // %, positive upwards
	Ring      int     `yaml:"ring"`      // the first that is bored for; 1 if not given
}

// Layer is a length of one ground.
type Layer struct {
	Length float64 // m
	Ground Ground
}

// Planned is a fault that begins after a time, or at a chainage.
type Planned struct {
	Fault
	After    time.Duration // since the start; negative: by chainage
	Chainage float64       // m
}

// DefaultScenario is the built-in one of the machine.
func DefaultScenario(k Kind) (*Scenario, error) {
	data, err := scenarios.ReadFile("scenarios/" + string(k) + ".yaml")
	if err != nil {
		return nil, fmt.Errorf("machine %q: %w", k, err)
	}
	return ParseScenario(data)
}

// ParseScenario reads a scenario file and checks it. Its errors name the line.
func ParseScenario(data []byte) (*Scenario, error) {
	doc, err := scenarioDoc.Parse(data)
	if err != nil {
		return nil, err
	}
	var file struct {
		Name   string      `yaml:"name"`
		Start  yaml.Node   `yaml:"start"`
		Curve  float64     `yaml:"curve"`
		Repeat bool        `yaml:"repeat"`
		Layers []yaml.Node `yaml:"layers"`
		Faults []yaml.Node `yaml:"faults"`
	}
	m, err := scenarioDoc.Decode(doc, &file, "the scenario", "name", "start", "curve", "repeat", "layers", "faults")
	if err != nil {
		return nil, err
	}
	s := &Scenario{Name: file.Name, Start: Start{Ring: 1}, Curve: file.Curve, Repeat: file.Repeat}
	if file.Start.Kind != 0 {
		if _, err := scenarioDoc.Decode(&file.Start, &s.Start, "start", "chainage", "easting", "northing", "elevation", "azimuth", "grade", "ring"); err != nil {
			return nil, err
		}
	}
	if s.Start.Ring < 1 || s.Start.Ring > 1e6 || s.Start.Chainage < 0 || math.Abs(s.Start.Grade) > 45 {
		return nil, scenarioDoc.Wrong(&file.Start, "start: use a ring from 1, a chainage from 0 m, and a grade from -45 to 45 %%")
	}
	if s.Curve != 0 && math.Abs(s.Curve) < 10 {
		return nil, scenarioDoc.Wrong(m["curve"], "curve %v: use a radius of 10 m or more, negative for a curve to the left, 0 for none", s.Curve)
	}
	if len(file.Layers) == 0 {
		return nil, scenarioDoc.Wrong(doc, "layers is missing: a list of grounds, each with its length")
	}
	for i := range file.Layers {
		l, err := parseLayer(&file.Layers[i])
		if err != nil {
			return nil, err
		}
		s.Layers = append(s.Layers, l)
	}
	for i := range file.Faults {
		p, err := parsePlanned(&file.Faults[i])
		if err != nil {
			return nil, err
		}
		s.Faults = append(s.Faults, p)
	}
	return s, nil
}

func parseLayer(n *yaml.Node) (Layer, error) {
	var e struct {
		Length   float64  `yaml:"length"`
		Ground   string   `yaml:"ground"`
		FPI      *float64 `yaml:"fpi"`
		Cohesion *float64 `yaml:"cohesion"`
		Friction *float64 `yaml:"friction"`
		Water    *float64 `yaml:"water"`
		Density  *float64 `yaml:"density"`
		Spread   *float64 `yaml:"spread"`
	}
	m, err := scenarioDoc.Decode(n, &e, "a layer", "length", "ground", "fpi", "cohesion", "friction", "water", "density", "spread")
	if err != nil {
		return Layer{}, err
	}
	if !(e.Length > 0 && e.Length <= 1e5) {
		return Layer{}, scenarioDoc.Wrong(n, "layer: length %v: use metres above 0, up to 100000", e.Length)
	}
	g, ok := grounds[e.Ground]
	if !ok {
		return Layer{}, scenarioDoc.Wrong(n, "layer: ground %q: use %s", e.Ground, strings.Join(GroundNames(), ", "))
	}
	g.name = e.Ground
	for _, f := range []struct {
		name   string
		given  *float64
		dst    *float64
		lo, hi float64
	}{
		{"fpi", e.FPI, &g.fpi, 0.01, 500}, {"cohesion", e.Cohesion, &g.soil.cohesion, 0, 100}, {"friction", e.Friction, &g.soil.friction, 0, 1},
		{"water", e.Water, &g.water, 0, 2000}, {"density", e.Density, &g.density, 0.5, 5}, {"spread", e.Spread, &g.spread, 0, 1},
	} {
		if f.given == nil {
			continue
		}
		if !(*f.given >= f.lo && *f.given <= f.hi) {
			return Layer{}, scenarioDoc.Wrong(m[f.name], "layer: %s %v: use %v to %v", f.name, *f.given, f.lo, f.hi)
		}
		*f.dst = *f.given
	}
	return Layer{e.Length, g}, nil
}

func parsePlanned(n *yaml.Node) (Planned, error) {
	var e struct {
		After    *string  `yaml:"after"`
		Chainage *float64 `yaml:"chainage"`
		Kind     string   `yaml:"kind"`
		Channel  string   `yaml:"channel"`
		For      string   `yaml:"for"`
		Severity float64  `yaml:"severity"`
	}
	m, err := scenarioDoc.Decode(n, &e, "a fault", "after", "chainage", "kind", "channel", "for", "severity")
	if err != nil {
		return Planned{}, err
	}
	p := Planned{Fault: Fault{Kind: FaultKind(e.Kind), Channel: e.Channel, Severity: e.Severity}, After: -1}
	switch {
	case (e.After == nil) == (e.Chainage == nil):
		return p, scenarioDoc.Wrong(n, "fault: use either after, a time since the start, or chainage, in m")
	case e.After != nil:
		if p.After, err = yamldoc.Span(*e.After, 0); err != nil {
			return p, scenarioDoc.Wrong(m["after"], "fault: after %v", err)
		}
	default:
		p.Chainage = *e.Chainage
	}
	if p.For, err = yamldoc.Span(e.For, 0); err != nil {
		return p, scenarioDoc.Wrong(m["for"], "fault: for %v", err)
	}
	if err := p.Check(); err != nil {
		return p, scenarioDoc.Wrong(n, "fault: %w", err)
	}
	return p, nil
}

// plan splits the faults by what begins them, each in its order.
func (s *Scenario) plan() (timed, placed []Planned) {
	for _, p := range s.Faults {
		if p.After >= 0 {
			timed = append(timed, p)
		} else {
			placed = append(placed, p)
		}
	}
	slices.SortStableFunc(timed, func(a, b Planned) int { return int(a.After - b.After) })
	slices.SortStableFunc(placed, func(a, b Planned) int {
		if a.Chainage < b.Chainage {
			return -1
		}
		return 1
	})
	return timed, placed
}

// at is the ground at a chainage: within the transition before a boundary, a mixture of both.
func (s *Scenario) at(chainage float64) Ground {
	const transition = 0.3 // m: a head does not meet the next ground all at once
	x := max(chainage-s.Start.Chainage, 0)
	total := 0.0
	for _, l := range s.Layers {
		total += l.Length
	}
	if s.Repeat {
		x = math.Mod(x, total)
	}
	for i := range s.Layers {
		l := &s.Layers[i]
		if x < l.Length || i == len(s.Layers)-1 {
			next := i + 1
			if next == len(s.Layers) {
				next = 0
				if !s.Repeat {
					return l.Ground
				}
			}
			width := min(transition, l.Length)
			if rest := l.Length - x; rest < width {
				return mix(&l.Ground, &s.Layers[next].Ground, 1-rest/width)
			}
			return l.Ground
		}
		x -= l.Length
	}
	return s.Layers[0].Ground
}
