package spool

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"sync"
)

// reader is where Next stands.
type reader struct {
	mu    sync.Mutex
	file  *os.File
	first uint64 // of the segment that is open
	scan  scanner
	fails int // reads that have failed one after the other
}

func (r *reader) close() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.drop()
}

func (r *reader) drop() {
	if r.file != nil {
		_ = r.file.Close() // only read from
	}
	r.file, r.scan = nil, scanner{}
}

// patience is how often a segment that cannot be read is tried, before what is left of it is given up.
const patience = 5

// Next returns the next record that has not been returned in this run, in order; it begins with the oldest that is
// not acknowledged. It waits until there is one, or ctx ends. The record is the caller's. An error that is neither
// ctx's nor [ErrClosed] is the disk's: call again, after a while.
func (s *Spool) Next(ctx context.Context) (position uint64, record []byte, err error) {
	r := &s.reading
	r.mu.Lock()
	defer r.mu.Unlock()
	for {
		s.mu.Lock()
		if s.closed {
			s.mu.Unlock()
			return 0, nil, ErrClosed
		}
		if s.given == s.next {
			changed := s.changed
			s.mu.Unlock()
			select {
			case <-changed:
				continue
			case <-ctx.Done():
				return 0, nil, context.Cause(ctx)
			}
		}
		want := s.given
		seg, below := s.find(want)
		s.mu.Unlock()
		if ctx.Err() != nil {
			return 0, nil, context.Cause(ctx)
		}

		position, record, err := r.read(s.opts.Dir, seg, want, below)
		switch {
		case err == nil:
			if s.give(want, position) {
				return position, record, nil
			}
		case errors.Is(err, io.EOF):
			s.lose(want, below, nil)
		default:
			r.drop()
			if !s.has(seg.first) {
				continue // it was dropped meanwhile
			}
			if r.fails++; r.fails == patience {
				r.fails = 0
				s.lose(want, below, err)
				continue
			}
			return 0, nil, fmt.Errorf("spool in %s: %w", s.opts.Dir, hint(err))
		}
	}
}

// find returns a copy of the segment in which a position must be, and where the one after it begins. s.mu is held.
func (s *Spool) find(position uint64) (seg segment, below uint64) {
	below = s.next
	for _, at := range slices.Backward(s.segs) {
		if at.first <= position {
			return *at, below
		}
		below = at.first
	}
	return segment{first: position}, below // it is gone: an empty one in its place
}

// has tells whether a segment is there still.
func (s *Spool) has(first uint64) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.ContainsFunc(s.segs, func(seg *segment) bool { return seg.first == first })
}

// read returns the first record from want on, below below, of the segment; io.EOF if there is none.
func (r *reader) read(dir string, seg segment, want, below uint64) (uint64, []byte, error) {
	if seg.size == 0 {
		return 0, nil, io.EOF
	}
	if r.file == nil || r.first != seg.first {
		r.drop()
		f, err := os.Open(filepath.Join(dir, segmentName(seg.first)))
		if err != nil {
			return 0, nil, err
		}
		r.file, r.first = f, seg.first
		r.scan = scanner{file: f, off: int64(len(magic)), next: seg.first}
	}
	r.scan.end = seg.size
	for {
		position, data, err := r.scan.read()
		if errors.Is(err, io.ErrUnexpectedEOF) {
			// The file is shorter than it was: what it held is gone.
			return 0, nil, fmt.Errorf("%s: %w", r.file.Name(), err)
		}
		if err != nil {
			return 0, nil, err
		}
		r.fails = 0
		if position >= below {
			return 0, nil, io.EOF
		}
		if position >= want {
			return position, slices.Clone(data), nil
		}
	}
}

// give notes that a record goes out, after spoilt ones from want on. It is false if it was dropped meanwhile.
func (s *Spool) give(want, position uint64) bool {
	if position > want {
		s.lose(want, position, nil)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if position < s.given {
		return false
	}
	s.given = position + 1
	return true
}

// lose gives up the positions of which there is no record, from the one up to the other.
func (s *Spool) lose(from, to uint64, why error) {
	s.mu.Lock()
	from = max(from, s.given)
	if from >= to {
		s.mu.Unlock()
		return
	}
	s.gaps = append(s.gaps, gap{from, to})
	s.given = to
	s.stats.Damaged += to - from
	s.advance()
	s.mu.Unlock()
	if why == nil {
		why = errors.New("the disk holds something else than was written")
	}
	s.opts.Report(fmt.Errorf("spool in %s: %w", s.opts.Dir, why), fmt.Sprintf("%d records, from position %d on, are spoilt and skipped", to-from, from))
}

// Ack acknowledges a record that Next has returned; it may be called in any order, and more than once. It does not
// touch the disk: what was acknowledged in the last moments before a crash comes again.
func (s *Spool) Ack(position uint64) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if position >= s.given || position == 0 {
		return fmt.Errorf("%w: %d", ErrPosition, position)
	}
	if position < s.base {
		if _, ok := s.orphans[position]; ok {
			delete(s.orphans, position)
			s.stats.Dropped--
			s.stats.Acked++
		}
		return nil
	}
	if _, again := s.acked[position]; again {
		return nil
	}
	for _, g := range s.gaps {
		if position >= g.from && position < g.to {
			return fmt.Errorf("%w: %d", ErrPosition, position)
		}
	}
	s.acked[position] = struct{}{}
	s.stats.Acked++
	s.advance()
	return nil
}

// advance moves base over what is acknowledged or spoilt. s.mu is held.
func (s *Spool) advance() {
	for {
		if _, ok := s.acked[s.base]; ok {
			delete(s.acked, s.base)
			s.base++
		} else if len(s.gaps) > 0 && s.gaps[0].from == s.base {
			s.base = s.gaps[0].to
			s.gaps = s.gaps[1:]
		} else {
			break
		}
	}
	if s.base == s.next {
		s.wake()
	}
}
