package roles

import (
	"encoding/json"
	"io"
	"math"
	"os"
	"time"

	"tbmsock/internal/printable"
	"tbmsock/telemetry"
	"tbmsock/telemetry/recording"
)

// lineForm turns records and changes of state into lines. It is for one goroutine.
type lineForm struct {
	format string // text, json or csv
	only   bool   // changes alone
	safe   bool   // in CSV, no cell may be taken for a formula
	csv    *recording.CSV
	words  *textForm
}

func newLineForm(format string, channels []string, colored, alarmsOnly bool, dictionary *telemetry.Dictionary) *lineForm {
	f := &lineForm{format: format, only: alarmsOnly}
	switch format {
	case "csv":
		f.csv = recording.NewCSV(channels)
	case "text":
		f.words = newTextForm(dictionary, channels, colored)
	}
	return f
}

// spreadsheet makes CSV harmless, or not, for programs that take text for formulas.
func (f *lineForm) spreadsheet(safe bool) {
	f.safe = safe
	if f.csv != nil {
		f.csv.Spreadsheet = safe
	}
}

// changeHead is the first line of a table of changes.
const changeHead = "time,source,channel,from,to,value,unit,reason\n"

// header begins a file, or the output on a console; nil if the form has none.
func (f *lineForm) header() []byte {
	switch {
	case f.format == "csv" && f.only:
		return []byte(changeHead)
	case f.format == "csv":
		return f.csv.Header()
	}
	return nil
}

// ours tells by its beginning, which may be cut off, whether a file can have been written in this form, or another of the kind.
func (f *lineForm) ours(start []byte) bool {
	begins := func(with string) bool {
		n := min(len(start), len(with))
		return string(start[:n]) == with[:n]
	}
	switch f.format {
	case "json":
		return begins(`{"received":`)
	case "csv":
		return begins("received,event,") || begins(changeHead)
	}
	if begins("time (UTC) ") {
		return true
	}
	// The time of a packet.
	digit := func(c byte) bool { return c >= '0' && c <= '9' }
	for i := range min(len(start), len(clockForm)) {
		if same := start[i] == clockForm[i] || digit(start[i]) && digit(clockForm[i]); !same {
			return false
		}
	}
	return true
}

// resumes tells whether a logger can go on with a file of this form: its lines tell their places in the journal.
func (f *lineForm) resumes() bool { return f.format != "text" && !f.only }

// record is the record's line, "" for none; it is valid until the next. state tells how a channel stands to its limits.
func (f *lineForm) record(r *recording.Record, state func(id string) telemetry.ChannelState) []byte {
	if f.only {
		return nil
	}
	switch f.format {
	case "csv":
		return f.csv.Row(r)
	case "json":
		return r.AppendJSON(nil)
	}
	return f.words.record(r, state)
}

// change is the line of a change of state of a source's channel.
func (f *lineForm) change(source string, c *telemetry.Change) []byte {
	switch f.format {
	case "csv":
		if !f.only {
			return nil // a row of other columns would break the table; the log has it
		}
		return changeRow(source, c, f.safe)
	case "json":
		return changeJSON(source, c)
	}
	return f.words.change(source, c)
}

// changeJSON is {"received":…,"change":{…}}.
func changeJSON(source string, c *telemetry.Change) []byte {
	type change struct {
		Source  string    `json:"source"`
		Time    time.Time `json:"time"`
		Channel string    `json:"channel"`
		Name    string    `json:"name"`
		From    string    `json:"from"`
		To      string    `json:"to"`
		Value   *float64  `json:"value,omitempty"`
		Unit    string    `json:"unit"`
		Limit   *float64  `json:"limit,omitempty"`
		Reason  string    `json:"reason"`
	}
	out := change{source, c.At.UTC(), c.Channel.ID, c.Channel.Name, c.From.String(), c.To.String(), number(c.Value), c.Channel.Unit, number(c.Limit), c.Reason()}
	b, err := json.Marshal(struct {
		Received time.Time `json:"received"`
		Change   change    `json:"change"`
	}{time.Now().UTC(), out})
	if err != nil {
		return nil // infinite values are none: number has left them out
	}
	return append(printable.JSON(b), '\n')
}

func number(v float64) *float64 {
	if math.IsNaN(v) || math.IsInf(v, 0) {
		return nil
	}
	return &v
}

// wantsColor tells whether lines on w are coloured.
func wantsColor(choice string, w io.Writer) bool {
	switch choice {
	case "always":
		return true
	case "never":
		return false
	}
	return os.Getenv("NO_COLOR") == "" && isTerminal(w)
}
