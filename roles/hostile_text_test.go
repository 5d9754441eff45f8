package roles

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/sirupsen/logrus"
	"github.com/urfave/cli/v2"

	"tbmsock/telemetry"
	"tbmsock/telemetry/recording"
	"tbmsock/telemetry/simulator"
	"tbmsock/transport"
	"tbmsock/transport/journal"
)

// forgedAlarm is the line of an alarm that there is not.
const forgedAlarm = "06:00:00.000 tbm-9 ALARM HIGH atmosphere.ch4, Methane 30.0 % LEL: at or above 20 % LEL"

// hostileNames are names that a terminal or a reader would take for something else.
var hostileNames = []string{
	"\x1b[2J\x1b]0;title\a", "x\n" + forgedAlarm, "x\r" + forgedAlarm, "tab\tulator", "\u009b2J", "\u0085", "\u202eecila", "\u2066x\u200f", "line\u2028break",
	"delete\x7f", forgedAlarm, strings.Repeat("long", 225_000), strings.Repeat("\n", 1000),
}

// checkPrintable fails for what may not go to a terminal.
func checkPrintable(t *testing.T, text string) {
	t.Helper()
	for i, r := range text {
		bad := r < ' ' && r != '\n' || r >= 0x7f && r < 0xa0 || r == utf8.RuneError || unicode.In(r, unicode.Bidi_Control, unicode.Cf, unicode.Zl, unicode.Zp)
		if bad {
			t.Fatalf("%U is written in %.300q", r, text[max(0, i-50):])
		}
	}
}

// checkLines fails for text of other than so many lines, for long lines, and for lines that look like an alarm's.
func checkLines(t *testing.T, text string, want int) {
	t.Helper()
	checkPrintable(t, text)
	if n := strings.Count(text, "\n"); n != want {
		t.Errorf("%d lines, want %d:\n%.1000s", n, want, text)
	}
	for line := range strings.Lines(text) {
		if utf8.RuneCountInString(line) > 300 {
			t.Errorf("a line has %d columns: %.300s", utf8.RuneCountInString(line), line)
		}
		if words := strings.Fields(line); len(words) > 3 && words[2] == "ALARM" {
			t.Errorf("this looks like an alarm: %.300s", line)
		}
	}
}

// Names and values of other parties stay in their place in a line of text, and the lines after them are as before.
func TestNamesInjectNothingIntoText(t *testing.T) {
	d := telemetry.DefaultDictionary()
	for i, name := range hostileNames {
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			f := newLineForm("text", nil, false, false, d)
			readings(t, simulator.EPB, 1, time.Second, func(r *recording.Record) {
				r.Envelope.Source, r.Envelope.Boot, r.Envelope.Room = name, name, name
				checkLines(t, string(f.record(r, normal)), 2) // with a header
				r.Envelope.Source = "tbm-1"
				if line := string(f.record(r, normal)); utf8.RuneCountInString(line) > 125 {
					t.Errorf("the next line has %d columns:\n%.300s", utf8.RuneCountInString(line), line)
				}
			})
			v := transport.Value{JSON: []byte(`"` + "\u009b2J\u202e" + `"`)}
			checkLines(t, string(f.record(&recording.Record{Received: began, Event: name, Value: &v}, normal)), 1)
			e := transport.Envelope{Source: name, Boot: "b", Seq: 1, Packet: []byte("{\n\"a\":\r\n\"\u202e\"}")}
			checkLines(t, string(f.record(&recording.Record{Received: began, Event: "log_telemetry", Envelope: &e}, normal)), 1)
			checkLines(t, string(f.words.silent(began, name, "no packet", telemetry.StateStale)), 1)
			c := telemetry.Change{At: began, Channel: d.Channel("atmosphere.ch4"), To: telemetry.StateWarnHigh, Value: 11, Limit: 10}
			checkLines(t, string(f.change(name, &c)), 1)
		})
	}
}

// JSON and CSV hold the same names, in text that a terminal can show.
func TestNamesInjectNothingIntoTables(t *testing.T) {
	d := telemetry.DefaultDictionary()
	c := telemetry.Change{At: began, Channel: d.Channel("atmosphere.ch4"), To: telemetry.StateWarnHigh, Value: 11, Limit: 10}
	for i, name := range hostileNames {
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			for _, format := range []string{"json", "csv"} {
				f := newLineForm(format, nil, false, false, d)
				readings(t, simulator.EPB, 1, time.Second, func(r *recording.Record) {
					r.Envelope.Source, r.Envelope.Boot, r.Envelope.Room = name, name, name
					line := string(f.record(r, normal))
					checkPrintable(t, line)
					if n := strings.Count(line, "\n"); n != 1 {
						t.Errorf("%s: %d lines", format, n)
					}
					if format == "json" {
						if back, err := recording.ParseJSON([]byte(line)); err != nil || back.Envelope.Source != name || back.Envelope.Room != name {
							t.Errorf("read as %+v, %v", back, err)
						}
					}
				})
				v := transport.Value{JSON: []byte("[1,\n\"\u009b\u202e\"]")}
				checkPrintable(t, string(f.record(&recording.Record{Received: began, Event: name, Value: &v}, normal)))
			}
			for _, format := range []string{"json", "csv"} {
				line := string(newLineForm(format, nil, false, true, d).change(name, &c))
				checkPrintable(t, line)
				if n := strings.Count(line, "\n"); n != 1 {
					t.Errorf("%s: %d lines of a change", format, n)
				}
			}
		})
	}
}

func TestJournalCommandsInjectNothing(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	j, err := journal.Open(t.Context(), journal.Options{Dir: dir, Node: "node-1"})
	if err != nil {
		t.Fatal(err)
	}
	defer closeJournal(t, j)
	name := "x\n" + forgedAlarm + "\x1b[2J\u009b\u202e"
	for _, seq := range []uint64{1, 3, 2} {
		e := transport.JournalEntry{Source: name, Boot: name, Seq: seq, Room: name, Namespace: "/", Sid: "s1",
			Value: transport.Value{JSON: []byte("{\n\"a\":\"\u009b\u202e\"}")}}
		done := make(chan error, 1)
		j.Append(t.Context(), e, func(_ uint64, _ bool, err error) { done <- err })
		if err := <-done; err != nil {
			t.Fatal(err)
		}
	}
	for args, lines := range map[string]int{"ls": 3, "ls --format json": 0, "cat": 3, "cat --format csv": 4, "cat --format csv --csv-safe": 4, "verify": 2} {
		t.Run(args, func(t *testing.T) {
			code, out, errOut := command(t, append([]string{"journal"}, append(strings.Fields(args), "--data-dir", dir)...)...)
			checkPrintable(t, out+errOut)
			if n := strings.Count(out, "\n"); code != 0 || lines > 0 && n != lines {
				t.Errorf("code %d, %d lines, want %d:\n%s%s", code, n, lines, out, errOut)
			}
		})
	}
	var list struct{ Runs []struct{ Source string } }
	_, out, _ := command(t, "journal", "ls", "--format", "json", "--data-dir", dir)
	if err := json.Unmarshal([]byte(out), &list); err != nil || len(list.Runs) != 1 || list.Runs[0].Source != name {
		t.Errorf("the list is %+v, %v", list, err)
	}
}

// The log, in all its forms, and the last words of a command.
func TestLogInjectsNothing(t *testing.T) {
	for _, form := range []string{"text", "coloured text", "json"} {
		t.Run(form, func(t *testing.T) {
			var out bytes.Buffer
			app := &cli.App{Flags: logFlags(), Writer: &out, Action: func(c *cli.Context) error {
				log := newLog(c, &out)
				if form == "coloured text" {
					log.Formatter.(*safeFormatter).Formatter.(*logrus.TextFormatter).ForceColors = true
				}
				for _, name := range hostileNames {
					log.WithError(fmt.Errorf("no %s", name)).WithField("source", name).Warn("message of " + name[:min(len(name), 200)])
				}
				return nil
			}}
			args := []string{"tbmsock", "--log-format", "text"}
			if form == "json" {
				args[2] = "json"
			}
			if err := app.Run(args); err != nil {
				t.Fatal(err)
			}
			text := out.String()
			if form == "coloured text" { // the colours are ours
				text = strings.NewReplacer("\x1b[33m", "", "\x1b[0m", "").Replace(text)
			}
			checkPrintable(t, text)
			if n := strings.Count(text, "\n"); n != len(hostileNames) || len(text) > len(hostileNames)*20_000 {
				t.Errorf("%d lines, %d bytes", n, len(text))
			}
		})
	}
	code, _, errOut := command(t, "journal", "ls", "--data-dir", "no\x1b[2J\u202esuch")
	checkPrintable(t, errOut)
	if code == 0 || strings.Count(errOut, "\n") != 1 {
		t.Errorf("code %d, %q", code, errOut)
	}
}

// --csv-safe leaves numbers alone; what it changes is read back as it was.
func TestCSVIsSafeForSpreadsheets(t *testing.T) {
	d := telemetry.DefaultDictionary()
	c := telemetry.Change{At: began, Channel: d.Channel("guidance.pitch"), To: telemetry.StateWarnLow, Value: -5, Limit: -5}
	for _, name := range []string{"=1+1", "+1", "-1", "@SUM(A1)", " =1", "x;=1", `=HYPERLINK("http://x")`} {
		for _, safe := range []bool{true, false} {
			t.Run(fmt.Sprint(name, safe), func(t *testing.T) {
				f, only := newLineForm("csv", []string{"guidance.pitch"}, false, false, d), newLineForm("csv", nil, false, true, d)
				f.spreadsheet(safe)
				only.spreadsheet(safe)
				var text []byte
				readings(t, simulator.EPB, 1, time.Second, func(r *recording.Record) {
					r.Envelope.Source, r.Envelope.Room = name, name
					r.Packet.Set("guidance.pitch", -2.5)
					text = append(f.header(), f.record(r, normal)...)
				})
				rows, err := csv.NewReader(bytes.NewReader(text)).ReadAll()
				if err != nil || len(rows) != 2 || !slices.Contains(rows[1], "-2.5") {
					t.Fatalf("rows %q, %v", rows, err)
				}
				change, err := csv.NewReader(bytes.NewReader(only.change(name, &c))).Read()
				if err != nil || !slices.Contains(change, "-5") {
					t.Fatalf("change %q, %v", change, err)
				}
				for _, row := range [][]string{rows[1], change} {
					if slices.Contains(row, name) == safe {
						t.Errorf("row %q", row)
					}
				}
				path := filepath.Join(t.TempDir(), "p.csv")
				if err := os.WriteFile(path, text, 0o600); err != nil {
					t.Fatal(err)
				}
				r, err := recording.OpenReader(path)
				if err != nil {
					t.Fatal(err)
				}
				defer func() { _ = r.Close() }()
				if back, err := r.Next(); err != nil || back.Envelope.Source != name || back.Envelope.Room != name {
					t.Errorf("read back as %+v, %v", back, err)
				}
			})
		}
	}
}
