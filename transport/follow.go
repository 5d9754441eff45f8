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
	stop     context.CancelFunc // of the goroutine that catches up; nil: there is none; guarded by hub.mu
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
	state, err := journal.State(ctx)
	if err != nil {
		answer(ev, refusal(err))
		return
	}
	var from uint64
	if start.Last == 0 && since.Last != nil { // the last none: what comes from now on
		from = r.opts.Feed.pushed.Load() + 1
	} else if from, err = journal.Locate(ctx, start); err != nil {
		answer(ev, refusal(err))
		return
	}
	s := ev.Socket()
	// A follower before a member: nothing may reach it twice.
	fl := r.ns.hub.startFollowing(s, from)
	if fl == nil {
		answer(ev, refused(CodeClosed, "%v", ErrClosed))
		return
	}
	for _, room := range rooms {
		if err := s.Join(room); err != nil {
			s.follow(r, fl) // it is a follower now, of what it was in before
			r.answerJoin(ev, room, err)
			return
		}
	}
	a := Ack{OK: true, Offset: from, Journal: state.ID}
	if len(rooms) > 0 {
		a.Room = rooms[0]
	}
	answer(ev, a)
	s.follow(r, fl)
}

// startFollowing makes s a follower that waits for its replay; nil if it is in the hub no more. A replay that was under
// way for it queues nothing any more.
func (h *hub) startFollowing(s *Socket, from uint64) *follower {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.bySid[s.sid] != s {
		return nil
	}
	if s.follows != nil && s.follows.stop != nil {
		s.follows.stop()
	}
	s.follows = &follower{next: from, catching: true}
	return s.follows
}

// follow starts the goroutine that catches up, unless there is one, or s has joined with since again.
func (s *Socket) follow(r *Relay, fl *follower) {
	ctx, cancel := context.WithCancel(s.session.ctx)
	h := s.ns.hub
	h.mu.Lock()
	if s.follows != fl || !fl.catching || fl.stop != nil || h.bySid[s.sid] != s {
		h.mu.Unlock()
		cancel()
		return
	}
	fl.stop = cancel
	from := fl.next
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
