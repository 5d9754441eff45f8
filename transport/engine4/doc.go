// Package engine4 serves Engine.IO revision 4, which socket.io-client 3 and 4 and python-socketio
// 5 speak (https://socket.io/docs/v4/engine-io-protocol/).
//
// It knows packets, polling, WebSocket, the upgrade from one to the other, and the heartbeat. It
// does not know what a message means; that is package transport's.
package engine4
