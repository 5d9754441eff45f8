//go:build linux

package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// runner lets each server have its turns.
type runner struct {
	serverCPU, loadCPU string
	quick              bool
	only               []string // names of scenarios; all if empty
	files              uint64   // that a server or a load may open

	scenarios []scenario // that were run
	results   results
	notes     map[string][]string // by scenario: what was not measured, and why
	failed    int
}

// raiseFiles raises the limit of open files for this process and those that it starts.
func raiseFiles() (uint64, error) {
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		return 0, fmt.Errorf("limit of open files: %w", err)
	}
	limit.Cur = limit.Max
	// Set by us, it holds for the servers too: what the runtime has set for itself would not.
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &syscall.Rlimit{Cur: limit.Cur, Max: limit.Max}); err != nil {
		return 0, fmt.Errorf("limit of open files: %w", err)
	}
	return limit.Cur, nil
}

// all runs every scenario. A run that fails is noted, and the others go on; the error is ctx's.
func (r *runner) all(ctx context.Context, rounds int) error {
	for _, s := range scenarios(r.quick) {
		if len(r.only) > 0 && !slices.Contains(r.only, s.name) {
			continue
		}
		r.scenarios = append(r.scenarios, s)
		if s.files > 0 && r.files < uint64(s.files) && !r.quick {
			r.fail(s.name, fmt.Sprintf("not run: server and load need %d open files each, %d are allowed (ulimit -n)", s.files, r.files))
			continue
		}
		n := rounds
		if s.once {
			n = 1
		}
		for round := range n {
			for i := range s.rows {
				row := s.rows[(i+round)%len(s.rows)] // nobody always follows the same one
				k := key{s.name, row.name}
				res, err := r.measure(ctx, row, s)
				if ctx.Err() != nil {
					return context.Cause(ctx)
				}
				r.results[k] = append(r.results[k], res)
				if err != nil {
					r.fail(s.name, fmt.Sprintf("%s, round %d of %d: %v", row.name, round+1, n, err))
					continue
				}
				fmt.Fprintf(os.Stderr, "%-15s %d/%d  %-28s %9.0f/s  lost %d  p99 %.0f us  %.2f CPU s a million  %.1f KB a client  load %.0f %%\n",
					s.name, round+1, n, row.name, res.PerSecond, res.Lost, res.Latency.P99, res.Server.CPUPerMillion, res.Server.PerClient/1e3, 100*res.LoadCPU)
			}
		}
	}
	return nil
}

func (r *runner) fail(scenario, why string) {
	r.failed++
	r.notes[scenario] = append(r.notes[scenario], why)
	fmt.Fprintf(os.Stderr, "%-15s %s\n", scenario, why)
}

// startTime is how long a server may take until it listens.
const startTime = 20 * time.Second

// measure starts a server of its own for one run of the load.
func (r *runner) measure(ctx context.Context, row row, s scenario) (res *result, err error) {
	ctx, cancel := context.WithTimeoutCause(ctx, 4*time.Minute, errors.New("no end after four minutes"))
	defer cancel()
	args := append([]string{"-c", r.serverCPU}, row.command...)
	if i := slices.Index(args, freshDir); i >= 0 {
		dir, err := os.MkdirTemp("", "tbmsock-bench-")
		if err != nil {
			return nil, err
		}
		defer func() { _ = os.RemoveAll(dir) }()
		args[i] = dir
	}
	server := exec.CommandContext(ctx, "taskset", args...)
	server.Stderr = os.Stderr
	server.Cancel = func() error { return server.Process.Signal(syscall.SIGTERM) }
	server.WaitDelay = 10 * time.Second
	stdout, err := server.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := server.Start(); err != nil {
		return nil, err
	}
	read := make(chan struct{})
	defer func() {
		cancel()
		<-read            // its output ends with it, so it comes first
		_ = server.Wait() // it was told to end
	}()
	first := make(chan string, 1)
	go func() {
		defer close(read)
		lines := bufio.NewReader(stdout)
		line, _ := lines.ReadString('\n')
		first <- line
		_, _ = io.Copy(io.Discard, lines)
	}()
	var url string
	select {
	case line := <-first:
		var ok bool
		if url, ok = strings.CutPrefix(strings.TrimSpace(line), "listening on "); !ok {
			return nil, fmt.Errorf("the server does not say where it listens, but %q", line)
		}
	case <-time.After(startTime):
		return nil, fmt.Errorf("the server says nothing for %v", startTime)
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	args = []string{"-c", r.loadCPU, "bin/tbmsock", "bench", "--json", "--quiet", "--url", url,
		"--engine", row.engine, "--server-pid", fmt.Sprint(server.Process.Pid)} // taskset becomes the server
	args = append(append(args, s.load...), row.load...)
	load := exec.CommandContext(ctx, "taskset", args...)
	var told strings.Builder
	load.Stderr = &told
	out, err := load.Output()
	if err != nil {
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		return nil, fmt.Errorf("the load ends: %w: %s", err, strings.TrimSpace(told.String()))
	}
	res = new(result)
	if err := json.Unmarshal(out, res); err != nil {
		return nil, fmt.Errorf("the load says %.100q: %w", out, err)
	}
	return res, nil
}

// writeRaw writes all results as JSON, by scenario and row.
func (r *runner) writeRaw(path string) error {
	all := map[string][]*result{}
	for k, v := range r.results {
		all[k.scenario+": "+k.row] = v
	}
	b, err := json.MarshalIndent(all, "", "\t")
	if err != nil {
		return err
	}
	return os.WriteFile(path, append(b, '\n'), 0o644)
}
