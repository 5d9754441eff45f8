package spool

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

const suffix = ".seg"

// magic begins a segment; its last character is the version.
var magic = []byte("TBMSPL.1")

// segment is one file. Its records end where the next segment begins, whatever else stands in it.
type segment struct {
	first uint64 // position of its first record
	size  int64  // what of the file counts
}

func segmentName(first uint64) string { return fmt.Sprintf("%020d%s", first, suffix) }

// listSegments finds the segments of a directory, in order. It removes files that a crash has left before their
// first record.
func listSegments(dir string) ([]*segment, error) {
	files, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var segs []*segment
	for _, f := range files {
		digits, ok := strings.CutSuffix(f.Name(), suffix)
		first, err := strconv.ParseUint(digits, 10, 63)
		if !ok || err != nil || f.Name() != segmentName(first) || first == 0 || !f.Type().IsRegular() {
			continue // nothing of ours
		}
		info, err := f.Info()
		if err != nil {
			return nil, err
		}
		path := filepath.Join(dir, f.Name())
		if info.Size() < int64(len(magic)) {
			if err := os.Remove(path); err != nil {
				return nil, err
			}
			continue
		}
		if err := checkMagic(path); err != nil {
			return nil, err
		}
		segs = append(segs, &segment{first: first, size: info.Size()})
	}
	slices.SortFunc(segs, func(a, b *segment) int { return int(int64(a.first) - int64(b.first)) })
	return segs, nil
}

// checkMagic refuses a file of another version. One that is spoilt is read for what can be found in it.
func checkMagic(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	head := make([]byte, len(magic))
	if _, err := f.ReadAt(head, 0); err != nil {
		return err
	}
	if n := len(magic) - 1; bytes.Equal(head[:n], magic[:n]) && head[n] > magic[n] && head[n] <= '9' {
		return fmt.Errorf("%s: written by a newer version of this program", path)
	}
	return nil
}

// openLast opens the newest segment for writing, and cuts off what follows its last whole record. next is the
// position after that record.
func openLast(dir string, seg *segment) (_ *os.File, next uint64, torn int64, err error) {
	f, err := os.OpenFile(filepath.Join(dir, segmentName(seg.first)), os.O_RDWR, 0)
	if err != nil {
		return nil, 0, 0, err
	}
	defer func() {
		if err != nil {
			_ = f.Close()
		}
	}()
	s := scanner{file: f, off: int64(len(magic)), end: seg.size, next: seg.first}
	for err == nil {
		_, _, err = s.read()
	}
	if !errors.Is(err, io.EOF) {
		return nil, 0, 0, err
	}
	if torn = seg.size - s.off; torn > 0 {
		if err = f.Truncate(s.off); err != nil {
			return nil, 0, 0, err
		}
		seg.size = s.off
	}
	return f, s.next, torn, nil
}

// createSegment makes an empty one.
func createSegment(dir string, first uint64) (*os.File, error) {
	f, err := os.OpenFile(filepath.Join(dir, segmentName(first)), os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return nil, err
	}
	if _, err := f.WriteAt(magic, 0); err != nil {
		_ = f.Close()
		return nil, errors.Join(err, os.Remove(f.Name()))
	}
	return f, nil
}

// syncDir forces the names of new files to the disk.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer func() { _ = d.Close() }()
	return d.Sync()
}
