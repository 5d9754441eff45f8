package roles

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/urfave/cli/v2"

	"tbmsock/telemetry"
	"tbmsock/telemetry/recording"
	"tbmsock/transport"
)

func simulateCommand() *cli.Command {
	return &cli.Command{
		Name:  "simulate",
		Usage: "write a simulated machine's packets to stdout, faster than real time",
		Description: "Writes what a logger would have logged, without a server: for tests, plots and other programs.\n\n" +
			"Example: tbmsock simulate --machine hardrock --duration 24h --rate 1hz > day.jsonl",
		Flags: append([]cli.Flag{
			valueFlag("rate", "readings in simulated time", &rateValue{time.Second, "1hz"}),
			durationFlag("duration", "simulated time", time.Hour, 0, 366*24*time.Hour),
			textFlag("start", "time of the first reading, RFC 3339", "2026-01-05T06:00:00Z"),
			textFlag("source", "name of the machine", "tbm-1"),
			textFlag("room", "room that stands in the envelopes", ""),
			choiceFlag("format", "form of the packets", "json", "csv"),
		}, machineFlags()...),
		Action: simulate,
	}
}

func simulate(c *cli.Context) error {
	usage := func(err error) error { return &usageError{c.Command.Name, err} }
	start, err := time.Parse(time.RFC3339, c.String("start"))
	if err != nil {
		return usage(fmt.Errorf("--start %s: use a time such as 2026-01-05T06:00:00Z", c.String("start")))
	}
	m, err := newMachine(c, start)
	if err != nil {
		return usage(err)
	}
	form := newLineForm(choiceOf(c, "format"), nil, false, false, telemetry.DefaultDictionary())
	out := bufio.NewWriterSize(c.App.Writer, 64<<10)
	_, err = out.Write(form.header())
	period, end := rateOf(c, "rate").period, start.Add(durationOf(c, "duration"))
	// The boot is the run's: the same run gives the same bytes.
	e := transport.Envelope{Source: c.String("source"), Boot: fmt.Sprintf("simulated-%d", countOf(c, "seed")), Room: c.String("room")}
	watched := newWatches(telemetry.DefaultDictionary(), nil)
	var packet telemetry.Packet
	for n := 0; err == nil && c.Err() == nil; n++ {
		at := start.Add(time.Duration(n) * period)
		if !at.Before(end) {
			break
		}
		m.Next(at, &packet)
		e.Seq, e.Time = uint64(n+1), at.UTC()
		r := recording.Record{Received: e.Time, Event: transport.EventTelemetry, Envelope: &e, Packet: &packet}
		if form.format == "json" {
			if e.Packet, err = json.Marshal(&packet); err != nil {
				return fmt.Errorf("tbmsock simulate: %w", err)
			}
		}
		watched.observe(&r, r.Received)
		_, err = out.Write(form.record(&r, normal))
	}
	if err = errors.Join(err, out.Flush()); err != nil {
		return fmt.Errorf("tbmsock simulate: stdout: %w", err)
	}
	return nil
}
