package transport

import (
	"context"
	"errors"
	"sync/atomic"
)

// Event is one event of a client, as its handler gets it. The bytes of its arguments may be kept
// and must not be changed.
type Event struct {
	Name string
	Args Args

	socket   *Socket
	ackID    uint64
	wantsAck bool
	acked    atomic.Bool
}

// Socket is the client that sent the event.
func (e *Event) Socket() *Socket { return e.socket }

// Sid is the id of the client that sent the event: the same for all that it sends.
func (e *Event) Sid() string { return e.socket.sid }

// WantsAck tells whether the client waits for an acknowledgement.
func (e *Event) WantsAck() bool { return e.wantsAck }

// ErrAcked is returned by the second Ack of an event.
var ErrAcked = errors.New("transport: event acknowledged before")

// Ack answers the client with any number of values. If it did not ask for an answer nothing is
// sent.
func (e *Event) Ack(args ...any) error {
	if !e.wantsAck {
		return nil
	}
	if e.acked.Swap(true) {
		return ErrAcked
	}
	f, err := ackFrame(e.socket.ns.name, args, e.ackID)
	if err != nil {
		return err
	}
	return e.socket.push(f)
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
