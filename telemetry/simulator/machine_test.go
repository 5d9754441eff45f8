package simulator

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"flag"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"tbmsock/telemetry"
)

var update = flag.Bool("update", false, "write the golden files anew")

// run takes n readings, one each second, and returns them as they travel.
func run(t testing.TB, o Options, n int) (asJSON, asProto []byte) {
	t.Helper()
	m := newMachine(t, o)
	var p telemetry.Packet
	for i := range n {
		m.Next(start.Add(time.Duration(i)*time.Second), &p)
		b, err := json.Marshal(&p)
		if err != nil {
			t.Fatal(err)
		}
		asJSON = append(append(asJSON, b...), '\n')
		if asProto, err = p.AppendProto(asProto); err != nil {
			t.Fatal(err)
		}
	}
	return asJSON, asProto
}

func TestSameSeedSameBytes(t *testing.T) {
	for _, k := range Kinds {
		t.Run(string(k), func(t *testing.T) {
			a, ap := run(t, Options{Machine: k, Seed: 3}, 3000)
			b, bp := run(t, Options{Machine: k, Seed: 3}, 3000)
			if !bytes.Equal(a, b) || !bytes.Equal(ap, bp) {
				t.Error("two runs with the same seed differ")
			}
			c, _ := run(t, Options{Machine: k, Seed: 4}, 3000)
			if bytes.Equal(a, c) {
				t.Error("two seeds give the same run")
			}
		})
	}
}

// The golden files hold the first reading, one from the middle of a stroke and the last of two hours, and the sums over
// all 7,200, in both encodings.
func TestGoldenRuns(t *testing.T) {
	if runtime.GOARCH != "amd64" {
		t.Skip("on " + runtime.GOARCH + " products and sums may be fused: last digits can differ")
	}
	for _, k := range Kinds {
		t.Run(string(k), func(t *testing.T) {
			asJSON, asProto := run(t, Options{Machine: k, Seed: 42}, 7200)
			lines := bytes.SplitAfter(asJSON, []byte("\n"))
			var got bytes.Buffer
			for _, i := range []int{0, 900, 7199} {
				got.Write(lines[i])
			}
			for name, b := range map[string][]byte{"json": asJSON} {
				sum := sha256.Sum256(b)
				got.WriteString(name + " " + hex.EncodeToString(sum[:]) + "\n")
			}
			sum := sha256.Sum256(asProto)
			got.WriteString("protobuf " + hex.EncodeToString(sum[:]) + "\n")
			file := filepath.Join("testdata", string(k)+".golden")
			if *update {
				if err := os.WriteFile(file, got.Bytes(), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(got.Bytes(), want) {
				t.Errorf("the run with seed 42 is\n%s\nwant\n%s\n(if the model was meant to change: go test ./telemetry/simulator -run Golden -update)", &got, want)
			}
		})
	}
}

// A day at 10 Hz is 864,000 packets: BenchmarkNext times one.
func TestReadingAllocatesNothing(t *testing.T) {
	for _, k := range Kinds {
		m := newMachine(t, Options{Machine: k, Seed: 1})
		var p telemetry.Packet
		i := 0
		next := func() {
			i++
			m.Next(start.Add(time.Duration(i)*100*time.Millisecond), &p)
		}
		next()
		if n := testing.AllocsPerRun(8_640, next); n != 0 {
			t.Errorf("%s: %v allocations a packet", k, n)
		}
	}
}

// At any rate the machine bores about as far: the rate is the reader's business.
func TestAnyRate(t *testing.T) {
	way := func(period time.Duration, seeds uint64) float64 {
		var sum float64
		for seed := range seeds {
			m := newMachine(t, Options{Seed: seed})
			var p telemetry.Packet
			for at := time.Duration(0); at < 5*time.Minute; at += period {
				m.Next(start.Add(at), &p)
			}
			sum += p.Guidance.Chainage - m.scenario.Start.Chainage
		}
		return sum / float64(seeds)
	}
	usual := way(100*time.Millisecond, 2*days)
	for period, seeds := range map[time.Duration]uint64{10 * time.Second: 2 * days, time.Second: 2 * days, 10 * time.Millisecond: days, 500 * time.Microsecond: 1} {
		within(t, "way at a reading each "+period.String(), way(period, seeds), usual, 0.35)
	}
}

func TestTimeThatStandsStillOrGoesBack(t *testing.T) {
	m := newMachine(t, Options{Seed: 1, Noiseless: true})
	var a, b telemetry.Packet
	m.Next(start.Add(10*time.Minute), &a)
	m.Next(start, &b)
	if *a.Guidance != *b.Guidance || a.Power.Energy != b.Power.Energy {
		t.Error("a time before the last one moves the machine")
	}
	m.Next(start.Add(1000*time.Hour), &b) // a laptop that slept for weeks; the test's own limit bounds it
	if b.Guidance.Chainage < a.Guidance.Chainage {
		t.Error("the machine went back")
	}
}

func TestReadingsAreShortAndInRange(t *testing.T) {
	d := telemetry.DefaultDictionary()
	for _, k := range Kinds {
		m := newMachine(t, Options{Machine: k, Seed: 9})
		var p telemetry.Packet
		for i := range 2000 {
			m.Next(start.Add(time.Duration(i)*2*time.Second), &p)
			for _, id := range telemetry.ChannelIDs() {
				v, ok := p.Value(id)
				if c := d.Channel(id); ok && (v < c.Min || v > c.Max || math.IsNaN(v)) {
					t.Fatalf("%s: %s is %v, range %v to %v", k, id, v, c.Min, c.Max)
				}
			}
		}
		b, err := json.Marshal(&p)
		if err != nil {
			t.Fatal(err)
		}
		for _, n := range strings.FieldsFunc(string(b), func(r rune) bool { return r != '.' && (r < '0' || r > '9') }) {
			if len(n) > 12 {
				t.Errorf("%s: the number %s is longer than any sensor tells", k, n)
			}
		}
	}
}

// allStable steps until the machine bores in the stable phase.
func allStable(t *testing.T, m *Machine, at *time.Duration, p *telemetry.Packet) {
	t.Helper()
	for range 100_000 {
		*at += 100 * time.Millisecond
		m.Next(start.Add(*at), p)
		if p.Phase == telemetry.PhaseStable {
			return
		}
	}
	t.Fatal("never stable")
}

func TestFaults(t *testing.T) {
	for _, tc := range []struct {
		name    string
		machine Kind
		fault   Fault
		after   time.Duration
		check   func(t *testing.T, before, during telemetry.Packet)
	}{
		{"gas cuts the power off", EPB, Fault{Kind: Gas}, 3 * time.Minute, func(t *testing.T, _, p telemetry.Packet) {
			if p.Atmosphere.CH4 < 20 || p.State != telemetry.StateFault || p.Cutterhead.Speed > 0.1 || p.Power.Active > 100 {
				t.Errorf("%g %% LEL: state %s, head %g rpm, %g kW", p.Atmosphere.CH4, p.State, p.Cutterhead.Speed, p.Power.Active)
			}
		}},
		{"gas, micro", Micro, Fault{Kind: Gas}, 3 * time.Minute, func(t *testing.T, _, p telemetry.Packet) {
			if p.State != telemetry.StateFault {
				t.Errorf("state %s", p.State)
			}
		}},
		{"clogging raises the torque and takes the advance", EPB, Fault{Kind: Clogging}, 8 * time.Minute, func(t *testing.T, b, p telemetry.Packet) {
			if p.Cutterhead.Torque < 1.1*b.Cutterhead.Torque || p.Thrust.Advance > 0.8*b.Thrust.Advance {
				t.Errorf("torque %g after %g kNm, advance %g after %g mm/min", p.Cutterhead.Torque, b.Cutterhead.Torque, p.Thrust.Advance, b.Thrust.Advance)
			}
		}},
		{"the chamber loses its pressure", EPB, Fault{Kind: FacePressureLoss}, 3 * time.Minute, func(t *testing.T, b, p telemetry.Packet) {
			if p.Chamber.Pressure1 > b.Chamber.Pressure1-0.8 {
				t.Errorf("face pressure %g after %g bar", p.Chamber.Pressure1, b.Chamber.Pressure1)
			}
		}},
		{"a sensor freezes", EPB, Fault{Kind: SensorFreeze, Channel: "thrust.total"}, time.Minute, func(t *testing.T, b, p telemetry.Packet) {
			if math.Abs(p.Thrust.Total-b.Thrust.Total) > 0.02*b.Thrust.Total {
				t.Errorf("thrust %g after %g", p.Thrust.Total, b.Thrust.Total)
			}
		}},
		{"a sensor drifts by 1 % of its range a minute", EPB, Fault{Kind: SensorDrift, Channel: "chamber.pressure_1"}, 8 * time.Minute, func(t *testing.T, b, p telemetry.Packet) {
			between(t, "drift", p.Chamber.Pressure1-b.Chamber.Pressure1, 0.5, 1.1)
		}},
		{"a sensor that the machine does not have", HardRock, Fault{Kind: SensorFreeze, Channel: "chamber.pressure_1"}, time.Minute, func(t *testing.T, _, p telemetry.Packet) {
			if p.Chamber != nil {
				t.Error("a chamber in rock")
			}
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			m := newMachine(t, Options{Machine: tc.machine, Seed: 11})
			var p telemetry.Packet
			var at time.Duration
			allStable(t, m, &at, &p)
			before := clone(t, &p)
			if err := m.Inject(tc.fault); err != nil {
				t.Fatal(err)
			}
			frozen := map[float64]bool{}
			for end := at + tc.after; at < end; at += 100 * time.Millisecond {
				m.Next(start.Add(at), &p)
				if v, ok := p.Value(tc.fault.Channel); ok {
					frozen[v] = true
				}
			}
			tc.check(t, before, p)
			if tc.fault.Kind == SensorFreeze && len(frozen) > 1 {
				t.Errorf("a frozen sensor shows %d values", len(frozen))
			}
			// It passes.
			for range 60 * 60 {
				at += time.Second
				m.Next(start.Add(at), &p)
			}
			if len(m.faults.now) != 0 || p.State == telemetry.StateFault || p.Atmosphere.CH4 > 5 {
				t.Errorf("an hour later: %d faults, state %s, %g %% LEL", len(m.faults.now), p.State, p.Atmosphere.CH4)
			}
		})
	}
}

func clone(t *testing.T, p *telemetry.Packet) telemetry.Packet {
	t.Helper()
	b, err := p.AppendProto(nil)
	if err != nil {
		t.Fatal(err)
	}
	var q telemetry.Packet
	if err := q.UnmarshalProto(b); err != nil {
		t.Fatal(err)
	}
	return q
}

func TestLinkLossEnds(t *testing.T) {
	m := newMachine(t, Options{Seed: 1})
	if err := m.Inject(Fault{Kind: LinkLoss, For: 5 * time.Second}); err != nil {
		t.Fatal(err)
	}
	var p telemetry.Packet
	m.Next(start.Add(4*time.Second), &p)
	if !m.LinkDown() {
		t.Error("the link is up after 4 s of 5")
	}
	m.Next(start.Add(6*time.Second), &p)
	if m.LinkDown() {
		t.Error("the link is down after 6 s of 5")
	}
}

func TestBadFaults(t *testing.T) {
	for _, tc := range []struct {
		name string
		f    Fault
		want string
	}{
		{"unknown", Fault{Kind: "earthquake"}, `kind "earthquake": use jam, clogging, gas`},
		{"too long", Fault{Kind: Jam, For: 48 * time.Hour}, "for 48h0m0s: use a time"},
		{"too short", Fault{Kind: Jam, For: -1}, "for -1ns"},
		{"too strong", Fault{Kind: Jam, Severity: 3}, "severity 3"},
		{"no number", Fault{Kind: Jam, Severity: math.NaN()}, "severity NaN"},
		{"a sensor without a channel", Fault{Kind: SensorFreeze}, `channel ""`},
		{"a sensor that nobody has", Fault{Kind: SensorDrift, Channel: "thrust.hope"}, `channel "thrust.hope"`},
		{"a channel too many", Fault{Kind: Gas, Channel: "thrust.total"}, "a gas has none"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			m := newMachine(t, Options{})
			if err := m.Inject(tc.f); err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("error is %v, want %q", err, tc.want)
			}
		})
	}
	m := newMachine(t, Options{})
	for range maxFaults {
		if err := m.Inject(Fault{Kind: Jam}); err != nil {
			t.Fatal(err)
		}
	}
	if err := m.Inject(Fault{Kind: Jam}); err == nil {
		t.Error("faults without end are taken")
	}
}

func BenchmarkNext(b *testing.B) {
	for _, k := range Kinds {
		b.Run(string(k), func(b *testing.B) {
			m := newMachine(b, Options{Machine: k, Seed: 1})
			var p telemetry.Packet
			i := 0
			b.ReportAllocs()
			for b.Loop() {
				i++
				m.Next(start.Add(time.Duration(i)*100*time.Millisecond), &p)
			}
		})
	}
}
