package journal

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"time"

	"tbmsock/transport"
)

// Read is that of [transport.Journal].
func (j *Journal) Read(ctx context.Context, from, to uint64) iter.Seq2[transport.JournalEntry, error] {
	return func(yield func(transport.JournalEntry, error) bool) {
		c := &cursor{j: j, next: max(from, 1)}
		defer c.close()
		for c.next <= to {
			entries, err := c.step(ctx)
			if err != nil {
				yield(transport.JournalEntry{}, err)
				return
			}
			if len(entries) == 0 {
				return
			}
			for _, e := range entries {
				// A block may hold thousands of entries, so between them too.
				if ctx.Err() != nil {
					yield(transport.JournalEntry{}, context.Cause(ctx))
					return
				}
				if e.Offset > to || !yield(e, nil) {
					return
				}
			}
		}
	}
}

// Tail is that of [transport.Journal].
func (j *Journal) Tail(ctx context.Context, from uint64, next func([]transport.JournalEntry) error) error {
	c := &cursor{j: j, next: max(from, 1)}
	defer c.close()
	begun := false
	backoff := 10 * time.Millisecond
	for {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		j.mu.Lock()
		changed := j.changed
		if !begun && !j.loading {
			c.next, begun = min(c.next, j.table.next), true
		}
		j.mu.Unlock()
		entries, err := c.step(ctx)
		switch {
		case errors.Is(err, transport.ErrJournalUnavailable):
			// It may be a while until it can be read again; nothing is lost by waiting.
			c.read = nil
			select {
			case <-time.After(backoff):
			case <-ctx.Done():
			case <-j.ended:
			}
			backoff = min(2*backoff, time.Second)
			continue
		case err != nil:
			return err
		}
		backoff = 10 * time.Millisecond
		if len(entries) > 0 {
			if err := next(entries); err != nil {
				return err
			}
			continue
		}
		c.close() // it has caught up
		select {
		case <-changed:
		case <-ctx.Done():
		case <-j.ended:
			return transport.ErrJournalClosed
		}
	}
}

// Locate is that of [transport.Journal].
func (j *Journal) Locate(ctx context.Context, start transport.JournalStart) (uint64, error) {
	x, err := j.store.extent(ctx)
	if err == nil && (!start.Time.IsZero() || start.Last > 0) {
		err = j.reach(ctx, x)
	}
	if err != nil {
		return 0, err
	}
	first, next, err := j.bounds(ctx, x.first)
	if err != nil {
		return 0, err
	}
	switch {
	case start.Offset > 0:
		return max(start.Offset, first), nil
	case !start.Time.IsZero():
		b, err := j.firstSince(ctx, start.Time)
		if err != nil {
			return 0, err
		}
		if b == nil {
			return next, nil
		}
		return b.base, nil
	case start.Last > 0:
		if start.Last >= next-first {
			return first, nil
		}
		return next - start.Last, nil
	}
	return first, nil
}

// reach waits until this node has what the stream had: it may be behind the server that leads it, and would say of what others were
// acknowledged that it is not there; or know another stream, from before this one was made.
func (j *Journal) reach(ctx context.Context, x extent) error {
	ctx, cancel := context.WithTimeout(ctx, fetchTimeout)
	defer cancel()
	for first := true; ; first = false {
		j.mu.Lock()
		applied, id, loading, changed := j.table.applied, j.table.id, j.loading, j.changed
		j.mu.Unlock()
		switch {
		case loading:
			return errLoading()
		case applied >= x.last && id == x.id:
			return nil
		}
		if !first {
			j.lost() // where it does not come by itself, the writer reads it
		}
		again := time.NewTimer(20 * time.Millisecond)
		select {
		case <-changed:
		case <-again.C:
		case <-j.ended:
			return transport.ErrJournalClosed
		case <-ctx.Done():
			return fmt.Errorf("%w: this node has block %d of %d: %w", transport.ErrJournalUnavailable, applied, x.last, context.Cause(ctx))
		}
		again.Stop()
	}
}

// bounds returns the offset of the oldest entry, which the message with sequence number seq holds, and that of the next one; they are the
// same if there is none.
func (j *Journal) bounds(ctx context.Context, seq uint64) (first, next uint64, err error) {
	j.mu.Lock()
	next, known := j.table.next, j.first
	applied, loading := j.table.applied, j.loading
	j.mu.Unlock()
	if loading {
		return 0, 0, errLoading()
	}
	if known.seq == seq && known.offset != 0 {
		return known.offset, next, nil
	}
	if seq > applied {
		return next, next, nil
	}
	b, err := j.head(ctx, seq)
	if err != nil {
		return 0, 0, err
	}
	if b == nil {
		return next, next, nil
	}
	j.mu.Lock()
	j.first.seq, j.first.offset = b.seq, b.base
	j.mu.Unlock()
	return b.base, next, nil
}

// State is that of [transport.Journal].
func (j *Journal) State(ctx context.Context) (transport.JournalState, error) {
	x, err := j.store.extent(ctx)
	if err != nil {
		return transport.JournalState{}, err
	}
	if err := j.reach(ctx, x); err != nil {
		return transport.JournalState{}, err
	}
	first, next, err := j.bounds(ctx, x.first)
	if err != nil {
		return transport.JournalState{}, err
	}
	s := transport.JournalState{ID: x.id, First: first, Last: next - 1, Bytes: x.bytes}
	if first == next {
		s.First = 0
	}
	return s, nil
}
