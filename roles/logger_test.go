package roles

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/sirupsen/logrus"

	"tbmsock/telemetry"
	"tbmsock/telemetry/recording"
	"tbmsock/telemetry/simulator"
	"tbmsock/transport"
)

var began = time.Date(2026, 3, 2, 6, 0, 0, 0, time.UTC)

// readings are a simulated machine's, a reading each step, handed to use in the form in which a logger has them.
func readings(t *testing.T, kind simulator.Kind, n int, step time.Duration, use func(r *recording.Record)) {
	t.Helper()
	m, err := simulator.New(simulator.Options{Machine: kind, Seed: 1, Start: began})
	if err != nil {
		t.Fatal(err)
	}
	var p telemetry.Packet
	for i := range n {
		at := began.Add(time.Duration(i) * step)
		m.Next(at, &p)
		body, err := json.Marshal(&p)
		if err != nil {
			t.Fatal(err)
		}
		e := transport.Envelope{Source: "tbm-1", Boot: "b", Seq: uint64(i + 1), Time: at, Room: "ops", Packet: body}
		use(&recording.Record{Received: at, Event: "log_telemetry", Envelope: &e, Packet: &p, Derived: telemetry.NoDerived()})
	}
}

// On a terminal of 100 columns no line is broken, whatever the machine does, and its columns stand below each other.
func TestTextFitsATerminalOf100Columns(t *testing.T) {
	for _, k := range simulator.Kinds {
		t.Run(string(k), func(t *testing.T) {
			f := newLineForm("text", nil, false, false, telemetry.DefaultDictionary())
			width := 0
			readings(t, k, 3*3600, time.Second, func(r *recording.Record) {
				r.Envelope.Seq += 950_000
				for line := range strings.Lines(string(f.record(r, normal))) {
					line = strings.TrimSuffix(line, "\n")
					if n := utf8.RuneCountInString(line); n > 100 {
						t.Fatalf("%d columns:\n%s", n, line)
					} else if width == 0 {
						width = n
					}
					if strings.HasPrefix(line, "06:") && !strings.HasSuffix(line, "-") && utf8.RuneCountInString(line) > width+6 {
						t.Fatalf("the columns have moved from %d to %d:\n%s", width, utf8.RuneCountInString(line), line)
					}
				}
			})
		})
	}
}

func TestTextShowsTheStatesOfLimits(t *testing.T) {
	states := func(id string) telemetry.ChannelState {
		switch id {
		case "thrust.total":
			return telemetry.StateAlarmHigh
		case "cutterhead.torque":
			return telemetry.StateWarnHigh
		case "chamber.pressure_1":
			return telemetry.StateStale
		}
		return telemetry.StateNormal
	}
	for _, colored := range []bool{false, true} {
		f := newLineForm("text", nil, colored, false, telemetry.DefaultDictionary())
		var line string
		readings(t, simulator.EPB, 1, time.Second, func(r *recording.Record) { line = string(f.record(r, states)) })
		for _, want := range []string{`\d!kN`, `\d\*kNm`, `\d\?bar`, `\d rpm`} {
			if !regexp.MustCompile(want).MatchString(line) {
				t.Errorf("%q does not show %s", line, want)
			}
		}
		if got := strings.Contains(line, "\x1b[1;31m"); got != colored {
			t.Errorf("red: %v, coloured: %v: %q", got, colored, line)
		}
	}
}

func TestChosenChannels(t *testing.T) {
	channels, err := telemetry.MatchChannels([]string{"guidance.chainage", "derived.fpi", "atmosphere.*"})
	if err != nil {
		t.Fatal(err)
	}
	f := newLineForm("text", channels, false, false, telemetry.DefaultDictionary())
	var text string
	readings(t, simulator.EPB, 1, time.Second, func(r *recording.Record) { text = string(f.record(r, normal)) })
	for _, want := range []string{"chainage", "1284.000 m", "fpi", "ch4", "% LEL", "o2"} {
		if !strings.Contains(text, want) {
			t.Errorf("%q does not show %q", text, want)
		}
	}
	if strings.Contains(text, "thrust") {
		t.Errorf("%q shows what was not chosen", text)
	}
}

func TestTextOfOtherValues(t *testing.T) {
	f := newLineForm("text", nil, false, false, telemetry.DefaultDictionary())
	v := transport.Value{JSON: []byte(`{"a":1}`)}
	if got := string(f.record(&recording.Record{Received: began, Event: "log_telemetry", Value: &v}, normal)); got != "06:00:00.000 log_telemetry {\"a\":1}\n" {
		t.Errorf("got %q", got)
	}
	e := transport.Envelope{Source: "s", Boot: "b", Seq: 3, Packet: []byte(`42`)}
	if got := string(f.record(&recording.Record{Received: began, Event: "log_telemetry", Envelope: &e}, normal)); got != "06:00:00.000 s #3 42\n" {
		t.Errorf("got %q", got)
	}
}

func TestCSVHasTheSameColumnsForEveryRecord(t *testing.T) {
	f := newLineForm("csv", nil, false, false, telemetry.DefaultDictionary())
	text := string(f.header())
	for _, k := range simulator.Kinds {
		readings(t, k, 3, time.Minute, func(r *recording.Record) { text += string(f.record(r, normal)) })
	}
	v := transport.Value{JSON: []byte(`"a, \"b\""`)}
	text += string(f.record(&recording.Record{Received: began, Event: "log_telemetry", Value: &v}, normal))
	rows, err := csv.NewReader(strings.NewReader(text)).ReadAll() // it refuses rows of another length
	if err != nil || len(rows) != 11 {
		t.Fatalf("%d rows, %v", len(rows), err)
	}
	column := func(name string) int {
		for i, n := range rows[0] {
			if n == name {
				return i
			}
		}
		t.Fatalf("no column %s", name)
		return 0
	}
	if got := rows[1][column("thrust.total")]; got != "10345" && got != "10344" && len(got) < 4 {
		t.Errorf("thrust is %q", got)
	}
	if got := rows[4][column("chamber.pressure_1")]; got != "" {
		t.Errorf("a machine in rock has the face pressure %q", got)
	}
	if got := rows[10][column("value")]; got != `"a, \"b\""` {
		t.Errorf("value is %q", got)
	}
}

// A source that falls silent is one line, and one when it is back; a sensor alone has its own.
func TestSilenceIsOneLine(t *testing.T) {
	d := telemetry.DefaultDictionary()
	w := newWatches(d, nil)
	f := newLineForm("text", nil, false, false, d)
	var lines []string
	write := func(b []byte) { lines = append(lines, string(b)) }
	readings(t, simulator.EPB, 3, time.Second, func(r *recording.Record) {
		w.observe(r, r.Received).writeChanges(f, r.Received, write)
	})
	s := w.of("tbm-1", time.Now())
	check := func(at time.Time) {
		s.changes = s.changes[:0]
		s.monitor.Check(at, s.note)
		s.writeChanges(f, at, write)
	}
	check(began.Add(4 * time.Second))
	check(began.Add(8 * time.Second))
	check(began.Add(9 * time.Second))
	check(began.Add(90 * time.Second))
	readings(t, simulator.EPB, 1, time.Second, func(r *recording.Record) {
		r.Received, r.Envelope.Time = began.Add(100*time.Second), began.Add(100*time.Second)
		w.observe(r, r.Received).writeChanges(f, r.Received, write)
	})
	if len(lines) != 2 || !strings.Contains(lines[0], "STALE      no packet for 6s") || !strings.Contains(lines[1], "packets come again, after 1m38s") {
		t.Errorf("lines are %q", lines)
	}
}

func TestChangesInEachForm(t *testing.T) {
	d := telemetry.DefaultDictionary()
	c := telemetry.Change{At: began, Channel: d.Channel("atmosphere.ch4"), From: telemetry.StateWarnHigh, To: telemetry.StateAlarmHigh, Value: 23.4, Limit: 20}
	for form, want := range map[string]string{
		"text": "06:00:00.000 tbm-1 ALARM HIGH atmosphere.ch4, Methane 23.4 % LEL: at or above 20 % LEL\n",
		"csv":  "2026-03-02T06:00:00Z,tbm-1,atmosphere.ch4,warn high,alarm high,23.4,% LEL,at or above 20 % LEL\n",
	} {
		if got := string(newLineForm(form, nil, false, true, d).change("tbm-1", &c)); got != want {
			t.Errorf("%s: %q, want %q", form, got, want)
		}
	}
	var line struct {
		Change struct {
			Channel, From, To, Reason string
			Value, Limit              float64
		}
	}
	if err := json.Unmarshal(newLineForm("json", nil, false, false, d).change("tbm-1", &c), &line); err != nil ||
		line.Change.Channel != "atmosphere.ch4" || line.Change.To != "alarm high" || line.Change.Value != 23.4 || line.Change.Limit != 20 {
		t.Errorf("JSON is %+v, %v", line, err)
	}
	only := newLineForm("text", nil, false, true, d)
	readings(t, simulator.EPB, 1, time.Second, func(r *recording.Record) {
		if b := only.record(r, normal); len(b) > 0 {
			t.Errorf("--alarms-only logs %q", b)
		}
	})
}

// What a form has written it knows again, cut off anywhere; files of others it does not.
func TestFormsKnowTheirFiles(t *testing.T) {
	d := telemetry.DefaultDictionary()
	c := telemetry.Change{At: began, Channel: d.Channel("atmosphere.ch4"), To: telemetry.StateAlarmHigh, Value: 23.4, Limit: 20}
	for _, format := range []string{"text", "json", "csv"} {
		for _, only := range []bool{false, true} {
			f := newLineForm(format, nil, false, only, d)
			files := [][]byte{append(f.header(), f.change("tbm-1", &c)...)}
			readings(t, simulator.EPB, 1, time.Second, func(r *recording.Record) {
				files = append(files, append(f.header(), f.record(r, normal)...))
			})
			v := transport.Value{JSON: []byte(`1`)}
			files = append(files, append(f.header(), f.record(&recording.Record{Received: began, Event: "e", Value: &v}, normal)...))
			for _, data := range files {
				for n := range min(len(data), 64) {
					if !f.ours(data[:n]) {
						t.Fatalf("%s, only changes %t: %q is not known", format, only, data[:n])
					}
				}
			}
		}
		f := newLineForm(format, nil, false, false, d)
		for _, foreign := range []string{"{\"precious\": true}", "name,value\n1,2\n", "# Notes\n", "package roles\n", "\x00\x00", "\n"} {
			if f.ours([]byte(foreign)) {
				t.Errorf("%s takes %q", format, foreign)
			}
		}
	}
}

// After 256 names of sources no further one was judged, without a word: methane above the limit raised no alarm.
func TestSourcesWithoutEndAreEvicted(t *testing.T) {
	said := new(bytes.Buffer)
	log := logrus.New()
	log.SetOutput(said)
	w := newWatches(telemetry.DefaultDictionary(), log)
	observe := func(source string, now time.Time, ch4 float64) (s *sourceWatch) {
		readings(t, simulator.EPB, 1, time.Second, func(r *recording.Record) {
			r.Envelope.Source, r.Envelope.Time = source, now
			r.Packet.Atmosphere.CH4 = ch4
			s = w.observe(r, now)
		})
		return s
	}
	for i := range maxWatched {
		if observe(fmt.Sprint("forged-", i), began, 1) == nil {
			t.Fatalf("source %d is not judged", i)
		}
	}
	if s := observe("tbm-1", began.Add(time.Second), 30); s != nil || !strings.Contains(said.String(), "too many active sources") {
		t.Errorf("an active source was evicted, or nothing was logged: %s", said)
	}
	later := began.Add(activeFor + time.Second)
	observe("forged-0", later, 1) // active still
	for range 2 {
		for at := later; at.Before(later.Add(5 * time.Second)); at = at.Add(time.Second) {
			observe("tbm-1", at, 30)
		}
	}
	s := w.bySource["tbm-1"]
	if s == nil || s.monitor.State("atmosphere.ch4") != telemetry.StateAlarmHigh {
		t.Fatalf("methane at 30 %% raises no alarm: %+v", s)
	}
	if w.bySource["forged-0"] == nil || len(w.bySource) != maxWatched || !strings.Contains(said.String(), "no longer judged") {
		t.Errorf("%d sources, the active one %v: %s", len(w.bySource), w.bySource["forged-0"], said)
	}
}
