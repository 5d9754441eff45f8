package roles

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"tbmsock/roles/bench"
	"tbmsock/transport"
)

// loadRate is how often the load publishes: a rate, as fast as the server delivers, or not at all.
type loadRate struct {
	rateValue
	max, off bool
}

func (v *loadRate) Set(s string) error {
	word := strings.ToLower(s)
	v.max, v.off = word == "max", word == "off"
	if v.max || v.off {
		v.period, v.text = 0, word
		return nil
	}
	if err := v.rateValue.Set(s); err != nil {
		return fmt.Errorf("%w; or max, or off", err)
	}
	return nil
}

func benchCommand() *cli.Command {
	return &cli.Command{
		Name:  "bench",
		Usage: "load a Socket.IO server and measure it",
		Description: "Many subscribers join a room, one publisher sends log_telemetry to it; told are deliveries a\n" +
			"second, loss, latency, and what the server spent (--server-pid, on the same machine). Any server\n" +
			"that relays the event to those who join will do. Put server and load on different cores:\n\n" +
			"Example: taskset -c 0 tbmsock server & taskset -c 1 tbmsock bench --rate max --server-pid $!",
		Flags: []cli.Flag{
			textFlag("url", "address of the server, http://[user:password@]host[:port]; proxies are not used, redirects not followed", "http://127.0.0.1:8080"),
			textFlag("path", "path of the Socket.IO endpoint", "/socket.io/"),
			textFlag("event", "event that the server relays", transport.EventTelemetry),
			choiceFlag("engine", "revision of Engine.IO; bare: a WebSocket alone, whose messages go to all others", "4", "3", "bare"),
			countFlag("clients", "subscribers", 100, 1_000_000),
			countFlag("stall", "how many of them stop reading", 0, 1_000_000),
			valueFlag("rate", "how often the publisher sends; max: as fast as the server delivers; off: the clients are idle", &loadRate{rateValue: rateValue{10 * time.Millisecond, "100hz"}}),
			countFlag("window", "messages in flight with --rate max", 64, 1<<16),
			bytesFlag("size", "size of the event's argument", 300, 200, 900e3),
			&cli.BoolFlag{Name: "ack", Usage: "the publisher asks for acknowledgements", EnvVars: env("ack")},
			durationFlag("duration", "how long to measure", 10*time.Second, time.Second, 24*time.Hour),
			countFlag("server-pid", "process whose CPU time and memory are told", 0, 1<<31),
			&cli.BoolFlag{Name: "json", Usage: "write the result as JSON", EnvVars: env("json")},
			&cli.BoolFlag{Name: "quiet", Usage: "no lines of progress", EnvVars: env("quiet")},
		},
		Action: runBench,
	}
}

func runBench(c *cli.Context) error {
	rate := c.Generic("rate").(*loadRate)
	opts := bench.Options{
		URL:       c.String("url"),
		Path:      c.String("path"),
		Event:     c.String("event"),
		Clients:   int(countOf(c, "clients")),
		Stall:     int(countOf(c, "stall")),
		Period:    rate.period,
		Idle:      rate.off,
		Window:    int(countOf(c, "window")),
		Size:      int(bytesOf(c, "size")),
		Ack:       c.Bool("ack"),
		Duration:  durationOf(c, "duration"),
		ServerPID: int(countOf(c, "server-pid")),
	}
	switch choiceOf(c, "engine") {
	case "3":
		opts.Revision = bench.Engine3
	case "4":
		opts.Revision = bench.Engine4
	}
	// A bare host:port is an address too; the load itself takes http alone.
	u, err := transport.ParseServerURL(opts.URL)
	if err != nil {
		return &usageError{c.Command.Name, fmt.Errorf("--url %s: %w", transport.RedactURL(opts.URL), errors.Unwrap(err))}
	}
	if u.Scheme != "http" {
		return &usageError{c.Command.Name, fmt.Errorf("--url %s: use http://host:port (TLS is not measured)", transport.RedactURL(opts.URL))}
	}
	opts.URL = u.String()
	if err := opts.Check(); err != nil {
		return &usageError{c.Command.Name, err}
	}
	if !c.Bool("quiet") {
		opts.Progress = c.App.ErrWriter
	}
	res, err := bench.Run(c.Context, opts)
	if err != nil {
		return fmt.Errorf("tbmsock bench: %w", err)
	}
	if c.Bool("json") {
		return json.NewEncoder(c.App.Writer).Encode(res)
	}
	return res.Print(c.App.Writer)
}
