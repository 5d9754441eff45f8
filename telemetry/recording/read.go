package recording

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
)

// Reader reads back what a logger has written: JSON Lines or CSV, as it is or compressed, of which it
// finds out by itself. It is for one goroutine.
type Reader struct {
	name    string
	file    io.Closer
	lines   *bufio.Reader
	table   *csv.Reader
	columns []string
	n       int   // lines read
	err     error // that ended it

	parseJSON func(line []byte) (*Record, error)
	parseCSV  func(columns, row []string) (*Record, error)
}

// LineError is about one line of a file: those behind it can be read.
type LineError struct {
	File string
	Line int // from 1; of CSV, rows
	Err  error
}

func (e *LineError) Error() string { return fmt.Sprintf("%s, line %d: %v", e.File, e.Line, e.Err) }
func (e *LineError) Unwrap() error { return e.Err }

// OpenReader opens a file; "-" is stdin.
func OpenReader(path string) (*Reader, error) {
	if path == "-" {
		return newReader("stdin", os.Stdin, io.NopCloser(nil))
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	r, err := newReader(path, f, f)
	if err != nil {
		_ = f.Close()
		return nil, err
	}
	return r, nil
}

func newReader(name string, in io.Reader, file io.Closer) (*Reader, error) {
	b := bufio.NewReaderSize(in, 256<<10)
	if magic, _ := b.Peek(2); bytes.Equal(magic, []byte{0x1f, 0x8b}) {
		z, err := gzip.NewReader(b)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		b = bufio.NewReaderSize(z, 256<<10)
	}
	r := &Reader{name: name, file: file, lines: b, parseJSON: ParseJSON, parseCSV: parseCSV}
	if first, _ := b.Peek(len(csvHead[0]) + 1); string(first) == csvHead[0]+"," {
		r.table = csv.NewReader(b)
		r.table.FieldsPerRecord = -1
		columns, err := r.table.Read()
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		r.columns, r.n = slices.Clone(columns), 1
	}
	return r, nil
}

// Next returns the next record; io.EOF at the end. Behind a line that cannot be read, a [LineError], it goes on; any other error
// is the file's, and comes again. The last line of a file that is being written may be half: it is left out.
func (r *Reader) Next() (*Record, error) {
	if r.err != nil {
		return nil, r.err
	}
	next := r.nextLine
	if r.table != nil {
		next = r.nextRow
	}
	rec, err := next()
	var line *LineError
	switch {
	case err == nil, errors.As(err, &line):
		return rec, err
	case errors.Is(err, io.EOF):
		r.err = io.EOF
	default:
		r.err = fmt.Errorf("%s: %w", r.name, err)
	}
	return nil, r.err
}

func (r *Reader) nextRow() (*Record, error) {
	row, err := r.table.Read()
	r.n++
	var wrong *csv.ParseError
	if err != nil && !errors.As(err, &wrong) {
		return nil, err
	}
	var rec *Record
	if err == nil {
		rec, err = r.parseCSV(r.columns, row)
	}
	if err != nil {
		return nil, &LineError{r.name, r.n, err}
	}
	return rec, nil
}

func (r *Reader) nextLine() (*Record, error) {
	for {
		line, err := r.lines.ReadBytes('\n')
		if err != nil {
			return nil, err
		}
		r.n++
		if len(bytes.TrimSpace(line)) == 0 || bytes.Contains(line[:min(len(line), 64)], []byte(`"change"`)) {
			continue
		}
		rec, err := r.parseJSON(line)
		if err != nil {
			return nil, &LineError{r.name, r.n, err}
		}
		return rec, nil
	}
}

// Close closes the file.
func (r *Reader) Close() error { return r.file.Close() }
