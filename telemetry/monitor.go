package telemetry

import (
	"fmt"
	"math"
	"time"
)

// ChannelState is how a channel's value stands to its limits.
type ChannelState uint8

// The states. A value that is at a limit is beyond it.
const (
	StateNormal ChannelState = iota
	StateWarnLow
	StateWarnHigh
	StateAlarmLow
	StateAlarmHigh
	StateStale // nothing, or always the same, has come for too long
)

var channelStateNames = []string{"normal", "warn low", "warn high", "alarm low", "alarm high", "stale"}

func (s ChannelState) String() string { return name(channelStateNames, int(s)) }

// Alarm tells whether the state is one of the two alarms.
func (s ChannelState) Alarm() bool { return s == StateAlarmLow || s == StateAlarmHigh }

// Warn tells whether the state is one of the two warnings.
func (s ChannelState) Warn() bool { return s == StateWarnLow || s == StateWarnHigh }

// Change is a channel's passing from one state to another.
type Change struct {
	At       time.Time // source clock; of staleness: the reader's
	Channel  *Channel
	From, To ChannelState
	Value    float64       // the last one; NaN if none came
	Limit    float64       // that was passed; NaN for normal and stale
	For      time.Duration // stale: since when nothing came, or the value did not change
	Frozen   bool          // stale: values come, but they are always the same
}

// Reason says why, for people: "at or above 20 % LEL".
func (c *Change) Reason() string {
	switch c.To {
	case StateWarnLow, StateAlarmLow:
		return fmt.Sprintf("at or below %v %s", c.Limit, c.Channel.Unit)
	case StateWarnHigh, StateAlarmHigh:
		return fmt.Sprintf("at or above %v %s", c.Limit, c.Channel.Unit)
	case StateStale:
		if c.Frozen {
			return fmt.Sprintf("the same value for %s", c.For.Round(100*time.Millisecond))
		}
		return fmt.Sprintf("no value for %s", c.For.Round(100*time.Millisecond))
	}
	return "was " + c.From.String()
}

// Monitor judges the channels of one source by a dictionary's limits. A limit's state begins when
// the value has stood at it or beyond for the channel's persistence, and ends when it has come back
// by the hysteresis. It is for one goroutine.
//
// The source's clock may be set back, which begins the persistence anew. The reader's must be steady, as times with a
// monotonic reading are: it decides what is stale.
type Monitor struct {
	dictionary *Dictionary
	machine    string
	ids        []string
	watches    []watch
	heard      time.Time // reader's clock, of the last packet
}

// watch is one channel under watch.
type watch struct {
	channel *Channel
	state   ChannelState
	value   float64
	limits  [4]threshold // low alarm, low warn, high warn, high alarm
	seen    time.Time    // reader's clock, of the last value; zero: none came yet
	same    time.Time    // source clock: since when the value has not changed; zero: it does not matter now
}

// threshold is one limit.
type threshold struct {
	at     float64 // NaN: none
	state  ChannelState
	since  time.Time // source clock, from when the value has been beyond; zero: it is not
	active bool
}

// NewMonitor makes one that has seen nothing: all channels are normal.
func NewMonitor(d *Dictionary) *Monitor {
	m := &Monitor{dictionary: d}
	m.use("")
	return m
}

// use takes the limits of the kind of machine.
func (m *Monitor) use(machine string) {
	m.machine = machine
	own := m.dictionary.For(machine)
	m.watches, m.ids = nil, nil
	for _, g := range own.Groups {
		for i := range g.Channels {
			c := &g.Channels[i]
			w := watch{channel: c, value: math.NaN()}
			for j, at := range []float64{c.Limits.LowAlarm, c.Limits.LowWarn, c.Limits.HighWarn, c.Limits.HighAlarm} {
				w.limits[j] = threshold{at: at, state: []ChannelState{StateAlarmLow, StateWarnLow, StateWarnHigh, StateAlarmHigh}[j]}
			}
			m.ids = append(m.ids, c.ID)
			m.watches = append(m.watches, w)
		}
	}
}

// Observe judges a reading, measured at the time by the source's clock and read now by the reader's,
// and tells of each change.
func (m *Monitor) Observe(measured, now time.Time, r *Reading, tell func(Change)) {
	if r.Packet.Machine != m.machine {
		m.use(r.Packet.Machine)
	}
	m.heard = now
	steady := r.Packet.State == StateBoring && r.Packet.Phase == PhaseStable
	for i := range m.watches {
		w := &m.watches[i]
		v, ok := r.Value(m.ids[i])
		if !ok || math.IsNaN(v) {
			continue
		}
		w.observe(measured, now, v, steady, tell)
	}
}

func (w *watch) observe(measured, now time.Time, v float64, steady bool, tell func(Change)) {
	frozen := w.isFrozen(measured, v, steady)
	w.value, w.seen = v, now
	for i := range w.limits {
		w.limits[i].observe(measured, v, w.channel)
	}
	if frozen {
		w.to(Change{At: measured, To: StateStale, Limit: math.NaN(), For: measured.Sub(w.same), Frozen: true}, tell)
		return
	}
	to, limit := StateNormal, math.NaN()
	for _, i := range []int{0, 3, 1, 2} { // alarms before warnings
		if t := &w.limits[i]; t.active {
			to, limit = t.state, t.at
			break
		}
	}
	w.to(Change{At: measured, To: to, Limit: limit}, tell)
}

// isFrozen tells whether a sensor that must move while the machine bores has not.
func (w *watch) isFrozen(measured time.Time, v float64, steady bool) bool {
	if w.channel.FrozenAfter == 0 {
		return false
	}
	if !steady || v != w.value || w.same.IsZero() || measured.Before(w.same) {
		w.same = time.Time{}
		if steady {
			w.same = measured
		}
		return false
	}
	return measured.Sub(w.same) >= w.channel.FrozenAfter
}

func (t *threshold) observe(at time.Time, v float64, c *Channel) {
	if math.IsNaN(t.at) {
		return
	}
	limit := t.at
	low := t.state == StateAlarmLow || t.state == StateWarnLow
	if t.active && low {
		limit += c.Hysteresis
	} else if t.active {
		limit -= c.Hysteresis
	}
	beyond := v >= limit
	if low {
		beyond = v <= limit
	}
	if t.active && v == limit && c.Hysteresis > 0 {
		beyond = false // it has come back by the whole hysteresis
	}
	if !beyond {
		t.since, t.active = time.Time{}, false
		return
	}
	if t.since.IsZero() || at.Before(t.since) {
		t.since = at
	}
	if !t.active && at.Sub(t.since) >= c.Persistence {
		t.active = true
	}
}

// Check tells of the channels of which nothing has come for too long, by the reader's clock. Call it
// now and then, whether packets come or not.
func (m *Monitor) Check(now time.Time, tell func(Change)) {
	for i := range m.watches {
		w := &m.watches[i]
		silent := now.Sub(w.seen)
		if w.seen.IsZero() || silent < w.channel.StaleAfter {
			continue
		}
		for i := range w.limits {
			w.limits[i].since, w.limits[i].active = time.Time{}, false
		}
		w.same = time.Time{}
		w.to(Change{At: now, To: StateStale, Limit: math.NaN(), For: silent}, tell)
	}
}

func (w *watch) to(c Change, tell func(Change)) {
	if c.To == w.state {
		return
	}
	c.Channel, c.From, c.Value = w.channel, w.state, w.value
	w.state = c.To
	tell(c)
}

// State is the channel's state; normal if the dictionary has no such channel.
func (m *Monitor) State(id string) ChannelState {
	for i := range m.watches {
		if m.ids[i] == id {
			return m.watches[i].state
		}
	}
	return StateNormal
}

// Heard is when the last packet was read, by the reader's clock.
func (m *Monitor) Heard() time.Time { return m.heard }
