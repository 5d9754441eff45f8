package spool

import (
	"bytes"
	"errors"
	"io"
	"testing"
)

// Whatever stands in a file: reading ends, positions go up, no record is larger than the file, and a whole record
// behind it that is not too far ahead is found.
func FuzzRecord(f *testing.F) {
	two := appendRecord(appendRecord(nil, 1, []byte("one")), 2, bytes.Repeat([]byte("two"), 50))
	f.Add(two)
	f.Add(two[:len(two)-1])
	f.Add(append([]byte{0, 0, 0, 0}, two...))
	f.Add(make([]byte, 40))
	f.Add(bytes.Repeat([]byte{0xff}, 40))
	f.Fuzz(func(t *testing.T, b []byte) {
		last := appendRecord(nil, uint64(len(b))/headerSize+1, []byte("last"))
		all := append(bytes.Clone(b), last...)
		s := scanner{file: bytes.NewReader(all), end: int64(len(all)), next: 1}
		position := uint64(0)
		for {
			p, data, err := s.read()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil || p <= position || len(data) > len(all) {
				t.Fatalf("record %d after %d, %d bytes, %v", p, position, len(data), err)
			}
			position = p
		}
		if position == 0 {
			t.Fatal("the whole record at the end is not found")
		}
	})
}
