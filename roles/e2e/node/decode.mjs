// Reads telemetry of protobuf with the code that protoc-gen-es makes from the project's own files.
import { io } from 'socket.io-client-4';
import { fromBinary } from '@bufbuild/protobuf';
import { pathToFileURL } from 'url';
const [, , url, generated] = process.argv;
const { EnvelopeSchema } = await import(pathToFileURL(generated + '/transport/envelopepb/envelope_pb.js'));
const { PacketSchema } = await import(pathToFileURL(generated + '/telemetry/telemetrypb/packet_pb.js'));
io(url).on('connect', () => console.log('connected')).on('log_telemetry', (data) => {
  const e = fromBinary(EnvelopeSchema, data);
  const p = fromBinary(PacketSchema, e.packet);
  console.log(JSON.stringify({ source: e.source, seq: Number(e.seq), total: p.thrust.total, chamber: p.chamber.pressure1, ring: p.ring }));
});
