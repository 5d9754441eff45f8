package transport

import (
	"encoding/json"
	"fmt"
	"sync"
	"sync/atomic"
	"time"
)

// Since is where a follower wants to begin. The field that is set counts; Last, a pointer, may be 0: what
// comes from now on.
type Since struct {
	Offset uint64     `json:"offset,omitempty"`
	Time   *time.Time `json:"time,omitempty"`
	Last   *uint64    `json:"last,omitempty"`
}

// FollowOptions configures [Client.Follow].
type FollowOptions struct {
	Rooms []string // to join; what is for everyone comes in any case
	// From is asked on each connection where to begin: behind what has been seen. status is the server's journal. Required.
	From func(status JournalStatus) Since
	// OnFollow is told of the outcome on each connection: the first offset that may come, or why the server
	// replays nothing; the rooms are then joined without it.
	OnFollow func(offset uint64, err error)
}

// OffsetOf reads the offset that comes with an event for a follower; ok is false if it comes without one.
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

// following is a client's wish to follow the journal.
type following struct {
	FollowOptions
	known atomic.Bool // a server has said that it has a journal
}

// probeTimeout is how long a server that may have a journal has to say so. Servers that do not know the question
// never answer.
const probeTimeout = time.Second

// Follow joins the rooms so that nothing is missed between two connections, on every connection: events then come
// with their offset ([OffsetOf]), first those from a place on that the journal has, then those that come. With a
// server that keeps no journal the rooms are joined as by Join. Call it before Run.
func (c *Client) Follow(opts FollowOptions) error {
	for _, room := range opts.Rooms {
		if err := CheckRoom(room); err != nil {
			return err
		}
	}
	if opts.OnFollow == nil {
		opts.OnFollow = func(uint64, error) {}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.follow = &following{FollowOptions: opts}
	return nil
}

// begin asks whether there is a journal, since a server that is not ours might not take a join with since for one,
// and then joins. A server that once had one is waited for; one that answers late is followed from then on.
func (f *following) begin(c *Client, cc *clientConn) {
	var mu sync.Mutex
	answered, known := false, f.known.Load()
	wait := probeTimeout
	if known {
		wait = c.opts.ConnectTimeout
	}
	timeout := time.AfterFunc(wait, func() {
		mu.Lock()
		late := !answered
		mu.Unlock()
		switch {
		case !late:
		case known:
			cc.conn.Close(ReasonTransportError, fmt.Errorf("the server does not say what its journal holds within %v", wait))
		default:
			f.without(c, cc, &AckError{Code: CodeNoJournal, Message: fmt.Sprintf("the server does not answer the event %s", EventJournal)})
		}
	})
	err := cc.ask(EventJournal, nil, func(args Args, err error) {
		mu.Lock()
		answered = true
		mu.Unlock()
		timeout.Stop()
		if err != nil {
			return // the connection has ended
		}
		var status JournalStatus
		if args.Decode(&status) == nil && status.OK {
			f.known.Store(true)
			f.join(c, cc, status)
			return
		}
		refusal := status.Error
		if refusal == nil {
			refusal = &AckError{Code: CodeNoJournal, Message: "the server knows no journal"}
		}
		f.refused(c, cc, refusal)
	})
	if err != nil {
		timeout.Stop()
	}
}

// without joins the rooms as Join does.
func (f *following) without(c *Client, cc *clientConn, err *AckError) {
	f.OnFollow(0, err)
	for _, room := range f.Rooms {
		c.join(cc, room)
	}
}

// refused goes on without the journal, or ends the connection if it can be followed later: to go on would be a hole.
func (f *following) refused(c *Client, cc *clientConn, refusal *AckError) {
	if !refusal.Temporary() {
		f.without(c, cc, refusal)
		return
	}
	f.OnFollow(0, refusal)
	cc.conn.Close(ReasonTransportError, refusal)
}

func (f *following) join(c *Client, cc *clientConn, status JournalStatus) {
	rooms := f.Rooms
	if rooms == nil {
		rooms = []string{}
	}
	arg, err := json.Marshal(map[string]any{"room": rooms, "since": f.From(status)})
	if err != nil {
		f.OnFollow(0, err)
		return
	}
	_ = cc.ask("join", []any{json.RawMessage(arg)}, func(args Args, err error) {
		if err != nil {
			return
		}
		if refusal := ackError(args); refusal != nil {
			f.refused(c, cc, refusal)
			return
		}
		var a Ack
		_ = args.Decode(&a)
		if a.Journal != status.Journal {
			// It has changed since it was asked for, and the place is one of the old one's.
			cc.conn.Close(ReasonTransportError, fmt.Errorf("the server's journal is %s, and was %s", a.Journal, status.Journal))
			return
		}
		f.OnFollow(a.Offset, nil)
		if c.opts.OnJoin != nil {
			for _, room := range f.Rooms {
				c.opts.OnJoin(room, nil)
			}
		}
	})
}
