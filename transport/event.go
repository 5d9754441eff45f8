package transport

import (
	"context"
	"encoding/json"
	"errors"
	"strconv"
	"sync/atomic"
)

// Event is one event of the other side, as its handler gets it. The bytes of its arguments may be kept
// and must not be changed.
type Event struct {
	Name string
	Args Args

	socket   *Socket // nil on the client side
	nsp      string
	push     func(*Frame) error
	ackID    uint64
	wantsAck bool
	depth    uint16 // of the JSON of its packet, at most maxDepth
	acked    atomic.Bool
}

// Socket is the client that sent the event; nil in a handler of a [Client].
func (e *Event) Socket() *Socket { return e.socket }

// Sid is the id of the client that sent the event: the same for all that it sends. It is empty
// in a handler of a [Client].
func (e *Event) Sid() string {
	if e.socket == nil {
		return ""
	}
	return e.socket.sid
}

// WantsAck tells whether the other side waits for an acknowledgement.
func (e *Event) WantsAck() bool { return e.wantsAck }

// ErrAcked is returned by the second Ack of an event.
var ErrAcked = errors.New("transport: event acknowledged before")

// Ack answers the other side with any number of values. If it did not ask for an answer nothing is
// sent.
func (e *Event) Ack(args ...any) error {
	if !e.wantsAck {
		return nil
	}
	if e.acked.Swap(true) {
		return ErrAcked
	}
	f, err := ackFrame(e.nsp, args, e.ackID)
	if err != nil {
		return err
	}
	return e.push(f)
}

// newEvent reads an event from its packet. Its name is a string, or a number, which is then the number's text in
// JavaScript: so Socket.IO's own parser has it.
func newEvent(p *packet) (*Event, error) {
	args := p.args()
	if len(args) == 0 {
		return nil, protocolError("event without a name")
	}
	ev := &Event{Args: args[1:], nsp: string(p.nsp), ackID: p.id, wantsAck: p.hasID, depth: uint16(p.depth)}
	switch name := args[0].JSON; {
	case name[0] == '"':
		ev.Name = keyText(name)
	case name[0] == '-' || name[0]-'0' <= 9:
		ev.Name = numberName(name)
	default:
		return nil, protocolError("event name is neither string nor number")
	}
	return ev, nil
}

// numberName is a number, valid JSON, as JavaScript writes it. encoding/json writes finite ones the same way, but for
// the zero that is negative.
func numberName(number []byte) string {
	f, err := strconv.ParseFloat(string(number), 64)
	switch {
	case err != nil && f < 0:
		return "-Infinity"
	case err != nil:
		return "Infinity"
	case f == 0:
		return "0"
	}
	text, _ := json.Marshal(f) // no error: it is finite
	return string(text)
}

// unknownEvent is the answer to an event for which there is no handler.
func unknownEvent(ev *Event) Ack {
	return refused(CodeUnknownEvent, "no handler for an event of the name %.100q", ev.Name)
}

// inOrderKey marks the context of a handler that runs in order on a session's reader.
type inOrderKey struct{}

func inOrderContext(ctx context.Context, owner any) context.Context {
	return context.WithValue(ctx, inOrderKey{}, owner)
}

// holdsUp tells whether ctx is that of a handler that holds up the owner's packets.
func holdsUp(ctx context.Context, owner any) bool {
	return ctx.Value(inOrderKey{}) == owner
}
