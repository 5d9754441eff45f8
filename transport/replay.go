package transport

import (
	"context"
	"errors"
	"runtime"
	"time"
)

// A replay is paced so that those who are live feel little of it, however many replay at once: few work at a time, each for a
// short while, and then lets all others go first. It has no rate: where nobody else has anything to do it goes as fast as its client
// reads.
const (
	replayWork   = 50 * time.Microsecond // of one turn, about
	replayLook   = 8                     // entries between two looks at the clock
	replayBytes  = 32 << 10              // queued together
	replayFrames = 64
)

// replay is one follower's way through the journal.
type replay struct {
	socket *Socket
	fl     *follower
	relay  *Relay
	feed   *Feed
	slab   slab
	frames []*Frame // not queued yet
	size   int
	limit  int // of size

	turn  bool // it holds one of Feed.turns
	until time.Time
	looks int
}

// replayTurns is how many replays may work at a time.
func replayTurns() int { return max(runtime.GOMAXPROCS(0)/2, 1) }

// catchUp sends what stands in the journal from the offset on, and makes s live when there is no more.
func (s *Socket) catchUp(ctx context.Context, r *Relay, fl *follower, next uint64) error {
	feed := r.opts.Feed
	p := replay{socket: s, fl: fl, relay: r, feed: feed, limit: min(replayBytes, s.outbox.limit/8)}
	defer p.stand()
	for {
		last := feed.delivered.Load()
		if last < next {
			live, err := s.becomeLive(ctx, feed, fl, next)
			if live || err != nil {
				return err
			}
			continue
		}
		if err := p.read(ctx, next, last); err != nil {
			return err
		}
		next = last + 1
	}
}

// becomeLive makes s live from the offset next on, unless a later entry than those that were read is there by now. A
// follower with offsets is told: the last event of a replay may be long before the journal's end, in other rooms.
func (s *Socket) becomeLive(ctx context.Context, feed *Feed, fl *follower, next uint64) (bool, error) {
	var note []*Frame
	size := 0
	if fl.offsets {
		f, err := eventFrame(s.ns.name, EventCaughtUp, []any{caughtUp{next}}, 0, false)
		if err != nil {
			return false, err
		}
		f.droppable = false
		note, size = []*Frame{f}, f.size
		if err := s.outbox.await(ctx, size); err != nil {
			return false, err
		}
	}
	h := s.ns.hub
	h.mu.Lock()
	defer h.mu.Unlock()
	if feed.delivered.Load() >= next {
		return false, nil
	}
	if s.follows != fl { // it has joined with since again
		return true, nil
	}
	if note != nil && !s.outbox.pushAll(note, size) {
		return false, nil // the queue has filled up since
	}
	fl.catching, fl.next, fl.stop = false, next, nil
	return true, nil
}

// read sends the entries from next to last.
func (p *replay) read(ctx context.Context, next, last uint64) error {
	if err := p.work(ctx); err != nil {
		return err
	}
	for e, err := range p.feed.journal.Read(ctx, next, last) {
		if err != nil {
			return err
		}
		if p.socket.sees(&e) {
			if err := p.send(ctx, &e); err != nil {
				return err
			}
		}
		if p.looks++; p.looks%replayLook == 0 && time.Now().After(p.until) {
			p.stand()
			p.feed.breath.take()
			if err := p.work(ctx); err != nil {
				return err
			}
		}
	}
	return p.flush(ctx)
}

// work waits for a turn.
func (p *replay) work(ctx context.Context) error {
	if !p.turn {
		select {
		case p.feed.turns <- struct{}{}:
			p.turn = true
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	p.until = time.Now().Add(replayWork)
	return nil
}

// stand gives the turn to somebody else.
func (p *replay) stand() {
	if p.turn {
		<-p.feed.turns
		p.turn = false
	}
}

func (p *replay) send(ctx context.Context, e *JournalEntry) error {
	if fault := entryFault(e); !p.socket.accepts(e, fault) {
		if !p.fl.offsets {
			return nil
		}
		return p.add(ctx, skippedFrame(p.socket.ns.name, e, fault, true))
	}
	form := entryForm{follower: true, offsets: p.fl.offsets, replayed: true}
	for _, name := range p.relay.heads {
		if err := p.add(ctx, p.slab.entryFrame(p.socket.ns.name, name, e, form)); err != nil {
			return err
		}
	}
	return nil
}

func (p *replay) add(ctx context.Context, f *Frame) error {
	if p.size+f.size > p.limit || len(p.frames) == replayFrames {
		if err := p.flush(ctx); err != nil {
			return err
		}
	}
	p.frames = append(p.frames, f)
	p.size += f.size
	return nil
}

// flush queues what has been made, once there is room for it: the client takes what it can, and no more is made.
func (p *replay) flush(ctx context.Context) error {
	for len(p.frames) > 0 {
		if !p.socket.outbox.takes(p.size) {
			p.stand()
			if err := p.socket.outbox.await(ctx, p.size); err != nil {
				return err
			}
			if err := p.work(ctx); err != nil {
				return err
			}
		}
		queued, err := p.queue()
		if err != nil {
			return err
		}
		if queued {
			p.frames, p.size = p.frames[:0], 0
		} // or somebody else has taken the room meanwhile
	}
	return nil
}

// errReplaced ends a replay whose client has joined with since again.
var errReplaced = errors.New("transport: another replay has begun")

// queue hands the frames to the client's outbox; false if they do not fit. It is under the hub's lock, so that nothing
// comes behind what a later join of the same client begins with.
func (p *replay) queue() (bool, error) {
	s := p.socket
	s.mu.Lock()
	closed := s.state == socketClosed
	s.mu.Unlock()
	if closed {
		return false, ErrClosed
	}
	h := s.ns.hub
	h.mu.RLock()
	defer h.mu.RUnlock()
	if s.follows != p.fl {
		return false, errReplaced
	}
	if !s.outbox.pushAll(p.frames, p.size) {
		return false, nil
	}
	s.ns.server.opts.Counters.EventsOut.Add(uint64(len(p.frames)))
	return true, nil
}

// sees tells whether an entry is for s: to everyone, or to a room that s is in, and not from s itself.
func (s *Socket) sees(e *JournalEntry) bool {
	if e.Namespace != s.ns.name || e.Sid == s.sid {
		return false
	}
	if e.Room == "" {
		return true
	}
	h := s.ns.hub
	h.mu.RLock()
	defer h.mu.RUnlock()
	return s.inLocked(e.Room)
}
