package transport

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"
)

// A socket that has joined with since is a follower: it gets each event once, in the journal's order, first by
// replay, then live. While it catches up, live delivery skips it, and a goroutine of its own reads the journal for
// it, as fast as the client reads. A follower that falls behind while live returns to catching up: it loses nothing,
// and its queue does not grow.
//
// A client that declares at connect that it will follow ([declaresFollow]) is a follower from then on, one without a
// place: live delivery skips it until its join names the place. Otherwise events without a room would reach it
// between CONNECT and the join, and again by the replay.
//
// The seam: delivery notes the offset in Feed.delivered before it takes the hub's read lock. A follower that
// has read up to an offset becomes live under the hub's write lock, if no later one has been noted; from
// then on delivery reaches it, for all offsets from the next one on.
type follower struct {
	offsets  bool               // the client asked for the second argument, [offsetNote]; never changes
	next     uint64             // offset of the first entry that is not sent yet; guarded by hub.mu
	catching bool               // guarded by hub.mu
	stop     context.CancelFunc // of the goroutine that catches up; nil: there is none; guarded by hub.mu
}

// declaresFollow reports whether a client declared, when it connected, that it will follow the journal: by follow=1
// in the query of the connection, which every client library can send, or by {"follow": true} in the auth payload of
// the namespace. Revision 4 of the protocol has no payload; there auth is the query behind the namespace's name.
func declaresFollow(h *Handshake, auth Value) bool {
	if h != nil && strings.Contains(h.RawQuery, "follow") && isTrue(h.Query().Get("follow")) {
		return true
	}
	var a struct {
		Follow any `json:"follow"`
	}
	if len(auth.JSON) == 0 || auth.Decode(&a) != nil {
		return false
	}
	return isTrue(fmt.Sprint(a.Follow))
}

func isTrue(s string) bool { return s == "1" || s == "true" }

// sinceArg is the place from which a join asks for a replay: one of offset, time and last.
type sinceArg struct {
	Offset *uint64    `json:"offset"`
	Time   *time.Time `json:"time"`
	Last   *uint64    `json:"last"`
	// Journal, if not empty, is the id of the journal that the client knows: in another one its offset is meaningless.
	Journal string `json:"journal"`
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

// joinSince joins the rooms, which may be none, and follows the journal from a place.
func (r *Relay) joinSince(ev *Event, arg *joinArg) {
	start, err := arg.since.start()
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
	if known := arg.since.Journal; known != "" && known != state.ID {
		answer(ev, refused(CodeOtherJournal, "since.journal is %q, but this server's journal is %q: its offsets are other ones",
			known, state.ID))
		return
	}
	var from uint64
	if start.Last == 0 && arg.since.Last != nil { // the last none: what comes from now on
		from = r.opts.Feed.pushed.Load() + 1
	} else if from, err = journal.Locate(ctx, start); err != nil {
		answer(ev, refusal(err))
		return
	}
	s := ev.Socket()
	// A follower before a member: nothing may reach it twice.
	fl := r.ns.hub.startFollowing(s, from, arg.offsets)
	if fl == nil {
		answer(ev, refused(CodeClosed, "%v", ErrClosed))
		return
	}
	for _, room := range arg.rooms {
		if err := s.Join(room); err != nil {
			s.follow(r, fl) // it is a follower now, of the rooms that it was in before
			r.answerJoin(ev, room, err)
			return
		}
	}
	a := Ack{OK: true, Offset: from, Journal: state.ID}
	if len(arg.rooms) > 0 {
		a.Room = arg.rooms[0]
	}
	answer(ev, a)
	s.follow(r, fl)
}

// awaitJoin makes s, which has not been admitted yet, a follower without a place.
func (h *hub) awaitJoin(s *Socket) {
	h.mu.Lock()
	defer h.mu.Unlock()
	s.follows = &follower{catching: true}
}

// startFollowing makes s a follower that waits for its replay; nil if it has left the hub. An earlier replay for it
// queues nothing more.
func (h *hub) startFollowing(s *Socket, from uint64, offsets bool) *follower {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.bySid[s.sid] != s {
		return nil
	}
	if s.follows != nil && s.follows.stop != nil {
		s.follows.stop()
	}
	s.follows = &follower{offsets: offsets, next: from, catching: true}
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
