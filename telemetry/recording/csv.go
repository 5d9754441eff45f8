package recording

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

	"tbmsock/internal/printable"
	"tbmsock/telemetry"
	"tbmsock/transport"
)

// csvHead are the columns before the channels; value, the last column, is what an event without a packet
// carries, as JSON.
var csvHead = []string{"received", "event", "offset", "source", "boot", "seq", "time", "room", "machine", "state", "phase", "ring", "journal"}

const csvTime = "2006-01-02T15:04:05.000000Z07:00"

// CSV writes records as comma-separated values (RFC 4180): one row a record, and one line a row, always the same columns,
// empty where there is no value. It is for one goroutine.
type CSV struct {
	// Spreadsheet makes text that a spreadsheet would take for a formula harmless: it is written as a JSON string.
	Spreadsheet bool

	channels []string
	buf      bytes.Buffer
	w        *csv.Writer
	row      []string
}

// NewCSV makes a writer of the channels; nil: all, the derived ones too.
func NewCSV(channels []string) *CSV {
	if channels == nil {
		channels = append(telemetry.ChannelIDs(), telemetry.DerivedIDs()...)
	}
	c := &CSV{channels: channels}
	c.w = csv.NewWriter(&c.buf)
	return c
}

// Header is the line with the columns' names.
func (c *CSV) Header() []byte {
	return bytes.Clone(c.line(append(append(slices.Clone(csvHead), c.channels...), "value")))
}

// line is valid until the next one.
func (c *CSV) line(row []string) []byte {
	c.buf.Reset()
	_ = c.w.Write(row) // into memory
	c.w.Flush()
	return c.buf.Bytes()
}

// Row is the record's line; it is valid until the next.
func (c *CSV) Row(r *Record) []byte {
	row := append(c.row[:0], make([]string, len(csvHead))...) //nolint:gocritic // c.row is set below, its memory is used again
	row[0], row[1] = r.Received.UTC().Format(csvTime), c.cell(r.Event)
	if r.Offset > 0 {
		row[2], row[12] = strconv.FormatUint(r.Offset, 10), c.cell(r.Journal)
	}
	if e := r.Envelope; e != nil {
		row[3], row[4], row[5], row[7] = c.cell(e.Source), c.cell(e.Boot), strconv.FormatUint(e.Seq, 10), c.cell(e.Room)
		if !e.Time.IsZero() {
			row[6] = e.Time.UTC().Format(csvTime)
		}
	}
	reading, ok := r.Reading()
	if ok {
		p := r.Packet
		row[8], row[9], row[10], row[11] = c.cell(p.Machine), p.State.String(), p.Phase.String(), strconv.Itoa(p.Ring)
	}
	for _, id := range c.channels {
		text := ""
		if ok {
			if v, has := reading.Value(id); has && !math.IsNaN(v) {
				text = strconv.FormatFloat(v, 'g', 10, 64)
			}
		}
		row = append(row, text)
	}
	row = append(row, c.value(r, ok))
	c.row = row
	return c.line(row)
}

// cell is text that comes from the network, as JSON where it is not printable: who looks for the last line of a file
// must not find one that a client has made up.
func (c *CSV) cell(text string) string { return printable.Cell(text, c.Spreadsheet) }

// parseCell reads what cell has written.
func parseCell(text string) string {
	var s string
	if strings.HasPrefix(text, `"`) && json.Unmarshal([]byte(text), &s) == nil {
		return s
	}
	return text
}

// value is what the record carries if that is no packet.
func (c *CSV) value(r *Record, packet bool) string {
	var b []byte
	var err error
	switch {
	case packet:
		return ""
	case r.Value != nil:
		b, err = json.Marshal(r.Value)
	case r.Envelope != nil && r.Envelope.Packet != nil:
		var compact bytes.Buffer
		if json.Compact(&compact, r.Envelope.Packet) != nil {
			return c.cell(string(r.Envelope.Packet))
		}
		b = compact.Bytes()
	case r.Envelope != nil:
		b, err = json.Marshal(r.Envelope.Proto)
	}
	if err != nil {
		return ""
	}
	return printable.JSONCell(b, c.Spreadsheet)
}

// parseCSV reads a row by the columns' names.
func parseCSV(columns, row []string) (*Record, error) {
	r := &Record{Packet: new(telemetry.Packet), Derived: telemetry.NoDerived()}
	e := &transport.Envelope{}
	var value string
	has := false
	for i, text := range row {
		if text == "" || i >= len(columns) {
			continue
		}
		var err error
		switch columns[i] {
		case "received":
			r.Received, err = time.Parse(csvTime, text)
		case "event", "offset", "journal", "source", "boot", "seq":
			err = setName(r, e, columns[i], text)
		case "time":
			e.Time, err = time.Parse(csvTime, text)
		case "room":
			e.Room = parseCell(text)
		case "machine":
			r.Packet.Machine = parseCell(text)
		case "state":
			err, has = r.Packet.State.UnmarshalText([]byte(text)), true
		case "phase":
			err = r.Packet.Phase.UnmarshalText([]byte(text))
		case "ring":
			r.Packet.Ring, err = strconv.Atoi(text)
		case "value":
			value = text
		default:
			err = r.set(columns[i], text)
		}
		if err != nil {
			return nil, fmt.Errorf("column %s: %w", columns[i], err)
		}
	}
	if r.Event == "" {
		return nil, fmt.Errorf("column event is missing")
	}
	if e.Source != "" {
		r.Envelope = e
		if value != "" {
			e.Packet = json.RawMessage(value)
		}
	} else if value != "" {
		r.Value = &transport.Value{JSON: json.RawMessage(value)}
	}
	if !has {
		r.Packet = nil
	}
	return r, nil
}

// setName sets what one of the columns tells of the record's name and place; others say nothing of it.
func setName(r *Record, e *transport.Envelope, column, text string) (err error) {
	switch column {
	case "event":
		r.Event = parseCell(text)
	case "offset":
		r.Offset, err = strconv.ParseUint(text, 10, 64)
	case "journal":
		r.Journal = parseCell(text)
	case "source":
		e.Source = parseCell(text)
	case "boot":
		e.Boot = parseCell(text)
	case "seq":
		e.Seq, err = strconv.ParseUint(text, 10, 64)
	}
	return err
}

func (r *Record) set(id, text string) error {
	v, err := strconv.ParseFloat(text, 64)
	if err != nil {
		return err
	}
	if !r.Derived.Set(id, v) && telemetry.ChannelIndex(id) >= 0 {
		r.Packet.Make(id)
		r.Packet.Set(id, v)
	}
	return nil
}
