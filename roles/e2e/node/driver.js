// A real socket.io-client, steered by JSON lines on stdin and telling what happens as JSON lines
// on stdout. Binary values are written {"$binary": "<base64>"}.
'use strict';
const options = JSON.parse(process.argv[2]);
const lib = require('socket.io-client-' + options.version);
const io = lib.io || lib;

const tell = (o) => process.stdout.write(JSON.stringify(o) + '\n');

function encode(v) {
  if (Buffer.isBuffer(v)) return { $binary: v.toString('base64') };
  if (v instanceof ArrayBuffer) return { $binary: Buffer.from(v).toString('base64') };
  if (Array.isArray(v)) return v.map(encode);
  if (v && typeof v === 'object') {
    return Object.fromEntries(Object.entries(v).map(([k, x]) => [k, encode(x)]));
  }
  return v === undefined ? null : v;
}

function decode(v) {
  if (Array.isArray(v)) return v.map(decode);
  if (v && typeof v === 'object') {
    if (typeof v.$binary === 'string') return Buffer.from(v.$binary, 'base64');
    return Object.fromEntries(Object.entries(v).map(([k, x]) => [k, decode(x)]));
  }
  return v;
}

const opts = { forceNew: true, reconnectionDelay: 50, reconnectionDelayMax: 200, timeout: 5000 };
if (options.transports) opts.transports = options.transports;
if (options.deflate !== undefined) opts.perMessageDeflate = options.deflate; // by default it is offered
const namespace = options.namespace === '/' ? '' : options.namespace || '';
let socket;

// Each time a connection of its own.
function open() {
  socket = io(options.url + namespace, opts);

  socket.on('connect', () => {
    tell({ on: 'connect', sid: socket.id, transport: socket.io.engine.transport.name });
    for (let n = 1; n <= (options.burst || 0); n++) {
      setTimeout(() => socket.emit('n', n), n / 4);
    }
  });
  socket.on('disconnect', (reason) => tell({ on: 'disconnect', reason }));
  socket.on('connect_error', (e) => tell({ on: 'connect_error', message: String(e.message || e), data: encode(e.data) }));
  socket.on('error', (e) => tell({ on: 'connect_error', message: String(e.message || e) }));

  for (const event of options.listen || []) {
    socket.on(event, (...args) => {
      const answer = args.length && typeof args[args.length - 1] === 'function' ? args.pop() : null;
      tell({ on: 'event', event, args: args.map(encode) });
      if (answer) answer(...args);
    });
  }
}

open();

require('readline').createInterface({ input: process.stdin }).on('line', (line) => {
  const c = JSON.parse(line);
  switch (c.do) {
    case 'emit': {
      const args = (c.args || []).map(decode);
      if (c.ack) args.push((...answer) => tell({ on: 'ack', id: c.ack, args: answer.map(encode) }));
      socket.emit(c.event, ...args);
      break;
    }
    case 'open': // again, after the server has ended the socket
      open();
      break;
    case 'transport':
      tell({ on: 'transport', transport: socket.io.engine.transport.name, extensions: (socket.io.engine.transport.ws || {}).extensions });
      break;
    case 'connect':
      socket.connect();
      break;
    case 'close':
      socket.close();
      process.exit(0);
  }
}).on('close', () => process.exit(0));
