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

	ageing ageing
	turned time.Time // when a step back of the clock was told last

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
	j.ageing.elapsed = opts.elapsed()
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
	j.tellTurn(b)
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
