package recording

import (
	"bytes"
	"encoding/csv"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// LastOffset finds the offset of the last record in a logger's file, or, if it has none, in the file that was closed
// last; 0 if no record has one. Half a line at the end does not count.
func LastOffset(path string) (uint64, error) {
	offset, err := lastOffsetIn(path)
	if offset > 0 || err != nil && !errors.Is(err, fs.ErrNotExist) {
		return offset, err
	}
	f := &File{opts: Options{Path: path}, dir: filepath.Dir(path)}
	closed := append(f.closed(""), f.closed(".gz")...)
	slices.SortFunc(closed, func(a, b string) int {
		return strings.Compare(strings.TrimSuffix(b, ".gz"), strings.TrimSuffix(a, ".gz"))
	})
	for _, name := range closed {
		if strings.HasSuffix(name, ".gz") {
			offset, err = lastOffsetThrough(name)
		} else {
			offset, err = lastOffsetIn(name)
		}
		if offset > 0 || err != nil {
			return offset, err
		}
	}
	return 0, nil
}

// lastOffsetIn reads the file from its end.
func lastOffsetIn(path string) (uint64, error) {
	f, err := os.Open(path)
	if err != nil {
		return 0, err
	}
	defer func() { _ = f.Close() }()
	info, err := f.Stat()
	if err != nil {
		return 0, err
	}
	columns, err := columnsOf(f)
	if err != nil {
		return 0, err
	}
	end, err := lastLineEnd(f, info.Size())
	if err != nil {
		return 0, err
	}
	for end > 0 {
		start, err := lastLineEnd(io.NewSectionReader(f, 0, end-1), end-1)
		if err != nil {
			return 0, err
		}
		line := make([]byte, end-start)
		if _, err := f.ReadAt(line, start); err != nil {
			return 0, err
		}
		if r := parseLine(columns, line); r != nil && r.Offset > 0 {
			return r.Offset, nil
		}
		end = start
	}
	return 0, nil
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

// lastOffsetThrough reads a compressed file from its beginning.
func lastOffsetThrough(path string) (uint64, error) {
	r, err := OpenReader(path)
	if err != nil {
		return 0, err
	}
	defer func() { _ = r.Close() }()
	var last uint64
	for {
		rec, err := r.Next()
		if errors.Is(err, io.EOF) {
			return last, nil
		}
		if err == nil && rec.Offset > 0 {
			last = rec.Offset
		}
		if err != nil && rec == nil && !strings.Contains(err.Error(), ", line ") {
			return last, err // not of one line: the file itself cannot be read
		}
	}
}
