package transport

import (
	"encoding/json"
	"fmt"
	"time"
)

// Since is the place where a follower begins. The field that is set counts; Last, a pointer, may be 0: begin with the
// next event.
type Since struct {
	Offset uint64     `json:"offset,omitempty"`
	Time   *time.Time `json:"time,omitempty"`
	Last   *uint64    `json:"last,omitempty"`
	// Journal is the id of the journal that Offset belongs to. A server with another journal rejects the join. Empty:
	// not checked.
	Journal string `json:"journal,omitempty"`
}

// FollowOptions configures [Client.Follow].
type FollowOptions struct {
	// Rooms to join; events for everyone come in any case.
	Rooms []string
	// From returns the place to begin at on a connection: behind the last event that was handled. status is the
	// server's journal. Required.
	From func(status JournalStatus) Since
	// OnFollow gets the outcome on each connection: the first offset that may come, or the reason why the server
	// replays nothing. With [CodeNoJournal] events come live, without offsets.
	OnFollow func(offset uint64, err error)
}

// OffsetOf returns the offset that comes with an event for a follower; ok is false if there is none.
func OffsetOf(ev *Event) (offset uint64, replayed, ok bool) {
	if len(ev.Args) < 2 {
		return 0, false, false
	}
	var n offsetNote
	if ev.Args[1].Decode(&n) != nil || n.Offset == 0 {
		return 0, false, false
	}
	return n.Offset, n.Replayed, true
}

// following makes a client follow the journal.
type following struct {
	client *Client
	FollowOptions
}

// followState is what one connection of a follower knows about its server's journal. Only the connection's reader
// uses it.
type followState uint8

const (
	followUnknown followState = iota
	followNone                // live events, without offsets
	followJournal             // the server has said that it keeps one
)

// first reports whether ev is the event by which the client learns about the server: the first one, but for the notice
// that events were dropped.
func (s followState) first(ev *Event) bool { return s == followUnknown && ev.Name != "dropped" }

// Follow joins the rooms on every connection so that nothing is missed or repeated between two of them: events come
// with their offset ([OffsetOf]), first those that the journal holds from a place on, then live ones. With a server
// that keeps no journal the rooms are joined as by Join. Call it before Run.
//
// No time limit decides whether a server keeps a journal. The client declares in the query of the connection that it
// will follow. A server that knows the declaration sends its journal's status as the first event, and no other event
// of the relay before the join with since; so any other first event, and any answer to a plain join before it, comes
// from a server that does not know it.
func (c *Client) Follow(opts FollowOptions) error {
	for _, room := range opts.Rooms {
		if err := CheckRoom(room); err != nil {
			return err
		}
	}
	if opts.OnFollow == nil {
		opts.OnFollow = func(uint64, error) {}
	}
	c.follow.Store(&following{client: c, FollowOptions: opts})
	return nil
}

// begin joins the rooms at once: servers that do not know the declaration wait for that. In those that do, the join
// makes the client a member and no event comes before the join with since.
func (f *following) begin(cc *clientConn) {
	for _, room := range f.Rooms {
		_, err := cc.ask("join", []any{room}, func(args Args, err error) {
			if err != nil {
				return // the connection has ended
			}
			if cc.follow == followUnknown {
				f.none(cc)
			}
			// A follower has joined when its replay begins.
			if refusal := ackError(args); refusal != nil || cc.follow == followNone {
				f.joined(room, refusal)
			}
		})
		if err != nil {
			return
		}
	}
}

func (f *following) joined(room string, refusal *AckError) {
	switch onJoin := f.client.opts.OnJoin; {
	case onJoin == nil:
	case refusal != nil:
		onJoin(room, refusal)
	default:
		onJoin(room, nil)
	}
}

// none continues without a journal.
func (f *following) none(cc *clientConn) {
	cc.follow = followNone
	f.OnFollow(0, &AckError{Code: CodeNoJournal, Message: "the server announces no journal"})
}

// announced handles the connection's first event.
func (f *following) announced(cc *clientConn, ev *Event) {
	var status JournalStatus
	if ev.Name != EventJournal || ev.Args.Decode(&status) != nil {
		f.none(cc)
		return
	}
	switch {
	case status.OK:
		cc.follow = followJournal
		f.join(cc, status)
	case status.Error != nil && status.Error.Code != CodeNoJournal:
		cc.follow = followJournal
		f.refused(cc, status.Error)
	default:
		f.none(cc)
	}
}

// refused ends the connection if the next one may be accepted: to continue without the replay would leave a hole.
func (f *following) refused(cc *clientConn, refusal *AckError) {
	f.OnFollow(0, refusal)
	if refusal.Temporary() || refusal.Code == CodeOtherJournal {
		cc.conn.Close(ReasonTransportError, refusal)
	}
}

func (f *following) join(cc *clientConn, status JournalStatus) {
	rooms := f.Rooms
	if rooms == nil {
		rooms = []string{}
	}
	since := f.From(status)
	since.Journal = status.Journal // it may change before the join arrives
	arg, err := json.Marshal(map[string]any{"room": rooms, "since": since, "offsets": true})
	if err != nil {
		f.refused(cc, &AckError{Code: CodeBadArguments, Message: fmt.Sprintf("since: %v", err)})
		return
	}
	_, _ = cc.ask("join", []any{json.RawMessage(arg)}, func(args Args, err error) {
		if err != nil {
			return
		}
		if refusal := ackError(args); refusal != nil {
			f.refused(cc, refusal)
			return
		}
		var a Ack
		_ = args.Decode(&a)
		f.OnFollow(a.Offset, nil)
		for _, room := range f.Rooms {
			f.joined(room, nil)
		}
	})
}
