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
	// AckTimeout is how long the first event in flight may remain the first without an acknowledgement; 10 s. If the
	// server acknowledges events, the connection is then closed as broken, and all is sent again on a new one. If it
	// never has, OnNoAcks is called, once for each connection, and Window no longer holds events back. Nothing counts
	// as delivered because time has passed.
	AckTimeout time.Duration
	OnNoAcks   func()
	// OnlyAcks lets nothing but an acknowledgement count as delivery. Without it, an event for a server that
	// acknowledges nothing counts as delivered after a heartbeat's round trip on the connection that it was sent on.
	OnlyAcks bool
	// OnRefused is told of an event that the server will not take ({ok:false}), or that is larger than
	// the server has said it takes ([CodeTooLarge]); it is not sent again. What the server cannot take now ([AckError.Temporary]) is sent again, in its
	// order, and told to OnDelayed: once, and nil when something is taken again.
	OnRefused func(event string, err *AckError)
	OnDelayed func(err *AckError)
	// RetryAfter is how long a publisher waits before it sends again what the server could not
	// take; 500 ms.
	RetryAfter time.Duration
}

// PublishStats counts what became of what was published. All but Waiting and UnderWay only grow.
type PublishStats struct {
	Published uint64 // taken by Publish
	Acked     uint64 // acknowledged
	Confirmed uint64 // by a heartbeat's round trip, where the server acknowledges nothing
	Refused   uint64 // by the server, or too large for it
	Dropped   uint64 // forgotten because the queue was full
	Resent    uint64 // sent more than once
	Delayed   uint64 // times that the server could not take an event now
	Waiting   int    // now, sent or not
	UnderWay  int    // of them, sent on the connection of now
}

// publication is one published event.
type publication struct {
	event string
	args  []any
	size  int
	most  int         // bytes of the largest message that it is sent as
	done  func(error) // told once what became of it; may be nil
	sent  bool        // on the connection of now, and not answered
	tries int
	again bool // has been sent before
	since time.Time
	id    uint64 // of the acknowledgement that is awaited
	beat  uint64 // heartbeats that were sent before it, on this connection
}

// publisher keeps what was published until it is acknowledged, in order, and sends all that is
// left of it again on each new connection.
type publisher struct {
	client *Client
	opts   PublishOptions

	mu     sync.Mutex
	queue  []*publication // not acknowledged; those sent come first, but for retried ones
	bytes  int
	flight int
	cc     *clientConn
	acks   bool // the server acknowledges events
	asked  bool // or that is known; see askServer
	noAcks bool // it has acknowledged nothing on this connection for longer than AckTimeout
	beats  struct {
		sent, back uint64 // heartbeats of this connection: sent to the server, and known to have reached it
	}
	timer   *time.Timer
	moved   time.Time   // when the first of the queue last left it
	pause   *time.Timer // not nil: the server cannot take anything now
	late    bool        // OnDelayed has been told
	stats   PublishStats
	changed chan struct{} // closed and replaced whenever something leaves the queue
	stopped bool
	after   []func() // what unlock tells
}

func (p *publisher) init(c *Client, opts PublishOptions) {
	if opts.MaxBytes <= 0 {
		opts.MaxBytes = 64 << 20
	}
	if opts.Window <= 0 {
		opts.Window = 256
	}
	orDuration(&opts.AckTimeout, 10*time.Second)
	orDuration(&opts.RetryAfter, 500*time.Millisecond)
	p.client, p.opts, p.changed = c, opts, make(chan struct{})
}

// Publish queues the event for sending, in order, until the server acknowledges it: over broken
// connections, and again after each. The server may so get an event twice, and has to know it
// again; an [Envelope] is made for that. Nobody may change the arguments after the call. ctx
// bounds the wait for room in the queue, under [FullBlock].
func (c *Client) Publish(ctx context.Context, event string, args ...any) error {
	return c.PublishFunc(ctx, nil, event, args...)
}

// PublishFunc is [Client.Publish], and tells done, if it is not nil, what became of the event: nil when it
// was acknowledged, the [*AckError] of a refusal, [ErrFull] when it was dropped. done is called once, unless the
// client ends first; it must not block or publish. It is not called if PublishFunc returns an error.
func (c *Client) PublishFunc(ctx context.Context, done func(error), event string, args ...any) error {
	// Encoded here once to see that it can be, and for its size.
	f, err := eventFrame(c.opts.Namespace, event, args, 0, true)
	if err != nil {
		return err
	}
	most := len(f.Text()) + 1 + maxIDDigits - 1 // the type of the Engine.IO packet, and the id, which f has in one digit
	for _, a := range f.Attachments() {
		most = max(most, len(a)+1)
	}
	return c.pub.add(ctx, &publication{event: event, args: args, size: f.Size(), most: most, done: done})
}

// maxIDDigits is how long the number that asks for an acknowledgement can be.
const maxIDDigits = 16

func (p *publication) tell(err error) {
	if p.done != nil {
		p.done(err)
	}
}

func (p *publisher) add(ctx context.Context, pub *publication) error {
	p.mu.Lock()
	for p.bytes+pub.size > p.opts.MaxBytes && len(p.queue) > 0 && !p.stopped {
		switch p.opts.WhenFull {
		case FullRefuse:
			p.unlock()
			return ErrFull
		case FullDropOldest:
			p.stats.Dropped++
			oldest := p.queue[0]
			p.remove(oldest)
			p.after = append(p.after, func() { oldest.tell(ErrFull) })
			continue
		}
		changed := p.changed
		p.unlock()
		select {
		case <-changed:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		p.mu.Lock()
	}
	defer p.unlock()
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
	s.Waiting, s.UnderWay = len(c.pub.queue), c.pub.flight
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
	for p.cc != nil && p.pause == nil && p.flight < len(p.queue) {
		if p.flight >= p.opts.Window && !p.noAcks {
			return
		}
		pub := p.queue[p.flight]
		if limit := p.cc.limit(); limit > 0 && int64(pub.most) > limit {
			// The server would end the connection for it, each time, and what waits behind it would never leave.
			p.stats.Refused++
			p.remove(pub)
			refusal := &AckError{Code: CodeTooLarge, Message: fmt.Sprintf("%d bytes, and the server takes %d", pub.most, limit)}
			p.after = append(p.after, func() { p.refused(pub, refusal) })
			continue
		}
		if !p.send(pub) {
			return
		}
	}
}

// unlock lets go of p.mu, and tells what became of those that were taken out of the queue while it was held.
func (p *publisher) unlock() {
	after := p.after
	p.after = nil
	p.mu.Unlock()
	for _, tell := range after {
		tell()
	}
}

// refused tells of an event that is not sent again.
func (p *publisher) refused(pub *publication, refusal *AckError) {
	pub.tell(refusal)
	if p.opts.OnRefused != nil {
		p.opts.OnRefused(pub.event, refusal)
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
	pub.tries++
	try := pub.tries
	pub.beat = p.beats.sent
	if !p.asked {
		p.asked = true
		p.askServer(cc)
	}
	var err error
	pub.id, err = cc.ask(pub.event, pub.args, func(args Args, err error) { p.acked(cc, pub, try, args, err) })
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

func (p *publisher) acked(cc *clientConn, pub *publication, try int, args Args, err error) {
	if err != nil {
		return // the connection ended; disconnected has seen to it
	}
	refusal := ackError(args)
	p.mu.Lock()
	p.acks, p.noAcks = true, false
	if refusal != nil && refusal.Temporary() {
		tell := p.delay(cc, pub, try)
		p.mu.Unlock()
		if tell && p.opts.OnDelayed != nil {
			p.opts.OnDelayed(refusal)
		}
		return
	}
	// An answer to an earlier try counts as well: the event is there, or never will be.
	gone := !p.remove(pub)
	if !gone {
		if refusal != nil {
			p.stats.Refused++
		} else {
			p.stats.Acked++
			if p.late && p.opts.OnDelayed != nil {
				p.after = append(p.after, func() { p.opts.OnDelayed(nil) })
			}
			p.late = false
		}
		p.pump()
	}
	p.unlock()
	if gone {
		return
	}
	if refusal != nil {
		p.refused(pub, refusal)
		return
	}
	pub.tell(nil)
}

// delay stops sending for a while, and lets all that is under way be sent again after it: what came behind
// the event on the wire must not overtake it. It reports whether this is news. p.mu is held.
func (p *publisher) delay(cc *clientConn, pub *publication, try int) (tell bool) {
	if p.cc != cc || !pub.sent || pub.tries != try {
		return false // of a try that has been given up already
	}
	p.stats.Delayed++
	p.rewind()
	p.pause = time.AfterFunc(p.opts.RetryAfter, func() {
		p.mu.Lock()
		defer p.unlock()
		p.pause = nil
		if !p.stopped {
			p.pump()
		}
	})
	tell, p.late = !p.late, true
	return tell
}

// rewind takes all that is under way for not sent. p.mu is held.
func (p *publisher) rewind() {
	p.flight = 0
	for _, pub := range p.queue {
		pub.sent = false
	}
	if p.timer != nil {
		p.timer.Stop()
		p.timer = nil
	}
}

// remove takes a publication out of the queue; false if it is not in it. p.mu is held.
func (p *publisher) remove(pub *publication) bool {
	for i, q := range p.queue {
		if q != pub {
			continue
		}
		// Nearly always the first: acknowledgements come in order.
		if i == 0 {
			p.moved = time.Now()
		}
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
		return true
	}
	return false
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
	// Over a slow link a whole window may take longer than AckTimeout: as long as acknowledgements come, the link is
	// there.
	since := oldest.since
	if p.moved.After(since) {
		since = p.moved
	}
	if left := p.opts.AckTimeout - time.Since(since); left > 0 {
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
	news := !p.noAcks
	p.noAcks = !p.opts.OnlyAcks
	p.pump()
	p.unlock()
	if news && p.opts.OnNoAcks != nil {
		p.opts.OnNoAcks()
	}
}

// settled is how many events have been acknowledged or refused.
func (p *publisher) settled() uint64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.stats.Acked + p.stats.Confirmed + p.stats.Refused
}

// movedOn tells whether more are settled now than before, or nothing waits to be.
func (p *publisher) movedOn(before uint64) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.queue) == 0 || p.stats.Acked+p.stats.Confirmed+p.stats.Refused > before
}

// connected begins to send, from the oldest that is not acknowledged.
func (p *publisher) connected(cc *clientConn) {
	p.mu.Lock()
	defer p.unlock()
	p.cc = cc
	p.noAcks = false
	p.beats.sent, p.beats.back = 0, 0
	p.asked = p.acks
	p.pump()
}

func (p *publisher) disconnected() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.cc = nil
	p.rewind()
	if p.pause != nil {
		p.pause.Stop()
		p.pause = nil
	}
}

// stop lets nobody wait for room any more.
func (p *publisher) stop() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.stopped = true
	if p.pause != nil {
		p.pause.Stop()
		p.pause = nil
	}
	if p.timer != nil {
		p.timer.Stop()
		p.timer = nil
	}
	close(p.changed)
	p.changed = make(chan struct{})
}
