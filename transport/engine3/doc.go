// Package engine3 serves Engine.IO revision 3, which socket.io-client 1 and 2 and python-socketio
// 4 speak, on github.com/googollee/go-socket.io.
//
// That module's engineio server makes the sessions, writes the handshake, answers the client's
// heartbeat and leads through the upgrade. What it reads from and writes to are transports of
// ours, on [wire.Link]: so packets for the client take the same way out as those of revision 4,
// and what the module does not keep of the protocol's rules (payload forms, limits, the end of
// abandoned sessions) is kept here. Nothing else in tbmsock imports the module, and its Socket.IO
// layer is not used at all.
package engine3
