//go:build linux

// Command run measures tbmsock's server beside its peers and writes what came of it as a page:
//
//	go run ./bench/run --out docs/BENCHMARKS.md
//
// Every server gets one core and the load another. The servers take turns, the whole row of them several
// times over, so that a ratio compares runs that lie seconds apart: on a machine that others use too the
// ratios say more than the figures. It knows the servers as programs only. A run that fails is told on the
// page and by the exit code, and costs the others nothing.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"slices"
	"strings"
	"syscall"
)

func main() {
	out := flag.String("out", "docs/BENCHMARKS.md", "page to write")
	raw := flag.String("raw", "", "file for the results as JSON, if any")
	rounds := flag.Int("rounds", 3, "how often each server has its turn")
	serverCPU := flag.String("server-cpu", "0", "core of the server")
	loadCPU := flag.String("load-cpu", "1", "core of the load")
	only := flag.String("only", "", "scenarios to run, by name, separated by commas; all if empty")
	quick := flag.Bool("quick", false, "short runs with few clients, to try the command itself")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, &runner{serverCPU: *serverCPU, loadCPU: *loadCPU, quick: *quick, results: results{}, notes: map[string][]string{}},
		*only, *rounds, *out, *raw)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, r *runner, only string, rounds int, out, raw string) error {
	if _, err := exec.LookPath("taskset"); err != nil {
		return fmt.Errorf("server and load are kept apart with taskset (Debian: util-linux): %w", err)
	}
	if rounds < 1 {
		return fmt.Errorf("--rounds %d: at least 1 is needed", rounds)
	}
	var names []string
	for _, s := range scenarios(r.quick) {
		names = append(names, s.name)
	}
	if only != "" {
		r.only = strings.Split(only, ",")
		for _, name := range r.only {
			if !slices.Contains(names, name) {
				return fmt.Errorf("--only %q: there are %s", name, strings.Join(names, ", "))
			}
		}
	}
	var err error
	if r.files, err = raiseFiles(); err != nil {
		return err
	}
	if err := r.all(ctx, rounds); err != nil {
		return err
	}
	if raw != "" {
		err = r.writeRaw(raw)
	}
	if err = errors.Join(err, r.writePage(out, rounds)); err != nil {
		return err
	}
	if r.failed > 0 {
		return fmt.Errorf("%d runs failed; %s has the others", r.failed, out)
	}
	return nil
}
