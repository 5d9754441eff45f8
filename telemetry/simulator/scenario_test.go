package simulator

import (
	"errors"
	"strings"
	"testing"
	"time"

	"tbmsock/telemetry"
	"tbmsock/telemetry/internal/yamldoc"
)

func TestScenarioMovesTheMachineThroughItsGround(t *testing.T) {
	s, err := ParseScenario([]byte(`
name: two soils
start: {chainage: 100, ring: 7}
layers:
  - {length: 1.5, ground: silt}
  - {length: 3, ground: clay, cohesion: 16}
faults:
  - {after: 10m, kind: sensor_freeze, channel: thrust.total, for: 1m}
  - {chainage: 100.5, kind: gas, for: 4m}
`))
	if err != nil {
		t.Fatal(err)
	}
	m := newMachine(t, Options{Scenario: s, Seed: 2, Noiseless: true})
	var p telemetry.Packet
	var soft, stiff stat
	tripped := 0.0
	for i := range 9 * 3600 {
		m.Next(start.Add(time.Duration(i)*time.Second), &p)
		if p.State == telemetry.StateFault && tripped == 0 {
			tripped = p.Guidance.Chainage
		}
		if p.Phase != telemetry.PhaseStable {
			continue
		}
		switch c := p.Guidance.Chainage; {
		case c < 101.2:
			soft.add(p.Cutterhead.Torque / p.Cutterhead.Penetration)
		case c > 101.6:
			stiff.add(p.Cutterhead.Torque / p.Cutterhead.Penetration)
		}
	}
	if p.Ring < 9 || p.Guidance.Chainage < 101.6 {
		t.Fatalf("after five hours at ring %d, chainage %g", p.Ring, p.Guidance.Chainage)
	}
	if stiff.mean() < 1.2*soft.mean() {
		t.Errorf("torque over penetration %g in stiff clay, %g in silt", stiff.mean(), soft.mean())
	}
	between(t, "chainage at which gas stopped the machine", tripped, 100.5, 100.8)
}

func TestBadScenarios(t *testing.T) {
	for _, tc := range []struct {
		name, in string
		line     int
		want     string
	}{
		{"empty", "", 0, "empty"},
		{"no YAML", "layers: [", 0, "yaml"},
		{"no layers", "name: x", 1, "layers is missing"},
		{"an unknown field", "name: x\ngeology: []", 2, `"geology"`},
		{"an unknown ground", "layers:\n  - {length: 1, ground: cheese}", 2, `ground "cheese": use chalk, clay`},
		{"no length", "layers:\n  - {ground: clay}", 2, "length 0"},
		{"a figure out of range", "layers:\n  - {length: 1, ground: clay, cohesion: -3}", 2, "cohesion -3: use 0 to 100"},
		{"a text for a figure", "layers:\n  - {length: 1, ground: clay, cohesion: much}", 2, "much"},
		{"a tight curve", "curve: 3\nlayers: [{length: 1, ground: clay}]", 1, "curve 3"},
		{"a steep start", "start: {grade: 80}\nlayers: [{length: 1, ground: clay}]", 1, "grade"},
		{"a fault without a time", "layers: [{length: 1, ground: clay}]\nfaults:\n  - {kind: gas}", 3, "after"},
		{"a fault with both", "layers: [{length: 1, ground: clay}]\nfaults:\n  - {kind: gas, after: 1m, chainage: 3}", 3, "either"},
		{"a fault of no kind", "layers: [{length: 1, ground: clay}]\nfaults:\n  - {after: 1m}", 3, "kind"},
		{"a bad time", "layers: [{length: 1, ground: clay}]\nfaults:\n  - {kind: gas, after: soon}", 3, "soon"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, err := ParseScenario([]byte(tc.in))
			var e *yamldoc.Error
			if !errors.As(err, &e) || e.Line != tc.line || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("error is %v, want line %d and %q", err, tc.line, tc.want)
			}
		})
	}
}

func TestMachineRefusesGroundThatItCannotBore(t *testing.T) {
	s, err := ParseScenario([]byte("layers: [{length: 1, ground: granite}]"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := New(Options{Machine: EPB, Scenario: s}); err == nil || !strings.Contains(err.Error(), "granite") {
		t.Errorf("error is %v", err)
	}
	if _, err := New(Options{Machine: "mole"}); err == nil || !strings.Contains(err.Error(), "epb, hardrock or micro") {
		t.Errorf("error is %v", err)
	}
}
