package transport

import (
	"context"
	"errors"
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

// newEvent reads an event from its packet.
func newEvent(p *packet) (*Event, error) {
	args := p.args()
	if len(args) == 0 {
		return nil, protocolError("event without a name")
	}
	ev := &Event{Args: args[1:], nsp: string(p.nsp), ackID: p.id, wantsAck: p.hasID}
	name := args[0].JSON
	if len(args[0].Attachments) > 0 || name[0] != '"' {
		return nil, protocolError("event name is no string")
	}
	ev.Name = keyText(name)
	return ev, nil
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
