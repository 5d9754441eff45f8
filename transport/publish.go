package transport

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

// FullPolicy names what happens to what is published when the publisher's queue is full.
type FullPolicy uint8

const (
	// FullBlock lets Publish wait for room.
	FullBlock FullPolicy = iota
	// FullDropOldest forgets the oldest that waits, and counts it.
	FullDropOldest
	// FullRefuse lets Publish return [ErrFull].
	FullRefuse
)

// ErrFull is returned by Publish under [FullRefuse].
var ErrFull = errors.New("transport: the queue of what was not acknowledged yet is full")

// PublishOptions configures [Client.Publish]. The zero value of each field means the default named.
type PublishOptions struct {
	MaxBytes int        // 64 MiB of arguments may wait for an acknowledgement
	WhenFull FullPolicy // FullBlock
	Window   int        // 256 events may be under way at once
	// AckTimeout is how long an acknowledgement may take; 10 s. Where the server has
	// acknowledged something before, the connection is then given up as broken, and a new one
	// is made. Where it never has, it is taken for one that does not: what has been sent is
	// then counted as arrived, and OnNoAcks is told once for each connection.
	AckTimeout time.Duration
	OnNoAcks   func()
	// OnRefused is told of an event that the server will not take ({ok:false}); it is not
	// sent again.
	OnRefused func(event string, err *AckError)
}

// PublishStats counts what became of what was published. All but Waiting only grow.
type PublishStats struct {
	Published uint64 // taken by Publish
	Acked     uint64 // acknowledged, or taken for arrived where the server acknowledges nothing
	Refused   uint64 // by the server
	Dropped   uint64 // forgotten because the queue was full
	Resent    uint64 // sent more than once
	Waiting   int    // now, sent or not
}

// publication is one published event.
type publication struct {
	event string
	args  []any
	size  int
	sent  bool // on the connection of now
	again bool // has been sent before
	since time.Time
}

// publisher keeps what was published until it is acknowledged, in order, and sends all that is
// left of it again on each new connection.
type publisher struct {
	client *Client
	opts   PublishOptions

	mu      sync.Mutex
	queue   []*publication // not acknowledged; those sent come first, but for retried ones
	bytes   int
	flight  int
	cc      *clientConn
	acks    bool // this server has acknowledged something
	noAcks  bool // it is taken for one that does not
	timer   *time.Timer
	stats   PublishStats
	changed chan struct{} // closed and replaced whenever something leaves the queue
	stopped bool
}

func (p *publisher) init(c *Client, opts PublishOptions) {
	if opts.MaxBytes <= 0 {
		opts.MaxBytes = 64 << 20
	}
	if opts.Window <= 0 {
		opts.Window = 256
	}
	orDuration(&opts.AckTimeout, 10*time.Second)
	p.client, p.opts, p.changed = c, opts, make(chan struct{})
}

// Publish queues the event for sending, in order, until the server acknowledges it: over broken
// connections, and again after each. The server may so get an event twice, and has to know it
// again; an [Envelope] is made for that. Nobody may change the arguments after the call. ctx
// bounds the wait for room in the queue, under [FullBlock].
func (c *Client) Publish(ctx context.Context, event string, args ...any) error {
	// Encoded here once to see that it can be, and for its size.
	f, err := eventFrame(c.opts.Namespace, event, args, 0, true)
	if err != nil {
		return err
	}
	return c.pub.add(ctx, &publication{event: event, args: args, size: f.Size()})
}

func (p *publisher) add(ctx context.Context, pub *publication) error {
	p.mu.Lock()
	for p.bytes+pub.size > p.opts.MaxBytes && len(p.queue) > 0 && !p.stopped {
		switch p.opts.WhenFull {
		case FullRefuse:
			p.mu.Unlock()
			return ErrFull
		case FullDropOldest:
			p.stats.Dropped++
			p.remove(p.queue[0])
			continue
		}
		changed := p.changed
		p.mu.Unlock()
		select {
		case <-changed:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		p.mu.Lock()
	}
	defer p.mu.Unlock()
	if p.stopped {
		return ErrClosed
	}
	p.stats.Published++
	p.queue = append(p.queue, pub)
	p.bytes += pub.size
	p.pump()
	return nil
}

// PublishStats returns the counts.
func (c *Client) PublishStats() PublishStats {
	c.pub.mu.Lock()
	defer c.pub.mu.Unlock()
	s := c.pub.stats
	s.Waiting = len(c.pub.queue)
	return s
}

// Flush waits until nothing that was published waits any more, or ctx ends.
func (c *Client) Flush(ctx context.Context) error {
	p := &c.pub
	for {
		p.mu.Lock()
		n, changed := len(p.queue), p.changed
		p.mu.Unlock()
		if n == 0 {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return fmt.Errorf("transport: %d events not acknowledged: %w", n, context.Cause(ctx))
		}
	}
}

// pump sends what the window allows. All that is under way stands at the head of the queue. p.mu
// is held.
func (p *publisher) pump() {
	for p.cc != nil && p.flight < len(p.queue) {
		if p.flight >= p.opts.Window {
			return
		}
		if !p.send(p.queue[p.flight]) {
			return
		}
		if p.noAcks {
			p.forgetSent()
		}
	}
}

// send puts one event on the connection; false if that has ended.
func (p *publisher) send(pub *publication) bool {
	cc := p.cc
	pub.sent, pub.since = true, time.Now()
	p.flight++
	if pub.again {
		p.stats.Resent++
	}
	pub.again = true
	err := cc.ask(pub.event, pub.args, func(args Args, err error) { p.acked(cc, pub, args, err) })
	if err != nil {
		pub.sent = false
		p.flight--
		return false
	}
	if p.timer == nil {
		p.timer = time.AfterFunc(p.opts.AckTimeout, p.overdue)
	}
	return true
}

func (p *publisher) acked(cc *clientConn, pub *publication, args Args, err error) {
	if err != nil {
		return // the connection ended; disconnected has seen to it
	}
	refusal := ackError(args)
	p.mu.Lock()
	p.acks, p.noAcks = true, false
	if p.cc == cc && pub.sent {
		if refusal != nil {
			p.stats.Refused++
		} else {
			p.stats.Acked++
		}
		p.remove(pub)
		p.pump()
	}
	p.mu.Unlock()
	if refusal != nil && p.opts.OnRefused != nil {
		p.opts.OnRefused(pub.event, refusal)
	}
}

// remove takes a publication out of the queue. p.mu is held.
func (p *publisher) remove(pub *publication) {
	for i, q := range p.queue {
		if q != pub {
			continue
		}
		// Nearly always the first: acknowledgements come in order.
		copy(p.queue[1:i+1], p.queue[:i])
		p.queue[0] = nil
		p.queue = p.queue[1:]
		p.bytes -= pub.size
		if pub.sent {
			pub.sent = false
			p.flight--
		}
		close(p.changed)
		p.changed = make(chan struct{})
		return
	}
}

// overdue is called when an acknowledgement may have taken too long.
func (p *publisher) overdue() {
	p.mu.Lock()
	p.timer = nil
	var oldest *publication
	for _, pub := range p.queue {
		if pub.sent && (oldest == nil || pub.since.Before(oldest.since)) {
			oldest = pub
		}
	}
	if oldest == nil || p.cc == nil {
		p.mu.Unlock()
		return
	}
	if left := p.opts.AckTimeout - time.Since(oldest.since); left > 0 {
		p.timer = time.AfterFunc(left, p.overdue)
		p.mu.Unlock()
		return
	}
	if p.acks {
		cc := p.cc
		p.mu.Unlock()
		cc.conn.Close(ReasonTransportError, fmt.Errorf("no acknowledgement within %v", p.opts.AckTimeout))
		return
	}
	p.noAcks = true
	p.forgetSent()
	p.pump()
	p.mu.Unlock()
	if p.opts.OnNoAcks != nil {
		p.opts.OnNoAcks()
	}
}

// forgetSent takes what has been sent for arrived. p.mu is held.
func (p *publisher) forgetSent() {
	for len(p.queue) > 0 && p.queue[0].sent {
		p.stats.Acked++
		p.remove(p.queue[0])
	}
}

// connected begins to send, from the oldest that is not acknowledged.
func (p *publisher) connected(cc *clientConn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.cc = cc
	p.noAcks = false
	p.pump()
}

func (p *publisher) disconnected() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.cc = nil
	p.flight = 0
	for _, pub := range p.queue {
		pub.sent = false
	}
	if p.timer != nil {
		p.timer.Stop()
		p.timer = nil
	}
}

// stop lets nobody wait for room any more.
func (p *publisher) stop() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.stopped = true
	if p.timer != nil {
		p.timer.Stop()
		p.timer = nil
	}
	close(p.changed)
	p.changed = make(chan struct{})
}
