package roles

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"tbmsock/internal/printable"
	"tbmsock/telemetry"
	"tbmsock/telemetry/recording"
)

// usualChannels are what text shows if nobody chooses: what an operator looks at first, in a line of less
// than 100 columns. A machine shows those that it has.
var usualChannels = []string{"thrust.total", "cutterhead.torque", "cutterhead.speed", "thrust.advance", "chamber.pressure_1"}

const (
	clockForm   = "15:04:05.000"
	headerEvery = 40 // lines: about a screen

	// Names come from the network. The column of sources grows with them up to sourceColumn; a longer name is shown up
	// to nameColumns, and only its own lines are longer.
	sourceColumn = 24
	nameColumns  = 64
)

// sourceName is the name of a source, or of anything else that is a word of a line, for people.
func sourceName(s string) string { return printable.Name(s, nameColumns) }

// textForm writes a line a packet in columns, for people.
type textForm struct {
	dictionary *telemetry.Dictionary
	channels   []string // nil: the usual ones
	colored    bool

	machine  string
	columns  []column
	made     bool
	sources  int // width of the source column
	sinceTop int // lines since the last header
	buf      []byte
}

// column is one channel of the table.
type column struct {
	id, name, unit string
	digits         int // least width of the number
	decimals       int // fixed ones; -1: by size
}

func newTextForm(d *telemetry.Dictionary, channels []string, colored bool) *textForm {
	return &textForm{dictionary: d, channels: channels, colored: colored, sources: 5}
}

// use lays the columns out for a kind of machine.
func (t *textForm) use(machine string) {
	t.machine, t.made, t.columns = machine, true, nil
	d := t.dictionary.For(machine)
	ids := t.channels
	if ids == nil {
		ids = usualChannels
	}
	for _, id := range ids {
		c := d.Channel(id)
		if c == nil {
			if t.channels != nil && slices.Contains(append(telemetry.ChannelIDs(), telemetry.DerivedIDs()...), id) && t.dictionary.Channel(id) == nil {
				// A channel that this dictionary does not describe is shown bare.
				t.columns = append(t.columns, column{id: id, name: shortName(id), digits: 6, decimals: -1})
			}
			continue
		}
		col := column{id: id, name: shortName(id), unit: c.Unit, digits: 4, decimals: decimalsFor(c)}
		if c.Unit == "1" {
			col.unit = ""
		}
		if !math.IsNaN(c.Max) {
			widest := max(len(col.format(c.Max)), len(col.format(c.Min)))
			col.digits = max(min(widest, 11), 4)
		}
		t.columns = append(t.columns, col)
	}
	t.sinceTop = 0
}

// decimalsFor is how many of a channel's decimals are worth reading: about four figures of its range.
func decimalsFor(c *telemetry.Channel) int {
	switch {
	case c.Unit == "m":
		return 3
	case c.Unit == "deg":
		return 2
	case math.IsNaN(c.Max):
		return -1
	}
	switch most := math.Max(math.Abs(c.Max), math.Abs(c.Min)); {
	case most >= 1000:
		return 0
	case most >= 100:
		return 1
	case most >= 10:
		return 2
	}
	return 3
}

func shortName(id string) string {
	group, name, _ := strings.Cut(id, ".")
	switch name {
	case "total", "speed", "torque", "advance", "penetration":
		if group == "thrust" && name == "total" {
			return "thrust"
		}
		if group == "screw" || group == "derived" {
			return id
		}
	case "pressure_1":
		return "face"
	}
	return name
}

// format is the number with about four figures.
func (c *column) format(v float64) string {
	decimals := c.decimals
	if decimals < 0 {
		switch a := math.Abs(v); {
		case a >= 1000 || a == 0:
			decimals = 0
		case a >= 10:
			decimals = 1
		case a >= 1:
			decimals = 2
		default:
			decimals = 3
		}
	}
	return strconv.FormatFloat(v, 'f', decimals, 64)
}

// width of the whole column: number, mark, unit.
func (c *column) width() int {
	w := c.digits + 1
	if c.unit != "" {
		w += utf8.RuneCountInString(c.unit)
	}
	return max(w, utf8.RuneCountInString(c.name))
}

var phaseWords = map[telemetry.Phase]string{
	telemetry.PhaseFreeRotating: "rotating", telemetry.PhaseFreeAdvancing: "advancing", telemetry.PhaseIncreasing: "increasing",
	telemetry.PhaseStable: "stable", telemetry.PhaseDecreasing: "decreasing",
}

func doing(p *telemetry.Packet) string {
	switch p.State {
	case telemetry.StateBoring:
		if w, ok := phaseWords[p.Phase]; ok {
			return w
		}
		return "boring"
	case telemetry.StateRingBuilding:
		return "ring build"
	}
	return p.State.String()
}

// record is the packet's line, with the header before it when it is time. It is valid until the next.
func (t *textForm) record(r *recording.Record, state func(id string) telemetry.ChannelState) []byte {
	b := t.buf[:0]
	defer func() { t.buf = b }()
	e := r.Envelope
	if e == nil {
		v := []byte("null")
		if r.Value != nil {
			v = jsonText(r.Value)
		}
		b = fmt.Appendf(b, "%s %s %s\n", r.Received.UTC().Format(clockForm), sourceName(r.Event), v)
		return b
	}
	source := t.source(e.Source)
	at := e.Time
	if at.IsZero() {
		at = r.Received
	}
	reading, ok := r.Reading()
	if !ok {
		var packet []byte
		if e.Packet != nil {
			packet = jsonText(e.Packet)
		} else {
			packet = jsonText(e.Proto)
		}
		b = fmt.Appendf(b, "%s %s #%d %s\n", at.UTC().Format(clockForm), source, e.Seq, packet)
		return b
	}
	if !t.made || t.machine != r.Packet.Machine {
		t.use(r.Packet.Machine)
	}
	if t.sinceTop%headerEvery == 0 {
		b = t.header(b)
	}
	t.sinceTop++
	b = fmt.Appendf(b, "%s %-*s #%-6d %-10s %5d", at.UTC().Format(clockForm), t.sources, source, e.Seq, doing(r.Packet), r.Packet.Ring)
	for i := range t.columns {
		b = t.cell(b, &t.columns[i], &reading, state)
	}
	b = append(bytes.TrimRight(b, " "), '\n')
	return b
}

// source is the source's name; the column is made as wide as that, if it may be.
func (t *textForm) source(name string) string {
	name = sourceName(name)
	t.sources = max(t.sources, min(utf8.RuneCountInString(name), sourceColumn))
	return name
}

// jsonText is the value as JSON in one line, which does no harm on a terminal.
func jsonText(v any) []byte {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if enc.Encode(v) != nil {
		return []byte("null")
	}
	return printable.JSON(bytes.TrimSuffix(b.Bytes(), []byte("\n")))
}

// header names the columns.
func (t *textForm) header(b []byte) []byte {
	var line []byte
	line = fmt.Appendf(line, "%-12s %-*s %-7s %-10s %5s", "time (UTC)", t.sources, "source", "seq", "phase", "ring")
	for i := range t.columns {
		c := &t.columns[i]
		line = append(line, ' ')
		line = append(line, strings.Repeat(" ", max(c.width()-utf8.RuneCountInString(c.name), 0))...)
		line = append(line, c.name...)
	}
	if t.colored {
		return fmt.Appendf(b, "\x1b[1m%s\x1b[0m\n", line)
	}
	return append(append(b, line...), '\n')
}

// The colours of the states, and the marks that say the same without colour.
var (
	stateColors = map[telemetry.ChannelState]string{
		telemetry.StateWarnLow: "\x1b[33m", telemetry.StateWarnHigh: "\x1b[33m",
		telemetry.StateAlarmLow: "\x1b[1;31m", telemetry.StateAlarmHigh: "\x1b[1;31m",
		telemetry.StateStale: "\x1b[35m",
	}
	stateMarks = map[telemetry.ChannelState]byte{
		telemetry.StateWarnLow: '*', telemetry.StateWarnHigh: '*', telemetry.StateAlarmLow: '!', telemetry.StateAlarmHigh: '!', telemetry.StateStale: '?',
	}
)

// cell is " 11273 kN": the mark of a state stands between number and unit.
func (t *textForm) cell(b []byte, c *column, r *telemetry.Reading, state func(id string) telemetry.ChannelState) []byte {
	text, mark, color := "-", byte(' '), ""
	if v, ok := r.Value(c.id); ok {
		text = c.format(v)
		if s := state(c.id); s != telemetry.StateNormal {
			mark, color = stateMarks[s], stateColors[s]
		}
	}
	unit := c.unit
	width := c.width()
	pad := max(width-utf8.RuneCountInString(text)-1-utf8.RuneCountInString(unit), 0)
	b = append(b, ' ')
	b = append(b, strings.Repeat(" ", pad)...)
	if t.colored && color != "" {
		b = append(b, color...)
	}
	b = append(append(append(b, text...), mark), unit...)
	if t.colored && color != "" {
		b = append(b, "\x1b[0m"...)
	}
	return b
}

// change is the line of a change of state: "06:00:00.000 tbm-1 ALARM HIGH atmosphere.ch4 …".
func (t *textForm) change(source string, c *telemetry.Change) []byte {
	word := strings.ToUpper(c.To.String())
	value := ""
	if !math.IsNaN(c.Value) {
		col := column{decimals: decimalsFor(c.Channel)}
		value = " " + col.format(c.Value) + " " + c.Channel.Unit
	}
	source = t.source(source)
	line := fmt.Sprintf("%s %-*s %-10s %s, %s%s: %s", c.At.UTC().Format(clockForm), t.sources, source, word, c.Channel.ID, c.Channel.Name, value, c.Reason())
	if color := stateColors[c.To]; t.colored && color != "" {
		line = color + line + "\x1b[0m"
	}
	return []byte(line + "\n")
}

// silent is the line of a source of which nothing comes, or comes again.
func (t *textForm) silent(at time.Time, source, what string, state telemetry.ChannelState) []byte {
	source = t.source(source)
	line := fmt.Sprintf("%s %-*s %-10s %s", at.UTC().Format(clockForm), t.sources, source, strings.ToUpper(state.String()), what)
	if color := stateColors[state]; t.colored && color != "" {
		line = color + line + "\x1b[0m"
	}
	return []byte(line + "\n")
}

// changeRow is a change of state in CSV.
func changeRow(source string, c *telemetry.Change, spreadsheet bool) []byte {
	var b bytes.Buffer
	w := csv.NewWriter(&b)
	value := ""
	if !math.IsNaN(c.Value) {
		value = strconv.FormatFloat(c.Value, 'g', 10, 64)
	}
	_ = w.Write([]string{c.At.UTC().Format(time.RFC3339Nano), printable.Cell(source, spreadsheet), c.Channel.ID, c.From.String(), c.To.String(), value, c.Channel.Unit, c.Reason()})
	w.Flush()
	return b.Bytes()
}
