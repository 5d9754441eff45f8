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
	syncBad  bool // has been told
	saved    uint64
	saveBad  bool // has been told
	buf      []byte

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
	position, ok, err := loadPosition(dir)
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
	// Now, not hours later, is the time to tell that nothing can be written here. A full disk is no reason: what
	// waits can be sent, which makes room.
	if err := savePosition(dir, s.base, false); err != nil && !errors.Is(err, syscall.ENOSPC) {
		return found, err
	}
	s.saved = s.base
	return found, nil
}

// saveEvery is how old the position on the disk may be. It costs no more than some records that come again
// after a crash.
const saveEvery = 100 * time.Millisecond

// keep does what has time: saves the position, removes segments, syncs.
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
		s.save(false)
		if err := s.trim(); err != nil {
			s.troubled(&s.saveBad, err, "what is acknowledged cannot be removed")
		}
		s.write.Unlock()
		if i := s.opts.SyncInterval; i > 0 && time.Since(lastSync) >= i-every/2 {
			lastSync = time.Now()
			s.syncBehind()
		}
	}
}

// save writes the position. s.write is held.
func (s *Spool) save(sync bool) {
	s.mu.Lock()
	base := s.base
	s.mu.Unlock()
	if base == s.saved && !sync {
		return
	}
	if err := savePosition(s.opts.Dir, base, sync); err != nil {
		s.troubled(&s.saveBad, err, "what is acknowledged cannot be noted down: after a crash it would be sent again; it is tried again")
		return
	}
	s.saved = base
	if s.saveBad {
		s.saveBad = false
		s.opts.Report(nil, "what is acknowledged is noted down again")
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
	var err error
	if s.active != nil {
		if s.unsynced {
			err = s.active.Sync()
		}
		err = errors.Join(err, s.active.Close())
		s.active = nil
	}
	s.save(true)
	err = errors.Join(err, s.trim())
	s.reading.close()
	if err = errors.Join(err, s.lock.Close()); err != nil {
		return fmt.Errorf("spool in %s: %w", s.opts.Dir, hint(err))
	}
	return nil
}
