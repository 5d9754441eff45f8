package e2e

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"tbmsock/internal/freeport"
)

// An alarm from the machine's fault to the operator's line, over the wire: gas.
func TestInjectedGasIsAnAlarm(t *testing.T) {
	if testing.Short() {
		t.Skip("starts processes")
	}
	url := startPeer(t, "tbmsock").url()
	for _, encoding := range []string{"json", "protobuf"} {
		t.Run(encoding, func(t *testing.T) {
			name := "tbm-" + encoding
			logger := start(t, tbmsock(t), "logger", "--url", url, "--alarms-only")
			logger.logged("connected")
			source := start(t, tbmsock(t), "telemetry", "--url", url, "--rate", "20hz", "--encoding", encoding, "--source", name)
			source.logged("joined")
			inject := start(t, tbmsock(t), "inject", "--url", url, "--source", name, "--kind", "gas", "--severity", "2", "--for", "5m")
			if line := inject.line(); line != "gas on "+name+" for 5m0s" {
				t.Errorf("inject says %q", line)
			}
			if code := inject.wait(); code != 0 {
				t.Errorf("inject ends with %d", code)
			}
			source.logged("a fault was injected")
			for _, want := range []string{"WARN HIGH  atmosphere.ch4, Methane", "ALARM HIGH atmosphere.ch4, Methane"} {
				if line := logger.line(); !strings.Contains(line, name) || !strings.Contains(line, want) {
					t.Errorf("line is %q, want %q and nothing else", line, want)
				}
			}
			if code := source.interrupt(); code != 0 {
				t.Errorf("telemetry ends with %d", code)
			}
			logger.lineWith("STALE      no packet for 5")
		})
	}
	t.Run("nobody to inject into", func(t *testing.T) {
		p := start(t, tbmsock(t), "inject", "--url", url, "--source", "tbm-404")
		if code := p.wait(); code != 1 || !strings.Contains(p.log(), `no source "tbm-404"`) {
			t.Errorf("code %d, log %s", code, p.log())
		}
	})
	t.Run("no server", func(t *testing.T) {
		addr := freeport.Address(t)
		p := start(t, tbmsock(t), "inject", "--url", "http://"+addr)
		if code := p.wait(); code != 1 || !strings.Contains(p.log(), "refused") {
			t.Errorf("code %d, log %s", code, p.log())
		}
	})
}

// The machine bores on while its link is down, and nothing is missing afterwards.
func TestLinkLossLosesNothing(t *testing.T) {
	if testing.Short() {
		t.Skip("starts processes")
	}
	url := startPeer(t, "tbmsock").url()
	scenario := filepath.Join(t.TempDir(), "s.yaml")
	if err := os.WriteFile(scenario, []byte("layers: [{length: 10, ground: silt}]\nfaults: [{after: 1s, kind: link_loss, for: 3s}]\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	logger := start(t, tbmsock(t), "logger", "--url", url, "--format", "json")
	logger.logged("connected")
	source := start(t, tbmsock(t), "telemetry", "--url", url, "--rate", "50hz", "--count", "300", "--scenario", scenario)
	for n := uint64(1); n <= 300; n++ {
		if l := loggedLine(t, logger.line()); l.Envelope == nil || l.Envelope.Seq != n {
			t.Fatalf("packet %d is %+v", n, l)
		}
	}
	if code := source.wait(); code != 0 {
		t.Errorf("telemetry ends with %d", code)
	}
	if log := source.log(); !strings.Contains(log, "link is down") || !strings.Contains(log, "link is up again") || strings.Count(log, "msg=connected") != 2 {
		t.Errorf("telemetry's log:\n%s", log)
	}
}

// A logger's files: closed by size, compressed, whole after a kill in the middle, in both forms.
func TestLoggerFiles(t *testing.T) {
	if testing.Short() {
		t.Skip("starts processes")
	}
	url := startPeer(t, "tbmsock").url()
	dir := t.TempDir()
	file := filepath.Join(dir, "packets.jsonl")
	args := []string{"logger", "--url", url, "--output", file, "--rotate-size", "200kB", "--fsync", "always"}
	logger := start(t, tbmsock(t), args...)
	logger.logged("connected")
	run := func(count string) {
		source := start(t, tbmsock(t), "telemetry", "--url", url, "--rate", "200hz", "--count", count)
		if code := source.wait(); code != 0 {
			t.Fatalf("telemetry ends with %d", code)
		}
		logger.lineWith("#" + count + " ") // the table's last row has come
	}
	run("400")
	other := start(t, tbmsock(t), args...)
	if code := other.wait(); code != 2 || !strings.Contains(other.log(), "another process writes this file") {
		t.Errorf("a second logger of the same file ends with %d: %s", code, other.log())
	}
	logger.kill()
	if f, err := os.OpenFile(file, os.O_APPEND|os.O_WRONLY, 0); err != nil { // as a power cut leaves it
		t.Fatal(err)
	} else if _, err := f.WriteString(`{"received":"2026-`); err != nil {
		t.Fatal(err)
	} else if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	logger = start(t, tbmsock(t), args...)
	logger.logged("half a line")
	logger.logged("connected")
	run("100")
	if code := logger.interrupt(); code != 0 {
		t.Errorf("logger ends with %d", code)
	}
	var seqs []uint64
	names, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil || len(names) < 4 {
		t.Fatalf("files are %q, %v", names, err)
	}
	for i, name := range names { // by name is by time, the open one last
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if strings.HasSuffix(name, ".gz") {
			z, err := gzip.NewReader(bytes.NewReader(b))
			if err != nil {
				t.Fatal(err)
			}
			if b, err = io.ReadAll(z); err != nil {
				t.Fatal(err)
			}
		} else if i < len(names)-2 {
			t.Errorf("%s is not compressed", name)
		}
		for s := bufio.NewScanner(bytes.NewReader(b)); s.Scan(); {
			var l logged
			if err := json.Unmarshal(s.Bytes(), &l); err != nil {
				t.Fatalf("%s: %q: %v", name, s.Text(), err)
			}
			if l.Envelope != nil {
				seqs = append(seqs, l.Envelope.Seq)
			}
		}
	}
	if len(seqs) != 500 {
		t.Fatalf("%d packets in %q", len(seqs), names)
	}
	for i, s := range seqs {
		if want := uint64(i%400 + 1); s != want {
			t.Fatalf("packet %d has seq %d, want %d", i, s, want)
		}
	}
}

// A day in seconds, and a picture of an hour of it.
func TestSimulateAndPlot(t *testing.T) {
	if testing.Short() {
		t.Skip("starts processes")
	}
	dir := t.TempDir()
	for _, form := range []string{"json", "csv"} {
		out, err := exec.Command(tbmsock(t), "simulate", "--duration", "2h", "--rate", "0.2hz", "--format", form).Output()
		if err != nil {
			t.Fatal(err)
		}
		data := filepath.Join(dir, "p."+form)
		if err := os.WriteFile(data, out, 0o600); err != nil {
			t.Fatal(err)
		}
		picture := filepath.Join(dir, form+".svg")
		if b, err := exec.Command(tbmsock(t), "plot", "--input", data, "--output", picture, "--from", "2026-01-05T06:30:00Z", "--to", "2026-01-05T07:30:00Z").CombinedOutput(); err != nil {
			t.Fatalf("plot: %v\n%s", err, b)
		}
		b, err := os.ReadFile(picture)
		if err != nil {
			t.Fatal(err)
		}
		for _, want := range []string{"tbm-1 (epb), 5 January 2026 06:30 to 07:30 UTC", "Total thrust (kN)", "07:15"} {
			if !strings.Contains(string(b), want) {
				t.Errorf("%s: the picture does not say %q", form, want)
			}
		}
	}
	p := start(t, tbmsock(t), "plot", "--input", filepath.Join("..", "..", "go.mod"), "--output", filepath.Join(dir, "x.svg"))
	if code := p.wait(); code != 1 || !strings.Contains(p.log(), "nothing to draw") {
		t.Errorf("plotting no packets ends with %d: %s", code, p.log())
	}
}
