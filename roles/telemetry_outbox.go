package roles

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
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

// outbox keeps packets on disk between the machine and the server. Whoever takes readings waits for neither: the
// writer brings them to the disk, and the feeder from there to the client.
type outbox struct {
	log    *logrus.Entry
	client *transport.Client
	spool  *spool.Spool
	refuse bool // the policy; else the oldest are dropped

	mu      sync.Mutex
	pending [][]byte // not on the disk yet
	bytes   int
	gone    uint64 // have left the head of pending
	lost    uint64 // of them, neither on the disk nor sent
	told    bool   // that memory is full
	kick    chan struct{}
	changed chan struct{} // closed and replaced when something has left pending
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
			o.lost++
			o.leave(1)
		}
	}
	o.pending = append(o.pending, record)
	o.bytes += len(record)
	select {
	case o.kick <- struct{}{}:
	default:
	}
}

// leave takes the first n out of pending. o.mu is held.
func (o *outbox) leave(n int) {
	for _, r := range o.pending[:n] {
		o.bytes -= len(r)
	}
	clear(o.pending[:n])
	o.pending = o.pending[n:]
	o.gone += uint64(n)
	close(o.changed)
	o.changed = make(chan struct{})
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
			o.log.WithError(err).Error("packets cannot be written: they wait in memory, and are tried again")
		case err == nil && trouble:
			trouble = false
			o.log.Info("the disk takes packets again; what waited has been written")
		}
		if s := o.spool.Stats(); !full && (s.Refused > 0 || s.Dropped > dropping) {
			full = true
			o.log.Error("the outbox is full: " + map[bool]string{true: "new packets are refused", false: "the oldest packets are dropped"}[o.refuse])
		}
		if trouble {
			pause(ctx, outboxRetry)
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

// writeAll writes what waits; an error is the disk's.
func (o *outbox) writeAll() error {
	for {
		o.mu.Lock()
		batch := slices.Clone(o.pending[:min(len(o.pending), outboxBatch)])
		start := o.gone
		o.mu.Unlock()
		if len(batch) == 0 {
			return nil
		}
		n, err := o.spool.Append(batch...)
		var refused int
		switch {
		case errors.Is(err, spool.ErrFull):
			refused = len(batch) - n
			err = nil
		case errors.Is(err, spool.ErrTooLarge):
			o.log.WithError(err).Error("a packet is too large for the outbox")
			refused = 1
			err = nil
		}
		o.mu.Lock()
		// put may have dropped some of them meanwhile; those that were written are not lost.
		early := int(o.gone - start)
		o.lost -= uint64(min(early, n))
		if early < n+refused {
			o.lost += uint64(min(refused, n+refused-early))
			o.leave(n + refused - early)
		}
		o.told = o.told && err != nil
		o.mu.Unlock()
		if err != nil {
			return err
		}
	}
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
