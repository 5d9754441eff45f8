package transport

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"
)

// EventJournal tells clients whether the journal takes events: {ok}, and {ok:false, error} when it stops.
const EventJournal = "journal"

// EventCaughtUp tells a follower with offsets that its replay is complete: {offset}, from which on events are live. It
// comes again when the follower has fallen behind and caught up.
const EventCaughtUp = "caught_up"

type caughtUp struct {
	Offset uint64 `json:"offset"`
}

// Feed joins relays and a journal: what clients send is appended, and what stands in the journal, whichever
// node took it, is delivered in the journal's order. Make it with [NewFeed], give it to [RelayOptions], and
// call Run.
type Feed struct {
	journal Journal
	// delivered is the offset of the last entry whose delivery has begun.
	delivered atomic.Uint64
	// pushed is the offset of the last entry that has been delivered.
	pushed atomic.Uint64
	// trouble is what Health told last, nil if the journal takes events.
	trouble atomic.Pointer[Ack]
	report  func(error)
	turns   chan struct{} // of replays; a place for each that may work now
	breath  breather

	mu     sync.RWMutex
	relays map[string]*Relay // by namespace
}

// NewFeed makes a feed that begins behind the last entry that the journal holds now: what was there before
// reaches those who join with since. report is told what goes wrong while it runs; it must not block.
func NewFeed(ctx context.Context, j Journal, report func(error)) (*Feed, error) {
	state, err := j.State(ctx)
	if err != nil {
		return nil, err
	}
	f := &Feed{journal: j, report: report, relays: map[string]*Relay{},
		turns: make(chan struct{}, replayTurns())}
	f.delivered.Store(state.Last)
	f.pushed.Store(state.Last)
	return f, nil
}

func (f *Feed) add(r *Relay) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.relays[r.ns.name] = r
}

func (f *Feed) relay(namespace string) *Relay {
	f.mu.RLock()
	defer f.mu.RUnlock()
	return f.relays[namespace]
}

// Run delivers until ctx ends. Call it once.
func (f *Feed) Run(ctx context.Context) {
	if err := f.breath.start(); err != nil {
		f.report(fmt.Errorf("transport: replays do not stand back for those who are live: %w", err))
	}
	defer f.breath.stop()
	for ctx.Err() == nil {
		err := f.journal.Tail(ctx, f.delivered.Load()+1, func(entries []JournalEntry) error {
			f.deliver(entries)
			return nil
		})
		if ctx.Err() != nil || errors.Is(err, ErrJournalClosed) {
			return
		}
		f.report(fmt.Errorf("transport: following the journal: %w", err))
		select {
		case <-ctx.Done():
		case <-time.After(500 * time.Millisecond):
		}
	}
}

// Health tells all clients of this node that the journal has stopped taking events, or takes them again (nil). Those that
// connect while it takes none are told too.
func (f *Feed) Health(err error) {
	a := Ack{OK: err == nil}
	if err != nil {
		a = refusal(err)
	}
	// Before the others are told, so that whoever connects meanwhile is told by one of the two.
	if err != nil {
		f.trouble.Store(&a)
	} else {
		f.trouble.Store(nil)
	}
	f.mu.RLock()
	defer f.mu.RUnlock()
	for _, r := range f.relays {
		// Of this node's journal: the others tell their own clients of theirs.
		if err := r.ns.Local().Emit(EventJournal, a); err != nil {
			f.report(err)
		}
	}
}

// refusal is the negative answer for an error of the journal's.
func refusal(err error) Ack {
	code := CodeJournalUnavailable
	switch {
	case errors.Is(err, ErrJournalFull):
		code = CodeJournalFull
	case errors.Is(err, ErrJournalTooLarge):
		code = CodeTooLarge
	case errors.Is(err, ErrJournalTooLate):
		code = CodeTooLate
	case errors.Is(err, ErrJournalClosed), errors.Is(err, context.Canceled):
		code = CodeClosed
	}
	return refused(code, "%v", err)
}

// JournalStatus is the answer to the event "journal", and the argument of that event when the server sends it.
type JournalStatus struct {
	OK bool `json:"ok"`
	// Journal is its id: offsets of another journal are other places.
	Journal string    `json:"journal,omitempty"`
	First   uint64    `json:"first,omitempty"` // offset of the oldest entry
	Last    uint64    `json:"last,omitempty"`  // offset given last
	Error   *AckError `json:"error,omitempty"`
}

// status answers the event "journal". A client that has left needs no answer.
func (r *Relay) status(ctx context.Context, ev *Event) { _ = ev.Ack(r.journalStatus(ctx)) }

// announce is the [ConnectHandler] that tells a new client about the journal. To a client that declares that it will
// follow, the status is its first event, and nothing else of the journal comes before its join: by that order it knows
// this server from others without waiting for an answer that others never give. The event rather than the CONNECT
// packet carries the status, since that packet has no payload in revision 4. Any client is told that the journal
// rejects events now.
func (r *Relay) announce(ctx context.Context, s *Socket, auth Value) error {
	if declaresFollow(s.session.Handshake(), auth) {
		f, err := eventFrame(r.ns.name, EventJournal, []any{r.journalStatus(ctx)}, 0, false)
		if err != nil {
			return err
		}
		f.droppable = false // the client decides by it
		_ = s.push(f)       // queued behind CONNECT: s has not been admitted yet
		if r.opts.Feed != nil {
			r.ns.hub.awaitJoin(s)
		}
	}
	if f := r.opts.Feed; f != nil {
		if a := f.trouble.Load(); a != nil {
			_ = s.Emit(EventJournal, *a)
		}
	}
	return nil
}

func (r *Relay) journalStatus(ctx context.Context) JournalStatus {
	if r.opts.Feed == nil {
		return JournalStatus{Error: &AckError{Code: CodeNoJournal, Message: "this server keeps no journal"}}
	}
	ctx, cancel := context.WithTimeout(ctx, locateTimeout)
	defer cancel()
	s, err := r.opts.Feed.journal.State(ctx)
	if err != nil {
		return JournalStatus{Error: refusal(err).Error}
	}
	return JournalStatus{OK: true, Journal: s.ID, First: s.First, Last: s.Last}
}

// store appends a client's event, in whose argument env was read; the answer comes when it is as durable as the journal is set to make it.
func (r *Relay) store(ev *Event, env *Envelope) {
	s := ev.Socket()
	e := JournalEntry{Source: env.Source, Boot: env.Boot, Seq: env.Seq, Time: env.Time,
		Room: env.Room, Namespace: r.ns.name, Sid: s.sid, Value: ev.Args[0]}
	r.opts.Feed.journal.Append(s.Context(), e, func(offset uint64, _ bool, err error) {
		if err != nil {
			answer(ev, refusal(err))
			return
		}
		answer(ev, Ack{OK: true, Offset: offset})
	})
}

// offsetNote is the second argument of an event for a follower that asked for offsets.
type offsetNote struct {
	Offset   uint64 `json:"offset"`
	Replayed bool   `json:"replayed"`
}
