package journal

import (
	"context"
	"errors"
	"fmt"
	"time"

	"tbmsock/transport"
)

// A start reads at most about so much.
const (
	saveBlocks = 4096
	saveBytes  = 16 << 20
	saveAgain  = time.Minute // after one that failed
	warmBlocks = 256
)

// lookEvery is how many polls pass until one looks whether the stream is still the same.
const lookEvery = 5

// loadSoon is load, tried again while a cluster has no leader for a stream that has just been made or found. However long the journal is,
// it is read: what ends it is a time without any progress.
func (j *Journal) loadSoon(ctx context.Context) error {
	furthest, since := uint64(0), time.Now()
	for {
		err := j.load(ctx)
		if err == nil || j.store.embedded != nil || !errors.Is(err, transport.ErrJournalUnavailable) {
			return err
		}
		j.mu.Lock()
		if j.table != nil && j.table.applied > furthest {
			furthest, since = j.table.applied, time.Now()
		}
		j.mu.Unlock()
		if time.Since(since) > j.opts.stall {
			return err
		}
		select {
		case <-time.After(200 * time.Millisecond):
		case <-ctx.Done():
			return err
		}
	}
}

// load makes the table: from the one that is stored, and from the blocks since.
func (j *Journal) load(ctx context.Context) error {
	data, err := j.store.loadTable(ctx)
	if err != nil {
		return err
	}
	x, err := j.store.extent(ctx)
	if err != nil {
		return err
	}
	t := newTable()
	rebuilt := false
	if data != nil {
		if t, err = parseTable(data); err != nil {
			j.opts.OnWarning(err.Error() + "; it is made again from all blocks")
			t, rebuilt = newTable(), true
		}
	}
	if t.applied > x.last || x.missing > t.missing {
		// The disk has lost blocks that were written, and with fsync at intervals acknowledged too. What the
		// table says of them is no longer so, but for their offsets: nobody gets those again.
		j.opts.OnWarning(fmt.Sprintf("the journal has lost %d blocks that it had written, as happens when the power fails before an fsync; it is read as a whole", x.missing+max(t.applied, x.last)-x.last))
		lost := newTable()
		lost.next = t.next
		lost.keepAges(t, x.last)
		t, rebuilt = lost, true
	}
	t.missing, t.id = x.missing, x.id
	if from := max(x.first, 1) - 1; t.applied < from {
		// Blocks were given up that this table has not seen. The next one says which offset
		// it begins with; if there is none, more than they can have held is left out.
		t.next += (from - t.applied) * maxBlockEntries
		t.applied = from
	}
	next := t.next
	j.mu.Lock()
	if j.table != nil && j.table.id == x.id {
		// It is read again, having gone back: what was given once is not given again.
		next, rebuilt = max(next, j.table.next, j.given), true
		t.keepAges(j.table, x.last)
	}
	j.table, j.cache, j.cached, j.unsaved, j.marks = t, nil, 0, extentOf{}, nil
	j.first.seq, j.first.offset = 0, 0
	j.loading, j.given = true, next
	j.ageing.saved = t.lived
	j.loads++
	j.mu.Unlock()
	if err := j.warm(ctx, x.first); err != nil {
		return err
	}
	if err := j.catchUp(ctx, x.last); err != nil {
		return err
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	if n := len(j.cache); n > 0 && j.cache[n-1].seq != t.applied {
		j.cache, j.cached = nil, 0 // not all of the last ones could be read
	}
	if rebuilt {
		t.next = max(t.next, next)
		j.unsaved.blocks += saveBlocks
	}
	if p := j.pending; p != nil && !p.stored {
		j.pending = nil // its place, and its offsets, were those of before
	}
	j.loading = false
	j.tellChanged()
	return nil
}

// loadAgain is load for the writer, of a journal that is being used. Nothing is read or written until it has been done.
func (j *Journal) loadAgain(ctx context.Context) error {
	err := j.load(ctx)
	j.unread = err != nil
	return err
}

// errLoading is what readers are told meanwhile: the table says less than there is.
func errLoading() error {
	return fmt.Errorf("%w: it is being read again", transport.ErrJournalUnavailable)
}

// tellChanged wakes those who wait for what comes. j.mu is held.
func (j *Journal) tellChanged() {
	close(j.changed)
	j.changed = make(chan struct{})
}

// warm reads the last few of the blocks that are in the table already: publishers begin by sending again what
// was not acknowledged, and readers where they were.
func (j *Journal) warm(ctx context.Context, first uint64) error {
	j.mu.Lock()
	applied := j.table.applied
	j.mu.Unlock()
	from := max(first, 1)
	if applied >= warmBlocks {
		from = max(from, applied-warmBlocks+1)
	}
	for from <= applied {
		messages, err := j.store.fetch(ctx, from, fetchMessages, fetchBytes)
		if err != nil {
			return err
		}
		if len(messages) == 0 {
			return nil // this server is behind, or they have just been given up
		}
		for _, m := range messages {
			from = m.seq + 1
			if m.seq > applied {
				return nil
			}
			b, err := parseBlock(m.data, true)
			if err != nil {
				continue
			}
			b.seq = m.seq
			j.mu.Lock()
			behind := j.table.applied != applied
			if !behind {
				j.table.recall(b)
				j.keep(b)
			}
			j.mu.Unlock()
			if behind {
				return nil // new ones come already, and stand in memory alone
			}
		}
	}
	return nil
}

// readOn reads what others have written, where it has not come by itself; look has it see too whether the stream is still the one that it
// was, which one who only reads would not find out otherwise.
func (j *Journal) readOn(ctx context.Context, look bool) {
	var err error
	if j.unread {
		err = j.loadAgain(ctx)
	} else if err = j.catchUp(ctx, 0); err == nil && look {
		_, err = j.goneBack(ctx)
	}
	if err != nil && ctx.Err() == nil {
		select {
		case <-time.After(50 * time.Millisecond):
		case <-ctx.Done():
		}
	}
}

// goneBack reads the journal again if the stream has less than was seen of it, or is another one.
func (j *Journal) goneBack(ctx context.Context) (bool, error) {
	j.mu.Lock()
	applied, id := j.table.applied, j.table.id
	j.mu.Unlock()
	x, err := j.store.extent(ctx)
	if err != nil || x.last >= applied && x.id == id {
		return false, err
	}
	j.opts.OnWarning(fmt.Sprintf("the journal at %s has gone back to message %d of %s from %d of %s; it is read again", j.store.place(), x.last, x.id, applied, id))
	return true, j.loadAgain(ctx)
}

// catchUp reads blocks up to the message with sequence number upTo, which has been given, or, with upTo 0, until there
// are none.
func (j *Journal) catchUp(ctx context.Context, upTo uint64) error {
	moved, told := time.Now(), time.Now()
	for {
		j.mu.Lock()
		from := j.table.applied + 1
		j.mu.Unlock()
		if upTo > 0 && from > upTo {
			return nil
		}
		if upTo > 0 && time.Since(told) > j.opts.tellAfter {
			told = time.Now()
			j.opts.OnWarning(fmt.Sprintf("the journal at %s is being read: block %d of %d", j.store.place(), from, upTo))
		}
		messages, err := j.store.fetch(ctx, from, fetchMessages, fetchBytes)
		if err != nil {
			return err
		}
		if len(messages) == 0 {
			if upTo == 0 {
				return nil
			}
			// This server has not got it yet, or it is not there any more.
			there, err := j.store.after(ctx, from)
			if err != nil {
				return err
			}
			if there == 0 {
				j.skip(upTo)
				return nil
			}
			if there > from {
				j.skip(there - 1)
				continue
			}
			if time.Since(moved) > j.opts.stall {
				return fmt.Errorf("%w: this NATS server does not get block %d", transport.ErrJournalUnavailable, from)
			}
			select {
			case <-time.After(10 * time.Millisecond):
			case <-ctx.Done():
				return fmt.Errorf("%w: %w", transport.ErrJournalUnavailable, context.Cause(ctx))
			}
			continue
		}
		moved = time.Now()
		for _, m := range messages {
			if err := j.take(m); errors.Is(err, errGap) {
				j.skip(m.seq - 1)
				err = j.take(m)
				if err != nil {
					return err
				}
			}
		}
	}
}

// skip leaves out blocks that are not there any more.
func (j *Journal) skip(seq uint64) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if n := seq - j.table.applied; seq > j.table.applied {
		j.table.next += n * maxBlockEntries // where the next block says otherwise, that counts
		j.table.applied = seq
		j.cache, j.cached = nil, 0
		j.tellChanged()
	}
}

// save stores the table, so that a start need not read the blocks that are in it.
func (j *Journal) save(ctx context.Context) error {
	if j.opts.readOnly {
		return nil
	}
	j.mu.Lock()
	if j.loading {
		j.mu.Unlock()
		return nil // what is not read yet would be missing
	}
	j.countLived()
	data, was, lived := j.table.marshal(), j.unsaved, j.table.lived
	j.mu.Unlock()
	if err := j.store.saveTable(ctx, data); err != nil {
		return err
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	j.ageing.saved = lived
	j.unsaved.blocks -= was.blocks
	j.unsaved.bytes -= was.bytes
	return nil
}
