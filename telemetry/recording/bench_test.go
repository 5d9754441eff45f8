package recording

import (
	"bytes"
	"path/filepath"
	"testing"
)

// A line of a packet's length: most of it is the system call, and the look at the path before it.
func BenchmarkWrite(b *testing.B) {
	f, _, err := Open(Options{Path: filepath.Join(b.TempDir(), "p.jsonl")})
	if err != nil {
		b.Fatal(err)
	}
	line := append(bytes.Repeat([]byte{'x'}, 1100), '\n')
	b.ReportAllocs()
	b.SetBytes(int64(len(line)))
	for b.Loop() {
		f.Write(line)
	}
	if err := f.Close(); err != nil {
		b.Fatal(err)
	}
}
