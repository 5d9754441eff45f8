package e2e

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"path/filepath"
	"testing"
	"time"
)

// clientKinds are the real clients; ways are the ways in which each connects.
var (
	clientKinds = []string{"node 2", "node 3", "node 4", "python"}
	ways        = []struct {
		name       string
		transports []string // nil: the client's own default, polling and then an upgrade
		first      string
		last       string
	}{
		{"polling", []string{"polling"}, "polling", "polling"},
		{"websocket", []string{"websocket"}, "websocket", "websocket"},
		{"upgrade", nil, "polling", "websocket"},
	}
)

type driverOptions struct {
	Version    string   `json:"version"`
	URL        string   `json:"url"`
	Namespace  string   `json:"namespace,omitempty"`
	Transports []string `json:"transports,omitempty"`
	Listen     []string `json:"listen,omitempty"`
	Burst      int      `json:"burst,omitempty"`
	Deflate    any      `json:"deflate,omitempty"` // of Node's: nil is its own default
	Join       any      `json:"join,omitempty"`    // of listener.py: what it emits once connected
}

// driver is a real client in a process of its own.
type driver struct {
	*process
	held  map[string][]report // told, and not yet asked for
	acks  int
	first report // of the first connection
}

// report is what a driver tells.
type report struct {
	On        string `json:"on"`
	Sid       string `json:"sid"`
	Transport string `json:"transport"`
	// Extensions of the WebSocket, of Node's clients.
	Extensions string            `json:"extensions"`
	Reason     string            `json:"reason"`
	Message    string            `json:"message"`
	Event      string            `json:"event"`
	ID         int               `json:"id"`
	Args       []json.RawMessage `json:"args"`
}

// startDriver starts a client and waits until it is connected.
func startDriver(t *testing.T, kind string, o driverOptions) *driver {
	t.Helper()
	d := launch(t, kind, o)
	d.first = d.next("connect")
	if d.first.Sid == "" {
		t.Error("connected without a sid")
	}
	return d
}

func launch(t *testing.T, kind string, o driverOptions) *driver {
	t.Helper()
	if kind != "python" {
		o.Version = kind[len(kind)-1:]
	}
	opts, err := json.Marshal(o)
	if err != nil {
		t.Fatal(err)
	}
	d := &driver{held: map[string][]report{}}
	if kind == "python" {
		d.process = start(t, pythonWithSocketIO(t), filepath.Join("python", "driver.py"), string(opts))
	} else {
		d.process = start(t, "node", filepath.Join(node(t), "driver.js"), string(opts))
	}
	return d
}

// startListener starts python/listener.py and waits until it is connected. It takes no commands.
func startListener(t *testing.T, o driverOptions) *driver {
	t.Helper()
	opts, err := json.Marshal(o)
	if err != nil {
		t.Fatal(err)
	}
	d := &driver{held: map[string][]report{}}
	d.process = start(t, pythonWithSocketIO(t), filepath.Join("python", "listener.py"), string(opts))
	d.first = d.next("connect")
	return d
}

// next returns the next report of the kind; others are kept.
func (d *driver) next(on string) report {
	d.t.Helper()
	for begun := time.Now(); ; {
		if held := d.held[on]; len(held) > 0 {
			d.held[on] = held[1:]
			return held[0]
		}
		if time.Since(begun) > patience {
			d.t.Fatalf("%s %s tells much, but nothing of %q: %.1000v", d.cmd.Path, d.cmd.Args, on, d.held)
		}
		var r report
		line := d.line()
		if err := json.Unmarshal([]byte(line), &r); err != nil {
			d.t.Fatalf("driver wrote %.200q: %v", line, err)
		}
		d.held[r.On] = append(d.held[r.On], r)
	}
}

func (d *driver) do(command map[string]any) {
	d.t.Helper()
	b, err := json.Marshal(command)
	if err != nil {
		d.t.Fatal(err)
	}
	if _, err := d.stdin.Write(append(b, '\n')); err != nil {
		d.t.Fatalf("driver: %v\n%s", err, d.log())
	}
}

// emitAck returns the arguments of the answer, as JSON.
func (d *driver) emitAck(event string, args ...any) string {
	d.t.Helper()
	d.acks++
	d.do(map[string]any{"do": "emit", "event": event, "args": args, "ack": d.acks})
	r := d.next("ack")
	if r.ID != d.acks {
		d.t.Fatalf("answer to %d, want one to %d", r.ID, d.acks)
	}
	return joined(r.Args)
}

// wantEvent waits for the next event, which must be this one, with one argument.
func (d *driver) wantEvent(event, arg string) {
	d.t.Helper()
	r := d.next("event")
	if r.Event != event || joined(r.Args) != arg {
		d.t.Fatalf("got %s %.300s, want %s %.300s", r.Event, joined(r.Args), event, arg)
	}
}

func (d *driver) transport() string {
	d.t.Helper()
	d.do(map[string]any{"do": "transport"})
	return d.next("transport").Transport
}

// joined writes arguments so that equal values read equal.
func joined(args []json.RawMessage) string {
	out := ""
	for i, a := range args {
		if i > 0 {
			out += ","
		}
		out += canonical(a)
	}
	return out
}

func canonical(data []byte) string {
	var v any
	if err := json.Unmarshal(data, &v); err != nil {
		return fmt.Sprintf("<%v>", err)
	}
	b, err := json.Marshal(v)
	if err != nil {
		return fmt.Sprintf("<%v>", err)
	}
	return string(b)
}

func bin(b ...byte) map[string]string {
	return map[string]string{"$binary": base64.StdEncoding.EncodeToString(b)}
}

func binJSON(b ...byte) string {
	return `{"$binary":"` + base64.StdEncoding.EncodeToString(b) + `"}`
}
