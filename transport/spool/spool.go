package spool

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"syscall"
	"time"

	"tbmsock/transport/internal/dirlock"
)

// Spool is a queue of records in a directory. Its methods are safe for concurrent use.
type Spool struct {
	opts    Options
	segment int64 // bytes of one
	lock    *os.File
	stop    chan struct{}
	done    sync.WaitGroup

	// Writing: the newest segment, and what removes the oldest. It is held over system calls; mu is not.
	write    sync.Mutex
	active   *os.File // nil: none yet
	fresh    bool     // the active segment may not be written to any more: a new one is due
	unsynced bool
	short    bool // the disk has refused the last write
	mark     mark
	saved    uint64
	buf      []byte

	// Troubles that have been reported.
	syncBad, saveBad, removeBad bool

	reading reader

	mu      sync.Mutex
	segs    []*segment // the last one is the active
	bytes   int64      // of segs
	next    uint64     // position of the next record
	base    uint64     // everything below is acknowledged, or gone
	given   uint64     // everything below was returned by Next, or is gone
	acked   map[uint64]struct{}
	gaps    []gap               // spoilt records between base and given, in order
	orphans map[uint64]struct{} // dropped while they were under way
	stats   Stats
	changed chan struct{} // closed and replaced when there is something for a waiting Next or Flush
	closed  bool
}

// gap is positions of which there is no record, from the first up to but not with the last.
type gap struct{ from, to uint64 }

// Open opens or makes the directory, which is this process's own until Close.
func Open(opts Options) (*Spool, Recovered, error) {
	if opts.MaxBytes == 0 {
		opts.MaxBytes = defaultBytes
	}
	if opts.MaxBytes < MinBytes {
		return nil, Recovered{}, fmt.Errorf("spool: a limit of %d bytes is below the least, %d", opts.MaxBytes, MinBytes)
	}
	if opts.Report == nil {
		opts.Report = func(error, string) {}
	}
	s := &Spool{
		opts:    opts,
		mark:    mark{dir: opts.Dir},
		segment: min(max(opts.MaxBytes/64, minSegment), maxSegment),
		stop:    make(chan struct{}),
		acked:   map[uint64]struct{}{},
		orphans: map[uint64]struct{}{},
		changed: make(chan struct{}),
	}
	found, err := s.open()
	if err != nil {
		if s.active != nil {
			_ = s.active.Close()
		}
		_ = s.mark.close()
		if s.lock != nil {
			_ = s.lock.Close()
		}
		return nil, found, fmt.Errorf("spool in %s: %w", opts.Dir, hint(err))
	}
	s.done.Add(1)
	go s.keep()
	return s, found, nil
}

func (s *Spool) open() (found Recovered, err error) {
	dir := s.opts.Dir
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return found, err
	}
	if s.lock, err = dirlock.Lock(dir, ErrInUse); err != nil {
		return found, err
	}
	_ = dirlock.Sign(s.lock) // a full disk takes no number
	position, ok, err := s.mark.load()
	if err != nil {
		return found, err
	}
	found.AckLost = !ok
	if s.segs, err = listSegments(dir); err != nil {
		return found, err
	}
	s.base, s.next = max(position, 1), 1
	if n := len(s.segs); n > 0 {
		s.base = max(s.base, s.segs[0].first)
		if s.active, s.next, found.Torn, err = openLast(dir, s.segs[n-1]); err != nil {
			return found, err
		}
	}
	// A power cut can take records that were sent and acknowledged already. Their positions are not used again:
	// a new record would be taken for acknowledged.
	if s.next < s.base {
		s.next, s.fresh = s.base, true
	}
	for _, seg := range s.segs {
		s.bytes += seg.size
	}
	s.given = s.base
	found.Records, found.Bytes = s.next-s.base, s.bytes
	// A directory that cannot be written is an error of Open. A full disk is not: the records that wait can be sent,
	// which makes room.
	if err = checkWritable(dir); err == nil {
		err = s.mark.save(s.base, false)
	}
	switch {
	case err == nil:
		s.saved = s.base
	case isFull(err):
		s.short = true
	default:
		return found, err
	}
	return found, nil
}

// saveEvery is how old the position on the disk may be. It costs no more than some records that come again
// after a crash.
const saveEvery = 100 * time.Millisecond

// checkWritable makes a file, as new segments are made, and removes it.
func checkWritable(dir string) error {
	f, err := os.CreateTemp(dir, ".writable-")
	if err != nil {
		return err
	}
	return errors.Join(f.Close(), os.Remove(f.Name()))
}

// isFull reports whether the disk, or the user's share of it, has no room.
func isFull(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT)
}

// keep removes segments, saves the position and syncs, at intervals.
func (s *Spool) keep() {
	defer s.done.Done()
	every := saveEvery
	if i := s.opts.SyncInterval; i > 0 {
		every = min(every, i)
	}
	tick := time.NewTicker(every)
	defer tick.Stop()
	lastSync := time.Now()
	for {
		select {
		case <-s.stop:
			return
		case <-tick.C:
		}
		s.write.Lock()
		s.tidy(false)
		s.write.Unlock()
		if i := s.opts.SyncInterval; i > 0 && time.Since(lastSync) >= i-every/2 {
			lastSync = time.Now()
			s.syncBehind()
		}
	}
}

// tidy removes acknowledged segments, and saves the position. Removal comes first and does not depend on the position,
// which may need space that only the removal frees. A crash between the two returns records again, at worst: segments
// are removed only when everything in them is acknowledged, and positions that are given a second time belong to
// records of which nothing is left. It must be called with s.write held.
func (s *Spool) tidy(sync bool) {
	err := s.trim()
	if err == nil && s.short {
		_, err = s.reclaim()
	}
	switch {
	case err != nil:
		s.troubled(&s.removeBad, err, "acknowledged records cannot be removed from the disk; retrying")
	case s.removeBad:
		s.removeBad = false
		s.opts.Report(nil, "acknowledged records are removed from the disk again")
	}
	s.save(sync)
}

// save writes the position. It must be called with s.write held.
func (s *Spool) save(sync bool) {
	s.mu.Lock()
	base := s.base
	s.mu.Unlock()
	if base == s.saved && !sync {
		return
	}
	if err := s.mark.save(base, sync); err != nil {
		s.short = true
		s.troubled(&s.saveBad, err,
			"the acknowledged position cannot be saved: after a crash, records would be sent again; retrying")
		return
	}
	s.saved = base
	if s.saveBad {
		s.saveBad = false
		s.opts.Report(nil, "the acknowledged position is saved again")
	}
}

// syncBehind syncs the active segment while others go on.
func (s *Spool) syncBehind() {
	s.write.Lock()
	f := s.active
	if !s.unsynced || f == nil {
		s.write.Unlock()
		return
	}
	s.unsynced = false
	s.write.Unlock()
	err := f.Sync()
	if errors.Is(err, os.ErrClosed) {
		return // a new segment was begun, and this one synced before it was closed
	}
	s.write.Lock()
	defer s.write.Unlock()
	s.synced(err)
}

// synced tells of a failed sync. What it was for stays readable, but the system may never write it to the disk,
// and a later sync would not say so. s.write is held.
func (s *Spool) synced(err error) {
	if err != nil {
		s.fresh = true
		s.troubled(&s.syncBad, err, "records could not be forced to the disk: a power cut may take them")
		return
	}
	if s.syncBad {
		s.syncBad = false
		s.opts.Report(nil, "records are forced to the disk again")
	}
}

func (s *Spool) troubled(told *bool, err error, what string) {
	if !*told {
		*told = true
		s.opts.Report(hint(err), what)
	}
}

// wake lets those that wait look again. s.mu is held.
func (s *Spool) wake() {
	close(s.changed)
	s.changed = make(chan struct{})
}

// Stats returns the counts.
func (s *Spool) Stats() Stats {
	s.mu.Lock()
	defer s.mu.Unlock()
	st := s.stats
	st.Waiting = s.next - s.base - uint64(len(s.acked))
	for _, g := range s.gaps {
		st.Waiting -= g.to - g.from
	}
	st.Bytes = s.bytes
	return st
}

// Flush waits until nothing waits for an acknowledgement, or ctx ends.
func (s *Spool) Flush(ctx context.Context) error {
	for {
		s.mu.Lock()
		empty, closed, changed := s.base == s.next, s.closed, s.changed
		s.mu.Unlock()
		switch {
		case empty:
			return nil
		case closed:
			return ErrClosed
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// Close notes down what is acknowledged, syncs, and gives the directory free. Who waits in Next or Flush gets
// [ErrClosed].
func (s *Spool) Close() error {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return ErrClosed
	}
	s.closed = true
	s.wake()
	s.mu.Unlock()
	close(s.stop)
	s.done.Wait()
	s.write.Lock()
	defer s.write.Unlock()
	s.tidy(true)
	if s.short { // a position that was not saved does not matter once the records are gone
		s.tidy(true)
	}
	var err error
	if s.active != nil {
		if s.unsynced {
			err = s.active.Sync()
		}
		err = errors.Join(err, s.active.Close())
		s.active = nil
	}
	s.reading.close()
	if err = errors.Join(err, s.mark.close(), s.lock.Close()); err != nil {
		return fmt.Errorf("spool in %s: %w", s.opts.Dir, hint(err))
	}
	return nil
}
