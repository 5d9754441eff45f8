package simulator

import (
	"errors"
	"fmt"
	"math"
	"strings"
	"time"

	"tbmsock/telemetry"
)

// FaultKind is what goes wrong.
type FaultKind string

// The faults.
const (
	Jam              FaultKind = "jam"                // the ground grips the shield: thrust up, speed and advance down
	Clogging         FaultKind = "clogging"           // clay sticks to the head: torque up
	Gas              FaultKind = "gas"                // methane; at 20 % LEL the power goes off
	FacePressureLoss FaultKind = "face_pressure_loss" // the chamber leaks
	SensorFreeze     FaultKind = "sensor_freeze"      // a channel keeps its value
	SensorDrift      FaultKind = "sensor_drift"       // a channel goes away by 1 % of its range a minute
	LinkLoss         FaultKind = "link_loss"          // the machine cannot reach the server; it bores on
)

// FaultKinds are all faults, in the order in which they are named to people.
var FaultKinds = []FaultKind{Jam, Clogging, Gas, FacePressureLoss, SensorFreeze, SensorDrift, LinkLoss}

const (
	defaultFaultTime = 10 * time.Minute
	maxFaultTime     = 24 * time.Hour
	maxFaults        = 100 // at a time
)

// Fault is one fault.
type Fault struct {
	Kind     FaultKind
	Channel  string        // of the sensor faults
	For      time.Duration // 10 min if 0
	Severity float64       // 0 to 2, 1 if 0: 1 is what TBM data show
}

// Check completes the fault's zero fields; its error names the field, the value and what is allowed.
func (f *Fault) Check() error {
	known := false
	for _, k := range FaultKinds {
		known = known || f.Kind == k
	}
	if !known {
		names := make([]string, len(FaultKinds))
		for i, k := range FaultKinds {
			names[i] = string(k)
		}
		return fmt.Errorf("kind %q: use %s", f.Kind, strings.Join(names, ", "))
	}
	if f.For == 0 {
		f.For = defaultFaultTime
	}
	if f.For < time.Second || f.For > maxFaultTime {
		return fmt.Errorf("for %v: use a time from 1s to %v", f.For, maxFaultTime)
	}
	if f.Severity == 0 {
		f.Severity = 1
	}
	if !(f.Severity > 0 && f.Severity <= 2) { // NaN too
		return fmt.Errorf("severity %v: use a number above 0, up to 2", f.Severity)
	}
	sensor := f.Kind == SensorFreeze || f.Kind == SensorDrift
	if sensor && telemetry.ChannelIndex(f.Channel) < 0 {
		return fmt.Errorf("channel %q: a %s needs a channel such as chamber.pressure_1", f.Channel, f.Kind)
	}
	if !sensor && f.Channel != "" {
		return fmt.Errorf("channel %q: a %s has none", f.Channel, f.Kind)
	}
	return nil
}

// ErrTooManyFaults is returned when so many faults are under way that no other is taken.
var ErrTooManyFaults = errors.New("too many faults are under way")

// active is a fault under way.
type active struct {
	Fault
	until float64 // s of the simulation
	began float64
	index int     // of the channel, -1 if none
	held  float64 // what a frozen sensor shows; NaN until its first reading
}

// faults are those under way, and how far each kind has come.
type faults struct {
	now    []active
	jam    lag
	clog   lag
	gas    lag
	leak   lag
	jamRun wander // advance in a jam comes in jerks
}

func newFaults() faults {
	return faults{jam: lag{tau: 30}, clog: lag{tau: 120}, gas: lag{tau: 60}, leak: lag{tau: 10}, jamRun: wander{tau: 12, sigma: 0.5}}
}

// Inject begins a fault now.
func (m *Machine) Inject(f Fault) error {
	if err := f.Check(); err != nil {
		return err
	}
	if len(m.faults.now) >= maxFaults {
		return fmt.Errorf("%w: %d", ErrTooManyFaults, maxFaults)
	}
	m.faults.now = append(m.faults.now, active{Fault: f, until: m.clock + f.For.Seconds(), began: m.clock,
		index: telemetry.ChannelIndex(f.Channel), held: math.NaN()})
	return nil
}

// LinkDown tells whether the machine cannot reach the server now.
func (m *Machine) LinkDown() bool { return m.severity(LinkLoss) > 0 }

// severity is the greatest of the kind's faults under way; 0 if there is none.
func (m *Machine) severity(k FaultKind) float64 {
	s := 0.0
	for i := range m.faults.now {
		if a := &m.faults.now[i]; a.Kind == k {
			s = max(s, a.Severity)
		}
	}
	return s
}

// stepFaults begins what the scenario has planned, ends what is over, and moves the rest.
func (m *Machine) stepFaults(h float64) {
	for len(m.timed) > 0 && m.timed[0].After.Seconds() <= m.clock {
		_ = m.Inject(m.timed[0].Fault) // checked with the scenario; too many at a time are left out
		m.timed = m.timed[1:]
	}
	for len(m.placed) > 0 && m.placed[0].Chainage <= m.guidance.chainage {
		_ = m.Inject(m.placed[0].Fault)
		m.placed = m.placed[1:]
	}
	f := &m.faults
	kept := f.now[:0]
	for _, a := range f.now {
		if m.clock < a.until {
			kept = append(kept, a)
		}
	}
	f.now = kept
	f.jam.to(m.severity(Jam), h)
	f.clog.to(m.severity(Clogging), h)
	f.gas.to(m.severity(Gas), h)
	f.leak.to(m.severity(FacePressureLoss), h)
	f.jamRun.step(h, m.rnd)
}
