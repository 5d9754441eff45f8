package telemetry

import "tbmsock/telemetry/telemetrypb"

// groups are the packet's groups and their channels in the order of the dictionary, each with its place in a packet
// and in protobuf. Tests hold the names against dictionary, JSON and protobuf.
var groups = []group{
	newGroup("cutterhead", func(p *Packet) **Cutterhead { return &p.Cutterhead }, func(w *telemetrypb.Packet) **telemetrypb.Cutterhead { return &w.Cutterhead }, []channel[Cutterhead, telemetrypb.Cutterhead]{
		{"speed", func(g *Cutterhead) *float64 { return &g.Speed }, func(w *telemetrypb.Cutterhead) *float64 { return &w.Speed }},
		{"torque", func(g *Cutterhead) *float64 { return &g.Torque }, func(w *telemetrypb.Cutterhead) *float64 { return &w.Torque }},
		{"motor_current", func(g *Cutterhead) *float64 { return &g.MotorCurrent }, func(w *telemetrypb.Cutterhead) *float64 { return &w.MotorCurrent }},
		{"motor_temperature", func(g *Cutterhead) *float64 { return &g.MotorTemperature }, func(w *telemetrypb.Cutterhead) *float64 { return &w.MotorTemperature }},
		{"penetration", func(g *Cutterhead) *float64 { return &g.Penetration }, func(w *telemetrypb.Cutterhead) *float64 { return &w.Penetration }},
	}),
	newGroup("thrust", func(p *Packet) **Thrust { return &p.Thrust }, func(w *telemetrypb.Packet) **telemetrypb.Thrust { return &w.Thrust }, []channel[Thrust, telemetrypb.Thrust]{
		{"total", func(g *Thrust) *float64 { return &g.Total }, func(w *telemetrypb.Thrust) *float64 { return &w.Total }},
		{"sector_1", func(g *Thrust) *float64 { return &g.Sector1 }, func(w *telemetrypb.Thrust) *float64 { return &w.Sector_1 }},
		{"sector_2", func(g *Thrust) *float64 { return &g.Sector2 }, func(w *telemetrypb.Thrust) *float64 { return &w.Sector_2 }},
		{"sector_3", func(g *Thrust) *float64 { return &g.Sector3 }, func(w *telemetrypb.Thrust) *float64 { return &w.Sector_3 }},
		{"sector_4", func(g *Thrust) *float64 { return &g.Sector4 }, func(w *telemetrypb.Thrust) *float64 { return &w.Sector_4 }},
		{"advance", func(g *Thrust) *float64 { return &g.Advance }, func(w *telemetrypb.Thrust) *float64 { return &w.Advance }},
		{"stroke", func(g *Thrust) *float64 { return &g.Stroke }, func(w *telemetrypb.Thrust) *float64 { return &w.Stroke }},
	}),
	newGroup("chamber", func(p *Packet) **Chamber { return &p.Chamber }, func(w *telemetrypb.Packet) **telemetrypb.Chamber { return &w.Chamber }, []channel[Chamber, telemetrypb.Chamber]{
		{"pressure_1", func(g *Chamber) *float64 { return &g.Pressure1 }, func(w *telemetrypb.Chamber) *float64 { return &w.Pressure_1 }},
		{"pressure_2", func(g *Chamber) *float64 { return &g.Pressure2 }, func(w *telemetrypb.Chamber) *float64 { return &w.Pressure_2 }},
		{"pressure_3", func(g *Chamber) *float64 { return &g.Pressure3 }, func(w *telemetrypb.Chamber) *float64 { return &w.Pressure_3 }},
		{"pressure_4", func(g *Chamber) *float64 { return &g.Pressure4 }, func(w *telemetrypb.Chamber) *float64 { return &w.Pressure_4 }},
		{"pressure_5", func(g *Chamber) *float64 { return &g.Pressure5 }, func(w *telemetrypb.Chamber) *float64 { return &w.Pressure_5 }},
	}),
	newGroup("screw", func(p *Packet) **Screw { return &p.Screw }, func(w *telemetrypb.Packet) **telemetrypb.Screw { return &w.Screw }, []channel[Screw, telemetrypb.Screw]{
		{"speed", func(g *Screw) *float64 { return &g.Speed }, func(w *telemetrypb.Screw) *float64 { return &w.Speed }},
		{"torque", func(g *Screw) *float64 { return &g.Torque }, func(w *telemetrypb.Screw) *float64 { return &w.Torque }},
		{"gate", func(g *Screw) *float64 { return &g.Gate }, func(w *telemetrypb.Screw) *float64 { return &w.Gate }},
	}),
	newGroup("conditioning", func(p *Packet) **Conditioning { return &p.Conditioning }, func(w *telemetrypb.Packet) **telemetrypb.Conditioning { return &w.Conditioning }, []channel[Conditioning, telemetrypb.Conditioning]{
		{"foam_flow", func(g *Conditioning) *float64 { return &g.FoamFlow }, func(w *telemetrypb.Conditioning) *float64 { return &w.FoamFlow }},
		{"foam_injection_ratio", func(g *Conditioning) *float64 { return &g.FoamInjectionRatio }, func(w *telemetrypb.Conditioning) *float64 { return &w.FoamInjectionRatio }},
		{"foam_expansion_ratio", func(g *Conditioning) *float64 { return &g.FoamExpansionRatio }, func(w *telemetrypb.Conditioning) *float64 { return &w.FoamExpansionRatio }},
		{"grease_pressure", func(g *Conditioning) *float64 { return &g.GreasePressure }, func(w *telemetrypb.Conditioning) *float64 { return &w.GreasePressure }},
	}),
	newGroup("muck", func(p *Packet) **Muck { return &p.Muck }, func(w *telemetrypb.Packet) **telemetrypb.Muck { return &w.Muck }, []channel[Muck, telemetrypb.Muck]{
		{"belt_scale", func(g *Muck) *float64 { return &g.BeltScale }, func(w *telemetrypb.Muck) *float64 { return &w.BeltScale }},
		{"belt_speed", func(g *Muck) *float64 { return &g.BeltSpeed }, func(w *telemetrypb.Muck) *float64 { return &w.BeltSpeed }},
	}),
	newGroup("guidance", func(p *Packet) **Guidance { return &p.Guidance }, func(w *telemetrypb.Packet) **telemetrypb.Guidance { return &w.Guidance }, []channel[Guidance, telemetrypb.Guidance]{
		{"chainage", func(g *Guidance) *float64 { return &g.Chainage }, func(w *telemetrypb.Guidance) *float64 { return &w.Chainage }},
		{"easting", func(g *Guidance) *float64 { return &g.Easting }, func(w *telemetrypb.Guidance) *float64 { return &w.Easting }},
		{"northing", func(g *Guidance) *float64 { return &g.Northing }, func(w *telemetrypb.Guidance) *float64 { return &w.Northing }},
		{"elevation", func(g *Guidance) *float64 { return &g.Elevation }, func(w *telemetrypb.Guidance) *float64 { return &w.Elevation }},
		{"deviation_horizontal", func(g *Guidance) *float64 { return &g.DeviationHorizontal }, func(w *telemetrypb.Guidance) *float64 { return &w.DeviationHorizontal }},
		{"deviation_vertical", func(g *Guidance) *float64 { return &g.DeviationVertical }, func(w *telemetrypb.Guidance) *float64 { return &w.DeviationVertical }},
		{"roll", func(g *Guidance) *float64 { return &g.Roll }, func(w *telemetrypb.Guidance) *float64 { return &w.Roll }},
		{"pitch", func(g *Guidance) *float64 { return &g.Pitch }, func(w *telemetrypb.Guidance) *float64 { return &w.Pitch }},
		{"yaw", func(g *Guidance) *float64 { return &g.Yaw }, func(w *telemetrypb.Guidance) *float64 { return &w.Yaw }},
	}),
	newGroup("hydraulics", func(p *Packet) **Hydraulics { return &p.Hydraulics }, func(w *telemetrypb.Packet) **telemetrypb.Hydraulics { return &w.Hydraulics }, []channel[Hydraulics, telemetrypb.Hydraulics]{
		{"pump_pressure", func(g *Hydraulics) *float64 { return &g.PumpPressure }, func(w *telemetrypb.Hydraulics) *float64 { return &w.PumpPressure }},
		{"oil_temperature", func(g *Hydraulics) *float64 { return &g.OilTemperature }, func(w *telemetrypb.Hydraulics) *float64 { return &w.OilTemperature }},
		{"articulation_1", func(g *Hydraulics) *float64 { return &g.Articulation1 }, func(w *telemetrypb.Hydraulics) *float64 { return &w.Articulation_1 }},
		{"articulation_2", func(g *Hydraulics) *float64 { return &g.Articulation2 }, func(w *telemetrypb.Hydraulics) *float64 { return &w.Articulation_2 }},
		{"articulation_3", func(g *Hydraulics) *float64 { return &g.Articulation3 }, func(w *telemetrypb.Hydraulics) *float64 { return &w.Articulation_3 }},
		{"articulation_4", func(g *Hydraulics) *float64 { return &g.Articulation4 }, func(w *telemetrypb.Hydraulics) *float64 { return &w.Articulation_4 }},
	}),
	newGroup("atmosphere", func(p *Packet) **Atmosphere { return &p.Atmosphere }, func(w *telemetrypb.Packet) **telemetrypb.Atmosphere { return &w.Atmosphere }, []channel[Atmosphere, telemetrypb.Atmosphere]{
		{"ch4", func(g *Atmosphere) *float64 { return &g.CH4 }, func(w *telemetrypb.Atmosphere) *float64 { return &w.Ch4 }},
		{"co", func(g *Atmosphere) *float64 { return &g.CO }, func(w *telemetrypb.Atmosphere) *float64 { return &w.Co }},
		{"co2", func(g *Atmosphere) *float64 { return &g.CO2 }, func(w *telemetrypb.Atmosphere) *float64 { return &w.Co2 }},
		{"h2s", func(g *Atmosphere) *float64 { return &g.H2S }, func(w *telemetrypb.Atmosphere) *float64 { return &w.H2S }},
		{"o2", func(g *Atmosphere) *float64 { return &g.O2 }, func(w *telemetrypb.Atmosphere) *float64 { return &w.O2 }},
	}),
	newGroup("power", func(p *Packet) **Power { return &p.Power }, func(w *telemetrypb.Packet) **telemetrypb.Power { return &w.Power }, []channel[Power, telemetrypb.Power]{
		{"voltage", func(g *Power) *float64 { return &g.Voltage }, func(w *telemetrypb.Power) *float64 { return &w.Voltage }},
		{"current", func(g *Power) *float64 { return &g.Current }, func(w *telemetrypb.Power) *float64 { return &w.Current }},
		{"active", func(g *Power) *float64 { return &g.Active }, func(w *telemetrypb.Power) *float64 { return &w.Active }},
		{"energy", func(g *Power) *float64 { return &g.Energy }, func(w *telemetrypb.Power) *float64 { return &w.Energy }},
	}),
}

// group is what can be done with one group of a packet, whatever its type.
type group struct {
	name      string
	channels  []channelField
	has       func(*Packet) bool
	make      func(*Packet)
	toProto   func(*Packet, *telemetrypb.Packet)
	fromProto func(*telemetrypb.Packet, *Packet)
}

// channel is a channel's place in a group G of a packet, and in the group's protobuf W.
type channel[G, W any] struct {
	name  string
	field func(*G) *float64
	wire  func(*W) *float64
}

func newGroup[G, W any](name string, in func(*Packet) **G, on func(*telemetrypb.Packet) **W, channels []channel[G, W]) group {
	made := group{
		name: name,
		has:  func(p *Packet) bool { return *in(p) != nil },
		make: func(p *Packet) { orNew(in(p)) },
		toProto: func(p *Packet, dst *telemetrypb.Packet) {
			from, to := *in(p), on(dst)
			if from == nil {
				*to = nil
				return
			}
			w := orNew(to) // the one that it was read from, with what that holds besides
			for i := range channels {
				*channels[i].wire(w) = *channels[i].field(from)
			}
		},
		fromProto: func(src *telemetrypb.Packet, p *Packet) {
			from, to := *on(src), in(p)
			if from == nil {
				*to = nil
				return
			}
			g := orNew(to)
			for i := range channels {
				*channels[i].field(g) = *channels[i].wire(from)
			}
		},
	}
	for _, c := range channels {
		made.channels = append(made.channels, channelField{name + "." + c.name, func(p *Packet) *float64 {
			g := *in(p)
			if g == nil {
				return nil
			}
			return c.field(g)
		}})
	}
	return made
}

func orNew[T any](at **T) *T {
	if *at == nil {
		*at = new(T)
	}
	return *at
}
