package roles

import (
	"bufio"
	"bytes"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"time"

	"tbmsock/internal/printable"
	"tbmsock/transport"
)

// entryWriter writes entries of a journal for other programs.
type entryWriter struct {
	out  *bufio.Writer
	line bytes.Buffer
	json *json.Encoder // to line; or
	csv  *csv.Writer   // to out

	spreadsheet bool // no cell may be taken for a formula
}

func newEntryWriter(w io.Writer, format string, spreadsheet bool) *entryWriter {
	ew := &entryWriter{out: bufio.NewWriterSize(w, 64<<10), spreadsheet: spreadsheet}
	if format == "csv" {
		ew.csv = csv.NewWriter(ew.out)
		_ = ew.csv.Write([]string{"offset", "stored", "source", "boot", "seq", "time", "room", "namespace", "sid", "node", "value"}) // told by flush
		return ew
	}
	ew.json = json.NewEncoder(&ew.line)
	ew.json.SetEscapeHTML(false)
	return ew
}

// entryLine is an entry in JSON. Binary parts of the value are base64.
type entryLine struct {
	Offset    uint64          `json:"offset"`
	Stored    time.Time       `json:"stored"`
	Source    string          `json:"source,omitempty"`
	Boot      string          `json:"boot,omitempty"`
	Seq       uint64          `json:"seq,omitempty"`
	Time      *time.Time      `json:"time,omitempty"`
	Room      string          `json:"room,omitempty"`
	Namespace string          `json:"namespace"`
	Sid       string          `json:"sid"`
	Node      string          `json:"node"`
	Value     transport.Value `json:"value"`
}

func (w *entryWriter) write(e *transport.JournalEntry) error {
	if w.csv == nil {
		line := entryLine{e.Offset, e.Stored, e.Source, e.Boot, e.Seq, nil, e.Room, e.Namespace, e.Sid, e.Node, e.Value}
		if !e.Time.IsZero() {
			line.Time = &e.Time
		}
		w.line.Reset()
		if err := w.json.Encode(line); err != nil {
			return err
		}
		_, err := w.out.Write(printable.JSON(w.line.Bytes()))
		return err
	}
	value, err := e.Value.MarshalJSON()
	if err != nil {
		return err
	}
	w.line.Reset()
	if err := json.Compact(&w.line, value); err != nil { // the sender may have put line breaks in
		return err
	}
	seq, at := "", ""
	if e.Seq > 0 {
		seq = strconv.FormatUint(e.Seq, 10)
	}
	if !e.Time.IsZero() {
		at = e.Time.Format(time.RFC3339Nano)
	}
	cell := func(text string) string { return printable.Cell(text, w.spreadsheet) }
	return w.csv.Write([]string{strconv.FormatUint(e.Offset, 10), e.Stored.Format(time.RFC3339Nano), cell(e.Source), cell(e.Boot), seq, at,
		cell(e.Room), cell(e.Namespace), cell(e.Sid), cell(e.Node), printable.JSONCell(w.line.Bytes(), w.spreadsheet)})
}

func (w *entryWriter) flush() error {
	if w.csv != nil {
		w.csv.Flush()
		if err := w.csv.Error(); err != nil {
			return err
		}
	}
	return w.out.Flush()
}

// writeListJSON is the list of sources and runs for other programs.
func writeListJSON(w io.Writer, t *tally, state transport.JournalState) error {
	type run struct {
		Source      string    `json:"source"`
		Boot        string    `json:"boot"`
		Entries     uint64    `json:"entries"`
		FirstSeq    uint64    `json:"first_seq"`
		LastSeq     uint64    `json:"last_seq"`
		Missing     uint64    `json:"missing"`
		Late        uint64    `json:"late"`
		FirstOffset uint64    `json:"first_offset"`
		LastOffset  uint64    `json:"last_offset"`
		FirstStored time.Time `json:"first_stored"`
		LastStored  time.Time `json:"last_stored"`
	}
	list := struct {
		Journal string `json:"journal"`
		First   uint64 `json:"first_offset"`
		Last    uint64 `json:"last_offset"`
		Bytes   uint64 `json:"bytes"`
		Others  uint64 `json:"others"`
		Runs    []run  `json:"runs"`
	}{state.ID, state.First, state.Last, state.Bytes, t.others, []run{}}
	for _, s := range t.tracker.Stats() {
		r := t.runs[[2]string{s.Source, s.Boot}]
		list.Runs = append(list.Runs, run{s.Source, s.Boot, s.Received, s.First, s.Last, s.Missing, s.OutOfOrder,
			r.first.Offset, r.last.Offset, r.first.Stored, r.last.Stored})
	}
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	if err := enc.Encode(list); err != nil {
		return err
	}
	_, err := w.Write(printable.JSON(b.Bytes()))
	return err
}

func shortTime(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000Z") }

// roughBytes is a size for people.
func roughBytes(n uint64) string {
	switch {
	case n >= 1<<30:
		return fmt.Sprintf("%.1f GiB", float64(n)/(1<<30))
	case n >= 1<<20:
		return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20))
	}
	return fmt.Sprintf("%.1f KiB", float64(n)/(1<<10))
}
