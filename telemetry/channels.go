package telemetry

import (
	"fmt"
	"path"
	"slices"
	"strings"
)

// channelField is a channel's place in a packet.
type channelField struct {
	id    string
	field func(*Packet) *float64 // nil if the packet has no such group
}

// channelFields are all channels of a packet, in order. A test holds them against the dictionary.
var channelFields = []channelField{
	{"cutterhead.speed", func(p *Packet) *float64 {
		if p.Cutterhead == nil {
			return nil
		}
		return &p.Cutterhead.Speed
	}},
	{"cutterhead.torque", func(p *Packet) *float64 {
		if p.Cutterhead == nil {
			return nil
		}
		return &p.Cutterhead.Torque
	}},
	{"cutterhead.motor_current", func(p *Packet) *float64 {
		if p.Cutterhead == nil {
			return nil
		}
		return &p.Cutterhead.MotorCurrent
	}},
	{"cutterhead.motor_temperature", func(p *Packet) *float64 {
		if p.Cutterhead == nil {
			return nil
		}
		return &p.Cutterhead.MotorTemperature
	}},
	{"cutterhead.penetration", func(p *Packet) *float64 {
		if p.Cutterhead == nil {
			return nil
		}
		return &p.Cutterhead.Penetration
	}},
	{"thrust.total", func(p *Packet) *float64 {
		if p.Thrust == nil {
			return nil
		}
		return &p.Thrust.Total
	}},
	{"thrust.sector_1", func(p *Packet) *float64 {
		if p.Thrust == nil {
			return nil
		}
		return &p.Thrust.Sector1
	}},
	{"thrust.sector_2", func(p *Packet) *float64 {
		if p.Thrust == nil {
			return nil
		}
		return &p.Thrust.Sector2
	}},
	{"thrust.sector_3", func(p *Packet) *float64 {
		if p.Thrust == nil {
			return nil
		}
		return &p.Thrust.Sector3
	}},
	{"thrust.sector_4", func(p *Packet) *float64 {
		if p.Thrust == nil {
			return nil
		}
		return &p.Thrust.Sector4
	}},
	{"thrust.advance", func(p *Packet) *float64 {
		if p.Thrust == nil {
			return nil
		}
		return &p.Thrust.Advance
	}},
	{"thrust.stroke", func(p *Packet) *float64 {
		if p.Thrust == nil {
			return nil
		}
		return &p.Thrust.Stroke
	}},
	{"chamber.pressure_1", func(p *Packet) *float64 {
		if p.Chamber == nil {
			return nil
		}
		return &p.Chamber.Pressure1
	}},
	{"chamber.pressure_2", func(p *Packet) *float64 {
		if p.Chamber == nil {
			return nil
		}
		return &p.Chamber.Pressure2
	}},
	{"chamber.pressure_3", func(p *Packet) *float64 {
		if p.Chamber == nil {
			return nil
		}
		return &p.Chamber.Pressure3
	}},
	{"chamber.pressure_4", func(p *Packet) *float64 {
		if p.Chamber == nil {
			return nil
		}
		return &p.Chamber.Pressure4
	}},
	{"chamber.pressure_5", func(p *Packet) *float64 {
		if p.Chamber == nil {
			return nil
		}
		return &p.Chamber.Pressure5
	}},
	{"screw.speed", func(p *Packet) *float64 {
		if p.Screw == nil {
			return nil
		}
		return &p.Screw.Speed
	}},
	{"screw.torque", func(p *Packet) *float64 {
		if p.Screw == nil {
			return nil
		}
		return &p.Screw.Torque
	}},
	{"screw.gate", func(p *Packet) *float64 {
		if p.Screw == nil {
			return nil
		}
		return &p.Screw.Gate
	}},
	{"conditioning.foam_flow", func(p *Packet) *float64 {
		if p.Conditioning == nil {
			return nil
		}
		return &p.Conditioning.FoamFlow
	}},
	{"conditioning.foam_injection_ratio", func(p *Packet) *float64 {
		if p.Conditioning == nil {
			return nil
		}
		return &p.Conditioning.FoamInjectionRatio
	}},
	{"conditioning.foam_expansion_ratio", func(p *Packet) *float64 {
		if p.Conditioning == nil {
			return nil
		}
		return &p.Conditioning.FoamExpansionRatio
	}},
	{"conditioning.grease_pressure", func(p *Packet) *float64 {
		if p.Conditioning == nil {
			return nil
		}
		return &p.Conditioning.GreasePressure
	}},
	{"muck.belt_scale", func(p *Packet) *float64 {
		if p.Muck == nil {
			return nil
		}
		return &p.Muck.BeltScale
	}},
	{"muck.belt_speed", func(p *Packet) *float64 {
		if p.Muck == nil {
			return nil
		}
		return &p.Muck.BeltSpeed
	}},
	{"guidance.chainage", func(p *Packet) *float64 {
		if p.Guidance == nil {
			return nil
		}
		return &p.Guidance.Chainage
	}},
	{"guidance.easting", func(p *Packet) *float64 {
		if p.Guidance == nil {
			return nil
		}
		return &p.Guidance.Easting
	}},
	{"guidance.northing", func(p *Packet) *float64 {
		if p.Guidance == nil {
			return nil
		}
		return &p.Guidance.Northing
	}},
	{"guidance.elevation", func(p *Packet) *float64 {
		if p.Guidance == nil {
			return nil
		}
		return &p.Guidance.Elevation
	}},
	{"guidance.deviation_horizontal", func(p *Packet) *float64 {
		if p.Guidance == nil {
			return nil
		}
		return &p.Guidance.DeviationHorizontal
	}},
	{"guidance.deviation_vertical", func(p *Packet) *float64 {
		if p.Guidance == nil {
			return nil
		}
		return &p.Guidance.DeviationVertical
	}},
	{"guidance.roll", func(p *Packet) *float64 {
		if p.Guidance == nil {
			return nil
		}
		return &p.Guidance.Roll
	}},
	{"guidance.pitch", func(p *Packet) *float64 {
		if p.Guidance == nil {
			return nil
		}
		return &p.Guidance.Pitch
	}},
	{"guidance.yaw", func(p *Packet) *float64 {
		if p.Guidance == nil {
			return nil
		}
		return &p.Guidance.Yaw
	}},
	{"hydraulics.pump_pressure", func(p *Packet) *float64 {
		if p.Hydraulics == nil {
			return nil
		}
		return &p.Hydraulics.PumpPressure
	}},
	{"hydraulics.oil_temperature", func(p *Packet) *float64 {
		if p.Hydraulics == nil {
			return nil
		}
		return &p.Hydraulics.OilTemperature
	}},
	{"hydraulics.articulation_1", func(p *Packet) *float64 {
		if p.Hydraulics == nil {
			return nil
		}
		return &p.Hydraulics.Articulation1
	}},
	{"hydraulics.articulation_2", func(p *Packet) *float64 {
		if p.Hydraulics == nil {
			return nil
		}
		return &p.Hydraulics.Articulation2
	}},
	{"hydraulics.articulation_3", func(p *Packet) *float64 {
		if p.Hydraulics == nil {
			return nil
		}
		return &p.Hydraulics.Articulation3
	}},
	{"hydraulics.articulation_4", func(p *Packet) *float64 {
		if p.Hydraulics == nil {
			return nil
		}
		return &p.Hydraulics.Articulation4
	}},
	{"atmosphere.ch4", func(p *Packet) *float64 {
		if p.Atmosphere == nil {
			return nil
		}
		return &p.Atmosphere.CH4
	}},
	{"atmosphere.co", func(p *Packet) *float64 {
		if p.Atmosphere == nil {
			return nil
		}
		return &p.Atmosphere.CO
	}},
	{"atmosphere.co2", func(p *Packet) *float64 {
		if p.Atmosphere == nil {
			return nil
		}
		return &p.Atmosphere.CO2
	}},
	{"atmosphere.h2s", func(p *Packet) *float64 {
		if p.Atmosphere == nil {
			return nil
		}
		return &p.Atmosphere.H2S
	}},
	{"atmosphere.o2", func(p *Packet) *float64 {
		if p.Atmosphere == nil {
			return nil
		}
		return &p.Atmosphere.O2
	}},
	{"power.voltage", func(p *Packet) *float64 {
		if p.Power == nil {
			return nil
		}
		return &p.Power.Voltage
	}},
	{"power.current", func(p *Packet) *float64 {
		if p.Power == nil {
			return nil
		}
		return &p.Power.Current
	}},
	{"power.active", func(p *Packet) *float64 {
		if p.Power == nil {
			return nil
		}
		return &p.Power.Active
	}},
	{"power.energy", func(p *Packet) *float64 {
		if p.Power == nil {
			return nil
		}
		return &p.Power.Energy
	}},
}

var channelIndex = func() map[string]int {
	m := make(map[string]int, len(channelFields))
	for i, c := range channelFields {
		m[c.id] = i
	}
	return m
}()

// ChannelIDs lists the channels of a packet, in a stable order.
func ChannelIDs() []string {
	ids := make([]string, len(channelFields))
	for i, c := range channelFields {
		ids[i] = c.id
	}
	return ids
}

// ChannelIndex is the channel's place in ChannelIDs, or -1.
func ChannelIndex(id string) int {
	if i, ok := channelIndex[id]; ok {
		return i
	}
	return -1
}

// At is the channel with the index, nil if the packet has no such group: the way to all channels of
// many packets. It points into the packet.
func (p *Packet) At(index int) *float64 { return channelFields[index].field(p) }

// HasGroup tells whether the packet has any channel at all.
func (p *Packet) HasGroup() bool {
	return p.Cutterhead != nil || p.Thrust != nil || p.Chamber != nil || p.Screw != nil || p.Conditioning != nil ||
		p.Muck != nil || p.Guidance != nil || p.Hydraulics != nil || p.Atmosphere != nil || p.Power != nil
}

// Make gives the packet the channel's group if it does not have it.
func (p *Packet) Make(id string) {
	group, _, _ := strings.Cut(id, ".")
	switch group {
	case "cutterhead":
		makeGroup(&p.Cutterhead)
	case "thrust":
		makeGroup(&p.Thrust)
	case "chamber":
		makeGroup(&p.Chamber)
	case "screw":
		makeGroup(&p.Screw)
	case "conditioning":
		makeGroup(&p.Conditioning)
	case "muck":
		makeGroup(&p.Muck)
	case "guidance":
		makeGroup(&p.Guidance)
	case "hydraulics":
		makeGroup(&p.Hydraulics)
	case "atmosphere":
		makeGroup(&p.Atmosphere)
	case "power":
		makeGroup(&p.Power)
	}
}

func makeGroup[T any](group **T) {
	if *group == nil {
		*group = new(T)
	}
}

// Value returns the channel's value; ok is false if the machine has no such channel.
func (p *Packet) Value(id string) (v float64, ok bool) {
	i, known := channelIndex[id]
	if !known {
		return 0, false
	}
	f := channelFields[i].field(p)
	if f == nil {
		return 0, false
	}
	return *f, true
}

// Set changes the channel's value; false if the packet has no such channel.
func (p *Packet) Set(id string, v float64) bool {
	i, known := channelIndex[id]
	if !known {
		return false
	}
	f := channelFields[i].field(p)
	if f == nil {
		return false
	}
	*f = v
	return true
}

// MatchChannels returns the ids of packet and derived channels that the patterns match, in the order of
// the patterns, each once: an id, or a group with a star, "cutterhead.*". A pattern that matches nothing
// is an error.
func MatchChannels(patterns []string) ([]string, error) {
	all := append(ChannelIDs(), DerivedIDs()...)
	var ids []string
	for _, p := range patterns {
		found := false
		for _, id := range all {
			ok, err := path.Match(p, id)
			if err != nil {
				return nil, fmt.Errorf("channel %q: %w", p, err)
			}
			if !ok {
				continue
			}
			found = true
			if !slices.Contains(ids, id) {
				ids = append(ids, id)
			}
		}
		if !found {
			return nil, fmt.Errorf("channel %q: there is none; use ids such as thrust.total, or a group, cutterhead.*", p)
		}
	}
	return ids, nil
}
