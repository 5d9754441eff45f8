package roles

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/sirupsen/logrus"
	"github.com/urfave/cli/v2"

	"tbmsock/telemetry"
	"tbmsock/telemetry/chart"
	"tbmsock/telemetry/recording"
)

func plotCommand() *cli.Command {
	return &cli.Command{
		Name:  "plot",
		Usage: "draw channels of logged packets over time",
		Description: "Reads what a logger has written, JSON Lines or CSV, compressed or not. What is grey the machine did not bore.\n\n" +
			"Examples:\n" +
			"  tbmsock plot --input packets.jsonl --output hour.svg --from 2026-01-05T06:00:00Z --to 2026-01-05T07:00:00Z\n" +
			"  tbmsock simulate --duration 1h | tbmsock plot --output hour.png --channels thrust.total,derived.fpi",
		Flags: append([]cli.Flag{
			listFlag("input", "file to read, - for stdin (repeatable, in order of time)", nil, "-"),
			textFlag("output", "picture to write: .svg, .png or .pdf", ""),
			listFlag("channels", "channels, one a panel (repeatable)", checkChannel, "thrust.total", "cutterhead.torque", "cutterhead.penetration", "chamber.pressure_1"),
			textFlag("source", "machine; the first in the input if empty", ""),
			textFlag("from", "first time, RFC 3339; empty for all", ""),
			textFlag("to", "last time, RFC 3339; empty for all", ""),
			textFlag("title", "line above the picture; machine and time if empty", ""),
			dictionaryFlag(),
		}, logFlags()...),
		Action: func(c *cli.Context) error {
			p, err := newPlotter(c)
			if err != nil {
				return &usageError{c.Command.Name, err}
			}
			if err := p.run(c.Context, newLog(c, c.App.ErrWriter)); err != nil {
				return fmt.Errorf("tbmsock plot: %w", err)
			}
			return nil
		},
	}
}

// plotter is a picture to be made.
type plotter struct {
	inputs         []string
	output, format string
	channels       []string
	source, title  string
	from, to       time.Time
	dictionary     *telemetry.Dictionary

	machine     string
	points      [][]chart.Point
	idle        []chart.Span
	first, last time.Time
	unreadable  int
}

func newPlotter(c *cli.Context) (*plotter, error) {
	p := &plotter{inputs: listOf(c, "input"), output: c.String("output"), source: c.String("source"), title: c.String("title")}
	if p.output == "" {
		return nil, errors.New("--output is missing: the picture's file, such as hour.svg")
	}
	p.format = strings.TrimPrefix(strings.ToLower(filepath.Ext(p.output)), ".")
	if !slices.Contains(chart.Formats, p.format) {
		return nil, fmt.Errorf("--output %s: use a name that ends with .svg, .png or .pdf", p.output)
	}
	var err error
	if p.dictionary, err = loadDictionary(c); err != nil {
		return nil, err
	}
	if p.channels, err = telemetry.MatchChannels(listOf(c, "channels")); err != nil {
		return nil, fmt.Errorf("--channels: %w", err)
	}
	for _, t := range []struct {
		name string
		dst  *time.Time
	}{{"from", &p.from}, {"to", &p.to}} {
		if s := c.String(t.name); s != "" {
			if *t.dst, err = time.Parse(time.RFC3339, s); err != nil {
				return nil, fmt.Errorf("--%s %s: use a time such as 2026-01-05T06:00:00Z", t.name, s)
			}
		}
	}
	p.points = make([][]chart.Point, len(p.channels))
	return p, nil
}

func (p *plotter) run(ctx context.Context, log *logrus.Logger) error {
	for _, name := range p.inputs {
		if err := p.read(ctx, name); err != nil {
			return err
		}
	}
	if p.unreadable > 0 {
		log.WithField("lines", p.unreadable).Warn("lines that are no packets were left out")
	}
	d := p.dictionary.For(p.machine)
	picture := chart.Picture{Title: p.title, Idle: p.idle}
	if picture.Title == "" {
		picture.Title = fmt.Sprintf("%s (%s), %s to %s UTC", p.source, p.machine, p.first.UTC().Format("2 January 2006 15:04"), p.last.UTC().Format("15:04"))
	}
	for i, id := range p.channels {
		c := telemetry.Channel{ID: id, Name: id, Limits: telemetry.NoLimits()}
		if known := d.Channel(id); known != nil {
			c = *known
		}
		if slices.ContainsFunc(p.points[i], func(pt chart.Point) bool { return !math.IsNaN(pt.Value) }) {
			picture.Series = append(picture.Series, chart.Series{Channel: c, Points: p.points[i]})
		}
	}
	var b bytes.Buffer
	if err := picture.Write(&b, p.format); err != nil {
		return err
	}
	return os.WriteFile(p.output, b.Bytes(), 0o644)
}

// longestStep is the time between two packets from which on the line is broken.
const longestStep = time.Minute

func (p *plotter) read(ctx context.Context, name string) error {
	r, err := recording.OpenReader(name)
	if err != nil {
		return err
	}
	defer func() { _ = r.Close() }()
	deriver := telemetry.NewDeriver()
	for ctx.Err() == nil {
		rec, err := r.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		var line *recording.LineError
		if errors.As(err, &line) {
			if p.unreadable++; p.unreadable > 1000 && p.last.IsZero() {
				return fmt.Errorf("no packets: %w", err)
			}
			continue
		}
		if err != nil {
			return err
		}
		if rec.Envelope == nil || rec.Packet == nil {
			continue
		}
		if p.source == "" {
			p.source = rec.Envelope.Source
		}
		at := rec.Envelope.Time
		if rec.Envelope.Source != p.source || !p.from.IsZero() && at.Before(p.from) || !p.to.IsZero() && at.After(p.to) {
			continue
		}
		rec.Derived = deriver.Update(p.dictionary.For(rec.Packet.Machine).Geometry(), at, rec.Packet)
		p.add(at, rec)
	}
	return ctx.Err()
}

func (p *plotter) add(at time.Time, rec *recording.Record) {
	p.machine = rec.Packet.Machine
	if p.first.IsZero() {
		p.first = at
	}
	broken := !p.last.IsZero() && at.Sub(p.last) > longestStep
	reading, _ := rec.Reading()
	for i, id := range p.channels {
		if broken {
			p.points[i] = append(p.points[i], chart.Point{At: at, Value: math.NaN()})
		}
		v, ok := reading.Value(id)
		if !ok {
			v = math.NaN()
		}
		p.points[i] = append(p.points[i], chart.Point{At: at, Value: v})
	}
	if rec.Packet.State != telemetry.StateBoring {
		if n := len(p.idle); n > 0 && p.idle[n-1].To.Equal(p.last) && !broken {
			p.idle[n-1].To = at
		} else {
			p.idle = append(p.idle, chart.Span{From: at, To: at})
		}
	}
	p.last = at
}
