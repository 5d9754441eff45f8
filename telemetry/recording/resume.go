package recording

import (
	"bytes"
	"encoding/csv"
	"errors"
	"io"
	"io/fs"
	"os"
	"slices"

	"tbmsock/transport"
)

// Place is where a logger's file ends: an offset, 0 for none, in the journal with the id, which is empty if the file does not tell.
type Place struct {
	Offset  uint64
	Journal string
}

// LastPlace finds the place of the last record that has one in a logger's file, or, if it has none, in the file that was closed
// last. Half a line at the end does not count.
func LastPlace(path string) (Place, error) {
	place, err := lastPlaceIn(path)
	if place.Offset > 0 || err != nil && !errors.Is(err, fs.ErrNotExist) {
		return place, err
	}
	for _, c := range slices.Backward(closedFiles(path)) {
		if c.packed {
			place, err = lastPlaceThrough(c.path)
		} else {
			place, err = lastPlaceIn(c.path)
		}
		if place.Offset > 0 || err != nil {
			return place, err
		}
	}
	return Place{}, nil
}

// Envelopes notes what stands in a logger's file, and in the one that was closed before it: what a logger that meets another journal
// need not write again. Lines that cannot be read are left out.
func Envelopes(path string, seen *transport.Tracker) error {
	names := []string{path}
	if closed := closedFiles(path); len(closed) > 0 {
		names = append(names, closed[len(closed)-1].path)
	}
	for _, name := range names {
		err := eachRecord(name, func(r *Record) {
			if r.Envelope != nil {
				seen.Add(r.Envelope)
			}
		})
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

// lastPlaceIn reads the file from its end.
func lastPlaceIn(path string) (Place, error) {
	f, err := os.Open(path)
	if err != nil {
		return Place{}, err
	}
	defer func() { _ = f.Close() }()
	info, err := f.Stat()
	if err != nil {
		return Place{}, err
	}
	columns, err := columnsOf(f)
	if err != nil {
		return Place{}, err
	}
	end, err := lastLineEnd(f, info.Size())
	if err != nil {
		return Place{}, err
	}
	for end > 0 {
		start, err := lastLineEnd(io.NewSectionReader(f, 0, end-1), end-1)
		if err != nil {
			return Place{}, err
		}
		line := make([]byte, end-start)
		if _, err := f.ReadAt(line, start); err != nil {
			return Place{}, err
		}
		if r := parseLine(columns, line); r != nil && r.Offset > 0 {
			return Place{r.Offset, r.Journal}, nil
		}
		end = start
	}
	return Place{}, nil
}

// columnsOf are the names in the first line of a CSV file; nil for JSON Lines.
func columnsOf(f io.ReaderAt) ([]string, error) {
	head := make([]byte, 64<<10)
	n, err := f.ReadAt(head, 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	first, _, _ := bytes.Cut(head[:n], []byte("\n"))
	if !bytes.HasPrefix(first, []byte(csvHead[0]+",")) {
		return nil, nil
	}
	return csv.NewReader(bytes.NewReader(first)).Read()
}

// parseLine is the record in a line, or nil if there is none.
func parseLine(columns []string, line []byte) *Record {
	if columns == nil {
		r, err := ParseJSON(line)
		if err != nil {
			return nil
		}
		return r
	}
	row, err := csv.NewReader(bytes.NewReader(line)).Read()
	if err != nil || len(row) != len(columns) {
		return nil
	}
	r, err := parseCSV(columns, row)
	if err != nil {
		return nil
	}
	return r
}

// lastPlaceThrough reads a compressed file from its beginning.
func lastPlaceThrough(path string) (last Place, err error) {
	err = eachRecord(path, func(r *Record) {
		if r.Offset > 0 {
			last = Place{r.Offset, r.Journal}
		}
	})
	return last, err
}

// eachRecord calls f with all that can be read of a file; it is an error if the file itself cannot be.
func eachRecord(path string, f func(*Record)) error {
	r, err := OpenReader(path)
	if err != nil {
		return err
	}
	defer func() { _ = r.Close() }()
	for {
		rec, err := r.Next()
		var line *LineError
		switch {
		case err == nil:
			f(rec)
		case errors.Is(err, io.EOF):
			return nil
		case !errors.As(err, &line):
			return err
		}
	}
}
