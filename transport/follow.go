package transport

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// A socket that has joined with since is a follower: it gets each event with its offset in the journal, first
// those that are there, then, without a hole or a repeat, those that come. While it catches up, the live
// delivery leaves it out, and a goroutine of its own reads the journal for it, as fast as the client takes it. A
// follower that falls behind while live goes back to catching up: it loses nothing and takes no
// memory for what waits.
//
// The seam: delivery notes the offset in Feed.delivered before it takes the hub's read lock. A follower that
// has read up to an offset becomes live under the hub's write lock, if no later one has been noted; from
// then on delivery reaches it, for all offsets from the next one on.
type follower struct {
	next     uint64             // offset of the first entry that is not sent yet; guarded by hub.mu
	catching bool               // guarded by hub.mu
	stop     context.CancelFunc // of the goroutine that catches up
}

// delivery is one entry's way to the sockets under the hub's read lock.
type delivery struct {
	relay  *Relay
	entry  *JournalEntry
	name   string
	noted  *Frame // with its offset; made when the first follower needs it
	behind []*Socket
}

// deliver is broadcast for a journal's entry. Only the feed's goroutine calls it, so that it may change
// followers under the read lock: whoever else does holds the write lock.
func (h *hub) deliver(plain *Frame, rooms []string, except string, d *delivery) {
	var full []*Session
	n := 0
	h.each(rooms, []string{except}, func(s *Socket) {
		f := plain
		if fl := s.follows; fl != nil {
			if fl.catching || d.entry.Offset < fl.next {
				return
			}
			if f = d.frame(); f == nil {
				return
			}
			if !s.session.outbox.hasRoom(f.size) {
				fl.catching, fl.next = true, d.entry.Offset
				d.behind = append(d.behind, s)
				return
			}
		}
		p := s.session.outbox.Push(f)
		if p.Dropped > 0 {
			h.counters.Dropped.Add(uint64(p.Dropped))
		}
		if p.Overflow {
			full = append(full, s.session)
			return
		}
		if !p.Closed {
			n++
		}
	})
	h.counters.EventsOut.Add(uint64(n))
	for _, s := range full {
		s.overflow()
	}
}

// frame is the entry with its offset.
func (d *delivery) frame() *Frame {
	if d.noted == nil {
		f, err := eventFrame(d.relay.ns.name, d.name, []any{d.entry.Value, offsetNote{Offset: d.entry.Offset}}, 0, false)
		if err != nil {
			return nil // the plain one could be made: this one can, too
		}
		f.droppable = false // a follower has no holes
		d.noted = f
	}
	return d.noted
}

// sinceArg is where a join wants the journal to be replayed from: one of the three.
type sinceArg struct {
	Offset *uint64    `json:"offset"`
	Time   *time.Time `json:"time"`
	Last   *uint64    `json:"last"`
}

func (a *sinceArg) start() (JournalStart, error) {
	given := 0
	var s JournalStart
	if a.Offset != nil {
		given++
		s.Offset = max(*a.Offset, 1)
	}
	if a.Time != nil {
		given++
		s.Time = *a.Time
	}
	if a.Last != nil {
		given++
		s.Last = *a.Last
	}
	if given != 1 || a.Time != nil && a.Time.IsZero() {
		return s, errors.New(`since takes one of {"offset":n}, {"time":"2026-01-05T06:00:00Z"} and {"last":n}`)
	}
	return s, nil
}

// locateTimeout bounds the search for the place where a replay begins.
const locateTimeout = 10 * time.Second

// joinSince joins rooms, none for what is for everyone, and follows the journal from a place.
func (r *Relay) joinSince(ev *Event, rooms []string, since *sinceArg) {
	start, err := since.start()
	if err != nil {
		answer(ev, refused(CodeBadArguments, "%v", err))
		return
	}
	ctx, cancel := context.WithTimeout(ev.Socket().Context(), locateTimeout)
	defer cancel()
	journal := r.opts.Feed.journal
	var from uint64
	if start.Last == 0 && since.Last != nil { // the last none: what comes from now on
		from = r.opts.Feed.pushed.Load() + 1
	} else if from, err = journal.Locate(ctx, start); err != nil {
		answer(ev, refusal(err))
		return
	}
	s := ev.Socket()
	// A follower before a member: nothing may reach it twice.
	if !r.ns.hub.startFollowing(s, from) {
		answer(ev, refused(CodeClosed, "%v", ErrClosed))
		return
	}
	for _, room := range rooms {
		if err := s.Join(room); err != nil {
			s.follow(r, from) // it is a follower now, of what it was in before
			r.answerJoin(ev, room, err)
			return
		}
	}
	a := Ack{OK: true, Offset: from}
	if len(rooms) > 0 {
		a.Room = rooms[0]
	}
	answer(ev, a)
	s.follow(r, from)
}

// startFollowing makes s a follower that waits for its replay.
func (h *hub) startFollowing(s *Socket, from uint64) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.bySid[s.sid] != s {
		return false
	}
	if s.follows != nil && s.follows.stop != nil {
		s.follows.stop()
	}
	s.follows = &follower{next: from, catching: true}
	return true
}

// follow starts the goroutine that catches up, from the offset on.
func (s *Socket) follow(r *Relay, from uint64) {
	ctx, cancel := context.WithCancel(s.session.ctx)
	h := s.ns.hub
	h.mu.Lock()
	fl := s.follows
	if fl == nil || !fl.catching || h.bySid[s.sid] != s {
		h.mu.Unlock()
		cancel()
		return
	}
	fl.stop = cancel
	// Under the lock: as long as the socket is in the hub, nobody waits for running yet.
	s.session.server.running.Add(1)
	h.mu.Unlock()
	go func() {
		defer s.session.server.running.Done()
		defer cancel()
		err := s.catchUp(ctx, r, fl, from)
		if err != nil && ctx.Err() == nil && !errors.Is(err, ErrClosed) {
			// What it misses it can have again by joining anew; to go on would be a hole.
			s.session.conn.Close(ReasonJournal, fmt.Errorf("replay: %w", err))
		}
	}()
}

// catchUp sends what stands in the journal from the offset on, and makes s live when there is no more.
func (s *Socket) catchUp(ctx context.Context, r *Relay, fl *follower, next uint64) error {
	feed, h, out := r.opts.Feed, s.ns.hub, s.session.outbox
	for {
		last := feed.delivered.Load()
		if last < next {
			h.mu.Lock()
			if feed.delivered.Load() < next {
				if s.follows == fl {
					fl.catching, fl.next = false, next
				}
				h.mu.Unlock()
				return nil
			}
			h.mu.Unlock()
			continue
		}
		for e, err := range feed.journal.Read(ctx, next, last) {
			if err != nil {
				return err
			}
			next = e.Offset + 1
			if !s.sees(&e) {
				continue
			}
			for _, name := range r.names {
				f, err := eventFrame(s.ns.name, name, []any{e.Value, offsetNote{Offset: e.Offset, Replayed: true}}, 0, false)
				if err != nil {
					return err
				}
				f.droppable = false
				if err := out.await(ctx, f.size); err != nil {
					return err
				}
				if err := s.push(f); err != nil {
					return err
				}
				h.counters.EventsOut.Add(1)
			}
		}
		next = max(next, last+1)
	}
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
