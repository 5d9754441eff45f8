package roles

import (
	"fmt"
	"os"
	"time"

	"github.com/urfave/cli/v2"

	"tbmsock/telemetry/simulator"
)

// machineFlags choose the machine that is simulated.
func machineFlags() []cli.Flag {
	return []cli.Flag{
		choiceFlag("machine", "machine that is simulated", string(simulator.EPB), string(simulator.HardRock), string(simulator.Micro)),
		textFlag("scenario", "YAML file with the ground along the tunnel and what goes wrong; the machine's own if empty", ""),
		countFlag("seed", "seed of the simulation; the same seed gives the same packets", 1, 1<<62),
	}
}

// newMachine makes the machine that the flags choose.
func newMachine(c *cli.Context, start time.Time) (*simulator.Machine, error) {
	opts := simulator.Options{
		Machine: simulator.Kind(choiceOf(c, "machine")),
		Seed:    uint64(countOf(c, "seed")),
		Start:   start,
	}
	if path := c.String("scenario"); path != "" {
		data, err := os.ReadFile(path)
		if err != nil {
			return nil, fmt.Errorf("--scenario: %w", err)
		}
		if opts.Scenario, err = simulator.ParseScenario(data); err != nil {
			return nil, fmt.Errorf("--scenario %s: %w", path, err)
		}
	}
	return simulator.New(opts)
}
