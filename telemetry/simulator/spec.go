package simulator

import (
	"math"
	"time"
)

// Kind is a kind of machine.
type Kind string

// The machines.
const (
	EPB      Kind = "epb"      // earth pressure balance, 6 m, in soil
	HardRock Kind = "hardrock" // shield with 52 discs, 7.93 m, in granite
	Micro    Kind = "micro"    // slurry microtunnelling, 0.5 m: a student team's machine
)

// Kinds are the machines, in the order in which they are named to people.
var Kinds = []Kind{EPB, HardRock, Micro}

// spec is what a machine is built of. Where no source is named the figure is an engineering
// estimate that brings the readings to those measured on such machines.
type spec struct {
	diameter float64 // m
	cutters  int     // discs or tools
	arm      float64 // head's width over its diameter, for friction at its rim (EPB head: 0.07)

	speed     float64 // rpm while boring
	maxTorque float64 // kNm at which the operator eases off
	maxThrust float64 // kN at which the operator eases off
	maxSpeed  float64 // mm/min at which the operator eases off
	discForce float64 // kN on each disc that the operator aims at; 0: a head without discs
	aim       float64 // mm/rev that the operator aims at, heads without discs
	towing    float64 // kN to pull the gantries and to overcome the shield's friction
	hold      float64 // share of the towing force that stays in the cylinders while nothing advances

	stroke    float64 // mm, one ring
	gap       float64 // mm between head and face when boring begins
	cylinders int     // thrust cylinders, in four sectors
	bore      float64 // m, a thrust cylinder's
	retracted float64 // bar in the cylinders that are free

	pressure   float64 // bar aimed at in the chamber's axis; 0: no chamber
	inThrust   bool    // the chamber's pressure is carried by the thrust cylinders
	chamberLen float64 // m
	screwVol   float64 // m³ a revolution; 0: no screw
	screwMax   float64 // rpm
	screwArm   float64 // kNm of screw torque a bar of chamber pressure
	slurry     bool    // the chamber is emptied by a pump through a valve

	voltage   float64 // V between phases
	base      float64 // kW of all that always runs
	ratedAmps float64 // A, head's motors at maxTorque
	beltSpeed float64 // m/s; 0: no belt

	ringBuild   time.Duration // middle of its spread
	stopEvery   time.Duration // of boring, between unplanned stops, on the mean
	stopFor     time.Duration // length of an unplanned stop, on the mean
	serviceEach int           // rings between two services
	serviceFor  time.Duration // length of a service
}

var specs = map[Kind]spec{
	EPB: {
		diameter: 6.0, cutters: 40, arm: 0.07,
		speed: 1.93, maxTorque: 2330, maxThrust: 13000, maxSpeed: 70, aim: 24, towing: 820, hold: 0.5,
		stroke: 1200, gap: 6, cylinders: 20, bore: 0.22, retracted: 5,
		pressure: 3.5, inThrust: true, chamberLen: 1.2, screwVol: 0.3, screwMax: 12, screwArm: 16,
		voltage: 10000, base: 420, ratedAmps: 1300, beltSpeed: 2.5,
		ringBuild: 33 * time.Minute, stopEvery: 95 * time.Minute, stopFor: 9 * time.Minute, serviceEach: 12, serviceFor: 40 * time.Minute,
	},
	HardRock: {
		diameter: 7.93, cutters: 52,
		speed: 3.5, maxTorque: 2650, maxThrust: 28000, maxSpeed: 110, discForce: 198, towing: 10300, hold: 0.15,
		stroke: 1800, gap: 8, cylinders: 16, bore: 0.36, retracted: 5,
		voltage: 10000, base: 650, ratedAmps: 1500, beltSpeed: 2.8,
		ringBuild: 50 * time.Minute, stopEvery: 90 * time.Minute, stopFor: 75 * time.Minute, serviceEach: 3, serviceFor: 160 * time.Minute,
	},
	Micro: {
		diameter: 0.5, cutters: 8, arm: 0.07,
		speed: 6, maxTorque: 0.8, maxThrust: 23, maxSpeed: 58, aim: 7, towing: 9, hold: 0.3,
		stroke: 1000, gap: 4, cylinders: 4, bore: 0.05, retracted: 2,
		pressure: 2.15, chamberLen: 0.25, slurry: true,
		voltage: 400, base: 6, ratedAmps: 12,
		ringBuild: 24 * time.Minute, stopEvery: 60 * time.Minute, stopFor: 6 * time.Minute, serviceEach: 10, serviceFor: 30 * time.Minute,
	},
}

func (s *spec) radius() float64 { return s.diameter / 2 }

// area of the face, m².
func (s *spec) area() float64 { return math.Pi * s.diameter * s.diameter / 4 }

// ramArea is the area of all thrust cylinders, m².
func (s *spec) ramArea() float64 {
	return float64(s.cylinders) * math.Pi * s.bore * s.bore / 4
}
