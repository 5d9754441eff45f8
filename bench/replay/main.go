// Command replay measures what those who read a long journal cost those who are live:
//
//	go run ./bench/replay
//
// It fills a journal, starts a server on it on one core, and on another core a publisher with its subscribers
// (tbmsock bench) and late joiners that read the whole journal over and over. Runs without joiners, with one and
// with several take turns, so that a ratio compares runs that lie seconds apart. The joiners have what the load leaves of their
// core (SCHED_IDLE): the latency that is told is the server's. Runs named busy have no joiners, but keep what is left of both cores
// busy in the same way: they tell what that alone costs on the machine in hand. It knows the server as a program only.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

type options struct {
	dir      string
	packets  uint64
	perBlock int
	joiners  string
	rounds   int
	duration time.Duration
	clients  string
	rate     string
	server   []string // further flags of the server
	cpus     [2]string
}

func main() {
	var o options
	flag.StringVar(&o.dir, "dir", "out/replay", "directory for the journal; filled if it is not")
	flag.Uint64Var(&o.packets, "packets", 1_000_000, "that the journal holds")
	flag.IntVar(&o.perBlock, "per-block", 0, "packets written together; 0: as many as come")
	flag.StringVar(&o.joiners, "joiners", "0,busy,1,10", "late joiners of each run of a round; busy: none, but both cores are; alone: one, and nobody is live")
	flag.IntVar(&o.rounds, "rounds", 3, "how often each has its turn")
	flag.DurationVar(&o.duration, "duration", 6*time.Second, "of a run")
	flag.StringVar(&o.clients, "clients", "100", "live subscribers")
	flag.StringVar(&o.rate, "rate", "100hz", "of the live publisher")
	flag.StringVar(&o.cpus[0], "server-cpu", "0", "core of the server")
	flag.StringVar(&o.cpus[1], "load-cpu", "1", "core of load and joiners")
	burn := flag.Bool("burn", false, "keep a core busy, until interrupted (the command starts itself so)")
	join := flag.String("join", "", "be the late joiners of this server, until interrupted (the command starts itself so)")
	flag.Parse()
	o.server = flag.Args()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	var err error
	switch {
	case *join != "":
		err = beJoiners(ctx, *join, o)
	case *burn:
		for ctx.Err() == nil {
		}
	default:
		err = measure(ctx, o)
	}
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "replay:", err)
		os.Exit(1)
	}
}

// beJoiners replays until ctx ends, and writes what came of it.
func beJoiners(ctx context.Context, url string, o options) error {
	n, err := strconv.Atoi(o.joiners)
	if err != nil {
		return fmt.Errorf("--joiners: %w", err)
	}
	told, err := replayAll(ctx, url, n, o.packets)
	if err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(told)
}

// figures are what one run tells.
type figures struct {
	p50, p99, p999, max float64 // microseconds
	lost                uint64
	replayed            float64 // messages a second, of all joiners
	whole               int     // replays that came to their end
	rss                 float64 // MB
	cpu                 float64 // of the server, seconds a second
}

func measure(ctx context.Context, o options) error {
	if err := fill(ctx, o); err != nil {
		return err
	}
	kinds := strings.Split(o.joiners, ",")
	all := map[string][]figures{}
	fmt.Printf("%-8s %6s %8s %8s %8s %8s %12s %6s %8s %6s\n", "joiners", "round", "p50 us", "p99 us", "p99.9", "max", "replayed/s", "whole", "RSS MB", "CPU")
	show := func(kind, round string, f figures) {
		fmt.Printf("%-8s %6s %8.0f %8.0f %8.0f %8.0f %12.0f %6d %8.1f %6.2f\n", kind, round, f.p50, f.p99, f.p999, f.max, f.replayed, f.whole, f.rss, f.cpu)
	}
	for round := range o.rounds {
		for _, kind := range kinds {
			f, err := once(ctx, o, kind)
			if err != nil {
				return fmt.Errorf("%s joiners: %w", kind, err)
			}
			if f.lost > 0 {
				return fmt.Errorf("%s joiners: %d live deliveries are lost", kind, f.lost)
			}
			show(kind, fmt.Sprint(round+1), f)
			all[kind] = append(all[kind], f)
		}
	}
	for _, kind := range kinds {
		show(kind, "median", median(all[kind]))
	}
	return nil
}

func median(all []figures) figures {
	by := func(of func(figures) float64) float64 {
		var v []float64
		for _, f := range all {
			v = append(v, of(f))
		}
		slices.Sort(v)
		return v[len(v)/2]
	}
	return figures{
		p50: by(func(f figures) float64 { return f.p50 }), p99: by(func(f figures) float64 { return f.p99 }),
		p999: by(func(f figures) float64 { return f.p999 }), max: by(func(f figures) float64 { return f.max }),
		replayed: by(func(f figures) float64 { return f.replayed }), rss: by(func(f figures) float64 { return f.rss }),
		cpu: by(func(f figures) float64 { return f.cpu }), whole: int(by(func(f figures) float64 { return float64(f.whole) })),
	}
}

// once is one run on a server of its own.
func once(ctx context.Context, o options, kind string) (f figures, err error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Minute)
	defer cancel()
	args := append([]string{"-c", o.cpus[0], "bin/tbmsock", "server", "--listen", "127.0.0.1:0", "--log-level", "warn", "--data-dir", o.dir,
		"--retain-age", "8760h", "--fsync", "interval=1s"}, o.server...)
	server := taskset(ctx, args...)
	stdout, err := server.StdoutPipe()
	if err != nil {
		return f, err
	}
	if err := server.Start(); err != nil {
		return f, err
	}
	defer func() {
		_ = server.Process.Signal(syscall.SIGTERM)
		_ = server.Wait() // it was told to end
	}()
	lines := bufio.NewReader(stdout)
	line, err := lines.ReadString('\n')
	if err != nil {
		return f, fmt.Errorf("the server ends without a word: %w", err)
	}
	url, ok := strings.CutPrefix(strings.TrimSpace(line), "listening on ")
	if !ok {
		return f, fmt.Errorf("the server says %q", line)
	}
	go func() { _, _ = io.Copy(io.Discard, lines) }()

	finish := func() error { return nil }
	switch kind {
	case "0":
	case "busy":
		finish, err = startBurning(ctx, o)
	default:
		finish, err = startJoiners(ctx, o, url, strings.Replace(kind, "alone", "1", 1), &f)
	}
	if err != nil {
		return f, err
	}
	load := taskset(ctx, "-c", o.cpus[1], "bin/tbmsock", "bench", "--json", "--quiet", "--url", url, "--rate", o.rate,
		"--clients", o.clients, "--duration", o.duration.String(), "--server-pid", fmt.Sprint(server.Process.Pid))
	if kind == "alone" {
		load.Args = append(load.Args, "--rate", "off", "--clients", "1")
	}
	out, err := load.Output()
	if err = errors.Join(err, finish()); err != nil {
		return f, err
	}
	var res struct {
		Lost    uint64  `json:"lost"`
		Seconds float64 `json:"seconds"`
		Latency struct {
			P50  float64 `json:"p50"`
			P99  float64 `json:"p99"`
			P999 float64 `json:"p99.9"`
			Max  float64 `json:"max"`
		} `json:"latency"`
		Server struct {
			CPU float64 `json:"cpu"`
			Max float64 `json:"rss_max"`
		} `json:"server"`
	}
	if err := json.Unmarshal(out, &res); err != nil {
		return f, fmt.Errorf("load: %w", err)
	}
	f.lost, f.p50, f.p99, f.p999, f.max = res.Lost, res.Latency.P50, res.Latency.P99, res.Latency.P999, res.Latency.Max
	f.rss, f.cpu = res.Server.Max/1e6, res.Server.CPU/max(res.Seconds, 1e-9)
	return f, nil
}

// startJoiners starts this command as n late joiners; finish ends them and notes what they tell.
func startJoiners(ctx context.Context, o options, url, n string, f *figures) (finish func() error, err error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	joiners := taskset(ctx, "-c", o.cpus[1], "chrt", "--idle", "0", self, "--join", url, "--joiners", n, "--packets", fmt.Sprint(o.packets))
	out, err := joiners.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := joiners.Start(); err != nil {
		return nil, err
	}
	return func() error {
		_ = joiners.Process.Signal(os.Interrupt)
		var told joined
		err := json.NewDecoder(out).Decode(&told)
		if err = errors.Join(err, joiners.Wait()); err != nil {
			return fmt.Errorf("joiners: %w", err)
		}
		f.replayed, f.whole = told.PerSecond, told.Whole
		return nil
	}, nil
}

// startBurning keeps both cores busy, with what the others leave of them.
func startBurning(ctx context.Context, o options) (finish func() error, err error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	var all []*exec.Cmd
	finish = func() error {
		cancel()
		for _, c := range all {
			_ = c.Wait() // it was told to end
		}
		return nil
	}
	for _, cpu := range o.cpus {
		c := taskset(ctx, "-c", cpu, "chrt", "--idle", "0", self, "--burn")
		if err := c.Start(); err != nil {
			return nil, errors.Join(err, finish())
		}
		all = append(all, c)
	}
	return finish, nil
}

func taskset(ctx context.Context, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, "taskset", args...)
	cmd.Stderr = os.Stderr
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = 10 * time.Second
	return cmd
}
