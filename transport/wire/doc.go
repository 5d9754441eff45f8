// Package wire is what lies below Engine.IO and is the same for its revisions 3 and 4: WebSocket
// connections, long-polling exchanges, and the switch from one to the other.
//
// A [Link] empties one [transport.Outbox] over whichever of the two carries it now and hands up
// the Engine.IO packets that arrive. What a packet looks like in a payload or in a WebSocket
// message is the business of a [Codec]; what a packet means is the business of the engine above.
package wire
