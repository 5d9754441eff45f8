// Package chart draws channels over time, one panel a channel below the other, as tunnel engineers are
// used to see them. It knows series and limits, not where they come from.
package chart

import (
	"errors"
	"fmt"
	"image/color"
	"io"
	"math"
	"strconv"
	"strings"
	"time"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/font"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgimg"
	"gonum.org/v1/plot/vg/vgpdf"
	"gonum.org/v1/plot/vg/vgsvg"

	"tbmsock/telemetry"
)

// Point is one reading; NaN breaks the line.
type Point struct {
	At    time.Time
	Value float64
}

// Series is what one panel shows.
type Series struct {
	Channel telemetry.Channel // its name, unit and limits
	Points  []Point
}

// Span is a time in which the machine did not bore: it is shaded.
type Span struct{ From, To time.Time }

// Picture is a whole one.
type Picture struct {
	Title  string
	Series []Series
	Idle   []Span
	// Width and Height are in points of 1/72 inch; 864 and 130 a panel if 0. PNG has two pixels a point.
	Width, Height float64
}

var (
	lineColors = []color.Color{color.RGBA{0x1f, 0x5f, 0xa8, 0xff}, color.RGBA{0xb0, 0x4a, 0x1e, 0xff}, color.RGBA{0x2c, 0x7a, 0x3e, 0xff},
		color.RGBA{0x7a, 0x3c, 0x94, 0xff}, color.RGBA{0x8a, 0x6d, 0x0f, 0xff}, color.RGBA{0x1d, 0x7d, 0x80, 0xff}}
	warnColor  = color.RGBA{0xd0, 0x9a, 0x00, 0xff}
	alarmColor = color.RGBA{0xc6, 0x28, 0x28, 0xff}
	idleColor  = color.RGBA{0xec, 0xec, 0xec, 0xff}
	gridColor  = color.RGBA{0xdd, 0xdd, 0xdd, 0xff}
)

// Formats are the kinds of picture that Write makes.
var Formats = []string{"svg", "png", "pdf"}

// ErrNothing is returned for a picture without a single value.
var ErrNothing = errors.New("there is nothing to draw: no values in this time")

// Write draws the picture, in one of [Formats].
func (p *Picture) Write(w io.Writer, format string) error {
	from, to, ok := p.extent()
	if !ok {
		return ErrNothing
	}
	width, height := vg.Length(p.Width), vg.Length(p.Height)
	if width == 0 {
		width = 864
	}
	if height == 0 {
		height = vg.Length(130*len(p.Series) + 40)
	}
	var canvas interface {
		vg.CanvasSizer
		io.WriterTo
	}
	switch format {
	case "svg":
		canvas = vgsvg.New(width, height)
	case "png":
		canvas = vgimg.PngCanvas{Canvas: vgimg.NewWith(vgimg.UseWH(width, height), vgimg.UseDPI(144))}
	case "pdf":
		canvas = vgpdf.New(width, height)
	default:
		return fmt.Errorf("format %q: use %s", format, strings.Join(Formats, ", "))
	}
	rows := make([][]*plot.Plot, len(p.Series))
	for i := range p.Series {
		panel, err := p.panel(i, from, to, float64(width))
		if err != nil {
			return fmt.Errorf("%s: %w", p.Series[i].Channel.ID, err)
		}
		rows[i] = []*plot.Plot{panel}
	}
	dc := draw.New(canvas)
	dc.SetColor(color.White)
	dc.Fill(dc.Path())
	tiles := draw.Tiles{Rows: len(rows), Cols: 1, PadTop: 8, PadBottom: 6, PadLeft: 8, PadRight: 16, PadY: 8}
	for i, canvases := range plot.Align(rows, tiles, dc) {
		rows[i][0].Draw(canvases[0])
	}
	_, err := canvas.WriteTo(w)
	return err
}

func (p *Picture) extent() (from, to time.Time, ok bool) {
	for _, s := range p.Series {
		for _, pt := range s.Points {
			if math.IsNaN(pt.Value) {
				continue
			}
			if !ok || pt.At.Before(from) {
				from = pt.At
			}
			if !ok || pt.At.After(to) {
				to = pt.At
			}
			ok = true
		}
	}
	return from, to, ok
}

func seconds(t time.Time) float64 { return float64(t.UnixMilli()) / 1000 }

// panel draws one channel.
func (p *Picture) panel(i int, from, to time.Time, width float64) (*plot.Plot, error) {
	s := &p.Series[i]
	pl := plot.New()
	small := func(f *font.Font) { f.Size = 8; f.Variant = "Sans" }
	for _, f := range []*font.Font{&pl.X.Tick.Label.Font, &pl.Y.Tick.Label.Font, &pl.X.Label.TextStyle.Font, &pl.Y.Label.TextStyle.Font, &pl.Title.TextStyle.Font} {
		small(f)
	}
	if i == 0 && p.Title != "" {
		pl.Title.Text = p.Title
		pl.Title.TextStyle.Font.Size = 10
		pl.Title.Padding = 4
	}
	pl.Y.Label.Text = label(&s.Channel)
	pl.X.Min, pl.X.Max = seconds(from), seconds(to)
	if pl.X.Max <= pl.X.Min {
		pl.X.Max = pl.X.Min + 1
	}
	pl.X.Tick.Marker = timeTicks{last: i == len(p.Series)-1}
	pl.X.Padding, pl.Y.Padding = 0, 0
	low, high := bounds(s)
	pl.Y.Min, pl.Y.Max = low, high
	pl.Y.Tick.Marker = roundTicks{}
	if err := p.shade(pl, low, high); err != nil {
		return nil, err
	}
	grid := plotter.NewGrid()
	grid.Vertical.Color, grid.Horizontal.Color = gridColor, gridColor
	pl.Add(grid)
	limits := s.Channel.Limits
	for _, l := range []struct {
		at    float64
		color color.Color
	}{{limits.LowAlarm, alarmColor}, {limits.LowWarn, warnColor}, {limits.HighWarn, warnColor}, {limits.HighAlarm, alarmColor}} {
		if math.IsNaN(l.at) || l.at < low || l.at > high {
			continue
		}
		line, err := plotter.NewLine(plotter.XYs{{X: pl.X.Min, Y: l.at}, {X: pl.X.Max, Y: l.at}})
		if err != nil {
			return nil, err
		}
		line.Color, line.Dashes, line.Width = l.color, []vg.Length{4, 3}, 0.8
		pl.Add(line)
	}
	for _, run := range thin(s.Points, int(width*2)) {
		line, err := plotter.NewLine(run)
		if err != nil {
			return nil, err
		}
		line.Color, line.Width = lineColors[i%len(lineColors)], 0.9
		pl.Add(line)
	}
	return pl, nil
}

func (p *Picture) shade(pl *plot.Plot, low, high float64) error {
	for _, span := range p.Idle {
		a, b := max(seconds(span.From), pl.X.Min), min(seconds(span.To), pl.X.Max)
		if b <= a {
			continue
		}
		area, err := plotter.NewPolygon(plotter.XYs{{X: a, Y: low}, {X: b, Y: low}, {X: b, Y: high}, {X: a, Y: high}})
		if err != nil {
			return err
		}
		area.Color, area.Width = idleColor, 0
		pl.Add(area)
	}
	return nil
}

func label(c *telemetry.Channel) string {
	name := c.Name
	if name == "" {
		name = c.ID
	}
	if name == "Speed" || name == "Torque" || name == "Penetration" {
		name = c.Group + " " + strings.ToLower(name)
	}
	if c.Unit == "" || c.Unit == "1" {
		return name
	}
	return name + " (" + c.Unit + ")"
}

// bounds are the values' range with a margin; from 0 if that is not far, as quantities such as thrust
// are read.
func bounds(s *Series) (low, high float64) {
	low, high = math.Inf(1), math.Inf(-1)
	for _, pt := range s.Points {
		if !math.IsNaN(pt.Value) && !math.IsInf(pt.Value, 0) {
			low, high = min(low, pt.Value), max(high, pt.Value)
		}
	}
	if low > high {
		return 0, 1
	}
	if low >= 0 && low < 0.5*high {
		low = 0
	}
	margin := (high - low) * 0.08
	if margin == 0 {
		margin = max(math.Abs(high)*0.05, 0.5)
	}
	if low != 0 {
		low -= margin
	}
	return low, high + margin
}

// thin splits at holes, and keeps of each of n steps of time the least and the greatest value, so that a
// day at 10 Hz has no more points than can be seen, and no peak is lost.
func thin(points []Point, n int) []plotter.XYs {
	if len(points) == 0 {
		return nil
	}
	from := seconds(points[0].At)
	step := (seconds(points[len(points)-1].At) - from) / float64(max(n/2, 1))
	var runs []plotter.XYs
	var run plotter.XYs
	bucket := math.Inf(-1)
	var least, most plotter.XY
	flush := func() {
		if math.IsInf(bucket, -1) {
			return
		}
		first, second := least, most
		if second.X < first.X {
			first, second = second, first
		}
		run = append(run, first)
		if second != first {
			run = append(run, second)
		}
		bucket = math.Inf(-1)
	}
	for _, pt := range points {
		if math.IsNaN(pt.Value) || math.IsInf(pt.Value, 0) {
			flush()
			if len(run) > 1 {
				runs = append(runs, run)
			}
			run = nil
			continue
		}
		xy := plotter.XY{X: seconds(pt.At), Y: pt.Value}
		b := xy.X
		if step > 0 {
			b = math.Floor((xy.X - from) / step)
		}
		if b != bucket {
			flush()
			bucket, least, most = b, xy, xy
			continue
		}
		if xy.Y < least.Y {
			least = xy
		}
		if xy.Y > most.Y {
			most = xy
		}
	}
	flush()
	if len(run) > 1 {
		runs = append(runs, run)
	}
	return runs
}

// roundTicks are at round numbers, about five.
type roundTicks struct{}

// Ticks implements plot.Ticker.
func (roundTicks) Ticks(lo, hi float64) []plot.Tick {
	step := math.Pow(10, math.Floor(math.Log10((hi-lo)/5)))
	for _, m := range []float64{1, 2, 5, 10} {
		if (hi-lo)/(step*m) <= 6 {
			step *= m
			break
		}
	}
	decimals := max(0, -int(math.Floor(math.Log10(step)+1e-9)))
	var ticks []plot.Tick
	for i := math.Ceil(lo / step); i*step <= hi; i++ {
		ticks = append(ticks, plot.Tick{Value: i * step, Label: strconv.FormatFloat(i*step, 'f', decimals, 64)})
	}
	return ticks
}

// timeTicks are at round times of the clock, in UTC.
type timeTicks struct{ last bool }

var tickSteps = []time.Duration{time.Second, 2 * time.Second, 5 * time.Second, 10 * time.Second, 30 * time.Second, time.Minute, 2 * time.Minute,
	5 * time.Minute, 10 * time.Minute, 15 * time.Minute, 30 * time.Minute, time.Hour, 2 * time.Hour, 3 * time.Hour, 6 * time.Hour, 12 * time.Hour,
	24 * time.Hour, 48 * time.Hour, 7 * 24 * time.Hour, 28 * 24 * time.Hour, 364 * 24 * time.Hour}

// Ticks implements plot.Ticker.
func (t timeTicks) Ticks(lo, hi float64) []plot.Tick {
	step := tickSteps[len(tickSteps)-1]
	for _, s := range tickSteps {
		if (hi-lo)/s.Seconds() <= 13 {
			step = s
			break
		}
	}
	form := "15:04"
	switch {
	case step < time.Minute:
		form = "15:04:05"
	case step >= 24*time.Hour:
		form = "2 Jan"
	}
	var ticks []plot.Tick
	for x := math.Ceil(lo/step.Seconds()) * step.Seconds(); x <= hi; x += step.Seconds() {
		tick := plot.Tick{Value: x}
		if t.last {
			tick.Label = time.Unix(int64(x), 0).UTC().Format(form)
		} else {
			tick.Label = " "
		}
		ticks = append(ticks, tick)
	}
	return ticks
}
