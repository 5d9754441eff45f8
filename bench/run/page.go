//go:build linux

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
func (r *runner) writePage(path string, rounds int) error {
	var b strings.Builder
	fmt.Fprintf(&b, `# Benchmarks

Written by `+"`make bench`"+` on %s; do not edit. [FANOUT.md](FANOUT.md) tells what the figures are made of.

%s. Server on core %s, load (`+"`tbmsock bench`"+`) on core %s, over loopback; the journal is off where nothing else
is said. The bare loop is a WebSocket server without any protocol, which encodes a message once, has a queue for each client,
and gives all that waits to one system call: the mark. Each figure is the median of %s unless said; servers took turns within each
round. A ratio is taken within a round, and is the median of those: if the machine is not alone, trust the ratios.

`, time.Now().UTC().Format("2006-01-02 15:04 MST"), machine(), r.serverCPU, r.loadCPU, count(rounds, "round"))
	if r.quick {
		b.WriteString("**These runs were short and small (--quick): they try the command, and say nothing of the servers.**\n\n")
	}
	for _, s := range r.scenarios {
		r.table(&b, s, rounds)
	}
	return os.WriteFile(path, []byte(b.String()), 0o644)
}

func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// table writes a scenario's results, and what there is none of.
func (r *runner) table(b *strings.Builder, s scenario, rounds int) {
	fmt.Fprintf(b, "## %s\n\n%s", s.title, s.text)
	if s.once && rounds > 1 {
		b.WriteString(" One run.")
	}
	b.WriteString("\n\n")
	limited := map[string]bool{}
	begun := false
	for _, row := range s.rows {
		mine := r.results[key{s.name, row.name}]
		if !slices.ContainsFunc(mine, func(x *result) bool { return x != nil }) {
			continue
		}
		if !begun {
			begun = true
			b.WriteString("| |")
			for _, c := range s.columns {
				fmt.Fprintf(b, " %s |", c.title)
			}
			b.WriteString("\n|---|" + strings.Repeat("---:|", len(s.columns)) + "\n")
		}
		fmt.Fprintf(b, "| %s |", row.name)
		for _, c := range s.columns {
			b.WriteString(" " + r.results.cell(s.name, row.name, c) + " |")
		}
		b.WriteString("\n")
		for _, x := range mine {
			if x != nil && x.Limited {
				limited[row.name] = true
			}
		}
	}
	if begun {
		b.WriteString("\n")
	}
	for _, row := range s.rows {
		if limited[row.name] {
			fmt.Fprintf(b, "- %s: the load was the bottleneck in a run; the server can do more.\n", row.name)
		}
	}
	for _, n := range r.notes[s.name] {
		fmt.Fprintf(b, "- Failed: %s\n", strings.Join(strings.Fields(n), " "))
	}
	if len(limited)+len(r.notes[s.name]) > 0 {
		b.WriteString("\n")
	}
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
	parts := []string{fmt.Sprintf("%s, %d cores", model, runtime.NumCPU()), runtime.Version()}
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
