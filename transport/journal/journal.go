package journal

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"net/url"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"tbmsock/transport"
)

// Journal is a [transport.Journal] on NATS JetStream.
type Journal struct {
	opts  Options
	store *store

	mu      sync.Mutex
	table   *table
	unsaved extentOf // blocks that are not in the stored table
	cache   []*block // the latest, in order, without a hole
	cached  int64    // bytes of them
	changed chan struct{}
	pending *attempt
	ids     uint64        // of the blocks made by this node
	closed  bool          // no Append any more
	ended   chan struct{} // closed when nothing can be read any more
	queue   queue
	broken  map[key]broken
	first   struct{ seq, offset uint64 } // of the oldest block, as seen last
	marks   []*block                     // heads, sorted; see search
	loading bool                         // what there is is just being found out, again: nothing may be said of it
	given   uint64                       // offsets below it were given before it was
	loads   int                          // how often that has begun; numbers of messages mean something since then alone
	passed  int64                        // bytes of blocks since the last one that apply marked

	reading chan struct{}         // a place for each who may read the stream now
	lastKey atomic.Pointer[named] // of the latest Append

	ill    bool // what OnHealth was told last; the writer's
	unread bool // loading it again has failed; the writer's

	unreadable atomic.Uint64 // messages that readers had to leave out

	kick   chan struct{} // there may be something to read that live did not bring
	stop   chan struct{} // closed when the writer is to write what waits, and end
	abort  context.CancelFunc
	writer sync.WaitGroup
}

var _ transport.Journal = (*Journal)(nil)

type extentOf struct {
	blocks int
	bytes  int64
}

// A start reads at most about so much.
const (
	saveBlocks = 4096
	saveBytes  = 16 << 20
	saveAgain  = time.Minute // after one that failed
	warmBlocks = 256
)

// Open opens the journal, and makes it if there is none. A directory is this process's own until Close.
func Open(ctx context.Context, opts Options) (*Journal, error) {
	return open(ctx, opts)
}

// OpenReader opens a journal that is there to be read: nothing about it is changed, and Append refuses. A
// directory is this process's own until Close all the same.
func OpenReader(ctx context.Context, opts Options) (*Journal, error) {
	opts.readOnly = true
	return open(ctx, opts)
}

func open(ctx context.Context, opts Options) (*Journal, error) {
	opts, err := opts.withDefaults()
	if err != nil {
		return nil, err
	}
	if opts.Node == "" {
		opts.Node = rand.Text()[:12]
	}
	j := &Journal{
		opts:    opts,
		changed: make(chan struct{}),
		ended:   make(chan struct{}),
		broken:  map[key]broken{},
		reading: make(chan struct{}, max(runtime.GOMAXPROCS(0)/2, 1)),
		kick:    make(chan struct{}, 1),
		stop:    make(chan struct{}),
	}
	// Begins anywhere, so that two nodes that were given the same name do not take each other's blocks
	// for their own.
	var id [8]byte
	_, _ = rand.Read(id[:]) // never fails
	j.ids = binary.LittleEndian.Uint64(id[:])
	j.queue.init(opts.QueueBytes)
	// Blocks that come before the table is there are read again by load.
	j.store = &store{opts: opts, onLive: j.live, onLost: j.lost}
	if err := j.store.open(ctx); err != nil {
		return nil, err
	}
	if err := j.loadSoon(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("journal at %s: %w", j.store.place(), err), j.store.close())
	}
	writing, abort := context.WithCancel(context.Background())
	j.abort = abort
	j.writer.Add(1)
	go j.write(writing)
	return j, nil
}

// Close writes what waits, for as long as ctx allows, and ends the journal: what waits then is refused, and readers return.
func (j *Journal) Close(ctx context.Context) error {
	j.mu.Lock()
	if j.closed {
		j.mu.Unlock()
		<-j.ended
		return nil
	}
	j.closed = true
	j.mu.Unlock()
	j.queue.close()
	close(j.stop)
	undo := context.AfterFunc(ctx, j.abort)
	j.writer.Wait()
	undo()
	j.abort()
	close(j.ended)
	return j.store.close()
}

// Node is the name under which this process writes.
func (j *Journal) Node() string { return j.opts.Node }

// Place names where the journal is, for people.
func (j *Journal) Place() string { return j.store.place() }

// Unreadable is how many blocks those who read have had to leave out because they could not be read.
func (j *Journal) Unreadable() uint64 { return j.unreadable.Load() }

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
		lost.next, lost.stored = t.next, t.stored
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
	if j.table != nil {
		// It is read again, having gone back: what was given once is not given again.
		next, rebuilt = max(next, j.table.next, j.given), true
		t.stored = max(t.stored, j.table.stored)
	}
	j.table, j.cache, j.cached, j.unsaved, j.marks = t, nil, 0, extentOf{}, nil
	j.first.seq, j.first.offset = 0, 0
	j.loading, j.given = true, next
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

// lost tells the writer that blocks may have been missed.
func (j *Journal) lost() {
	select {
	case j.kick <- struct{}{}:
	default:
	}
}

// live takes a block that has just been stored, by any node.
func (j *Journal) live(m *message) {
	if err := j.take(m); err != nil {
		j.lost()
	}
}

var errGap = errors.New("journal: a block is missing")

// take takes in the next block of the stream, whoever brings it. Blocks that are known are left alone.
func (j *Journal) take(m *message) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.table == nil || m.seq <= j.table.applied {
		return nil
	}
	if m.seq > j.table.applied+1 {
		return errGap
	}
	return j.takeLocked(m)
}

func (j *Journal) takeLocked(m *message) error {
	if p := j.pending; p != nil {
		b, err := parseBlock(m.data, false)
		if err == nil && b.node == p.block.node && b.id == p.block.id {
			p.block.seq = m.seq
			p.stored = true
			j.apply(p.block)
			return nil
		}
	}
	b, err := parseBlock(m.data, true)
	if err != nil {
		// It is no block of ours. Its place in the stream is taken all the same.
		j.opts.OnWarning(fmt.Sprintf("message %d of stream %s is left out: %v", m.seq, j.opts.Stream, err))
		j.table.applied = m.seq
		j.tellChanged()
		return nil
	}
	b.seq = m.seq
	j.apply(b)
	return nil
}

// apply takes in a block that is in the stream. j.mu is held.
func (j *Journal) apply(b *block) {
	if b.base < j.table.next && j.table.applied+1 == b.seq && len(j.cache) > 0 {
		j.opts.OnWarning(fmt.Sprintf("block %d begins at offset %d, which was given before: somebody else writes to stream %s", b.seq, b.base, j.opts.Stream))
	}
	j.table.apply(b)
	j.unsaved.blocks++
	j.unsaved.bytes += int64(b.size)
	if j.passed += int64(b.size); j.passed >= markBytes {
		j.passed = 0
		j.mark(b)
	}
	j.keep(b)
	j.tellChanged()
}

// keep puts the block into memory, with those before it if it follows them: who reads there would go over a hole without seeing it.
// j.mu is held.
func (j *Journal) keep(b *block) {
	if n := len(j.cache); n > 0 && j.cache[n-1].seq+1 != b.seq {
		j.cache, j.cached = nil, 0
	}
	j.cache = append(j.cache, b)
	j.cached += int64(b.size)
	drop := 0
	for j.cached > j.opts.CacheBytes && drop < len(j.cache)-1 {
		j.cached -= int64(j.cache[drop].size)
		j.cache[drop] = nil
		drop++
	}
	j.cache = j.cache[drop:]
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
	data, was := j.table.marshal(), j.unsaved
	j.mu.Unlock()
	if err := j.store.saveTable(ctx, data); err != nil {
		return err
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	j.unsaved.blocks -= was.blocks
	j.unsaved.bytes -= was.bytes
	return nil
}

// redact takes the passwords out of URLs.
func redact(urls string) string {
	parts := strings.Split(urls, ",")
	for i, s := range parts {
		if u, err := url.Parse(strings.TrimSpace(s)); err == nil {
			parts[i] = u.Redacted()
		}
	}
	return strings.Join(parts, ",")
}

// versionAtLeast compares a server's version, "2.15.2" or "2.15.2-RC.1".
func versionAtLeast(version string, major, minor int) bool {
	var a, b int
	if _, err := fmt.Sscanf(version, "%d.%d", &a, &b); err != nil {
		return true // it says nothing: what is missing will be told when it is used
	}
	return a > major || a == major && b >= minor
}
