// The relay's events on socket.io, written as its documentation has them: a WebSocket engine as it
// comes (ws), rooms by join, and a broadcast that leaves the sender out.
const { createServer } = require("node:http");
const { Server } = require("socket.io");

const http = createServer();
const io = new Server(http, { serveClient: false, allowEIO3: true });

io.on("connection", (socket) => {
  socket.on("join", (room, ack) => {
    socket.join(room);
    ack?.({ ok: true, room });
  });
  socket.on("log_telemetry", (data, ack) => {
    (data?.room ? socket.to(data.room) : socket.broadcast).emit("log_telemetry", data);
    ack?.({ ok: true });
  });
});

const [host, port] = (process.argv[2] ?? "127.0.0.1:0").split(":");
http.listen(Number(port), host, () => {
  console.log(`listening on http://${host}:${http.address().port}`);
});
