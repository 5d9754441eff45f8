// Package transport is what all roles of tbmsock share: the Socket.IO protocol above
// Engine.IO, sids and rooms, the hub that fans an event out, the event envelope, and the
// client that finds its way back after a broken link.
//
// The words are those of the wire:
//
//   - A [Session] is one Engine.IO connection of one client: one bounded [Outbox], one
//     reader, one writer. A client opens one or more namespaces on it.
//   - A [Socket] is a session in one namespace. It has the sid that handlers see and is a
//     member of its personal room (named like its sid) and of any other room it joins.
//   - A [Frame] is one packet ready to be sent. A broadcast makes one frame, whatever the
//     number of receivers; each wire form of it is encoded once.
//   - An [Engine] serves one revision of Engine.IO over HTTP and hands its connections to
//     this package as [Conn].
//
// The Socket.IO rules are those of the protocol's revision 5, and of revision 4 for clients
// that come over Engine.IO 3 (https://socket.io/docs/v4/socket-io-protocol/).
//
// The package knows engines only through the interfaces in engine.go. It does not know what a
// packet of telemetry means, how a role is configured, or how a log line is written.
package transport
