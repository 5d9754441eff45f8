package transport

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
)

// EventTelemetry is the event that the relay routes from one client to the others.
const EventTelemetry = "log_telemetry"

// The codes in the error of a negative acknowledgement, {ok:false, error:{code, message}}.
const (
	CodeBadArguments = "bad_arguments" // the event's arguments are not what it takes
	CodeBadRoom      = "bad_room"      // no name of a room, or of one that is not to be joined
	CodeTooManyRooms = "too_many_rooms"
	CodeNoJournal    = "no_journal"    // "since" asks for events that this server does not keep
	CodeOtherJournal = "other_journal" // "since" names the offset of another journal
	CodeClosed       = "closed"        // the connection, or the server, is at its end
	// The answer to an event for which nobody has defined a handler.
	CodeUnknownEvent = "unknown_event"
	// More attachments than the parsers of all clients take ([SafeAttachments]).
	CodeTooManyAttachments = "too_many_attachments"
	// The journal cannot take the event now: the disk or the journal is full, or it cannot be reached. The event has
	// reached nobody; it may be sent again.
	CodeJournalFull        = "journal_full"
	CodeJournalUnavailable = "journal_unavailable"
	CodeTooLarge           = "too_large" // the journal will never take it
	CodeTooLate            = "too_late"  // it is so old that nobody knows any more whether it is there
)

// maxRelayDepth is how deep the JSON of a relayed packet may nest, with the array around it: the parsers of .NET's
// clients read 64 levels and end the connection for more.
const maxRelayDepth = 64

// RelayOptions configures a [Relay]. The zero value relays "log_telemetry" and nothing else.
type RelayOptions struct {
	// Aliases are further names for log_telemetry: an event of such a name is taken as
	// log_telemetry, and every log_telemetry goes out under each of these names too.
	Aliases []string
	// OnTelemetry, if not nil, is told of every event before it is sent on; room is "" for
	// everyone. It runs on the publisher's reader.
	OnTelemetry func(ev *Event, room string)
	// Feed, if not nil, takes every event into a journal first, and lets clients join with since.
	Feed *Feed
}

// Relay answers the events of the wire contract in one namespace: log_telemetry, join, leave and
// rooms. Arguments are passed on byte for byte.
type Relay struct {
	ns    *Namespace
	opts  RelayOptions
	names []string // under which telemetry goes out
	heads [][]byte // the same, as JSON
}

// NewRelay defines the relay's events in the namespace. Call it before [Namespace.OnConnect]: to a client that will
// follow, the relay's event must be the first.
func NewRelay(ns *Namespace, opts RelayOptions) (*Relay, error) {
	r := &Relay{ns: ns, opts: opts, names: []string{EventTelemetry}}
	for _, a := range opts.Aliases {
		if err := CheckAlias(a); err != nil {
			return nil, err
		}
		if !slices.Contains(r.names, a) {
			r.names = append(r.names, a)
		}
	}
	for _, name := range r.names {
		ns.On(name, r.telemetry)
		r.heads = append(r.heads, appendQuoted(nil, name))
	}
	ns.On("join", r.join)
	ns.On("leave", r.leave)
	ns.On("rooms", r.rooms)
	ns.On(EventInject, r.inject, Concurrent())
	ns.On(EventJournal, r.status)
	if opts.Feed != nil {
		opts.Feed.add(r)
	}
	ns.OnConnect(r.announce)
	return r, nil
}

// CheckAlias returns an error if the name cannot be an alias of log_telemetry.
func CheckAlias(name string) error {
	if err := CheckEvent(name); err != nil {
		return fmt.Errorf("alias: %w", err)
	}
	switch name {
	case "join", "leave", "rooms", "dropped", EventInject, EventJournal, EventCaughtUp, EventSkipped:
		return fmt.Errorf("alias: %q is another event of the relay", name)
	case "*", "error", "connecting", "connect_timeout", "ping", "pong", "reconnect", "reconnecting", "reconnectAttempt",
		"reconnect_attempt", "reconnect_error", "reconnect_failed", "statusChange", "websocketUpgrade":
		return fmt.Errorf("alias: %q is an event of the client libraries' own", name)
	}
	return nil
}

// Ack is the answer to the relay's events.
type Ack struct {
	OK   bool   `json:"ok"`
	Room string `json:"room,omitempty"`
	// Offset is the event's place in the journal; of a join with since, that of the first that may be replayed.
	Offset uint64 `json:"offset,omitempty"`
	// Journal is, of a join with since, the id of the journal that the offsets are of.
	Journal string    `json:"journal,omitempty"`
	Error   *AckError `json:"error,omitempty"`
}

// AckError is the reason of a negative acknowledgement.
type AckError struct {
	Code    string `json:"code"`
	Message string `json:"message"`
}

func (e *AckError) Error() string { return e.Code + ": " + e.Message }

// Temporary reports whether the same event may be accepted later.
func (e *AckError) Temporary() bool {
	return e.Code == CodeJournalFull || e.Code == CodeJournalUnavailable || e.Code == CodeClosed
}

func refused(code, format string, args ...any) Ack {
	return Ack{Error: &AckError{Code: code, Message: fmt.Sprintf(format, args...)}}
}

// answer acknowledges; that the client is gone, or wants no answer, is all the same here.
func answer(ev *Event, a Ack) { _ = ev.Ack(a) }

// telemetry sends one argument to the room that it is for, or to everyone, never to its sender.
func (r *Relay) telemetry(_ context.Context, ev *Event) {
	if len(ev.Args) != 1 {
		answer(ev, refused(CodeBadArguments, "%s takes one argument, got %d", ev.Name, len(ev.Args)))
		return
	}
	if ev.depth > maxRelayDepth {
		answer(ev, refused(CodeBadArguments, "%s has arrays and objects in %d levels; %d are relayed", ev.Name,
			ev.depth-1, maxRelayDepth-1))
		return
	}
	if longInteger(ev.Args[0].JSON) {
		answer(ev, refused(CodeBadArguments, "%s has a number of more than %d digits in a row, which Python does not read",
			ev.Name, maxDigits))
		return
	}
	v := ev.Args[0]
	var e Envelope // for the journal, which wants all of it
	var room string
	if r.opts.Feed != nil {
		e, _ = EnvelopeOf(v)
		room = e.Room
	} else {
		room = roomOf(v)
	}
	if room != "" {
		if err := CheckRoom(room); err != nil {
			answer(ev, refused(CodeBadRoom, "%v", err))
			return
		}
	}
	if r.opts.OnTelemetry != nil {
		r.opts.OnTelemetry(ev, room)
	}
	if r.opts.Feed != nil {
		r.store(ev, &e)
		return
	}
	target := ev.Socket().Others()
	if room != "" {
		target = target.To(room)
	}
	for _, name := range r.names {
		if err := target.Emit(name, v); err != nil {
			answer(ev, refused(CodeBadArguments, "%v", err))
			return
		}
	}
	answer(ev, Ack{OK: true})
}

// roomArg reads "ops" or {"room":"ops"}.
func roomArg(ev *Event) (room string, err error) {
	arg, err := readJoin(ev)
	if err == nil && len(arg.rooms) != 1 {
		err = wrongRoom(ev)
	}
	if err != nil {
		return "", err
	}
	return arg.rooms[0], nil
}

func wrongRoom(ev *Event) error {
	return fmt.Errorf(`%s takes a room: "ops" or {"room":"ops"}`, ev.Name)
}

// joinArg is the argument of join.
type joinArg struct {
	rooms   []string  // one, or with since any number
	since   *sinceArg // nil: a plain member
	offsets bool      // each event comes with its offset; only with since
}

// readJoin reads "ops", {"room":"ops"}, and with since also {"room":["ops","lab"]} or no room, for the events that are
// for everyone.
func readJoin(ev *Event) (a joinArg, err error) {
	if len(ev.Args) != 1 {
		return a, fmt.Errorf("%s takes one argument, got %d", ev.Name, len(ev.Args))
	}
	var room string
	if ev.Args[0].Decode(&room) == nil {
		a.rooms = []string{room}
		return a, nil
	}
	var arg struct {
		Room    json.RawMessage `json:"room"`
		Since   json.RawMessage `json:"since"`
		Offsets json.RawMessage `json:"offsets"`
	}
	if ev.Args[0].Decode(&arg) != nil {
		return a, wrongRoom(ev)
	}
	if len(arg.Since) > 0 && string(arg.Since) != "null" {
		a.since = &sinceArg{}
		if err := json.Unmarshal(arg.Since, a.since); err != nil {
			return a, fmt.Errorf("since: %w", err)
		}
	}
	if len(arg.Offsets) > 0 && json.Unmarshal(arg.Offsets, &a.offsets) != nil {
		return a, fmt.Errorf("offsets is %s: use true or false", arg.Offsets)
	}
	if a.offsets && a.since == nil {
		return a, errors.New("offsets: true needs since: only a follower gets offsets")
	}
	switch {
	case len(arg.Room) == 0 && a.since != nil:
	case json.Unmarshal(arg.Room, &room) == nil && string(arg.Room) != "null":
		a.rooms = []string{room}
	case a.since == nil || json.Unmarshal(arg.Room, &a.rooms) != nil || len(a.rooms) > maxRooms:
		return a, wrongRoom(ev)
	}
	return a, nil
}

func (r *Relay) join(_ context.Context, ev *Event) {
	arg, err := readJoin(ev)
	switch {
	case err != nil:
		answer(ev, refused(CodeBadArguments, "%v", err))
	case arg.since != nil && r.opts.Feed == nil:
		answer(ev, refused(CodeNoJournal, "this server keeps no journal, so it can replay nothing; join without since"))
	case arg.since != nil:
		r.joinSince(ev, &arg)
	default:
		r.answerJoin(ev, arg.rooms[0], ev.Socket().Join(arg.rooms[0]))
	}
}

func (r *Relay) answerJoin(ev *Event, room string, err error) {
	switch {
	case err == nil:
		answer(ev, Ack{OK: true, Room: room})
	case errors.Is(err, errTooManyRooms):
		answer(ev, refused(CodeTooManyRooms, "%v", err))
	case errors.Is(err, ErrClosed):
		answer(ev, refused(CodeClosed, "%v", err))
	default:
		answer(ev, refused(CodeBadRoom, "%v", err))
	}
}

func (r *Relay) leave(_ context.Context, ev *Event) {
	room, err := roomArg(ev)
	if err == nil {
		err = CheckRoom(room)
	}
	if err != nil {
		answer(ev, refused(CodeBadArguments, "%v", err))
		return
	}
	ev.Socket().Leave(room)
	answer(ev, Ack{OK: true, Room: room})
}

func (r *Relay) rooms(_ context.Context, ev *Event) {
	rooms := ev.Socket().Rooms()
	if rooms == nil {
		rooms = []string{}
	}
	_ = ev.Ack(rooms)
}
