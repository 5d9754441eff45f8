package recording

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
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
