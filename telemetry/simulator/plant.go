package simulator

import (
	"math"

	"tbmsock/telemetry"
)

// plant is everything behind the head: drives, oil, belt, supply, air.
type plant struct {
	motorTemp lag
	oilTemp   lag
	belt      lag // muck on its way to the scale
	running   lag // share of the auxiliaries that run
	active    float64
	energy    float64 // kWh
	voltage   wander
	methane   wander
	co, co2   wander
	h2s, o2   wander
	train     float64 // s that a train with its diesel still stands in the tunnel
	exhaust   lag
}

func newPlant(m *Machine) plant {
	return plant{
		motorTemp: lag{tau: 60, x: 34}, oilTemp: lag{tau: 900, x: 36}, belt: lag{tau: 25}, running: lag{tau: 20, x: 0.6},
		voltage: wander{tau: 60, sigma: 0.004}, methane: wander{tau: 400, sigma: 0.25}, co: wander{tau: 300, sigma: 1},
		co2: wander{tau: 600, sigma: 0.008}, h2s: wander{tau: 500, sigma: 0.15}, o2: wander{tau: 900, sigma: 0.04},
		exhaust: lag{tau: 150},
		energy:  math.Round(m.scenario.Start.Chainage * m.spec.area() * 6), // the counter is not new
	}
}

// ch4 is methane in % LEL.
func (p *plant) ch4(m *Machine) float64 {
	return max(0.4+p.methane.x, 0) + 29*m.faults.gas.x
}

// headPower is what the head's motors take, kW: 2π·n·T over the drive's efficiency.
func (m *Machine) headPower() float64 {
	return 2 * math.Pi * m.head.speed / 60 * m.head.torque / 0.88
}

func (p *plant) step(m *Machine, h float64) {
	s, hd := &m.spec, &m.head
	load := hd.torque / s.maxTorque
	p.motorTemp.to(28+18*load*load+8*sign(hd.speed), h)
	p.oilTemp.to(33+9*min(hd.thrust/s.maxThrust, 1.5)+4*p.running.x, h)

	muck := m.ground.density * s.area() * hd.advance / 1000 * 60 // t/h
	if s.screwVol > 0 {
		muck = m.ground.density / (1 + m.ground.foam) * m.chamber.extract * 60
	}
	p.belt.to(muck, h)

	run := 0.6
	switch m.cycle.state {
	case telemetry.StateBoring:
		run = 1
	case telemetry.StateRingBuilding:
		run = 0.75
	case telemetry.StateFault:
		run = 0.04 // what may stay on in gas
	}
	p.running.to(run, h)
	p.active = s.base*p.running.x + m.headPower() +
		hd.thrust*hd.advance/1000/60/0.7 +
		2*math.Pi*m.chamber.screw/60*m.screwTorque()/0.8
	if s.beltSpeed > 0 {
		p.active += 45*sign(hd.advance) + p.belt.x*0.06
	}
	p.energy += p.active * h / 3600
	p.voltage.step(h, m.rnd)
	p.air(m, h)
}

// air drifts; a train with a diesel brings exhaust.
func (p *plant) air(m *Machine, h float64) {
	p.methane.step(h, m.rnd)
	p.co.step(h, m.rnd)
	p.co2.step(h, m.rnd)
	p.h2s.step(h, m.rnd)
	p.o2.step(h, m.rnd)
	if p.train -= h; p.train < 0 && m.rnd.Float64() < h/2400 {
		p.train = 420
	}
	p.exhaust.to(sign(p.train), h)
}

// screwTorque is kNm: the muck's pressure on the flights.
func (m *Machine) screwTorque() float64 {
	if m.chamber.screw == 0 {
		return 0
	}
	return m.spec.screwArm * m.chamber.pressure * (0.8 + 0.2*m.chamber.screw/m.spec.screwMax) * (1 + 0.5*m.faults.clog.x)
}

// volts and amps of the supply: the voltage falls with the load; P = √3·U·I·cos φ.
func (m *Machine) supply() (volts, amps float64) {
	p := &m.plant
	volts = m.spec.voltage * (1 + p.voltage.x - 0.012*p.active/(m.spec.base*4))
	return volts, p.active * 1000 / (math.Sqrt(3) * volts * 0.9)
}

// read writes what is, without the sensors, into dst.
func (m *Machine) read(dst *telemetry.Packet) {
	s, hd, c, g, p := &m.spec, &m.head, &m.cycle, &m.guidance, &m.plant
	dst.Machine, dst.State, dst.Phase, dst.Ring = string(m.kind), c.state, c.phase, c.ring

	*group(&dst.Cutterhead) = telemetry.Cutterhead{Speed: hd.speed, Torque: hd.torque, Penetration: hd.penetration,
		MotorCurrent: s.ratedAmps * (0.12*sign(hd.speed) + 0.88*hd.torque/s.maxTorque), MotorTemperature: p.motorTemp.x}
	sec := m.sectors()
	*group(&dst.Thrust) = telemetry.Thrust{Total: hd.thrust, Sector1: sec[0], Sector2: sec[1], Sector3: sec[2], Sector4: sec[3],
		Advance: hd.advance, Stroke: c.stroke}
	*group(&dst.Guidance) = telemetry.Guidance{Chainage: g.chainage, Easting: g.easting, Northing: g.northing, Elevation: g.elevation,
		DeviationHorizontal: g.side.deviation, DeviationVertical: g.height.deviation, Roll: g.roll, Pitch: g.pitch(), Yaw: g.yaw()}
	up, right := 18*g.height.command, 18*g.side.command
	oil := telemetry.Hydraulics{PumpPressure: s.retracted + 20, OilTemperature: p.oilTemp.x,
		Articulation1: 60 - up, Articulation2: 60 - right, Articulation3: 60 + up, Articulation4: 60 + right}
	if hd.advance > 0 {
		oil.PumpPressure = max(sec[0], sec[1], sec[2], sec[3]) + 15
	}
	*group(&dst.Hydraulics) = oil
	*group(&dst.Atmosphere) = telemetry.Atmosphere{CH4: p.ch4(m), CO: max(3+p.co.x, 0) + 12*p.exhaust.x, CO2: 0.06 + p.co2.x + 0.04*p.exhaust.x,
		H2S: max(0.2+p.h2s.x, 0) + 3*m.faults.gas.x, O2: 20.8 + p.o2.x - 0.1*p.exhaust.x - 0.3*m.faults.gas.x}
	volts, amps := m.supply()
	*group(&dst.Power) = telemetry.Power{Voltage: volts, Current: amps, Active: p.active, Energy: p.energy}

	dst.Chamber, dst.Screw, dst.Conditioning, dst.Muck = m.soilGroups(dst)
}

// soilGroups are the groups that only some machines have.
func (m *Machine) soilGroups(dst *telemetry.Packet) (ch *telemetry.Chamber, sc *telemetry.Screw, co *telemetry.Conditioning, mu *telemetry.Muck) {
	s, c := &m.spec, &m.chamber
	if s.pressure > 0 {
		ch, sc = group(&dst.Chamber), group(&dst.Screw)
		// Cells by height above the axis: the muck's weight is on those below.
		at := func(height float64) float64 { return max(c.pressure-muckGravity*height*s.radius()/3, 0) }
		*ch = telemetry.Chamber{Pressure1: at(2.4), Pressure2: at(1), Pressure3: at(-1.5), Pressure4: at(-1.5), Pressure5: at(1)}
		*sc = telemetry.Screw{Speed: c.screw, Torque: m.screwTorque(), Gate: c.gate}
	}
	if s.screwVol > 0 {
		co = group(&dst.Conditioning)
		// Q_foam = FIR·A·v, in l/min.
		*co = telemetry.Conditioning{FoamFlow: m.ground.foam * s.area() * m.head.advance, FoamExpansionRatio: 8,
			GreasePressure: c.pressure + 8 + c.grease.x}
		if m.head.advance > 0 {
			co.FoamInjectionRatio = m.ground.foam * 100
		}
	}
	if s.beltSpeed > 0 {
		mu = group(&dst.Muck)
		*mu = telemetry.Muck{BeltScale: m.plant.belt.x}
		if m.cycle.state == telemetry.StateBoring || m.plant.belt.x > 1 {
			mu.BeltSpeed = s.beltSpeed
		}
	}
	return ch, sc, co, mu
}

// group is the group's memory, made when it is not there yet.
func group[T any](p **T) *T {
	if *p == nil {
		*p = new(T)
	}
	return *p
}
