package transport

import "errors"

// Bus carries what one node of a hub has to tell the others: everything that is not in the journal. A message reaches
// each node at most once. All methods are safe for concurrent use. Package bus has the one on NATS.
type Bus interface {
	// Publish hands a message to all other nodes and takes over data. It never blocks: what cannot be sent now is
	// not sent at all, and the error, one of the ErrBus... below, says so. No error does not mean that it arrives.
	Publish(data []byte) error
	// Subscribe calls receive with the messages of the other nodes, and perhaps with this one's own, one at a
	// time, those of one node in the order of their Publish. receive may keep data, and must not block. stop ends it, and
	// returns when receive does not run any more.
	Subscribe(receive func(data []byte)) (stop func(), err error)
}

// What a Bus answers when it does not take a message.
var (
	// ErrBusDown: there is no connection to the other nodes.
	ErrBusDown = errors.New("other nodes cannot be reached")
	// ErrBusFull: more waits to be sent than may.
	ErrBusFull = errors.New("too much waits for the other nodes")
	// ErrBusTooLarge: the message will never fit.
	ErrBusTooLarge = errors.New("too large for the other nodes")
)
