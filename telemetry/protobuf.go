package telemetry

import (
	"fmt"

	"google.golang.org/protobuf/proto"

	"tbmsock/telemetry/telemetrypb"
)

//go:generate protoc --plugin=protoc-gen-go=telemetrypb/protoc-gen-go.sh --go_out=.. --go_opt=module=tbmsock --proto_path=.. telemetry/telemetrypb/packet.proto transport/envelopepb/envelope.proto

// AppendProto appends the packet as protobuf, telemetrypb.Packet. Fields of the packet it was read
// from that this program does not know are kept.
func (p *Packet) AppendProto(dst []byte) ([]byte, error) {
	if p.origin == nil {
		p.origin = new(telemetrypb.Packet)
	}
	p.toProto(p.origin)
	out, err := proto.MarshalOptions{Deterministic: true}.MarshalAppend(dst, p.origin)
	if err != nil {
		return dst, fmt.Errorf("packet: %w", err)
	}
	return out, nil
}

// UnmarshalProto reads what AppendProto has written, into a packet whose groups are used again.
func (p *Packet) UnmarshalProto(data []byte) error {
	if p.origin == nil {
		p.origin = new(telemetrypb.Packet)
	}
	if err := proto.Unmarshal(data, p.origin); err != nil {
		return fmt.Errorf("packet: %w", err)
	}
	p.fromProto(p.origin)
	return nil
}

func (p *Packet) toProto(dst *telemetrypb.Packet) {
	dst.Machine = p.Machine
	dst.State = telemetrypb.State(p.State)
	dst.Phase = telemetrypb.Phase(p.Phase)
	dst.Ring = uint32(p.Ring)
	if p.Cutterhead == nil {
		dst.Cutterhead = nil
	} else {
		if dst.Cutterhead == nil {
			dst.Cutterhead = new(telemetrypb.Cutterhead)
		}
		s, g := p.Cutterhead, dst.Cutterhead
		g.Speed = s.Speed
		g.Torque = s.Torque
		g.MotorCurrent = s.MotorCurrent
		g.MotorTemperature = s.MotorTemperature
		g.Penetration = s.Penetration
	}
	if p.Thrust == nil {
		dst.Thrust = nil
	} else {
		if dst.Thrust == nil {
			dst.Thrust = new(telemetrypb.Thrust)
		}
		s, g := p.Thrust, dst.Thrust
		g.Total = s.Total
		g.Sector_1 = s.Sector1
		g.Sector_2 = s.Sector2
		g.Sector_3 = s.Sector3
		g.Sector_4 = s.Sector4
		g.Advance = s.Advance
		g.Stroke = s.Stroke
	}
	if p.Chamber == nil {
		dst.Chamber = nil
	} else {
		if dst.Chamber == nil {
			dst.Chamber = new(telemetrypb.Chamber)
		}
		s, g := p.Chamber, dst.Chamber
		g.Pressure_1 = s.Pressure1
		g.Pressure_2 = s.Pressure2
		g.Pressure_3 = s.Pressure3
		g.Pressure_4 = s.Pressure4
		g.Pressure_5 = s.Pressure5
	}
	if p.Screw == nil {
		dst.Screw = nil
	} else {
		if dst.Screw == nil {
			dst.Screw = new(telemetrypb.Screw)
		}
		s, g := p.Screw, dst.Screw
		g.Speed = s.Speed
		g.Torque = s.Torque
		g.Gate = s.Gate
	}
	if p.Conditioning == nil {
		dst.Conditioning = nil
	} else {
		if dst.Conditioning == nil {
			dst.Conditioning = new(telemetrypb.Conditioning)
		}
		s, g := p.Conditioning, dst.Conditioning
		g.FoamFlow = s.FoamFlow
		g.FoamInjectionRatio = s.FoamInjectionRatio
		g.FoamExpansionRatio = s.FoamExpansionRatio
		g.GreasePressure = s.GreasePressure
	}
	if p.Muck == nil {
		dst.Muck = nil
	} else {
		if dst.Muck == nil {
			dst.Muck = new(telemetrypb.Muck)
		}
		s, g := p.Muck, dst.Muck
		g.BeltScale = s.BeltScale
		g.BeltSpeed = s.BeltSpeed
	}
	if p.Guidance == nil {
		dst.Guidance = nil
	} else {
		if dst.Guidance == nil {
			dst.Guidance = new(telemetrypb.Guidance)
		}
		s, g := p.Guidance, dst.Guidance
		g.Chainage = s.Chainage
		g.Easting = s.Easting
		g.Northing = s.Northing
		g.Elevation = s.Elevation
		g.DeviationHorizontal = s.DeviationHorizontal
		g.DeviationVertical = s.DeviationVertical
		g.Roll = s.Roll
		g.Pitch = s.Pitch
		g.Yaw = s.Yaw
	}
	if p.Hydraulics == nil {
		dst.Hydraulics = nil
	} else {
		if dst.Hydraulics == nil {
			dst.Hydraulics = new(telemetrypb.Hydraulics)
		}
		s, g := p.Hydraulics, dst.Hydraulics
		g.PumpPressure = s.PumpPressure
		g.OilTemperature = s.OilTemperature
		g.Articulation_1 = s.Articulation1
		g.Articulation_2 = s.Articulation2
		g.Articulation_3 = s.Articulation3
		g.Articulation_4 = s.Articulation4
	}
	if p.Atmosphere == nil {
		dst.Atmosphere = nil
	} else {
		if dst.Atmosphere == nil {
			dst.Atmosphere = new(telemetrypb.Atmosphere)
		}
		s, g := p.Atmosphere, dst.Atmosphere
		g.Ch4 = s.CH4
		g.Co = s.CO
		g.Co2 = s.CO2
		g.H2S = s.H2S
		g.O2 = s.O2
	}
	if p.Power == nil {
		dst.Power = nil
	} else {
		if dst.Power == nil {
			dst.Power = new(telemetrypb.Power)
		}
		s, g := p.Power, dst.Power
		g.Voltage = s.Voltage
		g.Current = s.Current
		g.Active = s.Active
		g.Energy = s.Energy
	}
}

func (p *Packet) fromProto(src *telemetrypb.Packet) {
	p.Machine = src.Machine
	p.State = State(src.State)
	p.Phase = Phase(src.Phase)
	p.Ring = int(src.Ring)
	if g := src.Cutterhead; g == nil {
		p.Cutterhead = nil
	} else {
		if p.Cutterhead == nil {
			p.Cutterhead = new(Cutterhead)
		}
		*p.Cutterhead = Cutterhead{
			Speed:            g.Speed,
			Torque:           g.Torque,
			MotorCurrent:     g.MotorCurrent,
			MotorTemperature: g.MotorTemperature,
			Penetration:      g.Penetration,
		}
	}
	if g := src.Thrust; g == nil {
		p.Thrust = nil
	} else {
		if p.Thrust == nil {
			p.Thrust = new(Thrust)
		}
		*p.Thrust = Thrust{
			Total:   g.Total,
			Sector1: g.Sector_1,
			Sector2: g.Sector_2,
			Sector3: g.Sector_3,
			Sector4: g.Sector_4,
			Advance: g.Advance,
			Stroke:  g.Stroke,
		}
	}
	if g := src.Chamber; g == nil {
		p.Chamber = nil
	} else {
		if p.Chamber == nil {
			p.Chamber = new(Chamber)
		}
		*p.Chamber = Chamber{
			Pressure1: g.Pressure_1,
			Pressure2: g.Pressure_2,
			Pressure3: g.Pressure_3,
			Pressure4: g.Pressure_4,
			Pressure5: g.Pressure_5,
		}
	}
	if g := src.Screw; g == nil {
		p.Screw = nil
	} else {
		if p.Screw == nil {
			p.Screw = new(Screw)
		}
		*p.Screw = Screw{
			Speed:  g.Speed,
			Torque: g.Torque,
			Gate:   g.Gate,
		}
	}
	if g := src.Conditioning; g == nil {
		p.Conditioning = nil
	} else {
		if p.Conditioning == nil {
			p.Conditioning = new(Conditioning)
		}
		*p.Conditioning = Conditioning{
			FoamFlow:           g.FoamFlow,
			FoamInjectionRatio: g.FoamInjectionRatio,
			FoamExpansionRatio: g.FoamExpansionRatio,
			GreasePressure:     g.GreasePressure,
		}
	}
	if g := src.Muck; g == nil {
		p.Muck = nil
	} else {
		if p.Muck == nil {
			p.Muck = new(Muck)
		}
		*p.Muck = Muck{
			BeltScale: g.BeltScale,
			BeltSpeed: g.BeltSpeed,
		}
	}
	if g := src.Guidance; g == nil {
		p.Guidance = nil
	} else {
		if p.Guidance == nil {
			p.Guidance = new(Guidance)
		}
		*p.Guidance = Guidance{
			Chainage:            g.Chainage,
			Easting:             g.Easting,
			Northing:            g.Northing,
			Elevation:           g.Elevation,
			DeviationHorizontal: g.DeviationHorizontal,
			DeviationVertical:   g.DeviationVertical,
			Roll:                g.Roll,
			Pitch:               g.Pitch,
			Yaw:                 g.Yaw,
		}
	}
	if g := src.Hydraulics; g == nil {
		p.Hydraulics = nil
	} else {
		if p.Hydraulics == nil {
			p.Hydraulics = new(Hydraulics)
		}
		*p.Hydraulics = Hydraulics{
			PumpPressure:   g.PumpPressure,
			OilTemperature: g.OilTemperature,
			Articulation1:  g.Articulation_1,
			Articulation2:  g.Articulation_2,
			Articulation3:  g.Articulation_3,
			Articulation4:  g.Articulation_4,
		}
	}
	if g := src.Atmosphere; g == nil {
		p.Atmosphere = nil
	} else {
		if p.Atmosphere == nil {
			p.Atmosphere = new(Atmosphere)
		}
		*p.Atmosphere = Atmosphere{
			CH4: g.Ch4,
			CO:  g.Co,
			CO2: g.Co2,
			H2S: g.H2S,
			O2:  g.O2,
		}
	}
	if g := src.Power; g == nil {
		p.Power = nil
	} else {
		if p.Power == nil {
			p.Power = new(Power)
		}
		*p.Power = Power{
			Voltage: g.Voltage,
			Current: g.Current,
			Active:  g.Active,
			Energy:  g.Energy,
		}
	}
}
