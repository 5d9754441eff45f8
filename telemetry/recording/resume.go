package recording

import (
	"bytes"
	"context"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"tbmsock/transport"
)

// Place is where a logger's file ends: an offset, 0 for none, in the journal with the id, which is empty if the file does not tell.
type Place struct {
	Offset  uint64
	Journal string
	// Unplaced reports whether packets without an offset follow, or are all that there is: they came from a server
	// without a journal.
	Unplaced bool
}

// LastPlace finds the place of the last record that has one in a logger's file, or, if it has none, in the file that was closed
// last, by the logger or by another program (see movedFiles). Half a line at the end does not count.
func LastPlace(path string) (place Place, err error) {
	place, err = lastPlaceIn(path)
	if place.Offset > 0 || err != nil && !errors.Is(err, fs.ErrNotExist) {
		return place, err
	}
	unplaced := place.Unplaced
	defer func() { place.Unplaced = place.Unplaced || unplaced }()
	for _, c := range slices.Backward(closedFiles(path)) {
		if c.packed {
			place, err = lastPlaceThrough(c.path)
		} else {
			place, err = lastPlaceIn(c.path)
		}
		if err != nil {
			return place, err
		}
		unplaced = unplaced || place.Unplaced
		if place.Offset > 0 {
			break
		}
	}
	for _, moved := range movedFiles(path) { // the newest first
		read := lastPlaceIn
		if filepath.Ext(moved) == ".gz" {
			if place.Offset > 0 {
				continue // it would have to be read from its beginning, and the newest ones are not compressed yet
			}
			read = lastPlaceThrough
		}
		at, err := read(moved)
		if err == nil && at.Offset > place.Offset && (place.Offset == 0 || at.Journal == place.Journal) {
			place = at
		}
	}
	return place, nil
}

// movedName is what logrotate adds to a file's name: a number, or a date. A shorter number behind a hyphen may belong
// to another logger's file.
var movedName = regexp.MustCompile(`^(\.[0-9]+|-[0-9]{8}[0-9.-]*)(\.gz)?$`)

// movedFiles lists what logrotate, or a person in its way, has made of a logger's file: packets.jsonl.1,
// packets.jsonl-20260302.gz, …; those that were written last come first.
func movedFiles(path string) []string {
	path = resolve(path)
	entries, err := os.ReadDir(filepath.Dir(path))
	if err != nil {
		return nil
	}
	type file struct {
		path string
		at   time.Time
	}
	var all []file
	for _, e := range entries {
		added, ok := strings.CutPrefix(e.Name(), filepath.Base(path))
		if !ok || !movedName.MatchString(added) {
			continue
		}
		if info, err := e.Info(); err == nil && info.Mode().IsRegular() {
			all = append(all, file{filepath.Join(filepath.Dir(path), e.Name()), info.ModTime()})
		}
	}
	slices.SortStableFunc(all, func(a, b file) int { return b.at.Compare(a.at) })
	paths := make([]string, len(all))
	for i := range all {
		paths[i] = all[i].path
	}
	return paths
}

// Envelopes notes what stands in a logger's file and in those that it has closed, or others have moved: what a logger
// that meets another journal need not write again. What cannot be read is left out, and told in the error.
func Envelopes(ctx context.Context, path string, seen *transport.Tracker) error {
	add := func(r *Record) {
		if r.Envelope != nil {
			seen.Add(r.Envelope)
		}
	}
	var errs []error
	var moved []closedFile
	for _, name := range slices.Backward(movedFiles(path)) {
		moved = append(moved, closedFile{path: name})
	}
	for _, c := range slices.Concat(moved, closedFiles(path), []closedFile{{path: path}}) {
		err := eachRecord(ctx, c.path, add)
		if errors.Is(err, fs.ErrNotExist) && !c.packed {
			err = eachRecord(ctx, c.path+".gz", add) // it has been compressed meanwhile
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if !errors.Is(err, fs.ErrNotExist) { // else it has been removed
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
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
	lines := backwards{f: f, lo: end}
	var place Place
	for {
		line, err := lines.next()
		if errors.Is(err, io.EOF) {
			return place, nil
		}
		if err != nil {
			return Place{}, err
		}
		switch r := nameIn(columns, line); {
		case r == nil:
		case r.Offset > 0:
			place.Offset, place.Journal = r.Offset, r.Journal
			return place, nil
		case r.Envelope != nil:
			place.Unplaced = true
		}
	}
}

// backwards reads the lines of a file from its end, through one buffer.
type backwards struct {
	f   io.ReaderAt
	lo  int64  // where buf begins in the file
	buf []byte // up to the end of the next line
}

// next returns a line with its newline; io.EOF at the file's beginning. It is valid until the next call.
func (b *backwards) next() ([]byte, error) {
	for {
		if n := len(b.buf); n > 0 {
			if i := bytes.LastIndexByte(b.buf[:n-1], '\n'); i >= 0 || b.lo == 0 {
				line := b.buf[i+1:]
				b.buf = b.buf[:i+1]
				return line, nil
			}
		}
		if b.lo == 0 {
			return nil, io.EOF
		}
		// As much again as there is of the line: a long one is not searched for each 64 KiB of it.
		more := int(min(b.lo, max(64<<10, int64(len(b.buf)))))
		rest := len(b.buf)
		if cap(b.buf) < more+rest {
			longer := make([]byte, rest, 2*(more+rest))
			copy(longer, b.buf)
			b.buf = longer
		}
		b.buf = b.buf[:more+rest]
		copy(b.buf[more:], b.buf[:rest])
		b.lo -= int64(more)
		if _, err := b.f.ReadAt(b.buf[:more], b.lo); err != nil {
			return nil, err
		}
	}
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

// nameIn is what a line tells of its record's name and place; nil if it is no record.
func nameIn(columns []string, line []byte) *Record {
	if columns == nil {
		r, err := nameJSON(line)
		if err != nil {
			return nil
		}
		return r
	}
	row, err := csv.NewReader(bytes.NewReader(line)).Read()
	if err != nil {
		return nil
	}
	r, err := nameCSV(columns, row)
	if err != nil {
		return nil
	}
	return r
}

// nameJSON is ParseJSON without what a record carries: it is for looking through much.
func nameJSON(line []byte) (*Record, error) {
	var in struct {
		Event    string `json:"event"`
		Offset   uint64 `json:"offset"`
		Journal  string `json:"journal"`
		Envelope *struct {
			Source string `json:"source"`
			Boot   string `json:"boot"`
			Seq    uint64 `json:"seq"`
		} `json:"envelope"`
	}
	if !bytes.Contains(line, []byte(`"event":`)) {
		return nil, errors.New("no line of a logger")
	}
	if err := json.Unmarshal(line, &in); err != nil {
		return nil, err
	}
	r := &Record{Event: in.Event, Offset: in.Offset, Journal: in.Journal}
	if e := in.Envelope; e != nil {
		r.Envelope = &transport.Envelope{Source: e.Source, Boot: e.Boot, Seq: e.Seq}
	}
	if r.Event == "" {
		return nil, errors.New("no line of a logger: it has no event")
	}
	return r, nil
}

// nameCSV is parseCSV in the same way.
func nameCSV(columns, row []string) (*Record, error) {
	if len(row) != len(columns) {
		return nil, fmt.Errorf("%d columns of %d", len(row), len(columns))
	}
	r, e := &Record{}, &transport.Envelope{}
	for i, text := range row {
		_ = setName(r, e, columns[i], text) // numbers are empty where there are none
	}
	if e.Source != "" {
		r.Envelope = e
	}
	return r, nil
}

// lastPlaceThrough reads a compressed file from its beginning.
func lastPlaceThrough(path string) (last Place, err error) {
	err = eachRecord(context.Background(), path, func(r *Record) {
		switch {
		case r.Offset > 0:
			last = Place{Offset: r.Offset, Journal: r.Journal}
		case r.Envelope != nil:
			last.Unplaced = true
		}
	})
	return last, err
}

// eachRecord calls f with the name and place of all that can be read of a file; it is an error if the file itself cannot be.
func eachRecord(ctx context.Context, path string, f func(*Record)) error {
	r, err := OpenReader(path)
	if err != nil {
		return err
	}
	defer func() { _ = r.Close() }()
	r.parseJSON, r.parseCSV = nameJSON, nameCSV
	for ctx.Err() == nil {
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
	return ctx.Err()
}
