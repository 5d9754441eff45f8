// Package telemetry owns what a tunnel boring machine tells: the packet, its channels with their
// units and limits, and what can be derived from them. It knows no socket and no logger: how a
// packet travels is package transport's business.
package telemetry

import "tbmsock/telemetry/telemetrypb"

// Packet is one reading of the machine. Its groups, and the channels in them, are those of the
// dictionary, by the same names, in the units given beside each. A group that the machine does not
// have is nil.
type Packet struct {
	Machine string `json:"machine,omitempty"` // kind of machine, whose limits hold: epb, hardrock, micro, or the team's own
	State   State  `json:"state"`
	Phase   Phase  `json:"phase"`
	Ring    int    `json:"ring"` // number of the ring that is being bored for, from 1

	Cutterhead   *Cutterhead   `json:"cutterhead,omitempty"`
	Thrust       *Thrust       `json:"thrust,omitempty"`
	Chamber      *Chamber      `json:"chamber,omitempty"`
	Screw        *Screw        `json:"screw,omitempty"`
	Conditioning *Conditioning `json:"conditioning,omitempty"`
	Muck         *Muck         `json:"muck,omitempty"`
	Guidance     *Guidance     `json:"guidance,omitempty"`
	Hydraulics   *Hydraulics   `json:"hydraulics,omitempty"`
	Atmosphere   *Atmosphere   `json:"atmosphere,omitempty"`
	Power        *Power        `json:"power,omitempty"`

	origin *telemetrypb.Packet // what it was read from, with fields that this program does not know
}

// Cutterhead is the turning head.
type Cutterhead struct {
	Speed            float64 `json:"speed"`             // rpm: speed
	Torque           float64 `json:"torque"`            // kNm: torque
	MotorCurrent     float64 `json:"motor_current"`     // A: motor current
	MotorTemperature float64 `json:"motor_temperature"` // °C: motor temperature
	Penetration      float64 `json:"penetration"`       // mm/rev: penetration
}

// Thrust is what pushes the machine forward.
type Thrust struct {
	Total   float64 `json:"total"`    // kN: total thrust
	Sector1 float64 `json:"sector_1"` // bar: sector pressure top
	Sector2 float64 `json:"sector_2"` // bar: sector pressure right
	Sector3 float64 `json:"sector_3"` // bar: sector pressure bottom
	Sector4 float64 `json:"sector_4"` // bar: sector pressure left
	Advance float64 `json:"advance"`  // mm/min: advance rate
	Stroke  float64 `json:"stroke"`   // mm: stroke
}

// Chamber is the excavation chamber behind the head; machines in rock have none.
type Chamber struct {
	Pressure1 float64 `json:"pressure_1"` // bar: face pressure crown
	Pressure2 float64 `json:"pressure_2"` // bar: face pressure upper right
	Pressure3 float64 `json:"pressure_3"` // bar: face pressure lower right
	Pressure4 float64 `json:"pressure_4"` // bar: face pressure lower left
	Pressure5 float64 `json:"pressure_5"` // bar: face pressure upper left
}

// Screw is the screw conveyor that takes the muck out of the chamber.
type Screw struct {
	Speed  float64 `json:"speed"`  // rpm: speed
	Torque float64 `json:"torque"` // kNm: torque
	Gate   float64 `json:"gate"`   // %: gate opening
}

// Conditioning is the foam that makes soil flow, and the tail grease.
type Conditioning struct {
	FoamFlow           float64 `json:"foam_flow"`            // l/min: foam flow
	FoamInjectionRatio float64 `json:"foam_injection_ratio"` // %: foam injection ratio
	FoamExpansionRatio float64 `json:"foam_expansion_ratio"` // 1: foam expansion ratio
	GreasePressure     float64 `json:"grease_pressure"`      // bar: tail grease pressure
}

// Muck is what leaves the machine.
type Muck struct {
	BeltScale float64 `json:"belt_scale"` // t/h: belt scale
	BeltSpeed float64 `json:"belt_speed"` // m/s: belt speed
}

// Guidance is where the machine is, and how far from where it should be.
type Guidance struct {
	Chainage            float64 `json:"chainage"`             // m: chainage
	Easting             float64 `json:"easting"`              // m: easting
	Northing            float64 `json:"northing"`             // m: northing
	Elevation           float64 `json:"elevation"`            // m: elevation
	DeviationHorizontal float64 `json:"deviation_horizontal"` // mm: horizontal deviation
	DeviationVertical   float64 `json:"deviation_vertical"`   // mm: vertical deviation
	Roll                float64 `json:"roll"`                 // deg: roll
	Pitch               float64 `json:"pitch"`                // deg: pitch
	Yaw                 float64 `json:"yaw"`                  // deg: yaw
}

// Hydraulics is the oil, and the cylinders of the shield's joint.
type Hydraulics struct {
	PumpPressure   float64 `json:"pump_pressure"`   // bar: pump pressure
	OilTemperature float64 `json:"oil_temperature"` // °C: oil temperature
	Articulation1  float64 `json:"articulation_1"`  // mm: articulation stroke top
	Articulation2  float64 `json:"articulation_2"`  // mm: articulation stroke right
	Articulation3  float64 `json:"articulation_3"`  // mm: articulation stroke bottom
	Articulation4  float64 `json:"articulation_4"`  // mm: articulation stroke left
}

// Atmosphere is the air in the tunnel.
type Atmosphere struct {
	CH4 float64 `json:"ch4"` // % LEL: methane
	CO  float64 `json:"co"`  // ppm: carbon monoxide
	CO2 float64 `json:"co2"` // %: carbon dioxide
	H2S float64 `json:"h2s"` // ppm: hydrogen sulphide
	O2  float64 `json:"o2"`  // %: oxygen
}

// Power is the electric supply.
type Power struct {
	Voltage float64 `json:"voltage"` // V: voltage
	Current float64 `json:"current"` // A: current
	Active  float64 `json:"active"`  // kW: active power
	Energy  float64 `json:"energy"`  // kWh: energy
}
