package recording

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestClosedFilesByTheirNames(t *testing.T) {
	const stamp = "-20260302T060000.000Z"
	for _, tc := range []struct {
		name, path string
		closed     []string // the oldest first
		others     []string
	}{
		{
			"the tenth of a millisecond comes behind the second, and the first before it", "packets.jsonl",
			[]string{"packets" + stamp + ".jsonl", "packets" + stamp + ".2.jsonl.gz", "packets" + stamp + ".10.jsonl", "packets-20260302T060000.001Z.jsonl"},
			[]string{"packets" + stamp + ".jsonl.gz.part", "packets" + stamp + ".csv", "packets-old.jsonl", "packets" + stamp + ".02.jsonl", "packets" + stamp + ".x.jsonl", "packets-20269902T060000.000Z.jsonl"},
		},
		{
			"numbers count before times, and files without one come first", "packets.jsonl",
			[]string{"packets" + stamp + ".jsonl", "packets-000002-20260303T060000.000Z.jsonl.gz", "packets-000010" + stamp + ".jsonl", "packets-1000000" + stamp + ".jsonl"},
			[]string{"packets-000000" + stamp + ".jsonl", "packets-3" + stamp + ".jsonl", "packets-0000003" + stamp + ".jsonl", "packets-000003" + stamp + ".2.jsonl",
				"packets-000003-000004" + stamp + ".jsonl", "packets-000003-old.jsonl"},
		},
		{
			"without an extension", "packets",
			[]string{"packets" + stamp, "packets" + stamp + ".2", "packets" + stamp + ".3.gz"},
			[]string{"packets" + stamp + ".jsonl", "packets" + stamp + ".gz.gz", "packets" + stamp + ".gz.part", "packets.gz"},
		},
		{"an extension like the compressor's", "packets.gz", []string{"packets" + stamp + ".gz", "packets" + stamp + ".2.gz.gz"}, []string{"packets" + stamp}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			dir := t.TempDir()
			for _, name := range slices.Concat(tc.closed, tc.others, []string{tc.path}) {
				if err := os.WriteFile(filepath.Join(dir, name), nil, 0o600); err != nil {
					t.Fatal(err)
				}
			}
			var got []string
			for _, c := range closedFiles(filepath.Join(dir, tc.path)) {
				got = append(got, filepath.Base(c.path))
			}
			if !slices.Equal(got, tc.closed) {
				t.Errorf("closed files are\n%q, want\n%q", got, tc.closed)
			}
		})
	}
}

// Files closed in one millisecond are removed, and looked through, in the order in which they were closed.
func TestFilesOfOneMillisecondKeepTheirOrder(t *testing.T) {
	path := filepath.Join(t.TempDir(), "packets.jsonl")
	c := newClock()
	const files = 12
	write := func(keep int) {
		f := open(t, Options{Path: path, MaxBytes: 40, Plain: true, Keep: keep, Now: c.now})
		for i := 1; keep == 0 && i <= files; i++ {
			f.Write(fmt.Appendf(nil, "{\"event\":\"e\",\"offset\":%d,\"journal\":\"a\"}\n", i))
		}
		if keep > 0 {
			eventually(t, "the oldest are removed", func() bool { return len(closedFiles(path)) == keep })
		}
		shut(t, f)
	}
	write(0)
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if place, err := LastPlace(path); err != nil || place.Offset != files-1 {
		t.Errorf("the last closed file ends at %+v, %v, want offset %d", place, err, files-1)
	}
	write(3)
	for i, c := range closedFiles(path) {
		if b, err := os.ReadFile(c.path); err != nil || !strings.Contains(string(b), fmt.Sprintf(`"offset":%d,`, files-3+i)) {
			t.Errorf("kept file %d is %s: %q, %v", i, c.path, b, err)
		}
	}
}

// A file without an extension took all that its name begins for its closed ones: they were compressed again and again.
func TestClosedFilesAreCompressedOnce(t *testing.T) {
	for _, name := range []string{"packets", "packets.jsonl"} {
		path := filepath.Join(t.TempDir(), name)
		c := newClock()
		f := open(t, Options{Path: path, MaxBytes: 10, Now: c.now})
		want := ""
		for i := range 4 {
			line := fmt.Sprintf("line %03d\n", i)
			want += line
			f.Write([]byte(line))
			c.add(time.Millisecond)
			eventually(t, "compressed", func() bool {
				all := closedFiles(path)
				return len(all) == i && !slices.ContainsFunc(all, func(c closedFile) bool { return !c.packed })
			})
		}
		shut(t, f)
		got, files := contents(t, path)
		if got != want || slices.ContainsFunc(files, func(n string) bool { return strings.Contains(n, ".gz.gz") }) {
			t.Errorf("%q hold %q", files, got)
		}
	}
}

// With the clock set back, a file that was closed later had the earlier name: --keep 2 removed the newer files, and a
// logger went on behind an older one.
func TestClosedFilesKeepTheirOrderWhenTheClockIsSetBack(t *testing.T) {
	path := filepath.Join(t.TempDir(), "packets.jsonl")
	c := newClock()
	f := open(t, Options{Path: path, MaxBytes: 40, Plain: true, Keep: 2, Now: c.now})
	for i, step := range []time.Duration{0, 240 * time.Hour, -48 * time.Hour, -240 * time.Hour, time.Hour, -time.Minute} {
		c.add(step)
		f.Write(fmt.Appendf(nil, "{\"event\":\"e\",\"offset\":%d,\"journal\":\"a\"}\n", i+1))
		eventually(t, "the oldest are removed", func() bool { return len(closedFiles(path)) == min(i, 2) })
	}
	shut(t, f)
	for i, c := range closedFiles(path) {
		if b, err := os.ReadFile(c.path); err != nil || !strings.Contains(string(b), fmt.Sprintf(`"offset":%d,`, 4+i)) {
			t.Errorf("kept file %d is %s: %q, %v", i, c.path, b, err)
		}
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if place, err := LastPlace(path); err != nil || place.Offset != 5 {
		t.Errorf("the last closed file ends at %+v, %v", place, err)
	}
}
