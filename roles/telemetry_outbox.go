package roles

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/sirupsen/logrus"
	"github.com/urfave/cli/v2"

	"tbmsock/transport"
	"tbmsock/transport/spool"
)

// inMemory is the value of --outbox that keeps packets in memory alone.
const inMemory = "memory"

// Bounds of what an outbox on disk holds in memory.
const (
	outboxMemory = 64 << 20 // waits for a disk that takes nothing
	outboxFlight = 4 << 20  // is under way to the server
	outboxBatch  = 1024     // packets that share a write
	outboxRetry  = 500 * time.Millisecond
	// Sent from memory, and not acknowledged yet, while the disk rejects writes: no more than the client takes without
	// blocking.
	outboxDirect      = 256 // packets
	outboxDirectBytes = 512 << 10
)

// outboxFlags say where packets wait until the server has acknowledged them.
func outboxFlags() []cli.Flag {
	return []cli.Flag{
		textFlag("outbox", "directory in which packets wait until the server has acknowledged them, also over a restart; memory keeps up to 64MiB of them as long as the process runs", inMemory),
		bytesFlag("outbox-limit", "size of that directory", 1<<30, 1<<20, 1<<40),
		choiceFlag("outbox-full", "what happens when it is full: the oldest packets are dropped, or new ones refused", "drop-oldest", "refuse"),
		valueFlag("outbox-fsync", "when packets are forced to the disk: always (before they are sent; a power cut loses none), or interval=1s (it loses that much at most); a crash of the process alone loses none", &fsyncValue{}),
	}
}

func noAcksFlag() cli.Flag {
	return switchFlag("no-acks", "the server acknowledges nothing (a plain Socket.IO server): packets leave --outbox DIR after a heartbeat")
}

// outboxOptions are what the flags say; nil if packets are kept in memory.
func outboxOptions(c *cli.Context) (*spool.Options, error) {
	dir := c.String("outbox")
	if dir == inMemory {
		return nil, nil
	}
	if dir == "" {
		return nil, errors.New("--outbox: the directory is empty; use one such as tbmsock-outbox, or memory")
	}
	opts := &spool.Options{Dir: dir, MaxBytes: bytesOf(c, "outbox-limit"), SyncInterval: fsyncOf(c, "outbox-fsync").interval}
	if choiceOf(c, "outbox-full") == "refuse" {
		opts.WhenFull = spool.Refuse
	}
	return opts, nil
}

// outbox keeps packets on disk between the machine and the server. Whoever takes readings waits for neither: the writer
// brings them to the disk, and the feeder from there to the client. While the disk rejects writes the writer hands
// packets to the client itself, once everything on the disk has been acknowledged.
type outbox struct {
	log    *logrus.Entry
	client *transport.Client
	spool  *spool.Spool
	refuse bool // the policy; else the oldest are dropped

	mu      sync.Mutex
	pending []*pending // not on the disk yet
	bytes   int
	direct  int    // of pending, sent and not settled
	sent    int    // bytes of them
	lost    uint64 // neither on the disk nor acknowledged
	told    bool   // that memory is full
	kick    chan struct{}
	changed chan struct{} // closed and replaced when something has left pending
}

// pending is a packet that is not on the disk.
type pending struct {
	record  []byte
	sent    bool // from memory
	settled bool // on the disk, or answered by the server
	dropped bool // counted as lost; it can still be settled
}

// openOutbox opens the directory, and tells what it has found there.
func openOutbox(opts spool.Options, client *transport.Client, log *logrus.Logger) (*outbox, error) {
	entry := log.WithField("outbox", opts.Dir)
	opts.Report = func(err error, what string) {
		if err != nil {
			entry.WithError(err).Error(what)
			return
		}
		entry.Info(what)
	}
	s, found, err := spool.Open(opts)
	if err != nil {
		return nil, fmt.Errorf("--outbox: %w", err)
	}
	if found.Torn > 0 {
		entry.WithField("bytes", found.Torn).Warn("half a packet at the end of the outbox, left by a crash, was cut off")
	}
	if found.AckLost {
		entry.Warn("what was acknowledged is not known any more: packets are sent again")
	}
	if found.Records > 0 {
		entry.WithFields(logrus.Fields{"packets": found.Records, "bytes": found.Bytes}).Info("packets of an earlier run wait: they are sent first")
	}
	return &outbox{log: entry, client: client, spool: s, refuse: opts.WhenFull == spool.Refuse, kick: make(chan struct{}, 1), changed: make(chan struct{})}, nil
}

// A record is the argument of an event: a letter that says how it is sent, and its bytes.
const (
	recordJSON   = 'J'
	recordBinary = 'B'
)

func outboxRecord(arg any) []byte {
	switch a := arg.(type) {
	case []byte:
		return append([]byte{recordBinary}, a...)
	case json.RawMessage:
		return append([]byte{recordJSON}, a...)
	}
	return nil // encode makes nothing else
}

func outboxArgument(record []byte) (any, error) {
	if len(record) > 0 {
		switch record[0] {
		case recordJSON:
			return json.RawMessage(record[1:]), nil
		case recordBinary:
			return record[1:], nil
		}
	}
	return nil, fmt.Errorf("%d bytes that are no packet of ours", len(record))
}

// put takes a packet. It never waits.
func (o *outbox) put(arg any) {
	record := outboxRecord(arg)
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.bytes+len(record) > outboxMemory {
		if !o.told {
			o.told = true
			o.log.WithField("policy", map[bool]string{true: "refuse", false: "drop-oldest"}[o.refuse]).Error("the disk takes nothing for too long: packets are lost")
		}
		if o.refuse {
			o.lost++
			return
		}
		for o.bytes+len(record) > outboxMemory && len(o.pending) > 0 {
			o.lose(o.pending[0])
		}
	}
	o.pending = append(o.pending, &pending{record: record})
	o.bytes += len(record)
	o.wake()
}

// wake lets the writer look again.
func (o *outbox) wake() {
	select {
	case o.kick <- struct{}{}:
	default:
	}
}

// settle notes that a packet is on the disk, or that the server has answered. It must be called with mu held.
func (o *outbox) settle(p *pending) {
	if p.settled {
		return
	}
	p.settled = true
	if p.dropped {
		o.lost--
	}
	o.trim()
}

// lose counts a packet as lost. It must be called with mu held.
func (o *outbox) lose(p *pending) {
	if p.settled || p.dropped {
		return
	}
	p.dropped = true
	o.lost++
	o.trim()
}

// trim removes from pending the oldest packets for which nothing is left to be done. It must be called with mu held.
func (o *outbox) trim() {
	n := 0
	for n < len(o.pending) && (o.pending[n].settled || o.pending[n].dropped) {
		o.bytes -= len(o.pending[n].record)
		o.pending[n] = nil
		n++
	}
	if n > 0 {
		o.pending = o.pending[n:]
		close(o.changed)
		o.changed = make(chan struct{})
	}
}

// run brings packets to the disk and from it until ctx ends. What waits in memory is then written once more.
func (o *outbox) run(ctx context.Context) error {
	var both sync.WaitGroup
	both.Go(func() { o.write(ctx) })
	both.Go(func() { o.feed(ctx) })
	both.Wait()
	return nil
}

func (o *outbox) write(ctx context.Context) {
	var trouble, full bool
	dropping := o.spool.Stats().Dropped
	for {
		err := o.writeAll()
		switch {
		case err != nil && !trouble:
			trouble = true
			o.log.WithError(err).Error("packets cannot be written: they are kept in memory, and sent from there; retrying")
		case err == nil && trouble:
			trouble = false
			o.log.Info("the disk takes packets again; what waited has been written")
		}
		if s := o.spool.Stats(); !full && (s.Refused > 0 || s.Dropped > dropping) {
			full = true
			o.log.Error("the outbox is full: " + map[bool]string{true: "new packets are refused", false: "the oldest packets are dropped"}[o.refuse])
		}
		if trouble {
			o.sendPending(ctx)
		} else {
			select {
			case <-o.kick:
			case <-ctx.Done():
			}
		}
		if ctx.Err() != nil {
			if err := o.writeAll(); err != nil && !trouble {
				o.log.WithError(err).Error("packets cannot be written")
			}
			return
		}
	}
}

// writeAll writes all pending packets to the disk; an error is the disk's. Those that have been sent from memory and
// not been answered are written too, and so sent again: a crash must not lose them while later ones are kept.
func (o *outbox) writeAll() error {
	for {
		var batch []*pending
		var records [][]byte
		o.mu.Lock()
		for _, p := range o.pending[:min(len(o.pending), outboxBatch)] {
			if !p.settled {
				batch, records = append(batch, p), append(records, p.record)
			}
		}
		o.mu.Unlock()
		if len(batch) == 0 {
			return nil
		}
		n, err := o.spool.Append(records...)
		refused := 0
		switch {
		case errors.Is(err, spool.ErrFull):
			refused, err = len(batch)-n, nil
		case errors.Is(err, spool.ErrTooLarge):
			o.log.WithError(err).Error("a packet is too large for the outbox")
			refused, err = 1, nil
		}
		o.mu.Lock()
		for _, p := range batch[:n] {
			o.settle(p)
		}
		for _, p := range batch[n : n+refused] {
			o.lose(p)
		}
		o.told = o.told && err != nil
		o.mu.Unlock()
		if err != nil {
			return err
		}
	}
}

// sendPending sends pending packets from memory, until it is time to try the disk again. Everything on the disk comes
// before them: it has to be acknowledged first.
func (o *outbox) sendPending(ctx context.Context) {
	retry := time.NewTimer(outboxRetry)
	defer retry.Stop()
	for {
		if o.spool.Stats().Waiting == 0 {
			for p := o.nextDirect(); p != nil && o.sendDirect(ctx, p); p = o.nextDirect() {
			}
		}
		select {
		case <-o.kick:
		case <-retry.C:
			return
		case <-ctx.Done():
			return
		}
	}
}

// nextDirect returns the next packet to be sent from memory; nil if there is none, or enough are under way.
func (o *outbox) nextDirect() *pending {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, p := range o.pending {
		if p.sent || p.settled {
			continue
		}
		if o.direct >= outboxDirect || o.direct > 0 && o.sent+len(p.record) > outboxDirectBytes {
			return nil
		}
		p.sent = true
		o.direct++
		o.sent += len(p.record)
		return p
	}
	return nil
}

// sendDirect hands a packet to the client; it reports whether more can follow.
func (o *outbox) sendDirect(ctx context.Context, p *pending) bool {
	answered := func() {
		o.mu.Lock()
		defer o.mu.Unlock()
		o.direct--
		o.sent -= len(p.record)
		o.settle(p)
		o.wake()
	}
	arg, err := outboxArgument(p.record)
	if err == nil {
		// A refusal is final, and reported by OnRefused.
		err = o.client.PublishFunc(ctx, func(error) { answered() }, transport.EventTelemetry, arg)
	}
	switch {
	case err == nil:
		return true
	case ctx.Err() != nil || errors.Is(err, transport.ErrClosed):
		o.mu.Lock()
		defer o.mu.Unlock()
		p.sent = false
		o.direct--
		o.sent -= len(p.record)
		return false
	}
	o.log.WithError(err).Error("a packet cannot be sent: it is left out")
	answered()
	return true
}

// feed gives the client what is on the disk, in order.
func (o *outbox) feed(ctx context.Context) {
	told := false
	for {
		position, record, err := o.spool.Next(ctx)
		if ctx.Err() != nil || errors.Is(err, spool.ErrClosed) {
			return
		}
		if err != nil {
			if !told {
				o.log.WithError(err).Error("packets cannot be read; it is tried again")
			}
			told = true
			pause(ctx, outboxRetry)
			continue
		}
		told = false
		arg, err := outboxArgument(record)
		if err == nil {
			// A refusal is for ever, and is told by OnRefused.
			err = o.client.PublishFunc(ctx, func(error) { _ = o.spool.Ack(position) }, transport.EventTelemetry, arg)
		}
		if ctx.Err() != nil || errors.Is(err, transport.ErrClosed) {
			return
		}
		if err != nil {
			o.log.WithError(err).WithField("position", position).Error("a packet cannot be sent: it is left out")
			_ = o.spool.Ack(position) // it was just given to us
		}
	}
}

// pause waits, or until ctx ends.
func pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

// flush waits until all is on the disk, and then acknowledged.
func (o *outbox) flush(ctx context.Context) error {
	for {
		o.mu.Lock()
		n, changed := len(o.pending), o.changed
		o.mu.Unlock()
		if n == 0 {
			break
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return fmt.Errorf("%d packets are not on the disk: %w", n, context.Cause(ctx))
		}
	}
	if err := o.spool.Flush(ctx); err != nil {
		return fmt.Errorf("%d packets wait in the outbox for the next run: %w", o.spool.Stats().Waiting, err)
	}
	return nil
}

// close gives the directory free, and returns what became of the packets.
func (o *outbox) close() logrus.Fields {
	if err := o.spool.Close(); err != nil {
		o.log.WithError(err).Error("the outbox was not closed in order")
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	s := o.spool.Stats()
	return logrus.Fields{"waiting": s.Waiting, "dropped": s.Dropped + o.lost + uint64(len(o.pending)), "damaged": s.Damaged, "outbox": o.log.Data["outbox"]}
}
