// A socket.io 4 server with the relay's events, for our clients to be tested against.
'use strict';
const http = require('http').createServer();
const { Server } = require('socket.io');
const io = new Server(http, { allowEIO3: true });
const roomOf = (r) => (typeof r === 'string' ? r : r.room);

io.on('connection', (socket) => {
  socket.on('log_telemetry', (data, ack) => {
    const others = data && data.room ? socket.to(data.room) : socket.broadcast;
    others.emit('log_telemetry', data);
    if (ack && process.argv[2] !== 'no-acks') ack({ ok: true });
  });
  socket.on('join', (r, ack) => { socket.join(roomOf(r)); if (ack) ack({ ok: true, room: roomOf(r) }); });
  socket.on('leave', (r, ack) => { socket.leave(roomOf(r)); if (ack) ack({ ok: true, room: roomOf(r) }); });
});
http.listen(0, '127.0.0.1', () => console.log('listening on http://127.0.0.1:' + http.address().port));
