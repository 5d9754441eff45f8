package e2e

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"tbmsock/internal/freeport"
	"tbmsock/transport"
)

func startPeer(t *testing.T, kind string) *process {
	t.Helper()
	switch kind {
	case "tbmsock":
		return start(t, tbmsock(t), "server", "--listen", "127.0.0.1:0")
	case "node":
		return start(t, "node", filepath.Join(node(t), "server.js"))
	case "node without acks":
		return start(t, "node", filepath.Join(node(t), "server.js"), "no-acks")
	case "node with deflate":
		return start(t, "node", filepath.Join(node(t), "server.js"), "deflate")
	case "python":
		return start(t, pythonWithSocketIO(t), filepath.Join("python", "server.py"))
	}
	t.Fatalf("no peer %s", kind)
	return nil
}

// logged is a line of the logger's JSON.
type logged struct {
	Event    string
	Envelope *transport.Envelope
	Value    json.RawMessage
}

func loggedLine(t *testing.T, line string) logged {
	t.Helper()
	var l logged
	if err := json.Unmarshal([]byte(line), &l); err != nil {
		t.Fatalf("the logger wrote %q: %v", line, err)
	}
	return l
}

// Our telemetry and our logger, as processes, against our server and against others'.
func TestRolesAgainstServers(t *testing.T) {
	if testing.Short() {
		t.Skip("starts processes")
	}
	for _, peer := range []string{"tbmsock", "node", "node without acks", "python"} {
		for _, way := range []string{"auto", "websocket", "polling"} {
			for _, engine := range []string{"4", "3"} {
				if peer == "python" && engine == "3" {
					continue // python-socketio 5 does not speak it
				}
				t.Run(peer+" "+way+" engine "+engine, func(t *testing.T) {
					t.Parallel()
					url := startPeer(t, peer).url()
					flags := []string{"--url", url, "--transport", way, "--engine", engine, "--drain", "2s"}
					logger := start(t, tbmsock(t), append([]string{"logger", "--room", "ops", "--format", "json"}, flags...)...)
					logger.logged("joined")
					source := start(t, tbmsock(t), append([]string{"telemetry", "--rate", "100hz", "--count", "50", "--source", "tbm-7", "--room", "ops"}, flags...)...)
					for n := range 50 {
						l := loggedLine(t, logger.line())
						if l.Event != "log_telemetry" || l.Envelope == nil || l.Envelope.Seq != uint64(n+1) || l.Envelope.Source != "tbm-7" || l.Envelope.Room != "ops" {
							t.Fatalf("packet %d is %+v", n+1, l)
						}
					}
					if code := source.wait(); code != 0 {
						t.Errorf("telemetry ends with %d", code)
					}
					if code := logger.interrupt(); code != 0 {
						t.Errorf("logger ends with %d", code)
					}
					if log := logger.log(); !strings.Contains(log, "summary: complete") || !strings.Contains(log, "received=50") {
						t.Errorf("summary is:\n%s", log)
					}
				})
			}
		}
	}
}

// The three commands as they stand in the README, clients first: they wait for the server.
func TestAnyOrder(t *testing.T) {
	if testing.Short() {
		t.Skip("starts processes")
	}
	addr := freeport.Address(t)
	logger := start(t, tbmsock(t), "logger", "--room", "ops", "--url", "http://"+addr)
	source := start(t, tbmsock(t), "telemetry", "--rate", "10hz", "--url", "http://"+addr)
	logger.logged("waiting for the server")
	source.logged("waiting for the server")
	server := start(t, tbmsock(t), "server", "--listen", addr)
	if got := server.url(); got != "http://"+addr {
		t.Errorf("listening on %s", got)
	}
	logger.lineWith("tbm-1 #")

	askSummary(logger)
	// The server is killed and comes back.
	server.kill()
	source.logged("disconnected")
	logger.logged("disconnected")
	server = start(t, tbmsock(t), "server", "--listen", addr)
	server.url()
	for len(logger.lines) > 0 {
		<-logger.lines
	}
	logger.lineWith("tbm-1 #")
	for _, p := range []*process{source, logger, server} {
		if code := p.interrupt(); code != 0 {
			t.Errorf("%s ends with %d:\n%s", p.cmd.Args[1], code, p.log())
		}
	}
	if !strings.Contains(source.log(), "dropped=0") || !strings.Contains(source.log(), "waiting=0") {
		t.Errorf("telemetry lost something:\n%s", source.log())
	}
}

// The first signal ends a role in order, the second at once.
func TestSecondSignal(t *testing.T) {
	if testing.Short() {
		t.Skip("starts processes")
	}
	p := start(t, tbmsock(t), "telemetry", "--url", "http://127.0.0.1:1", "--drain", "10m")
	p.logged("waiting for the server")
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-p.done:
		t.Fatal("what waits was not given its time")
	case <-time.After(300 * time.Millisecond):
	}
	if code := p.interrupt(); code != 128+int(syscall.SIGINT) {
		t.Errorf("code %d", code)
	}
}

func TestDemo(t *testing.T) {
	if testing.Short() {
		t.Skip("starts processes")
	}
	for format, packet := range map[string]string{"text": "tbm-1 #%d ", "json": `"seq":%d,`} {
		p := start(t, tbmsock(t), "demo", "--listen", "127.0.0.1:0", "--rate", "50hz", "--count", "20", "--format", format, "--drain", "30s")
		p.url()
		for n := range 20 { // between packets there are headers, and on a busy machine what became stale
			p.lineWith(fmt.Sprintf(packet, n+1))
		}
		if code := p.wait(); code != 0 {
			t.Errorf("demo ends with %d", code)
		}
		if !strings.Contains(p.log(), "received=20") {
			t.Errorf("summary is:\n%s", p.log())
		}
	}
}

// The three scripts of the origin, with each of the parts replaced by ours, one at a time.
func TestOrigin(t *testing.T) {
	if testing.Short() {
		t.Skip("starts processes")
	}
	const count = 30
	script := func(t *testing.T, name string, args ...string) *process {
		t.Helper()
		return start(t, pythonWithSocketIO(t), append([]string{filepath.Join("python", "origin", name)}, args...)...)
	}
	for _, ours := range []string{"nothing", "server", "telemetry", "logger", "all"} {
		t.Run(ours, func(t *testing.T) {
			t.Parallel()
			is := func(part string) bool { return ours == part || ours == "all" }
			var server, source, logger *process
			if is("server") {
				server = startPeer(t, "tbmsock")
			} else {
				server = script(t, "server.py", "0")
			}
			url := server.url()
			if is("logger") {
				logger = start(t, tbmsock(t), "logger", "--url", url)
				logger.logged("connected")
			} else {
				logger = script(t, "logger.py", url)
				logger.lineWith("connected")
			}
			if is("telemetry") {
				source = start(t, tbmsock(t), "telemetry", "--url", url, "--rate", "50hz", "--count", fmt.Sprint(count))
			} else {
				source = script(t, "telemetry.py", url, fmt.Sprint(count))
			}
			if is("telemetry") && is("logger") {
				logger.lineWith("time (UTC)") // the table's head
			}
			if is("telemetry") && !is("logger") {
				// Python prints from several threads, and a line and its end are two writes: lines can run together.
				for seen := 0; seen < count; {
					line := logger.line()
					if line != "" && !strings.Contains(line, "'source': 'tbm-1'") {
						t.Fatalf("after %d packets comes %q", seen, line)
					}
					seen += strings.Count(line, "'source': 'tbm-1'")
				}
				return
			}
			for n := 1; n <= count; n++ {
				line := logger.line()
				switch {
				case is("telemetry") && is("logger"):
					if !strings.Contains(line, fmt.Sprintf("tbm-1 #%d ", n)) {
						t.Fatalf("packet %d is %q", n, line)
					}
				default:
					want := strings.TrimPrefix(source.lineWith("emitted"), "emitted ")
					if !strings.HasSuffix(line, " "+want) {
						t.Fatalf("packet %d is %q, want %s", n, line, want)
					}
				}
			}
		})
	}
}

// A wrong command line ends with code 2 and one line that names flag, value and what is allowed.
func TestBadFlags(t *testing.T) {
	for _, tc := range []struct {
		args []string
		want []string
	}{
		{[]string{"telemetry", "--rate", "fast"}, []string{"--rate fast", "10hz"}},
		{[]string{"telemetry", "--rate", "5khz"}, []string{"--rate 5khz", "2khz"}},
		{[]string{"telemetry", "--machine", "mole"}, []string{"--machine mole", "epb, hardrock or micro"}},
		{[]string{"telemetry", "--source", ""}, []string{"--source", "tbm-1"}},
		{[]string{"telemetry", "--outbox", ""}, []string{"--outbox", "tbmsock-outbox, or memory"}},
		{[]string{"telemetry", "--outbox-fsync", "never"}, []string{"--outbox-fsync never", "always, or interval=1s"}},
		{[]string{"telemetry", "--outbox-full", "block"}, []string{"--outbox-full block", "drop-oldest or refuse"}},
		{[]string{"telemetry", "--outbox-limit", "1kB"}, []string{"--outbox-limit 1kB", "1MiB"}},
		{[]string{"telemetry", "--count", "-1"}, []string{"--count -1", "0"}},
		{[]string{"telemetry", "--url", "ftp://x"}, []string{"--url", "ftp", "http"}},
		{[]string{"server", "--ping-interval", "1ms"}, []string{"--ping-interval 1ms", "100ms"}},
		{[]string{"server", "--queue-limit", "16KiB"}, []string{"--queue-limit 16KiB", "64KiB"}},
		{[]string{"server", "--max-payload", "1XB"}, []string{"--max-payload 1XB", "1MB"}},
		{[]string{"server", "--listen", "8080"}, []string{"--listen 8080", "127.0.0.1:8080"}},
		{[]string{"server", "--slow-client", "kill"}, []string{"--slow-client kill", "drop-oldest or disconnect"}},
		{[]string{"server", "--alias", "telemetry"}, []string{"--alias telemetry", "NAME=log_telemetry"}},
		{[]string{"server", "--alias", "join=log_telemetry"}, []string{"--alias", "join"}},
		{[]string{"server", "--cors-origin", "ops.example"}, []string{"--cors-origin ops.example", "scheme://host"}},
		{[]string{"server", "--namespace", "tbm"}, []string{"--namespace tbm", "begins with /"}},
		{[]string{"server", "--web", "nowhere"}, []string{"--web nowhere", "embedded, off, or a directory"}},
		{[]string{"server", "--web", "python"}, []string{"--web python", "no index.html"}},
		{[]string{"demo", "--web", "nowhere"}, []string{"--web nowhere", "embedded, off, or a directory"}},
		{[]string{"server", "--path", "x"}, []string{"path", "/socket.io/"}},
		{[]string{"server", "--dictionary", "nowhere.yaml"}, []string{"--dictionary", "nowhere.yaml"}},
		{[]string{"dictionary", "--dictionary", "roles_test.go"}, []string{"--dictionary roles_test.go", "dictionary"}},
		{[]string{"logger", "--format", "xml"}, []string{"--format xml", "text, json or csv"}},
		{[]string{"logger", "--channels", "thrust.hope"}, []string{"--channels thrust.hope", "cutterhead.*"}},
		{[]string{"logger", "--fsync", "often"}, []string{"--fsync often", "interval=1s"}},
		{[]string{"logger", "--output", "nowhere/packets.jsonl"}, []string{"--output nowhere/packets.jsonl", "make the directory nowhere"}},
		{[]string{"telemetry", "--scenario", "nowhere.yaml"}, []string{"--scenario", "nowhere.yaml"}},
		{[]string{"telemetry", "--scenario", "roles_test.go"}, []string{"--scenario roles_test.go", "scenario"}},
		{[]string{"inject", "--kind", "earthquake"}, []string{"--kind earthquake", "jam, clogging, gas"}},
		{[]string{"inject", "--kind", "sensor_drift"}, []string{"--channel", "chamber.pressure_1"}},
		{[]string{"inject", "--severity", "11"}, []string{"--severity 11", "from 0.01 to 2"}},
		{[]string{"plot"}, []string{"--output is missing", "hour.svg"}},
		{[]string{"plot", "--output", "hour.doc"}, []string{"--output hour.doc", ".svg, .png or .pdf"}},
		{[]string{"simulate", "--start", "today"}, []string{"--start today", "2026-01-05T06:00:00Z"}},
		{[]string{"logger", "--event", "connect"}, []string{"--event", "connect"}},
		{[]string{"logger", "ops"}, []string{"unexpected argument", "ops"}},
		{[]string{"logger", "--rom", "ops"}, []string{"-rom"}},
		{[]string{"fly"}, []string{"fly", "server"}},
	} {
		t.Run(strings.Join(tc.args, " "), func(t *testing.T) {
			p := start(t, tbmsock(t), tc.args...)
			if code := p.wait(); code != 2 {
				t.Errorf("code %d", code)
			}
			log := strings.TrimSpace(p.log())
			if strings.Contains(log, "\n") {
				t.Errorf("more than one line:\n%s", log)
			}
			for _, w := range tc.want {
				if !strings.Contains(log, w) {
					t.Errorf("%q does not name %q", log, w)
				}
			}
		})
	}
}

// The dictionary is the same on the terminal and at the server.
func TestDictionary(t *testing.T) {
	if testing.Short() {
		t.Skip("starts processes")
	}
	list := start(t, tbmsock(t), "dictionary")
	if line := list.lineWith("thrust.total"); !strings.Contains(line, "kN") {
		t.Errorf("listed as %q", line)
	}
	server := startPeer(t, "tbmsock")
	res, err := http.Get(server.url() + "/dictionary")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	served, err := io.ReadAll(res.Body)
	if err != nil || res.StatusCode != http.StatusOK || res.Header.Get("Content-Type") != "application/json" {
		t.Fatalf("got %s, %v", res.Status, err)
	}
	printed := start(t, tbmsock(t), "dictionary", "--format", "json")
	if code := printed.wait(); code != 0 {
		t.Fatalf("code %d", code)
	}
	text := ""
	for line := range printed.lines {
		text += line + "\n"
	}
	if canonical([]byte(text)) != canonical(served) {
		t.Error("the server serves another dictionary than the command prints")
	}
}
