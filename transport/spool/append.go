package spool

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// Append keeps records, in order, and returns how many of them it has kept: the first n. All that fit into one
// segment share one write and one sync. With an error none of the others is kept, and they can be tried again:
// unless it is [ErrFull] or [ErrTooLarge], it is the disk's.
func (s *Spool) Append(records ...[]byte) (n int, err error) {
	s.write.Lock()
	defer s.write.Unlock()
	s.mu.Lock()
	closed := s.closed
	s.mu.Unlock()
	if closed {
		return 0, ErrClosed
	}
	waiting := 0 // records in buf
	s.buf = s.buf[:0]
	flush := func() error {
		err := s.withRoom(func() error { return s.flush(waiting) })
		s.buf = s.buf[:0]
		if err != nil {
			return err
		}
		n, waiting = n+waiting, 0
		return nil
	}
	for _, r := range records {
		size := headerSize + int64(len(r))
		if len(r) > MaxRecord || size+2*int64(len(magic)) > s.opts.MaxBytes { // two: the segment that makes room, and its own
			err = fmt.Errorf("%w: %d bytes", ErrTooLarge, len(r))
			break
		}
		if s.used()+int64(len(s.buf))+size+int64(len(magic)) > s.opts.MaxBytes {
			if err := flush(); err != nil {
				return n, s.failed(err)
			}
			if err = s.room(size); err != nil {
				break
			}
		}
		if s.due(size) {
			if err := flush(); err != nil {
				return n, s.failed(err)
			}
			if err := s.withRoom(s.begin); err != nil {
				return n, s.failed(err)
			}
		}
		s.buf = appendRecord(s.buf, s.next+uint64(waiting), r)
		waiting++
	}
	if flushErr := flush(); flushErr != nil {
		return n, s.failed(flushErr)
	}
	if errors.Is(err, ErrFull) {
		s.mu.Lock()
		s.stats.Refused += uint64(len(records) - n)
		s.mu.Unlock()
		return n, err
	}
	return n, s.failed(err)
}

func (s *Spool) failed(err error) error {
	if err == nil || errors.Is(err, ErrFull) || errors.Is(err, ErrTooLarge) {
		return err
	}
	return fmt.Errorf("spool in %s: %w", s.opts.Dir, hint(err))
}

// withRoom calls write, and once more if it fails and acknowledged records could be removed. It must be called with
// s.write held.
func (s *Spool) withRoom(write func() error) error {
	err := write()
	if err == nil {
		s.short = false
		return nil
	}
	s.short = true
	freed, removeErr := s.reclaim()
	if removeErr != nil {
		return errors.Join(err, removeErr)
	}
	if !freed {
		return err
	}
	if err = write(); err == nil {
		s.short = false
	}
	return err
}

func (s *Spool) used() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.bytes
}

// due tells whether a record of the size belongs in a new segment.
func (s *Spool) due(size int64) bool {
	if s.active == nil || s.fresh {
		return true
	}
	full := s.segs[len(s.segs)-1].size + int64(len(s.buf))
	return full > int64(len(magic)) && full+size > s.segment
}

// begin makes a new segment the active one.
func (s *Spool) begin() error {
	f, err := createSegment(s.opts.Dir, s.next)
	if err != nil {
		return err
	}
	if err := syncDir(s.opts.Dir); err != nil {
		_ = f.Close()
		return errors.Join(err, os.Remove(f.Name()))
	}
	if s.active != nil {
		if s.unsynced {
			s.synced(s.active.Sync())
		}
		_ = s.active.Close() // all that matters has been synced, or told
	}
	s.active, s.fresh, s.unsynced = f, false, false
	s.mu.Lock()
	defer s.mu.Unlock()
	// One in which no record has ever been whole has the same name.
	if n := len(s.segs); n > 0 && s.segs[n-1].first == s.next {
		s.bytes -= s.segs[n-1].size
		s.segs = s.segs[:n-1]
	}
	s.segs = append(s.segs, &segment{first: s.next, size: int64(len(magic))})
	s.bytes += int64(len(magic))
	return nil
}

// flush writes the records in buf whole, or not at all; buf stays as it is.
func (s *Spool) flush(records int) error {
	if records == 0 {
		return nil
	}
	if s.active == nil { // it has been discarded to make room
		if err := s.begin(); err != nil {
			return err
		}
	}
	seg := s.segs[len(s.segs)-1]
	_, err := s.active.WriteAt(s.buf, seg.size)
	if err == nil && s.opts.SyncInterval == 0 {
		if err = s.active.Sync(); err != nil {
			// After a failed sync the system takes for clean what it has not written.
			s.fresh = true
		}
	}
	if err != nil {
		if cutErr := s.active.Truncate(seg.size); cutErr != nil {
			s.fresh = true // what stands behind its end does not count: the next segment begins there
			err = errors.Join(err, cutErr)
		}
		return err
	}
	s.unsynced = s.opts.SyncInterval > 0
	s.mu.Lock()
	defer s.mu.Unlock()
	seg.size += int64(len(s.buf))
	s.bytes += int64(len(s.buf))
	s.next += uint64(records)
	s.stats.Appended += uint64(records)
	if cap(s.buf) > 1<<20 {
		s.buf = nil // a burst's
	}
	s.wake()
	return nil
}

// room makes room for a record, or returns ErrFull. Nothing is in buf.
func (s *Spool) room(size int64) error {
	for s.used()+size+int64(len(magic)) > s.opts.MaxBytes {
		before := s.used()
		if err := s.trim(); err != nil {
			return err
		}
		s.mu.Lock()
		segs, base, next := s.segs, s.base, s.next
		s.mu.Unlock()
		switch {
		case s.used() < before:
		case s.opts.WhenFull == Refuse && base < next:
			return ErrFull
		case len(segs) == 1:
			if err := s.begin(); err != nil { // so that this one can be removed
				return err
			}
		default:
			if err := s.drop(segs[0], segs[1].first); err != nil {
				return err
			}
		}
	}
	return nil
}

// trim removes the segments of which everything is acknowledged, but for the active one. s.write is held.
func (s *Spool) trim() error {
	for {
		s.mu.Lock()
		if len(s.segs) < 2 || s.segs[1].first > s.base {
			s.mu.Unlock()
			return nil
		}
		oldest := s.segs[0]
		s.mu.Unlock()
		if err := s.remove(oldest); err != nil {
			return err
		}
	}
}

// reclaim removes the segments of which everything is acknowledged, the active one too: on a disk without room the next
// one could not be begun otherwise. freed reports whether there was any. It must be called with s.write held.
func (s *Spool) reclaim() (freed bool, err error) {
	before := s.used()
	if err := s.trim(); err != nil {
		return false, err
	}
	s.mu.Lock()
	done, segs := s.base == s.next, s.segs
	s.mu.Unlock()
	if done && len(segs) == 1 && s.active != nil && (s.fresh || segs[0].size > int64(len(magic))) {
		if err := s.discard(segs[0]); err != nil {
			return false, err
		}
	}
	return s.used() < before, nil
}

// discard removes the active segment. Where a file that is being read cannot be removed, it is emptied.
func (s *Spool) discard(seg *segment) error {
	emptyErr := s.active.Truncate(int64(len(magic)))
	_ = s.active.Close() // nothing in it matters any more
	s.active, s.fresh, s.unsynced = nil, false, false
	err := s.remove(seg)
	if err == nil || emptyErr != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.bytes -= seg.size - int64(len(magic))
	seg.size = int64(len(magic))
	return nil
}

// remove removes the oldest segment. s.write is held.
func (s *Spool) remove(seg *segment) error {
	err := os.Remove(filepath.Join(s.opts.Dir, segmentName(seg.first)))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.segs = s.segs[1:]
	s.bytes -= seg.size
	return nil
}

// drop forgets the oldest segment with all that waits in it; next begins the one after it.
func (s *Spool) drop(seg *segment, next uint64) error {
	if err := s.remove(seg); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for ; s.base < min(s.given, next); s.base++ {
		if _, ok := s.acked[s.base]; ok {
			delete(s.acked, s.base)
			continue
		}
		if len(s.gaps) > 0 && s.gaps[0].from <= s.base {
			s.base = min(s.gaps[0].to, next) - 1
			s.gaps[0].from = s.base + 1
			if s.gaps[0].from == s.gaps[0].to {
				s.gaps = s.gaps[1:]
			}
			continue
		}
		s.orphans[s.base] = struct{}{}
		s.stats.Dropped++
	}
	if s.base < next {
		s.stats.Dropped += next - s.base
		s.base = next
	}
	s.given = max(s.given, s.base)
	s.advance()
	return nil
}
