// A socket.io 4 server with the relay's events, for our clients to be tested against.
'use strict';
const http = require('http').createServer();
const { Server } = require('socket.io');
const deflate = process.argv[2] === 'deflate';
const io = new Server(http, { allowEIO3: true, perMessageDeflate: deflate && { threshold: 256 } });
const roomOf = (r) => (typeof r === 'string' ? r : r.room);

io.on('connection', (socket) => {
  if (deflate) {
    const told = () => console.log('extensions of engine', socket.conn.protocol, (socket.conn.transport.socket || {}).extensions);
    socket.conn.transport.name === 'websocket' ? told() : socket.conn.once('upgrade', told);
  }
  socket.on('log_telemetry', (data, ack) => {
    const others = data && data.room ? socket.to(data.room) : socket.broadcast;
    others.emit('log_telemetry', data);
    if (ack && process.argv[2] !== 'no-acks') ack({ ok: true });
  });
  socket.on('join', (r, ack) => { socket.join(roomOf(r)); if (ack) ack({ ok: true, room: roomOf(r) }); });
  socket.on('leave', (r, ack) => { socket.leave(roomOf(r)); if (ack) ack({ ok: true, room: roomOf(r) }); });
});
http.listen(0, '127.0.0.1', () => console.log('listening on http://127.0.0.1:' + http.address().port));
