package journal

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"sort"
	"time"

	"tbmsock/transport"
)

// cursor goes through the entries in order: those in memory, or those of the stream.
type cursor struct {
	j    *Journal
	next uint64     // offset
	seq  uint64     // of the message that holds it; 0 if not known
	read []*message // that follow each other from seq on
	// ahead is the batch behind those, being fetched while they are used.
	ahead *ahead
	space []transport.JournalEntry // of the entries handed out last
}

type ahead struct {
	seq      uint64
	cancel   context.CancelFunc
	done     chan struct{} // closed when the rest is set
	messages []*message
	err      error
}

// close waits for what the cursor has begun.
func (c *cursor) close() {
	if c.ahead != nil {
		c.ahead.cancel()
		<-c.ahead.done
		c.ahead = nil
	}
}

// fetch returns messages from c.seq on, and begins to fetch more if there are.
func (c *cursor) fetch(ctx context.Context) ([]*message, error) {
	var got []*message
	if a := c.ahead; a != nil {
		<-a.done
		a.cancel()
		c.ahead = nil
		if a.seq == c.seq && a.err == nil {
			got = a.messages
		}
	}
	if len(got) == 0 {
		var err error
		if got, err = c.j.store.fetch(ctx, c.seq, readMessages, readBytes); err != nil || len(got) == 0 {
			return nil, err
		}
	}
	bytes := 0
	for _, m := range got {
		bytes += len(m.data)
	}
	if len(got) >= readMessages || bytes >= readBytes*3/4 {
		ctx, cancel := context.WithCancel(ctx)
		a := &ahead{seq: got[len(got)-1].seq + 1, cancel: cancel, done: make(chan struct{})}
		c.ahead = a
		go func() {
			defer close(a.done)
			a.messages, a.err = c.j.store.fetch(ctx, a.seq, readMessages, readBytes)
		}()
	}
	return got, nil
}

// step returns entries from next on, and moves behind them; none if there are none yet. The slice is good until the next step; what is
// in it is shared.
func (c *cursor) step(ctx context.Context) ([]transport.JournalEntry, error) {
	for {
		entries, known, err := c.fromCache()
		if err != nil || known {
			return entries, err
		}
		if entries, err := c.fromStream(ctx); err != nil || len(entries) > 0 {
			return entries, err
		}
	}
}

// fromCache looks for the next entries in memory. known is false if they are older than what is there.
func (c *cursor) fromCache() (entries []transport.JournalEntry, known bool, err error) {
	j := c.j
	j.mu.Lock()
	defer j.mu.Unlock()
	select {
	case <-j.ended:
		return nil, true, transport.ErrJournalClosed
	default:
	}
	if c.next >= j.table.next {
		return nil, true, nil
	}
	if len(j.cache) == 0 || c.next < j.cache[0].base {
		return nil, false, nil
	}
	i := sort.Search(len(j.cache), func(i int) bool { return j.cache[i].next() > c.next })
	if i == len(j.cache) {
		c.next = j.table.next // offsets that were never given
		return nil, true, nil
	}
	return c.cut(j.cache[i]), true, nil
}

// cut returns the entries of the block from next on, and moves behind them.
func (c *cursor) cut(b *block) []transport.JournalEntry {
	entries := b.entries
	if c.next > b.base {
		entries = entries[min(c.next-b.base, uint64(len(entries))):]
	}
	c.next = max(c.next, b.next())
	c.seq = b.seq + 1
	return entries
}

// fromStream reads on in the stream. It returns nothing if memory is to be looked at again.
func (c *cursor) fromStream(ctx context.Context) ([]transport.JournalEntry, error) {
	if c.seq == 0 {
		head, err := c.j.search(ctx, func(b *block) bool { return b.next() > c.next })
		if err != nil {
			return nil, err
		}
		if head == nil { // all that was kept has been given up
			c.j.mu.Lock()
			defer c.j.mu.Unlock()
			if len(c.j.cache) > 0 {
				c.next = c.j.cache[0].base
			} else {
				c.next = c.j.table.next
			}
			return nil, nil
		}
		c.seq = head.seq
	}
	for waited := time.Duration(0); len(c.read) == 0 || c.read[0].seq != c.seq; waited += 10 * time.Millisecond {
		var err error
		if c.read, err = c.fetch(ctx); err != nil {
			return nil, err
		}
		if len(c.read) > 0 {
			c.seq = c.read[0].seq // further on than asked if some have been given up
			break
		}
		// Memory may have it by now, or never had it; or this server is behind the others.
		c.j.mu.Lock()
		known := true
		switch t, cache := c.j.table, c.j.cache; {
		case c.seq > t.applied:
			c.next = max(c.next, t.next)
		case len(cache) > 0 && cache[0].seq <= c.seq:
			c.next = max(c.next, cache[0].base)
		default:
			known = false
		}
		c.j.mu.Unlock()
		if known {
			return nil, nil
		}
		there, err := c.j.store.after(ctx, c.seq)
		switch {
		case err != nil:
			return nil, err
		case there == 0:
			// Lost, up to what has been written since.
			c.j.mu.Lock()
			c.next = max(c.next, c.j.table.next)
			if len(c.j.cache) > 0 {
				c.next = min(c.next, c.j.cache[0].base)
			}
			c.j.mu.Unlock()
			return nil, nil
		case there > c.seq:
			c.seq = there
		case waited > fetchTimeout:
			return nil, fmt.Errorf("%w: message %d cannot be read", transport.ErrJournalUnavailable, c.seq)
		}
		select {
		case <-time.After(10 * time.Millisecond):
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
	m := c.read[0]
	c.read = c.read[1:]
	b, err := parseBlockInto(m.data, true, c.space)
	if err != nil {
		c.j.unreadable.Add(1)
		c.j.opts.OnWarning(fmt.Sprintf("message %d of stream %s is left out: %v", m.seq, c.j.opts.Stream, err))
		c.seq++
		return nil, nil
	}
	b.seq = m.seq
	c.space = b.entries
	return c.cut(b), nil
}

// search returns the head of the first block in the stream for which found says true; that must be so of
// all behind it too. It returns nil if there is none.
func (j *Journal) search(ctx context.Context, found func(*block) bool) (*block, error) {
	x, err := j.store.extent(ctx)
	if err != nil {
		return nil, err
	}
	first, last := x.first, x.last
	var best *block
	for first <= last {
		middle := first + (last-first)/2
		b, err := j.head(ctx, middle)
		if err != nil {
			return nil, err
		}
		switch {
		case b == nil || b.seq > last:
			last = middle - 1
		case found(b):
			best = b
			last = middle - 1
		default:
			first = b.seq + 1
		}
	}
	return best, nil
}

// head reads the head of the first block at or behind a sequence number.
func (j *Journal) head(ctx context.Context, seq uint64) (*block, error) {
	for {
		messages, err := j.store.fetch(ctx, seq, 1, 1)
		if err != nil || len(messages) == 0 {
			return nil, err
		}
		b, err := parseBlock(messages[0].data, false)
		if err == nil {
			b.seq = messages[0].seq
			return b, nil
		}
		seq = messages[0].seq + 1 // not one of ours
	}
}

// Read is that of [transport.Journal].
func (j *Journal) Read(ctx context.Context, from, to uint64) iter.Seq2[transport.JournalEntry, error] {
	return func(yield func(transport.JournalEntry, error) bool) {
		c := &cursor{j: j, next: max(from, 1)}
		defer c.close()
		for c.next <= to {
			if ctx.Err() != nil {
				yield(transport.JournalEntry{}, context.Cause(ctx))
				return
			}
			entries, err := c.step(ctx)
			if err != nil {
				yield(transport.JournalEntry{}, err)
				return
			}
			if len(entries) == 0 {
				return
			}
			for _, e := range entries {
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
	j.mu.Lock()
	c.next = min(c.next, j.table.next)
	j.mu.Unlock()
	backoff := 10 * time.Millisecond
	for {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		j.mu.Lock()
		changed := j.changed
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
	first, next, err := j.bounds(ctx)
	if err != nil {
		return 0, err
	}
	switch {
	case start.Offset > 0:
		return max(start.Offset, first), nil
	case !start.Time.IsZero():
		b, err := j.search(ctx, func(b *block) bool { return !b.stored.Before(start.Time) })
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

// bounds returns the offset of the oldest entry, and that of the next one; they are the same if there is none.
func (j *Journal) bounds(ctx context.Context) (first, next uint64, err error) {
	x, err := j.store.extent(ctx)
	if err != nil {
		return 0, 0, err
	}
	return j.boundsFrom(ctx, x.first)
}

func (j *Journal) boundsFrom(ctx context.Context, seq uint64) (first, next uint64, err error) {
	j.mu.Lock()
	next, known := j.table.next, j.first
	applied := j.table.applied
	j.mu.Unlock()
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
	first, next, err := j.boundsFrom(ctx, x.first)
	if err != nil {
		return transport.JournalState{}, err
	}
	s := transport.JournalState{First: first, Last: next - 1, Bytes: x.bytes}
	if first == next {
		s.First = 0
	}
	return s, nil
}
