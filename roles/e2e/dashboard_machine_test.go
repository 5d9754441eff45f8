package e2e

import (
	"context"
	"encoding/json"
	"math"
	"sync"
	"testing"
	"time"

	"tbmsock/telemetry"
	"tbmsock/transport"
	"tbmsock/transport/engine4"
)

// machine is a source whose readings the test decides: what the page has to show is known.
type machine struct {
	t      *testing.T
	client *transport.Client
	proto  bool

	mu       sync.Mutex
	envelope transport.Envelope
	set      map[string]float64 // channels that the test has put somewhere
	state    string
}

func newMachine(t *testing.T, url, source, room string, proto bool) *machine {
	t.Helper()
	client, err := transport.NewClient(transport.ClientOptions{URL: url, Dialers: []transport.Dialer{engine4.Dialer{}}, ComeBack: true,
		Backoff: transport.Backoff{Min: 50 * time.Millisecond, Max: 200 * time.Millisecond}})
	if err != nil {
		t.Fatal(err)
	}
	m := &machine{t: t, client: client, proto: proto, set: map[string]float64{}, state: "boring",
		envelope: transport.Envelope{Source: source, Room: room, Boot: transport.NewID()}}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); _ = client.Run(ctx) }()
	t.Cleanup(func() { cancel(); <-done })
	return m
}

// put holds a channel at a value from now on.
func (m *machine) put(id string, v float64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.set[id] = v
}

// release lets a channel go its own way again.
func (m *machine) release(id string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.set, id)
}

// reading is what the machine has at a time, as JSON: waves about what a machine of 6 m has.
func (m *machine) reading(at time.Time) []byte {
	s := float64(at.UnixMilli()) / 1000
	wave := func(period, mean, swing float64) float64 {
		slow := math.Sin(2 * math.Pi * s / period)
		fast := 0.25 * math.Sin(2*math.Pi*s/period*7.3+mean)
		return math.Round((mean+swing*(slow+fast))*1000) / 1000
	}
	ring := math.Floor(s / 1560)
	groups := map[string]map[string]float64{
		"cutterhead":   {"speed": wave(90, 2, 0.06), "torque": wave(70, 1980, 160), "motor_current": wave(70, 920, 60), "motor_temperature": wave(900, 62, 2), "penetration": wave(110, 23, 1.6)},
		"thrust":       {"total": wave(80, 11250, 600), "sector_1": wave(80, 148, 6), "sector_2": wave(80, 161, 6), "sector_3": wave(80, 182, 7), "sector_4": wave(80, 159, 6), "advance": wave(110, 46, 3), "stroke": math.Mod(s, 1560) / 1.3},
		"chamber":      {"pressure_1": wave(120, 3.25, 0.08), "pressure_2": wave(120, 3.4, 0.08), "pressure_3": wave(120, 3.62, 0.08), "pressure_4": wave(120, 3.6, 0.08), "pressure_5": wave(120, 3.41, 0.08)},
		"screw":        {"speed": wave(100, 6.2, 0.4), "torque": wave(75, 58, 4), "gate": wave(600, 72, 3)},
		"conditioning": {"foam_flow": wave(100, 640, 30), "foam_injection_ratio": wave(100, 15, 0.4), "foam_expansion_ratio": wave(400, 8, 0.2), "grease_pressure": wave(500, 18, 0.8)},
		"muck":         {"belt_scale": wave(95, 182, 14), "belt_speed": wave(500, 2.5, 0.01)},
		"guidance": {"chainage": 1200 + math.Mod(s, 1e6)*46/60_000, "easting": 2_683_412.31 + math.Mod(s, 1e6)/2000, "northing": 1_247_650.82, "elevation": 402.4,
			"deviation_horizontal": wave(700, -12, 9), "deviation_vertical": wave(500, 14, 6), "roll": wave(300, 0.6, 0.4), "pitch": wave(400, -0.8, 0.2), "yaw": wave(800, 74.2, 0.1)},
		"hydraulics": {"pump_pressure": wave(80, 212, 9), "oil_temperature": wave(900, 46, 1), "articulation_1": wave(700, 58, 4), "articulation_2": wave(700, 61, 4), "articulation_3": wave(700, 63, 4), "articulation_4": wave(700, 60, 4)},
		"atmosphere": {"ch4": math.Abs(wave(60, 0.8, 0.4)), "co": wave(200, 4, 1), "co2": wave(300, 0.08, 0.01), "h2s": math.Abs(wave(300, 0.4, 0.2)), "o2": wave(300, 20.8, 0.05)},
		"power":      {"voltage": wave(50, 10_020, 40), "current": wave(70, 71, 5), "active": wave(70, 1180, 80), "energy": 512_000 + math.Mod(s, 1e6)/3},
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	for id, v := range m.set {
		for group, channels := range groups {
			for channel := range channels {
				if group+"."+channel == id {
					channels[channel] = v
				}
			}
		}
	}
	packet := map[string]any{"state": m.state, "phase": "stable", "ring": int(math.Mod(ring, 1000)) + 1}
	for group, channels := range groups {
		packet[group] = channels
	}
	b, err := json.Marshal(packet)
	if err != nil {
		m.t.Error(err)
	}
	return b
}

// event is the next reading in its envelope, as the argument of log_telemetry.
func (m *machine) event(at time.Time) any {
	body := m.reading(at)
	m.mu.Lock()
	defer m.mu.Unlock()
	e := &m.envelope
	e.Seq++
	e.Time = at.UTC()
	if m.proto {
		var p telemetry.Packet
		if err := json.Unmarshal(body, &p); err != nil {
			m.t.Error(err)
		}
		b, err := p.AppendProto(nil)
		if err != nil {
			m.t.Error(err)
		}
		e.Proto = b
		return e.AppendProto(nil)
	}
	e.Packet = body
	b, err := json.Marshal(e)
	if err != nil {
		m.t.Error(err)
	}
	return json.RawMessage(b)
}

func (m *machine) send(ctx context.Context, at time.Time) {
	if err := m.client.Publish(ctx, transport.EventTelemetry, m.event(at)); err != nil && ctx.Err() == nil {
		m.t.Error(err)
	}
}

// sent is how many readings have been sent.
func (m *machine) sent() uint64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.envelope.Seq
}

// waitSent waits until so many have.
func (m *machine) waitSent(n uint64) {
	m.t.Helper()
	deadline := time.NewTimer(patience)
	defer deadline.Stop()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for m.sent() < n {
		select {
		case <-tick.C:
		case <-deadline.C:
			m.t.Fatalf("%d readings sent, want %d", m.sent(), n)
		}
	}
}

// run sends readings at the rate until the test ends, or until the function that it returns is called.
func (m *machine) run(period time.Duration) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() {
		tick := time.NewTicker(period)
		defer tick.Stop()
		for {
			select {
			case at := <-tick.C:
				m.send(ctx, at)
			case <-ctx.Done():
				return
			}
		}
	})
	stop = func() { cancel(); wg.Wait() }
	m.t.Cleanup(stop)
	return stop
}

// past sends readings of the time before now, as fast as they are taken.
func (m *machine) past(span, period time.Duration) {
	m.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	now := time.Now()
	for at := now.Add(-span); at.Before(now); at = at.Add(period) {
		m.send(ctx, at)
	}
	if err := m.client.Flush(ctx); err != nil {
		m.t.Fatal(err)
	}
}
