package journal

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"google.golang.org/protobuf/encoding/protowire"

	"tbmsock/transport"
)

// attempt is the block that the writer is publishing. Whoever finds it in the stream may set block.seq and stored, which are guarded by
// j.mu; the rest is the writer's.
type attempt struct {
	block   *block
	data    []byte
	waiting []*waiting // one for each of the block's entries
	unknown bool       // an answer was missing: it may be in the stream, or come to be
	stored  bool       // it is in the stream
}

// broken remembers that an entry was refused, so that those behind it do not overtake it.
type broken struct {
	seq   uint64
	until time.Time
	err   error
}

// blockOverhead is what a message needs beside the entries, at most.
const blockOverhead = 4 << 10

// Append is that of [transport.Journal]. What does not get into the queue, since ctx has ended or the journal is closed or only read, is
// answered before Append returns, and not one at a time with the others.
func (j *Journal) Append(ctx context.Context, e transport.JournalEntry, done func(offset uint64, duplicate bool, err error)) {
	if j.opts.readOnly {
		done(0, false, fmt.Errorf("%w: it has been opened to be read", transport.ErrJournalUnavailable))
		return
	}
	if e.Seq != 0 && (e.Source == "" || e.Boot == "") {
		e.Seq = 0 // no name to know it by
	}
	size := 64 + len(e.Source) + len(e.Boot) + len(e.Room) + len(e.Namespace) + len(e.Sid) + len(e.Value.JSON)
	for _, a := range e.Value.Attachments {
		size += len(a) + 8
	}
	w := &waiting{done: done}
	w.data = appendEntry(make([]byte, 0, size), &e)
	w.entry = e
	if limit := j.store.maxPayload(); limit > 0 && int64(len(w.data)) > limit-blockOverhead {
		// Its answer comes in its turn.
		w.err = fmt.Errorf("%w: %d bytes, and %d fit", transport.ErrJournalTooLarge, len(w.data), limit-blockOverhead)
		w.data, w.entry.Value = nil, transport.Value{}
	}
	if e.Seq != 0 {
		w.key = j.keyOf(e.Source, e.Boot)
	}
	if err := j.queue.put(ctx, w); err != nil {
		done(0, false, err)
	}
}

// named is a key and what it stands for.
type named struct {
	source, boot string
	key          key
}

// keyOf is the function, for which one and the same publisher does not pay each time.
func (j *Journal) keyOf(source, boot string) key {
	if n := j.lastKey.Load(); n != nil && n.source == source && n.boot == boot {
		return n.key
	}
	k := keyOf(source, boot)
	j.lastKey.Store(&named{source, boot, k})
	return k
}

// write is the one goroutine that writes the journal.
func (j *Journal) write(ctx context.Context) {
	defer j.writer.Done()
	poll := time.NewTicker(j.opts.poll)
	defer poll.Stop()
	var saved time.Time // when storing the table failed last
	polls := 0
	pace := newPace()
	defer pace.timer.Stop()
	stopping := false
	for {
		select {
		case <-j.queue.filled:
		case <-j.kick:
			j.readOn(ctx, true)
			continue
		case <-poll.C:
			// A block may have been missed without a word when a server went down.
			if polls++; j.store.embedded == nil || j.unread {
				j.readOn(ctx, polls%lookEvery == 0)
			}
			if j.ill && j.queue.empty() { // otherwise what waits shows it
				j.probe(ctx)
			}
			j.age(ctx)
			continue
		case <-j.stop:
			stopping = true
		}
		if wait := pace.wait(); wait != nil && !stopping && !j.queue.full() {
			select {
			case <-wait:
			case <-j.stop:
				stopping = true
			}
		}
		batch := j.queue.take(maxBlockEntries, j.blockBytes())
		if len(batch) > 0 {
			err := j.writeBatch(ctx, batch)
			if err != nil && !errors.Is(err, transport.ErrJournalTooLarge) {
				j.refuse(err)
			}
		}
		j.mu.Lock()
		due := j.unsaved.blocks >= saveBlocks || j.unsaved.bytes >= min(saveBytes, j.opts.RetainBytes/4)
		due = due && time.Since(saved) > saveAgain
		done := stopping && len(batch) == 0
		due = due || done && (j.unsaved.blocks > 0 || j.keepsAge() && j.table.applied > 0 && j.lived() > time.Second)
		j.mu.Unlock()
		if due {
			if err := j.save(ctx); err != nil {
				saved = time.Now()
				j.opts.OnWarning("the journal's table could not be stored; the next start takes longer: " + err.Error())
			}
		}
		if done {
			return
		}
		if stopping {
			// The queue is closed: what is in it is the last.
			select {
			case j.queue.filled <- struct{}{}:
			default:
			}
		}
	}
}

// pace lets blocksPerSecond through, and some at once after a pause.
type pace struct {
	left  float64 // blocks
	at    time.Time
	timer *time.Timer
}

func newPace() *pace {
	t := time.NewTimer(0)
	t.Stop()
	return &pace{left: blocksAtOnce, at: time.Now(), timer: t}
}

// wait counts a block; the channel, if not nil, tells when it may go.
func (p *pace) wait() <-chan time.Time {
	now := time.Now()
	p.left = min(p.left+now.Sub(p.at).Seconds()*blocksPerSecond, blocksAtOnce) - 1
	p.left = max(p.left, -3) // a full queue is let through at once, and is not to be paid for later
	p.at = now
	if p.left >= 0 {
		return nil
	}
	p.timer.Reset(time.Duration(-p.left / blocksPerSecond * float64(time.Second)))
	return p.timer.C
}

// blockBytes is how much goes into one block.
func (j *Journal) blockBytes() int {
	size := maxBlockBytes
	for _, limit := range []int64{j.store.maxPayload(), j.store.maxMessage.Load()} {
		if limit > 0 {
			size = min(size, int(limit)-blockOverhead)
		}
	}
	return size
}

// refuse answers all that waits with the error.
func (j *Journal) refuse(err error) {
	for _, w := range j.queue.takeAll() {
		j.refuseOne(w, err)
	}
}

func (j *Journal) refuseOne(w *waiting, err error) {
	if w.err != nil {
		err = w.err
	}
	if w.entry.Seq != 0 && !errors.Is(err, transport.ErrJournalTooLarge) { // which is not sent again, so nothing waits for it
		j.mu.Lock()
		b, ok := j.broken[w.key]
		if !ok || w.entry.Seq < b.seq || time.Now().After(b.until) {
			b.seq = w.entry.Seq
		}
		if !ok && len(j.broken) >= maxKeys {
			clear(j.broken) // order is for those who mean well
		}
		b.until, b.err = time.Now().Add(j.opts.brokenFor), err
		j.broken[w.key] = b
		j.mu.Unlock()
	}
	w.done(0, false, err)
}

// writeBatch writes the entries, or says why not; each has its answer afterwards.
func (j *Journal) writeBatch(ctx context.Context, batch []*waiting) error {
	deadline := batch[0].since.Add(j.opts.AppendTimeout)
	backoff := 20 * time.Millisecond
	for {
		p := j.prepare(batch)
		if p == nil {
			return nil // nothing was new
		}
		batch = p.waiting
		err := j.publish(ctx, p)
		if err == nil {
			j.tellHealth(nil)
			j.answer(p)
			return nil
		}
		if errors.Is(err, transport.ErrJournalTooLarge) && len(batch) > 1 {
			return j.writeHalves(ctx, batch)
		}
		if errors.Is(err, transport.ErrJournalFull) || errors.Is(err, transport.ErrJournalTooLarge) || ctx.Err() != nil || time.Now().After(deadline) {
			j.mu.Lock()
			stored := p.stored
			j.pending = nil
			j.mu.Unlock()
			if stored {
				j.answer(p)
				return nil
			}
			if ctx.Err() != nil {
				err = fmt.Errorf("%w: it ended before this was acknowledged", transport.ErrJournalClosed)
			}
			j.tellHealth(err)
			for _, w := range batch {
				j.refuseOne(w, err)
			}
			return err
		}
		if errors.Is(err, errAgain) {
			continue
		}
		select {
		case <-time.After(backoff):
		case <-ctx.Done():
		}
		backoff = min(2*backoff, 200*time.Millisecond)
	}
}

// writeHalves writes a batch that is too large for one message of the stream, though each of its entries may not be, in its order.
func (j *Journal) writeHalves(ctx context.Context, batch []*waiting) error {
	j.mu.Lock()
	j.pending = nil
	j.mu.Unlock()
	first, second := batch[:len(batch)/2], batch[len(batch)/2:]
	if err := j.writeBatch(ctx, first); err != nil && !errors.Is(err, transport.ErrJournalTooLarge) {
		for _, w := range second {
			j.refuseOne(w, err)
		}
		return err
	}
	return j.writeBatch(ctx, second)
}

// prepare makes the next attempt from those entries that are new, and answers the others. It returns nil if
// none is new. An attempt that may have been stored is kept as it is, as long as it can still be.
func (j *Journal) prepare(batch []*waiting) *attempt {
	type answer struct {
		w         *waiting
		offset    uint64
		duplicate bool
		err       error
	}
	var answers []answer
	var twins map[*waiting]*waiting // repeats within the batch
	j.mu.Lock()
	if p := j.pending; p != nil && (p.stored || p.unknown && j.table.applied+1 == p.block.seq) {
		j.mu.Unlock()
		return p
	}
	now := time.Now()
	fresh := batch[:0:0]
	var seen map[place]*waiting
	if len(batch) > 1 {
		seen = make(map[place]*waiting, len(batch))
	}
	for _, w := range batch {
		if w.err != nil {
			answers = append(answers, answer{w: w, err: w.err})
			continue
		}
		if w.entry.Seq == 0 {
			fresh = append(fresh, w)
			continue
		}
		has, offset, err := j.table.lookup(w.key, w.entry.Seq)
		if b, ok := j.broken[w.key]; ok && !has && err == nil {
			switch {
			case w.entry.Seq <= b.seq || now.After(b.until):
				delete(j.broken, w.key)
			default:
				err = fmt.Errorf("seq %d was refused, and this one waits until it has been sent again: %w", b.seq, b.err)
			}
		}
		if has || err != nil {
			answers = append(answers, answer{w, offset, has, err})
			continue
		}
		if seen != nil {
			p := place{w.key, w.entry.Seq}
			if twin := seen[p]; twin != nil {
				if twins == nil {
					twins = map[*waiting]*waiting{}
				}
				twins[w] = twin
				continue
			}
			seen[p] = w
		}
		fresh = append(fresh, w)
	}
	var next *attempt
	if len(fresh) > 0 {
		next = j.attempt(fresh)
	}
	j.pending = next
	j.mu.Unlock()
	for _, a := range answers {
		a.w.done(a.offset, a.duplicate, a.err)
	}
	for w, twin := range twins {
		// It gets the same answer, as a repeat.
		first := twin.done
		second := w.done
		twin.done = func(offset uint64, duplicate bool, err error) {
			first(offset, duplicate, err)
			second(offset, duplicate || err == nil, err)
		}
	}
	return next
}

// attempt makes a block. j.mu is held.
func (j *Journal) attempt(batch []*waiting) *attempt {
	j.ids++
	b := &block{
		base:    j.table.next,
		count:   uint64(len(batch)),
		stored:  j.stamp(),
		node:    j.opts.Node,
		id:      j.ids,
		seq:     j.table.applied + 1,
		entries: make([]transport.JournalEntry, len(batch)),
	}
	size := blockOverhead
	for _, w := range batch {
		size += len(w.data) + 8
	}
	data := b.appendHead(make([]byte, 0, size))
	for i, w := range batch {
		data = protowire.AppendTag(data, blockFieldEntry, protowire.BytesType)
		data = protowire.AppendBytes(data, w.data)
		e := w.entry
		e.Offset, e.Stored, e.Node = b.base+uint64(i), b.stored, b.node
		b.entries[i] = e
	}
	b.size = len(data)
	return &attempt{block: b, data: data, waiting: batch}
}

// errAgain: others were faster; what they wrote has been read.
var errAgain = fmt.Errorf("%w: other nodes were faster each time", transport.ErrJournalUnavailable)

// publish tries to get the attempt into the stream.
func (j *Journal) publish(ctx context.Context, p *attempt) error {
	err := j.tryPublish(ctx, p)
	j.mu.Lock()
	defer j.mu.Unlock()
	if p.stored {
		return nil // by this, or found among what was read
	}
	return err
}

func (j *Journal) tryPublish(ctx context.Context, p *attempt) error {
	m := j.store.embedded
	if j.unread && (m == nil || !m.broken) {
		if err := j.loadAgain(ctx); err != nil {
			return err
		}
	}
	if m != nil {
		if err := m.room(int64(len(p.data))); err != nil {
			return err
		}
		if m.broken {
			if err := j.revive(ctx); err != nil {
				return err
			}
		}
	}
	j.mu.Lock()
	stored, current, behind := p.stored, j.pending == p, p.block.seq-1
	j.mu.Unlock()
	switch {
	case stored:
		return nil
	case !current:
		return fmt.Errorf("%w: it has been read again", transport.ErrJournalUnavailable)
	}
	seq, err := j.store.publish(ctx, p.data, behind)
	var other *sequenceError
	switch {
	case err == nil:
		j.mu.Lock()
		defer j.mu.Unlock()
		if p.stored {
			return nil
		}
		if seq != p.block.seq || j.table.applied != seq-1 {
			return fmt.Errorf("%w: message %d was acknowledged as %d", transport.ErrJournalUnavailable, p.block.seq, seq)
		}
		p.stored = true
		j.apply(p.block)
		return nil
	case errors.As(err, &other):
		return j.overtaken(ctx, p)
	case errors.Is(err, errUnknown):
		p.unknown = true
	}
	if m != nil && errors.Is(err, transport.ErrJournalUnavailable) && ctx.Err() == nil {
		// Nobody is in the way here: it has met an error on the disk, and does not write again
		// before it has been started again.
		m.broken = true
		if reason := m.log.latest(""); strings.Contains(reason, "no space left") {
			err = fmt.Errorf("%w: disk full: %s", transport.ErrJournalFull, reason)
		} else if reason != "" {
			err = fmt.Errorf("%w: %s", err, reason)
		}
	}
	return err
}

// overtaken reads what others have written.
func (j *Journal) overtaken(ctx context.Context, p *attempt) error {
	if err := j.catchUp(ctx, 0); err != nil {
		return err
	}
	j.mu.Lock()
	applied := j.table.applied
	overtaken := applied >= p.block.seq
	j.mu.Unlock()
	if overtaken {
		return errAgain
	}
	// Nothing new. Either it is on its way through the cluster, or the stream has less than was seen of it.
	back, err := j.goneBack(ctx)
	if err != nil {
		return err
	}
	if !back {
		select {
		case <-time.After(5 * time.Millisecond):
		case <-ctx.Done():
		}
	}
	return errAgain
}

// answer tells those whose entries are stored.
func (j *Journal) answer(p *attempt) {
	j.mu.Lock()
	j.pending = nil
	j.mu.Unlock()
	for i, w := range p.waiting {
		w.done(p.block.base+uint64(i), false, nil)
	}
}
