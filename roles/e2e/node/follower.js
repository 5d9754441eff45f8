// A follower as the README shows it, with a stock socket.io-client of a given version. It prints each event that it
// gets as one line of JSON; bytes are {"$binary": "<base64>"}.
'use strict';
const { version, url, transports, auth, room } = JSON.parse(process.argv[2]);
const lib = require('socket.io-client-' + version);
const io = lib.io || lib;

const print = (line) => process.stdout.write(JSON.stringify(line) + '\n');

// Every version of the client can declare in the query that it will follow; from version 3 on also by auth.
const options = auth ? { auth: { follow: true } } : { query: { follow: '1' } };
if (transports) options.transports = transports;
const socket = io(url, options);
let next = 1; // offset of the first event that this follower does not have yet

socket.on('connect', () => {
  print({ on: 'connect' });
  const join = { since: { offset: next }, offsets: true };
  if (room) join.room = room;
  socket.emit('join', join, (answer) => {
    print({ on: 'join', answer });
    if (!answer.ok) socket.io.engine.close(); // the client reconnects after a pause, and joins again
  });
});

socket.on('log_telemetry', (value, at) => {
  if (at) next = at.offset + 1;
  if (Buffer.isBuffer(value)) value = { $binary: value.toString('base64') };
  print({ on: 'event', offset: at ? at.offset : 0, value });
});

socket.on('journal', (status) => print({ on: 'journal', status }));
socket.on('disconnect', (reason) => print({ on: 'disconnect', reason }));
socket.on('connect_error', (err) => print({ on: 'connect_error', reason: String(err.message || err) }));
process.stdin.resume().on('end', () => process.exit(0));
