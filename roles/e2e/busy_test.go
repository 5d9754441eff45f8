package e2e

import (
	"io"
	"os"
	"runtime"
	"testing"
	"time"
)

// busyChild, in the environment, makes the test binary a process that keeps a CPU busy.
const busyChild = "TBMSOCK_E2E_BUSY"

// busyPerCPU is how many processes keep each CPU busy.
const busyPerCPU = 3

// spins is that child's main: it ends when its input does, as it does when the test is killed.
func spins() int {
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		os.Exit(0)
	}()
	for {
	}
}

// burners are processes that keep every CPU busy.
type burners struct {
	t     *testing.T
	all   []*process
	begun time.Time
}

// startBurners saturates the machine until the test ends.
func startBurners(t *testing.T) *burners {
	t.Helper()
	b := &burners{t: t, begun: time.Now()}
	for range busyPerCPU * runtime.NumCPU() {
		b.all = append(b.all, startWith(t, []string{busyChild + "=yes", "GOMAXPROCS=1"}, os.Args[0]))
	}
	return b
}

// stop ends them, and returns how much of the machine they had.
func (b *burners) stop() (share float64) {
	b.t.Helper()
	var used time.Duration
	for _, p := range b.all {
		select {
		case <-p.done:
			b.t.Errorf("a process that had to keep the machine busy has ended:\n%s", p.log())
		default:
		}
		p.kill()
		used += p.cmd.ProcessState.UserTime()
	}
	return float64(used) / float64(time.Since(b.begun)) / float64(runtime.NumCPU())
}
