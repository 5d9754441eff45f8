package journal

import (
	"context"
	"errors"
	"fmt"
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
	load  int                      // of the journal, in which the numbers of messages are good
	id    string                   // of the journal, in which offsets are
	space []transport.JournalEntry // of the entries handed out last
	bytes int                      // read since the last mark
}

type ahead struct {
	load     int // that of the cursor
	seq      uint64
	cancel   context.CancelFunc
	done     chan struct{} // closed when the rest is set
	messages []*message
	err      error
}

// errAnother ends those who read while the stream is made anew: offsets in what is there now are others.
var errAnother = errors.New("journal: it is another journal now")

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
		if a.load == c.load && a.seq == c.seq && a.err == nil {
			got = a.messages
		}
	}
	if len(got) == 0 {
		var err error
		if got, err = c.j.readBatch(ctx, c.seq); err != nil || len(got) == 0 {
			return nil, err
		}
	}
	bytes := 0
	for _, m := range got {
		bytes += len(m.data)
	}
	if len(got) >= readMessages || bytes >= readBytes*3/4 {
		ctx, cancel := context.WithCancel(ctx)
		a := &ahead{load: c.load, seq: got[len(got)-1].seq + 1, cancel: cancel, done: make(chan struct{})}
		c.ahead = a
		go func() {
			defer close(a.done)
			a.messages, a.err = c.j.readBatch(ctx, a.seq)
		}()
	}
	return got, nil
}

// readBatch fetches messages for those who read the stream. However many they are, the server works for few at a time: for each it
// may have to read a file of several megabytes.
func (j *Journal) readBatch(ctx context.Context, seq uint64) ([]*message, error) {
	select {
	case j.reading <- struct{}{}:
		defer func() { <-j.reading }()
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	return j.store.fetch(ctx, seq, readMessages, readBytes)
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
	if j.loading {
		return nil, true, errLoading()
	}
	if c.load != j.loads {
		if c.load != 0 && c.id != j.table.id {
			return nil, true, errAnother
		}
		// It may have gone back, and other entries have got the numbers of those that were lost.
		c.load, c.id, c.seq, c.read = j.loads, j.table.id, 0, nil
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
			switch {
			case c.load != c.j.loads:
			case len(c.j.cache) > 0:
				c.next = max(c.next, c.j.cache[0].base)
			default:
				c.next = max(c.next, c.j.table.next)
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
		case c.load != c.j.loads:
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
			if c.load == c.j.loads {
				next := c.j.table.next
				if len(c.j.cache) > 0 {
					next = c.j.cache[0].base
				}
				c.next = max(c.next, next)
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
	if c.bytes += b.size; c.bytes >= markBytes {
		c.bytes = 0
		c.j.mu.Lock()
		if c.load == c.j.loads {
			c.j.mark(b)
		}
		c.j.mu.Unlock()
	}
	return c.cut(b), nil
}
