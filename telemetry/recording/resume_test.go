package recording

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"tbmsock/transport"
)

// Lines come back in reverse, however long they are: a line cost a buffer of its own, so that a file without places took
// minutes to look through.
func TestLinesBackwards(t *testing.T) {
	var lines []string
	for i, n := range []int{1, 0, 70_000, 3, 64<<10 - 1, 64 << 10, 200_000, 0, 0, 5} {
		lines = append(lines, strings.Repeat(fmt.Sprint(i), n)+"\n")
	}
	for range 2000 {
		lines = append(lines, "short\n")
	}
	for _, n := range []int{0, 1, 2, 7, len(lines)} {
		text := strings.Join(lines[:n], "")
		b := backwards{f: bytes.NewReader([]byte(text)), lo: int64(len(text))}
		var got []string
		for line, err := b.next(); err == nil; line, err = b.next() {
			got = append(got, string(line))
		}
		slices.Reverse(got)
		if !slices.Equal(got, lines[:n]) {
			t.Errorf("of %d lines come %d", n, len(got))
		}
	}
	long := strings.Repeat("short\n", 100_000)
	b := backwards{f: strings.NewReader(long), lo: int64(len(long))}
	if n := testing.AllocsPerRun(1, func() {
		for _, err := b.next(); err == nil; _, err = b.next() {
		}
	}); n > 10 {
		t.Errorf("%v allocations", n)
	}
}

func TestLastPlaceInEachForm(t *testing.T) {
	all := logged(t)
	last := all[len(all)-1].Offset
	for ext, data := range forms(all) {
		for _, behind := range []string{"", "nonsense\n", strings.Repeat("x,\"offset\":7\n", 10_000), "half of a li"} {
			path := filepath.Join(t.TempDir(), "p"+ext)
			if err := os.WriteFile(path, append(slices.Clone(data), behind...), 0o600); err != nil {
				t.Fatal(err)
			}
			if p, err := LastPlace(path); err != nil || p.Offset != last {
				t.Errorf("%s with %.20q behind it: %+v, %v, want offset %d", ext, behind, p, err, last)
			}
		}
	}
}

// A row is a line, whatever stands in it. A line break in a name made the search for the place look at half a row, and let a
// client choose the offset.
func TestNamesAndValuesBreakNoRow(t *testing.T) {
	const forged = "x\n2026-03-02T06:00:00.000000Z,log_telemetry,1000,s,b,1,,,,,,,a,,\nx"
	for _, text := range []string{"a\nb", "a\rb", "\n", forged, `"`, `"quoted"`, `"half`, "tab\t", "a,b", "\x00"} {
		e := transport.Envelope{Source: text, Boot: text, Seq: 3, Room: text, Packet: []byte("{\n\"a\": [1,\r\n2]}")}
		want := Record{Event: text, Offset: 7, Journal: text, Envelope: &e}
		c := NewCSV([]string{"thrust.total"})
		path := filepath.Join(t.TempDir(), "p.csv")
		data := append(c.Header(), c.Row(&want)...)
		if n := bytes.Count(data, []byte("\n")); n != 2 || bytes.ContainsRune(data, '\r') {
			t.Errorf("%q: %d lines", text, n)
		}
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		if p, err := LastPlace(path); err != nil || p != (Place{Offset: 7, Journal: text}) {
			t.Errorf("%q: the place is %+v, %v", text, p, err)
		}
		r, err := OpenReader(path)
		if err != nil {
			t.Fatal(err)
		}
		got, err := r.Next()
		if err != nil {
			t.Fatalf("%q: %v", text, err)
		}
		if g := got.Envelope; got.Event != text || g.Source != text || g.Boot != text || g.Room != text || string(g.Packet) != `{"a":[1,2]}` {
			t.Errorf("%q is read back as %q, %+v", text, got.Event, g)
		}
		_ = r.Close()
	}
	for _, packet := range []string{"no JSON\n", "\"\n\""} {
		c := NewCSV([]string{"thrust.total"})
		row := c.Row(&Record{Event: "e", Envelope: &transport.Envelope{Source: "s", Boot: "b", Seq: 1, Packet: []byte(packet)}})
		if bytes.Count(row, []byte("\n")) != 1 {
			t.Errorf("%q breaks the row %q", packet, row)
		}
	}
}

// All closed files count, compressed or not; of those before the last one packets were written again when another journal was
// met. One that cannot be read is told, and the others count.
func TestEnvelopesOfAllFiles(t *testing.T) {
	for _, ext := range []string{".jsonl", ".csv"} {
		path := filepath.Join(t.TempDir(), "p"+ext)
		table := NewCSV([]string{"thrust.total"})
		const files, each = 5, 4
		for n := range files {
			var data []byte
			if ext == ".csv" {
				data = table.Header()
			}
			for i := range each {
				seq := uint64(n*each + i + 1)
				r := Record{Event: "log_telemetry", Offset: seq, Journal: "a", Envelope: &transport.Envelope{Source: "s", Boot: "b", Seq: seq, Packet: []byte(`1`)}}
				if ext == ".csv" {
					data = append(data, table.Row(&r)...)
				} else {
					data = r.AppendJSON(data)
				}
			}
			name := strings.TrimSuffix(path, ext) + fmt.Sprintf("-20260302T06000%d.000Z", n) + ext
			switch {
			case n == files-1:
				name = path
			case n%2 == 0:
				name, data = name+".gz", packed(t, data)
			}
			if err := os.WriteFile(name, data, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		bad := strings.TrimSuffix(path, ext) + "-20260302T070000.000Z" + ext + ".gz"
		if err := os.WriteFile(bad, packed(t, []byte("received"))[:12], 0o600); err != nil {
			t.Fatal(err)
		}
		var seen transport.Tracker
		if err := Envelopes(t.Context(), path, &seen); err == nil || !strings.Contains(err.Error(), bad) {
			t.Errorf("%s: the error is %v, and does not name %s", ext, err, bad)
		}
		if s := seen.Stats(); len(s) != 1 || s[0].Received != files*each || s[0].Missing+s[0].Repeats+s[0].OutOfOrder > 0 {
			t.Errorf("%s: seen are %+v", ext, s)
		}
		stopped, stop := context.WithCancel(t.Context())
		stop()
		if err := Envelopes(stopped, path, &seen); !errors.Is(err, context.Canceled) {
			t.Errorf("%s: stopped, it gives %v", ext, err)
		}
	}
}

// Another program has moved the file, and nothing has been written to the new one: a logger that is started again goes
// on behind the moved one. It would begin anew, and what was sent while it did not run would be missing.
func TestLastPlaceInAMovedFile(t *testing.T) {
	at := func(offset int) string {
		return fmt.Sprintf("{\"event\":\"e\",\"offset\":%d,\"journal\":\"a\"}\n", offset)
	}
	for _, tc := range []struct {
		name  string
		files map[string]string // beside the open one, the oldest first by name
		want  uint64
	}{
		{"logrotate", map[string]string{"p.jsonl.1": at(9), "p.jsonl.2": at(5)}, 9},
		{"logrotate with dates", map[string]string{"p.jsonl-20260301": at(5), "p.jsonl-20260302": at(9)}, 9},
		{"a closed file is older", map[string]string{"p-000001-20260302T060000.000Z.jsonl": at(5), "p.jsonl.1": at(9)}, 9},
		{"a closed file is newer", map[string]string{"p-000001-20260302T060000.000Z.jsonl": at(9), "p.jsonl.1": at(5)}, 9},
		{"compressed", map[string]string{"p.jsonl.1.gz": at(9)}, 9},
		{"files of others", map[string]string{"p.jsonl.bad": at(9), "p2.jsonl": at(9), "p-2.jsonl": at(9), "p.jsonl-2": at(9), "p.jsonl.new": at(9), "p.jsonl.1.xz": at(9), "p.jsonl.2": "no record\n"}, 0},
	} {
		t.Run(tc.name, func(t *testing.T) {
			dir := t.TempDir()
			path := filepath.Join(dir, "p.jsonl")
			for name, text := range tc.files {
				b := []byte(text)
				if filepath.Ext(name) == ".gz" {
					var packed bytes.Buffer
					z := gzip.NewWriter(&packed)
					_, _ = z.Write(b)
					_ = z.Close()
					b = packed.Bytes()
				}
				if err := os.WriteFile(filepath.Join(dir, name), b, 0o600); err != nil {
					t.Fatal(err)
				}
			}
			f := open(t, Options{Path: path, Resume: true})
			defer shut(t, f)
			if got := f.Place().Offset; got != tc.want {
				t.Errorf("the place is %d, want %d", got, tc.want)
			}
		})
	}
}
