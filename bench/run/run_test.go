//go:build linux

package main

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func speed(v float64) *result { return &result{PerSecond: v, Clients: 10} }

// Medians and ratios over rounds of which some have failed, and a page that tells it.
func TestPage(t *testing.T) {
	columns := []column{{"deliveries/s", perSecond, "%.0f"}, {"of b", ratio{"b", perSecond}, "%.2f"}}
	s := scenario{name: "s", title: "The title", text: "The text.", rows: rows(peer{name: "a"}, peer{name: "b"}, peer{name: "c"}), columns: columns}
	r := &runner{scenarios: []scenario{s}, notes: map[string][]string{"s": {"c, round 1 of 3:\nno such file"}}, results: results{
		{"s", "a"}: {speed(10), speed(30), speed(80)},
		{"s", "b"}: {speed(5), nil, speed(8)},
		{"s", "c"}: {nil, nil, nil},
	}}
	r.results[key{"s", "b"}][0].Limited = true
	path := filepath.Join(t.TempDir(), "page.md")
	if err := r.writePage(path, 3); err != nil {
		t.Fatal(err)
	}
	page, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	want := "## The title\n\nThe text.\n\n| | deliveries/s | of b |\n|---|---:|---:|\n| a | 30 | 6.00 |\n| b | 6 | 1.00 |\n\n" +
		"- b: the load was the bottleneck in a run; the server can do more.\n- Failed: c, round 1 of 3: no such file\n"
	if !strings.Contains(string(page), want) {
		t.Errorf("page is\n%s\nwant in it\n%s", page, want)
	}
}

// What is lost is told of clients that the server has not ended: a table with the one has the other too.
func TestTablesTellEndedClients(t *testing.T) {
	for _, s := range scenarios(false) {
		titles := map[string]bool{}
		for _, c := range s.columns {
			titles[c.title] = true
		}
		if titles["lost"] != titles["ended by the server"] {
			t.Errorf("%s tells one of lost and ended alone", s.name)
		}
	}
}

// Servers that cannot be started, say nothing of use, or end: each is an error that names what happened.
func TestServersThatFail(t *testing.T) {
	if _, err := exec.LookPath("taskset"); err != nil {
		t.Skip(err)
	}
	r := &runner{serverCPU: "0", loadCPU: "0"}
	for want, command := range map[string][]string{
		`but ""`:      {"false"},
		`but "hello`:  {"echo", "hello"},
		"load ends: ": {"sh", "-c", "echo listening on http://127.0.0.1:1; exec sleep 60"}, // and there is no bin/tbmsock here
	} {
		_, err := r.measure(t.Context(), row{peer: peer{command: command}}, scenario{})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: error is %v, want one with %s", command, err, want)
		}
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	why := errors.New("enough")
	time.AfterFunc(50*time.Millisecond, func() { cancel(why) })
	if _, err := r.measure(ctx, row{peer: peer{command: []string{"sleep", "60"}}}, scenario{}); !errors.Is(err, why) {
		t.Errorf("error is %v after %v", err, why)
	}
}
