import assert from 'node:assert/strict';
import { test } from 'node:test';
import { create, toBinary } from '@bufbuild/protobuf';
import { EnvelopeSchema } from './gen/envelope_pb.js';
import { PacketSchema, Phase, State } from './gen/packet_pb.js';
import { describeProto, readEnvelope } from './envelope.js';

const MAGIC = 0x014d4254;
const packet = toBinary(PacketSchema, create(PacketSchema, { state: State.RING_BUILDING, phase: Phase.FREE_ROTATING, ring: 7, thrust: { total: 11258.5, sector1: 148 }, atmosphere: { h2s: 0.25 } }));
const bytes = (more = {}) => toBinary(EnvelopeSchema, create(EnvelopeSchema, { magic: MAGIC, source: 's', boot: 'b', seq: 9n, timeUnixNano: 1_800_000_000_123_000_000n, room: 'ops', packet, ...more }));

test('JSON and protobuf read the same', () => {
  const fromJSON = readEnvelope({ source: 's', boot: 'b', seq: 9, time: '2027-01-15T08:00:00.123Z', room: 'ops',
    packet: { state: 'ring_building', phase: 'free_rotating', ring: 7, thrust: { total: 11258.5, sector_1: 148 }, atmosphere: { h2s: 0.25 } } })!;
  const fromProto = readEnvelope(bytes().buffer)!;
  assert.equal(fromProto.encoding, 'protobuf');
  assert.equal(fromProto.time, 1_800_000_000_123);
  for (const key of ['source', 'boot', 'seq', 'room', 'time'] as const) assert.equal(fromProto[key], fromJSON[key], key);
  for (const [id, x] of fromJSON.values) assert.equal(fromProto.values.get(id), x, id);
  assert.deepEqual([...fromJSON.texts], [...fromProto.texts].filter(([, t]) => t !== ''));
  assert.ok(!fromProto.values.has('chamber.pressure_1'), 'a group that is not there');
  assert.deepEqual((describeProto(bytes())!['packet'] as Record<string, unknown>)['state'], 'ring_building');
});

test('a state that is newer than this page keeps its number', () => {
  const p = toBinary(PacketSchema, create(PacketSchema, { state: 99 as State }));
  assert.equal(readEnvelope(bytes({ packet: p }))!.texts.get('state'), '99');
});

test('anything else is no envelope, and no error', () => {
  const whole = bytes();
  for (const other of [null, undefined, 3, 'x', [], {}, true, new ArrayBuffer(0), new Uint8Array([1, 2, 3]), whole.slice(0, whole.length - 3), bytes({ magic: 1 }), bytes({ seq: 0n }),
    { source: 's', boot: 'b', seq: 0, packet: 1 }, { source: '', boot: 'b', seq: 1, packet: 1 }, { source: 's', boot: 'b', seq: 1 }, { source: 's', boot: 'b', seq: '1', packet: 1 }]) {
    assert.equal(readEnvelope(other), null);
  }
});

test('a packet of any form becomes channels, bounded', () => {
  const read = (p: unknown) => readEnvelope({ source: 's', boot: 'b', seq: 1, packet: p })!;
  assert.deepEqual([...read({ pressure: { min: 1, actual: 2, max: 3 }, on: true, note: 'x', nothing: null }).values], [['pressure.min', 1], ['pressure.actual', 2], ['pressure.max', 3], ['on', 1]]);
  assert.deepEqual([...read(7).values], [['value', 7]]);
  assert.equal(read(Object.fromEntries(Array.from({ length: 10_000 }, (_, i) => [`c${i}`, i]))).values.size, 512);
  let deep: unknown = 1;
  for (let i = 0; i < 10_000; i++) deep = { d: deep };
  assert.equal(read(deep).values.size, 0);
});
