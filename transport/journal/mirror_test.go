package journal

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// Who reads a journal with a damaged file changes nothing: a server would cut the file off there, with all behind it. What can be
// read is read, from a copy; the other files are not copied.
func TestReaderMendsNothing(t *testing.T) {
	for _, tc := range []struct {
		name   string
		damage func(b []byte) []byte
	}{
		{"none", func(b []byte) []byte { return b }},
		{"a byte in its midst", func(b []byte) []byte { b[len(b)/2] ^= 0xff; return b }},
		{"a length", func(b []byte) []byte { b[3] ^= 0x40; return b }},
		{"cut off in its last record", func(b []byte) []byte { return b[:len(b)-100] }},
	} {
		t.Run(tc.name, func(t *testing.T) {
			dir := t.TempDir()
			j, err := Open(within(t), Options{Dir: dir, SyncInterval: time.Minute})
			if err != nil {
				t.Fatal(err)
			}
			for seq := uint64(1); seq <= 24; seq++ {
				appendOK(t, j, big("a", seq, 1<<20))
			}
			closeJournal(t, j)
			messages := filepath.Join(filepath.Dir(blockFileOf(t, dir)), "msgs")
			for _, n := range []string{"1.blk", "2.blk"} {
				if !isSealed(filepath.Join(messages, n)) {
					t.Errorf("%s is not known to be whole", n)
				}
			}
			first := filepath.Join(messages, "1.blk")
			data, err := os.ReadFile(first)
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(first, tc.damage(data), 0o600); err != nil {
				t.Fatal(err)
			}
			if got := isSealed(first); got != (tc.name == "none") {
				t.Errorf("it is taken for whole: %v", got)
			}
			// The server then looks at the files themselves.
			if err := os.Remove(filepath.Join(messages, "index.db")); err != nil {
				t.Fatal(err)
			}
			before := filesOf(t, dir)
			r, err := OpenReader(within(t), Options{Dir: dir, OnWarning: func(s string) { t.Log("warning:", s) }})
			if err != nil {
				t.Fatal(err)
			}
			n := len(readAll(t, r, 1, all))
			closeJournal(t, r)
			if tc.name == "none" && n != 24 || n < 12 {
				t.Errorf("%d entries could be read", n)
			}
			after := filesOf(t, dir)
			for name, sum := range before {
				if after[name] != sum {
					t.Errorf("%s has been changed", strings.TrimPrefix(name, dir))
				}
			}
			t.Logf("%d entries", n)
		})
	}
}
