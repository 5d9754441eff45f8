package telemetry

import (
	"fmt"
	"strings"
)

// State is what the machine is doing. The numbers are those of telemetrypb.State.
type State uint8

// The states.
const (
	StateUnknown State = iota
	StateStandstill
	StateBoring
	StateRingBuilding
	StateFault
)

var stateNames = []string{"unknown", "standstill", "boring", "ring_building", "fault"}

// Phase is the part of a stroke. The numbers are those of telemetrypb.Phase.
type Phase uint8

// The phases, in the order in which a stroke passes through them.
const (
	PhaseNone Phase = iota
	PhaseFreeRotating
	PhaseFreeAdvancing
	PhaseIncreasing
	PhaseStable
	PhaseDecreasing
)

var phaseNames = []string{"none", "free_rotating", "free_advancing", "increasing", "stable", "decreasing"}

func (s State) String() string { return name(stateNames, int(s)) }
func (p Phase) String() string { return name(phaseNames, int(p)) }

// MarshalText writes the name.
func (s State) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// MarshalText writes the name.
func (p Phase) MarshalText() ([]byte, error) { return []byte(p.String()), nil }

// UnmarshalText reads the name, or the number of a state that this program does not know.
func (s *State) UnmarshalText(b []byte) error {
	i, err := byName(stateNames, "state", string(b))
	*s = State(i)
	return err
}

// UnmarshalText reads the name, or the number of a phase that this program does not know.
func (p *Phase) UnmarshalText(b []byte) error {
	i, err := byName(phaseNames, "phase", string(b))
	*p = Phase(i)
	return err
}

func name(names []string, i int) string {
	if i < len(names) {
		return names[i]
	}
	return fmt.Sprint(i)
}

func byName(names []string, what, s string) (int, error) {
	for i, n := range names {
		if n == s {
			return i, nil
		}
	}
	var i uint8
	if _, err := fmt.Sscanf(s, "%d", &i); err == nil {
		return int(i), nil
	}
	return 0, fmt.Errorf("%s %q: use %s", what, s, strings.Join(names, ", "))
}
