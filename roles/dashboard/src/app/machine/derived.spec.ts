import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { readEnvelope } from '../wire/envelope.js';
import { AlarmBook } from './alarms.js';
import { Deriver } from './derived.js';
import { Dictionary } from './dictionary.js';
import { Source, complete } from './source.js';

// Written by a test of telemetry/derived.go, which computes the same.
const vectors = readFileSync('../../telemetry/testdata/derived.jsonl', 'utf8').trim().split('\n').map((line) => JSON.parse(line));
const dictionary = new Dictionary({
  groups: [{ id: 'derived', name: 'Derived', channels: ['penetration', 'fpi', 'tpi', 'specific_energy', 'utilisation', 'advance_per_ring'].map((id) => ({ id: `derived.${id}`, name: id })) }],
  machines: [{ id: 'epb', diameter_m: 6, cutters: 40 }],
});
const envelope = (v: { time: string; packet: unknown }, seq: number) => readEnvelope({ source: 's', boot: 'b', seq, time: v.time, packet: v.packet })!;

test('the derived channels are those that the server\'s side derives', () => {
  assert.equal(vectors.length, 60);
  const deriver = new Deriver();
  const defined = new Set<string>();
  vectors.forEach((v, i) => {
    const got = complete(envelope(v, i + 1), deriver, dictionary).values;
    for (const [id, want] of Object.entries(v.derived as Record<string, number | null>)) {
      const x = got.get(id) ?? NaN;
      if (want === null) assert.ok(Number.isNaN(x), `line ${i + 1}: ${id} is ${x}, and not defined`);
      else assert.ok(Math.abs(x - want) <= 1e-9 * Math.abs(want), `line ${i + 1}: ${id} is ${x}, want ${want}`);
      if (want !== null) defined.add(id);
    }
  });
  assert.equal(defined.size, 6);
});

test('a machine keeps its place on the page while a channel is not defined, and a dictionary without them has none', () => {
  const s = new Source('s', dictionary, new AlarmBook());
  const layouts = new Set<number>();
  vectors.slice(0, 25).forEach((v, i) => {
    s.take(envelope(v, i + 1), { at: i * 1000, offset: NaN, replayed: false });
    layouts.add(s.layout);
  });
  assert.equal(layouts.size, 1);
  assert.ok(s.arranged().some((g) => g.id === 'derived' && g.channels.length === 6));
  const bare = new Source('s', new Dictionary(), new AlarmBook());
  bare.take(envelope(vectors[0], 1), { at: 0, offset: NaN, replayed: false });
  assert.ok(!bare.arranged().some((g) => g.id === 'derived'));
});
