// Package bench loads a Socket.IO server with one publisher and many subscribers, and measures what
// comes of it: deliveries, loss, latency, and what the server spends on them.
//
// It is built to cost little beside the server it measures: one thread, one epoll, one read buffer
// for all subscribers, and of each message no more is read than the frame's header and the
// sequence number. It knows of WebSocket, Engine.IO and Socket.IO just that much, and shares no code
// with package transport: a mistake there must not hide here.
package bench
