package roles

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net"
	"slices"
	"strconv"
	"time"

	"github.com/urfave/cli/v2"
)

func demoCommand() *cli.Command {
	return &cli.Command{
		Name:  "demo",
		Usage: "server, telemetry and logger together, for a first look",
		Description: "One process in which a simulated machine bores, a server routes its packets, and a logger prints\n" +
			"them. The parts talk over the network like those of three terminals do.\n\n" +
			"Example: tbmsock demo --rate 2hz --duration 1m",
		Flags: append([]cli.Flag{
			textFlag("listen", "address to listen on, host:port; port 0 takes a free one", "127.0.0.1:8080"),
			valueFlag("rate", "how often a packet is sent", &rateValue{time.Second, "1hz"}),
			textFlag("source", "name of the machine", "tbm-1"),
			textFlag("room", "room that the packets are for", "ops"),
			countFlag("count", "end after so many packets, 0 for never", 0, 1<<62),
			durationFlag("duration", "end after this time, 0 for never", 0, 0, 100*365*24*time.Hour),
			choiceFlag("encoding", "how a packet is written", "json", "protobuf"),
			textFlag("data-dir", "directory of the server's journal; memory keeps it until the demo ends, off keeps none", dataMemory),
			compressFlag(),
			drainFlag(),
		}, slices.Concat(machineFlags(), formatFlags(), outputFlags(), webFlags(), logFlags())...),
		Action: runDemo,
	}
}

func runDemo(c *cli.Context) error {
	log := newLog(c, c.App.ErrWriter)
	usage := func(err error) error { return &usageError{c.Command.Name, err} }
	ln, err := net.Listen("tcp", c.String("listen"))
	if err != nil {
		return fmt.Errorf("tbmsock demo: --listen %s: %w", c.String("listen"), err)
	}
	defer func() { _ = ln.Close() }()
	url := "http://" + ln.Addr().String()
	server, err := part(c, serverFlags(), func(p *cli.Context) (*serverRole, error) {
		s, err := newServerRole(p, log)
		if err == nil {
			err = s.open(c.Context, p)
		}
		return s, err
	}, map[string]string{"fsync": "always"}) // the demo's own is the logger's
	if err != nil {
		return usage(err)
	}
	address := map[string]string{"url": ownURL(ln.Addr())}
	logger, err := part(c, loggerFlags(), func(p *cli.Context) (*loggerRole, error) { return newLoggerRole(p, log, c.App.Writer) }, address)
	if err != nil {
		return usage(err)
	}
	telemetry, err := part(c, telemetryFlags(), func(p *cli.Context) (*telemetryRole, error) { return newTelemetryRole(p, log) }, address)
	if err != nil {
		return usage(err)
	}
	fmt.Fprintf(c.App.Writer, "listening on %s\n", url)
	return runParts(c.Context, ln, server, logger, telemetry)
}

// ownURL is where this machine reaches what listens at the address. No proxy is asked for a loopback address; one would
// be for the unspecified address, as of :8080.
func ownURL(addr net.Addr) string {
	if tcp, ok := addr.(*net.TCPAddr); ok && tcp.IP.IsUnspecified() {
		return "http://" + net.JoinHostPort("localhost", strconv.Itoa(tcp.Port))
	}
	return "http://" + addr.String()
}

// runParts ends the parts in the order in which packets pass them, so that none is lost: when
// the source has sent its last one the logger ends, then the server.
func runParts(ctx context.Context, ln net.Listener, server *serverRole, logger *loggerRole, telemetry *telemetryRole) error {
	serverCtx, stopServer := context.WithCancel(context.Background())
	loggerCtx, stopLogger := context.WithCancel(context.Background())
	sourceCtx, stopSource := context.WithCancel(ctx)
	defer stopSource()
	serverDone, loggerDone := make(chan error, 1), make(chan error, 1)
	go func() { serverDone <- server.run(serverCtx, ln); stopSource() }()
	go func() { loggerDone <- logger.run(loggerCtx); stopSource() }()
	// The first packet is for the logger too.
	select {
	case <-logger.ready:
	case <-sourceCtx.Done():
	}
	sourceErr := telemetry.run(sourceCtx)
	// What the server has acknowledged stands in the logger's queue: its leaving comes after.
	logger.settle(telemetry.client.PublishStats().Acked, telemetry.drain)
	stopLogger()
	loggerErr := <-loggerDone
	stopServer()
	return errors.Join(sourceErr, loggerErr, <-serverDone)
}

// part makes a role from the demo's flags of the same names, and the values given. The environment of a role's own command
// is not for the demo: it may name the server, the cluster or the outbox of a real machine.
func part[T any](c *cli.Context, flags []cli.Flag, make func(*cli.Context) (T, error), values map[string]string) (T, error) {
	set := flag.NewFlagSet(c.Command.Name, flag.ContinueOnError)
	var none T
	for _, f := range withoutEnv(append(flags, logFlags()...)...) {
		if err := f.Apply(set); err != nil {
			return none, flagError(err)
		}
	}
	for _, f := range c.Command.Flags {
		name := f.Names()[0]
		if _, given := values[name]; given || set.Lookup(name) == nil {
			continue
		}
		value := c.String(name)
		if g, ok := c.Generic(name).(cli.Generic); ok {
			value = g.String()
		}
		if err := set.Set(name, value); err != nil {
			return none, fmt.Errorf("--%s %s: %w", name, value, err)
		}
	}
	for name, value := range values {
		if err := set.Set(name, value); err != nil {
			return none, fmt.Errorf("--%s %s: %w", name, value, err)
		}
	}
	return make(cli.NewContext(c.App, set, nil))
}
