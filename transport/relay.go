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
	CodeNoJournal    = "no_journal" // "since" asks for events that this server does not keep
	CodeClosed       = "closed"     // the connection, or the server, is at its end
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

// NewRelay defines the relay's events in the namespace.
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
		ns.OnConnect(opts.Feed.tellTrouble)
	}
	return r, nil
}

// CheckAlias tells why a name cannot stand for log_telemetry.
func CheckAlias(name string) error {
	if err := CheckEvent(name); err != nil {
		return fmt.Errorf("alias: %w", err)
	}
	switch name {
	case "join", "leave", "rooms", "dropped", EventInject, EventJournal, EventSkipped:
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

// AckError says why not.
type AckError struct {
	Code    string `json:"code"`
	Message string `json:"message"`
}

func (e *AckError) Error() string { return e.Code + ": " + e.Message }

// Temporary tells whether the same event may be taken later.
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
	rooms, _, err := roomsArg(ev)
	if err == nil && len(rooms) != 1 {
		err = fmt.Errorf(`%s takes a room: "ops" or {"room":"ops"}`, ev.Name)
	}
	if err != nil {
		return "", err
	}
	return rooms[0], nil
}

// roomsArg reads what join takes: "ops", {"room":"ops"}, and with since also {"room":["ops","lab"]} or no room, for
// what is for everyone.
func roomsArg(ev *Event) (rooms []string, since *sinceArg, err error) {
	if len(ev.Args) != 1 {
		return nil, nil, fmt.Errorf("%s takes one argument, got %d", ev.Name, len(ev.Args))
	}
	var room string
	if ev.Args[0].Decode(&room) == nil {
		return []string{room}, nil, nil
	}
	wrong := fmt.Errorf(`%s takes a room: "ops" or {"room":"ops"}`, ev.Name)
	var arg struct {
		Room  json.RawMessage `json:"room"`
		Since json.RawMessage `json:"since"`
	}
	if ev.Args[0].Decode(&arg) != nil {
		return nil, nil, wrong
	}
	if len(arg.Since) > 0 && string(arg.Since) != "null" {
		since = &sinceArg{}
		if err := json.Unmarshal(arg.Since, since); err != nil {
			return nil, nil, fmt.Errorf("since: %w", err)
		}
	}
	switch {
	case len(arg.Room) == 0 && since != nil:
	case json.Unmarshal(arg.Room, &room) == nil && string(arg.Room) != "null":
		rooms = []string{room}
	case since == nil || json.Unmarshal(arg.Room, &rooms) != nil || len(rooms) > maxRooms:
		return nil, nil, wrong
	}
	return rooms, since, nil
}

func (r *Relay) join(_ context.Context, ev *Event) {
	rooms, since, err := roomsArg(ev)
	switch {
	case err != nil:
		answer(ev, refused(CodeBadArguments, "%v", err))
	case since != nil && r.opts.Feed == nil:
		answer(ev, refused(CodeNoJournal, "this server keeps no journal, so it can replay nothing; join without since"))
	case since != nil:
		r.joinSince(ev, rooms, since)
	default:
		r.answerJoin(ev, rooms[0], ev.Socket().Join(rooms[0]))
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
