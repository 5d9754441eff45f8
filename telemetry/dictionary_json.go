package telemetry

import (
	"encoding/json"
	"math"
)

type channelJSON struct {
	ID          string             `json:"id"`
	Name        string             `json:"name"`
	Unit        string             `json:"unit"`
	Type        ChannelType        `json:"type"`
	RateHz      float64            `json:"rate_hz"`
	Range       []float64          `json:"range,omitempty"`
	Limits      map[string]float64 `json:"limits,omitempty"`
	Hysteresis  float64            `json:"hysteresis"`
	Persistence float64            `json:"persistence_s"`
	StaleAfter  float64            `json:"stale_after_s"`
	FrozenAfter float64            `json:"frozen_after_s,omitempty"`
}

func (c *Channel) json() channelJSON {
	out := channelJSON{ID: c.ID, Name: c.Name, Unit: c.Unit, Type: c.Type, RateHz: c.RateHz, Hysteresis: c.Hysteresis,
		Persistence: c.Persistence.Seconds(), StaleAfter: c.StaleAfter.Seconds(), FrozenAfter: c.FrozenAfter.Seconds()}
	if !math.IsNaN(c.Min) {
		out.Range = []float64{c.Min, c.Max}
	}
	for i, v := range []float64{c.Limits.LowAlarm, c.Limits.LowWarn, c.Limits.HighWarn, c.Limits.HighAlarm} {
		if !math.IsNaN(v) {
			if out.Limits == nil {
				out.Limits = map[string]float64{}
			}
			out.Limits[limitNames[i]] = v
		}
	}
	return out
}

// MarshalJSON writes the dictionary for programs:
// {"groups":[{"id","name","channels":[...]}],"machines":[{"id","name","diameter_m","cutters","without":[ids],"channels":[...]}]}.
// A machine's channels are those that differ from the common ones, whole. What does not apply is left out; times are
// in seconds.
func (d *Dictionary) MarshalJSON() ([]byte, error) {
	type group struct {
		ID       string        `json:"id"`
		Name     string        `json:"name"`
		Channels []channelJSON `json:"channels"`
	}
	type machine struct {
		ID       string        `json:"id"`
		Name     string        `json:"name"`
		Diameter float64       `json:"diameter_m,omitempty"`
		Cutters  int           `json:"cutters,omitempty"`
		Without  []string      `json:"without,omitempty"`
		Channels []channelJSON `json:"channels,omitempty"`
	}
	var out struct {
		Groups   []group   `json:"groups"`
		Machines []machine `json:"machines"`
	}
	channels := func(in []Channel) []channelJSON {
		all := []channelJSON{}
		for i := range in {
			all = append(all, in[i].json())
		}
		return all
	}
	for _, g := range d.Groups {
		out.Groups = append(out.Groups, group{g.ID, g.Name, channels(g.Channels)})
	}
	out.Machines = []machine{}
	for _, m := range d.Machines {
		out.Machines = append(out.Machines, machine{m.ID, m.Name, m.Geometry.Diameter, m.Geometry.Cutters, m.Without, channels(m.Channels)})
	}
	return json.Marshal(out)
}
