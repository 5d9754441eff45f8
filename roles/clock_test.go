package roles

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sirupsen/logrus"
	"github.com/urfave/cli/v2"

	"tbmsock/telemetry/recording"
	"tbmsock/telemetry/simulator"
	"tbmsock/transport"
)

// fakeClock is a wall clock that is set while the steady one goes on.
type fakeClock struct{ set time.Duration }

func (c *fakeClock) read() (wall, steady time.Time) {
	now := time.Now()
	return now.Round(0).Add(c.set), now
}

// roleFor makes a role from flags, without running it.
func roleFor[T any](t *testing.T, flags []cli.Flag, make func(*cli.Context) (T, error), args ...string) T {
	t.Helper()
	set := flag.NewFlagSet("role", flag.ContinueOnError)
	for _, f := range append(flags, logFlags()...) {
		if err := f.Apply(set); err != nil {
			t.Fatal(err)
		}
	}
	if err := set.Parse(args); err != nil {
		t.Fatal(err)
	}
	role, err := make(cli.NewContext(cli.NewApp(), set, nil))
	if err != nil {
		t.Fatal(err)
	}
	return role
}

func telemetryFor(t *testing.T, log *logrus.Logger, args ...string) *telemetryRole {
	t.Helper()
	return roleFor(t, telemetryFlags(), func(c *cli.Context) (*telemetryRole, error) { return newTelemetryRole(c, log) }, args...)
}

// The time of a packet was that of the start and what had passed since by the monotonic clock: after the wall clock
// had been set, or a laptop had slept for a night, it was wrong until the next start, and nobody was told.
func TestPacketTimeFollowsTheWallClock(t *testing.T) {
	for _, tc := range []struct {
		name  string
		steps []time.Duration // at reading 10, 20, …
		want  []string        // as they are logged
	}{
		{"none", nil, nil},
		{"ahead", []time.Duration{8 * time.Hour}, []string{"8h0m0s"}},
		{"back", []time.Duration{-8 * time.Hour}, []string{"-8h0m0s"}},
		{"ahead and back", []time.Duration{10 * 24 * time.Hour, -10 * 24 * time.Hour}, []string{"240h0m0s", "-240h0m0s"}},
		{"too small to be told", []time.Duration{100 * time.Millisecond, -time.Millisecond}, nil},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var out bytes.Buffer
				log := logrus.New()
				log.SetOutput(&out)
				log.SetFormatter(&logrus.TextFormatter{DisableTimestamp: true})
				role := telemetryFor(t, log, "--rate", "10hz")
				var c fakeClock
				role.clock = c.read
				tick := ticker{start: time.Now(), period: role.period}
				for n := range 60 {
					if n%10 == 0 && n > 0 && n/10 <= len(tc.steps) {
						c.set += tc.steps[n/10-1]
					}
					due, _, ok := tick.next(t.Context())
					if !ok {
						t.Fatal("no reading")
					}
					time.Sleep(time.Duration(n) * time.Millisecond) // the reading
					at := role.wallTime(due)
					if want := due.Round(0).Add(c.set); !at.Equal(want) {
						t.Fatalf("reading %d has the time %v, want %v", n, at, want)
					}
				}
				var told []string
				for line := range strings.Lines(out.String()) {
					_, step, ok := strings.Cut(line, "step=")
					if !ok || !strings.Contains(line, "level=warning") {
						t.Errorf("it says %s", line)
					}
					told = append(told, strings.TrimSpace(step))
				}
				if strings.Join(told, " ") != strings.Join(tc.want, " ") {
					t.Errorf("steps told: %q, want %q", told, tc.want)
				}
			})
		})
	}
}

// The whole source: what the server gets bears the time of a wall clock that is set meanwhile.
func TestTelemetryFollowsTheWallClock(t *testing.T) {
	got := make(chan transport.Envelope, 100)
	url := relayFor(t, func(_ context.Context, ev *transport.Event) {
		if e, ok := transport.EnvelopeOf(ev.Args[0]); ok {
			got <- e
		}
		_ = ev.Ack(transport.Ack{OK: true})
	})
	var out bytes.Buffer
	log := logrus.New()
	log.SetOutput(&out)
	role := telemetryFor(t, log, "--url", url, "--rate", "100hz", "--count", "40", "--drain", "30s", "--transport", "websocket")
	readings := 0
	role.clock = func() (wall, steady time.Time) {
		wall, steady = systemClock()
		if readings++; readings > 20 {
			wall = wall.Add(8 * time.Hour)
		}
		return wall, steady
	}
	before := time.Now()
	if err := role.run(t.Context()); err != nil {
		t.Fatal(err)
	}
	for seq := uint64(1); seq <= 40; seq++ {
		e := <-got
		from := before.Round(0)
		if seq > 20 {
			from = from.Add(8 * time.Hour)
		}
		if late := e.Time.Sub(from); e.Seq != seq || late < 0 || late > time.Since(before) {
			t.Errorf("seq %d, want %d: its time is %v behind the start", e.Seq, seq, late)
		}
	}
	if n := strings.Count(out.String(), "wall clock stepped"); n != 1 {
		t.Errorf("told %d times:\n%s", n, out.String())
	}
}

// The logger took staleness from the wall clock: set ahead, it made every channel stale at once; set back, it hid for
// as long that a machine had fallen silent.
func TestStalenessIgnoresTheWallClock(t *testing.T) {
	for _, step := range []time.Duration{0, 8 * time.Hour, -8 * time.Hour} {
		t.Run(step.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var out bytes.Buffer
				log := logrus.New()
				log.SetOutput(&out)
				role := roleFor(t, loggerFlags(), func(c *cli.Context) (*loggerRole, error) { return newLoggerRole(c, log, &out) })
				var c fakeClock
				role.clock = c.read
				readings(t, simulator.EPB, 10, time.Second, func(r *recording.Record) {
					e, err := json.Marshal(r.Envelope)
					if err != nil {
						t.Fatal(err)
					}
					role.event(t.Context(), &transport.Event{Name: r.Event, Args: transport.Args{{JSON: e}}})
					role.checkStale()
					time.Sleep(time.Second)
				})
				c.set += step
				role.checkStale()
				if strings.Contains(out.String(), "no packet") || !strings.Contains(out.String(), "#10 ") {
					t.Errorf("after the step it says:\n%s", out.String())
				}
				time.Sleep(10 * time.Minute)
				role.checkStale()
				if !strings.Contains(out.String(), "no packet for 10m1s") {
					t.Errorf("of a silent machine it says:\n%s", out.String())
				}
			})
		})
	}
}
