package main

import (
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"time"
)

// writePage writes the results down. Every figure of it is from the run, or is left out.
func writePage(path string, r *runner, rounds int) error {
	var b strings.Builder
	fmt.Fprintf(&b, `# Benchmarks

Written by `+"`make bench`"+` on %s; do not edit.

%s. Server on core %s, load (`+"`tbmsock bench`"+`) on core %s, over loopback. Each figure is the median of %s; servers
took turns within each round. A ratio is taken within a round, and is the median of those. The machine is
not alone: trust the ratios.

`, time.Now().UTC().Format("2006-01-02 15:04 MST"), machine(), r.serverCPU, r.loadCPU, count(rounds, "round"))
	for _, title := range []struct{ name, text string }{
		{"saturated-100", "Saturated, 100 clients: 64 messages in flight, 300 bytes of JSON"},
		{"saturated-1000", "Saturated, 1,000 clients: 64 messages in flight, 300 bytes of JSON"},
	} {
		r.table(&b, title.name, title.text, []column{
			{"deliveries/s", func(x result) float64 { return x.PerSecond }, "%.0f"},
			{"of the bare loop", ratio(bare, func(x result) float64 { return x.PerSecond }), "%.2f"},
			{"of Node", ratio(node, func(x result) float64 { return x.PerSecond }), "%.1f"},
			{"of Python", ratio(python, func(x result) float64 { return x.PerSecond }), "%.0f"},
			{"CPU s a million", func(x result) float64 { return x.Server.CPUPerMillion }, "%.2f"},
			{"lost", func(x result) float64 { return float64(x.Lost) }, "%.0f"},
			{"load, % of a core", func(x result) float64 { return 100 * x.LoadCPU }, "%.0f"},
		})
	}
	r.table(&b, "paced", "Paced: 100 messages a second to 100 clients, 300 bytes of JSON", []column{
		{"CPU s a million", func(x result) float64 { return x.Server.CPUPerMillion }, "%.2f"},
		{"of the bare loop", ratio(bare, func(x result) float64 { return x.Server.CPUPerMillion }), "%.2f"},
		{"of Node", ratio(node, func(x result) float64 { return x.Server.CPUPerMillion }), "%.2f"},
		{"p50, us", func(x result) float64 { return x.Latency.P50 }, "%.0f"},
		{"p99, us", func(x result) float64 { return x.Latency.P99 }, "%.0f"},
		{"p99, of the bare loop", ratio(bare, func(x result) float64 { return x.Latency.P99 }), "%.2f"},
		{"lost", func(x result) float64 { return float64(x.Lost) }, "%.0f"},
	})
	if clients := r.clients("idle"); clients > 0 {
		r.table(&b, "idle", fmt.Sprintf("Idle: %d WebSocket clients in a room", clients), []column{
			{"KB a client", func(x result) float64 { return x.Server.PerClient / 1e3 }, "%.1f"},
			{"of Node", ratio(node, func(x result) float64 { return x.Server.PerClient }), "%.2f"},
			{"server without clients, MB", func(x result) float64 { return x.Server.Before / 1e6 }, "%.1f"},
		})
	}
	delivery := []column{
		{"lost", func(x result) float64 { return float64(x.Lost) }, "%.0f"},
		{"ended by the server", func(x result) float64 { return float64(x.Ended) }, "%.0f"},
		{"p50, us", func(x result) float64 { return x.Latency.P50 }, "%.0f"},
		{"p99, us", func(x result) float64 { return x.Latency.P99 }, "%.0f"},
		{"max, us", func(x result) float64 { return x.Latency.Max }, "%.0f"},
		{"server at most, MB", func(x result) float64 { return x.Server.Max / 1e6 }, "%.1f"},
	}
	r.table(&b, "all-read", "100 clients, 100 messages of 16 KiB a second, all of them read", delivery)
	r.table(&b, "one-stalled", "The same, and one of the 100 stops reading: of the other 99", delivery)
	if clients := r.clients("held"); clients > 0 {
		r.table(&b, "held", fmt.Sprintf("%d clients held for a minute at 1 message a second (one run)", clients), delivery)
	}
	return os.WriteFile(path, []byte(b.String()), 0o644)
}

func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// column is one figure of a run. Those made by ratio need the run of another server in the same round.
type column struct {
	title  string
	figure any // func(result) float64, or relative
	format string
}

type relative struct {
	to     peer
	figure func(result) float64
}

func ratio(to peer, figure func(result) float64) relative { return relative{to, figure} }

func (r *runner) table(b *strings.Builder, scenario, title string, columns []column) {
	var names []string
	for _, p := range []peer{tbmsock, tbm3, bare, node, python} {
		if len(r.results[key{scenario, p.name}]) > 0 {
			names = append(names, p.name)
		}
	}
	if len(names) == 0 {
		return
	}
	fmt.Fprintf(b, "## %s\n\n| |", title)
	for _, c := range columns {
		fmt.Fprintf(b, " %s |", c.title)
	}
	b.WriteString("\n|---|" + strings.Repeat("---:|", len(columns)) + "\n")
	limited := false
	for _, name := range names {
		fmt.Fprintf(b, "| %s |", name)
		for _, c := range columns {
			b.WriteString(" " + r.cell(scenario, name, c) + " |")
		}
		b.WriteString("\n")
		for _, x := range r.results[key{scenario, name}] {
			limited = limited || x.Limited
		}
	}
	if limited {
		b.WriteString("\nIn one run at least the load took more than 0.9 of its core: the fastest servers can do more than this.\n")
	}
	b.WriteString("\n")
}

func (r *runner) cell(scenario, name string, c column) string {
	var values []float64
	mine := r.results[key{scenario, name}]
	switch f := c.figure.(type) {
	case func(result) float64:
		for _, x := range mine {
			values = append(values, f(x))
		}
	case relative:
		theirs := r.results[key{scenario, f.to.name}]
		for i := range min(len(mine), len(theirs)) {
			if v := f.figure(theirs[i]); v != 0 {
				values = append(values, f.figure(mine[i])/v)
			}
		}
	}
	if len(values) == 0 {
		return ""
	}
	return fmt.Sprintf(c.format, median(values))
}

func median(v []float64) float64 {
	v = slices.Sorted(slices.Values(v))
	if n := len(v); n%2 == 0 {
		return (v[n/2-1] + v[n/2]) / 2
	}
	return v[len(v)/2]
}

func (r *runner) clients(scenario string) int {
	if of := r.results[key{scenario, tbmsock.name}]; len(of) > 0 {
		return of[0].Clients
	}
	return 0
}

// machine says what it was measured on and with.
func machine() string {
	model := "unknown CPU"
	if info, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		for line := range strings.Lines(string(info)) {
			if k, v, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(k) == "model name" {
				model = strings.TrimSpace(v)
				break
			}
		}
	}
	parts := []string{fmt.Sprintf("%d cores of an %s", runtime.NumCPU(), model), runtime.Version()}
	for _, c := range [][]string{{"uname", "-sr"}, {"node", "--version"}, {"/usr/bin/python3", "--version"}} {
		if out, err := exec.Command(c[0], c[1:]...).Output(); err == nil {
			v := strings.TrimSpace(string(out))
			if c[0] == "node" {
				v = "Node " + v
			}
			parts = append(parts, v)
		}
	}
	return strings.Join(parts, ", ")
}
