// Command run measures tbmsock's server beside its peers and writes what came of it as a page:
//
//	go run ./bench/run --out docs/BENCHMARKS.md
//
// Every server gets one core and the load another. The servers take turns, the whole row of them several
// times over, so that a ratio compares runs that lie seconds apart: on a machine that others use too the
// ratios say more than the figures. It knows the servers as programs only.
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
	"strings"
	"syscall"
	"time"
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
	r := &runner{serverCPU: *serverCPU, loadCPU: *loadCPU, results: map[key][]result{}}
	err := r.all(ctx, *rounds, *only, *quick)
	stop()
	if err == nil && *raw != "" {
		err = r.writeRaw(*raw)
	}
	if err == nil {
		err = writePage(*out, r, *rounds)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// peer is a server that is measured.
type peer struct {
	name    string
	command []string
	engine  string
}

var (
	tbmsock = peer{name: "tbmsock", engine: "4", command: []string{"bin/tbmsock", "server", "--listen", "127.0.0.1:0", "--log-level", "warn"}}
	tbm3    = peer{name: "tbmsock, Engine.IO 3", engine: "3", command: tbmsock.command}
	bare    = peer{name: "bare loop", engine: "bare", command: []string{"bin/bare"}}
	node    = peer{name: "socket.io on Node", engine: "4", command: []string{"node", "bench/peers/node/server.js"}}
	python  = peer{name: "python-socketio on eventlet", engine: "4", command: []string{"/usr/bin/python3", "bench/peers/python/server.py"}}
)

// scenario is one load, for several servers.
type scenario struct {
	name  string
	args  []string
	peers []peer
	once  bool // long: one round is enough
}

func scenarios(quick bool) []scenario {
	everyone := []peer{tbmsock, tbm3, bare, node, python}
	n := func(full, short string) string {
		if quick {
			return short
		}
		return full
	}
	for5 := []string{"--duration", n("5s", "1s")}
	with := func(args ...string) []string { return append(args, for5...) }
	return []scenario{
		{name: "saturated-100", peers: everyone, args: with("--rate", "max", "--clients", "100")},
		{name: "saturated-1000", peers: everyone, args: with("--rate", "max", "--clients", n("1000", "200"))},
		{name: "paced", peers: everyone, args: with("--rate", "100hz", "--clients", "100")},
		{name: "idle", peers: everyone, args: with("--rate", "off", "--clients", n("5000", "200"))},
		{name: "all-read", peers: []peer{tbmsock}, args: with("--rate", "100hz", "--clients", "100", "--size", "16KiB")},
		{name: "one-stalled", peers: []peer{tbmsock}, args: []string{"--rate", "100hz", "--clients", "100", "--size", "16KiB", "--stall", "1", "--duration", n("15s", "1s")}},
		{name: "held", once: true, peers: []peer{tbmsock}, args: []string{"--rate", "1hz", "--clients", n("9900", "200"), "--duration", n("60s", "2s")}},
	}
}

type key struct{ scenario, peer string }

// result is of the load's JSON what the page tells.
type result struct {
	Clients   int     `json:"clients"`
	Delivered uint64  `json:"delivered"`
	Wanted    uint64  `json:"wanted"`
	PerSecond float64 `json:"per_second"`
	Lost      uint64  `json:"lost"`
	Late      uint64  `json:"late"`
	Ended     int     `json:"ended"`
	Latency   struct {
		P50  float64 `json:"p50"`
		P99  float64 `json:"p99"`
		P999 float64 `json:"p99.9"`
		Max  float64 `json:"max"`
	} `json:"latency"`
	Server struct {
		CPU           float64 `json:"cpu"`
		CPUPerMillion float64 `json:"cpu_per_million"`
		Before        float64 `json:"rss_before"`
		Max           float64 `json:"rss_max"`
		PerClient     float64 `json:"rss_per_client"`
	} `json:"server"`
	LoadCPU float64 `json:"load_cpu"`
	Limited bool    `json:"limited"`
}

type runner struct {
	serverCPU, loadCPU string
	results            map[key][]result
}

func (r *runner) all(ctx context.Context, rounds int, only string, quick bool) error {
	if _, err := exec.LookPath("taskset"); err != nil {
		return fmt.Errorf("server and load are kept apart with taskset (Debian: util-linux): %w", err)
	}
	for _, s := range scenarios(quick) {
		if only != "" && !strings.Contains(","+only+",", ","+s.name+",") {
			continue
		}
		n := rounds
		if s.once {
			n = 1
		}
		for round := range n {
			for i := range s.peers {
				p := s.peers[(i+round)%len(s.peers)] // nobody always follows the same one
				res, err := r.measure(ctx, p, s)
				if err != nil {
					return fmt.Errorf("%s, %s: %w", s.name, p.name, err)
				}
				fmt.Fprintf(os.Stderr, "%-15s %d/%d  %-28s %9.0f/s  lost %d  p99 %.0f us  %.2f CPU s a million  %.1f KB a client  load %.0f %%\n",
					s.name, round+1, n, p.name, res.PerSecond, res.Lost, res.Latency.P99, res.Server.CPUPerMillion, res.Server.PerClient/1e3, 100*res.LoadCPU)
				r.results[key{s.name, p.name}] = append(r.results[key{s.name, p.name}], *res)
			}
		}
	}
	return nil
}

// measure starts a server of its own for one run of the load.
func (r *runner) measure(ctx context.Context, p peer, s scenario) (res *result, err error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Minute)
	defer cancel()
	server := exec.CommandContext(ctx, "taskset", append([]string{"-c", r.serverCPU}, p.command...)...)
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
	defer func() {
		cancel()
		_ = server.Wait() // it was told to end
	}()
	lines := bufio.NewReader(stdout)
	line, err := lines.ReadString('\n')
	if err != nil {
		return nil, fmt.Errorf("the server ends without a word: %w", err)
	}
	url, ok := strings.CutPrefix(strings.TrimSpace(line), "listening on ")
	if !ok {
		return nil, fmt.Errorf("the server says %q", line)
	}
	go func() { _, _ = io.Copy(io.Discard, lines) }()
	args := append([]string{"-c", r.loadCPU, "bin/tbmsock", "bench", "--json", "--quiet", "--url", url,
		"--engine", p.engine, "--server-pid", fmt.Sprint(server.Process.Pid)}, s.args...) // taskset becomes the server
	load := exec.CommandContext(ctx, "taskset", args...)
	load.Stderr = os.Stderr
	out, err := load.Output()
	if err != nil {
		return nil, errors.Join(context.Cause(ctx), err)
	}
	res = new(result)
	if err := json.Unmarshal(out, res); err != nil {
		return nil, fmt.Errorf("load: %w", err)
	}
	return res, nil
}

func (r *runner) writeRaw(path string) error {
	all := map[string][]result{}
	for k, v := range r.results {
		all[k.scenario+": "+k.peer] = v
	}
	b, err := json.MarshalIndent(all, "", "\t")
	if err != nil {
		return err
	}
	return os.WriteFile(path, append(b, '\n'), 0o644)
}
