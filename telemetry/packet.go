// Package telemetry owns what a tunnel boring machine tells: the packet, its channels and their
// units. It knows no socket and no logger: how a packet travels is package transport's business.
package telemetry

// Packet is one reading of the machine. Units stand in the JSON names.
type Packet struct {
	State      string     `json:"state"` // boring, ring_building, standstill
	Ring       int        `json:"ring"`  // number of the ring being bored for, from 1
	Cutterhead Cutterhead `json:"cutterhead"`
	Thrust     Thrust     `json:"thrust"`
	Chamber    Chamber    `json:"chamber"`
	Guidance   Guidance   `json:"guidance"`
}

// Cutterhead is the turning head.
type Cutterhead struct {
	Speed  float64 `json:"speed_rpm"`
	Torque float64 `json:"torque_kNm"`
}

// Thrust is what pushes the machine forward, and how far it goes.
type Thrust struct {
	Total       float64 `json:"total_kN"`
	Advance     float64 `json:"advance_mm_min"`
	Penetration float64 `json:"penetration_mm_rev"` // advance a revolution of the head
	Stroke      float64 `json:"stroke_mm"`          // of the rams, 0 after a ring is built
}

// Chamber is the excavation chamber behind the head.
type Chamber struct {
	Pressure float64 `json:"pressure_bar"`
}

// Guidance is where the machine is.
type Guidance struct {
	Chainage float64 `json:"chainage_m"` // along the tunnel
}
