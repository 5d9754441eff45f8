package transport

import "errors"

// Reason says why a connection or a socket ended. The texts are those that Socket.IO's own
// server and clients use, so that they read the same in everybody's logs.
type Reason uint8

// The reasons, and what the other side should make of them.
const (
	ReasonNone             Reason = iota
	ReasonTransportClose          // the client went, or its network did
	ReasonTransportError          // reading or writing failed
	ReasonPingTimeout             // no heartbeat in time
	ReasonClientDisconnect        // the client left the namespace
	ReasonServerDisconnect        // this server ended the socket on purpose: do not come back by yourself
	ReasonServerShutdown          // the server stops: come back later
	ReasonParseError              // the peer broke the protocol
	ReasonPayloadTooLarge         // a message above the limit
	ReasonSlowClient              // its queue was full: come back and resume
	ReasonHandshakeTimeout        // connected, but asked for no namespace in time
	ReasonForcedClose             // the other end was closed without a word, or a second transport took over
	ReasonJournal                 // its replay cannot go on: come back and resume
	reasonCount
)

var reasonNames = [reasonCount]string{
	"none", "transport close", "transport error", "ping timeout",
	"client namespace disconnect", "server namespace disconnect", "server shutting down",
	"parse error", "payload too large", "slow client", "handshake timeout", "forced close", "journal unreadable",
}

func (r Reason) String() string {
	if r < reasonCount {
		return reasonNames[r]
	}
	return "unknown"
}

// Reconnect tells whether the other side does right to connect again by itself.
func (r Reason) Reconnect() bool {
	switch r {
	case ReasonServerDisconnect, ReasonClientDisconnect:
		return false
	}
	return true
}

// Flushes tells whether a connection that ends for this reason is first given what waits for
// it. A peer that is gone, or that breaks the rules, is not.
func (r Reason) Flushes() bool {
	switch r {
	case ReasonServerDisconnect, ReasonServerShutdown, ReasonClientDisconnect:
		return true
	}
	return false
}

// DisconnectError is an error that names the [Reason] for which a connection ends.
type DisconnectError struct {
	Reason Reason
	Err    error
}

func (e *DisconnectError) Error() string {
	if e.Err == nil {
		return e.Reason.String()
	}
	return e.Reason.String() + ": " + e.Err.Error()
}

func (e *DisconnectError) Unwrap() error { return e.Err }

// ReasonOf returns the reason that err carries, or def.
func ReasonOf(err error, def Reason) Reason {
	var d *DisconnectError
	if errors.As(err, &d) {
		return d.Reason
	}
	return def
}

// Errors on which callers branch.
var (
	// ErrClosed: the server, client or socket has ended.
	ErrClosed = errors.New("transport: closed")
	// ErrUnsupportedVersion: the server does not speak this revision of Engine.IO.
	ErrUnsupportedVersion = errors.New("transport: Engine.IO revision not supported by the server")
	// ErrAckInOrder: a handler that runs in order waits for an acknowledgement from the
	// very client whose next packet it holds up. Register it with [Concurrent].
	ErrAckInOrder = errors.New("transport: waiting for an ack of the client whose packets this in-order handler holds up")
)
