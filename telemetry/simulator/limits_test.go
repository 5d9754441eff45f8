package simulator

import (
	"testing"
	"time"

	"tbmsock/telemetry"
)

// An operator believes alarms only if none comes while all is well.
func TestSoundMachineRaisesNoAlarm(t *testing.T) {
	for _, k := range Kinds {
		t.Run(string(k), func(t *testing.T) {
			m := newMachine(t, Options{Machine: k, Seed: 21})
			d := telemetry.DefaultDictionary()
			monitor, deriver := telemetry.NewMonitor(d), telemetry.NewDeriver()
			var p telemetry.Packet
			warnings := 0
			for i := range 4 * days * 3600 {
				at := start.Add(time.Duration(i) * time.Second)
				m.Next(at, &p)
				r := telemetry.Reading{Packet: &p, Derived: deriver.Update(d.For(p.Machine).Geometry(), at, &p)}
				monitor.Observe(at, at, &r, func(c telemetry.Change) {
					if c.To.Warn() {
						warnings++
					}
					if c.To.Alarm() || c.To == telemetry.StateStale {
						t.Errorf("after %d s: %s %s, %v: %s", i, c.Channel.ID, c.To, c.Value, c.Reason())
					}
				})
			}
			if warnings > 8*days {
				t.Errorf("%d warnings in %d h", warnings, 4*days)
			}
		})
	}
}
