import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Reading } from '../wire/envelope.js';
import { AlarmBook } from './alarms.js';
import { Dictionary } from './dictionary.js';
import { Source } from './source.js';

const dictionary = new Dictionary({ groups: [{ id: 'g', name: 'G', channels: [{ id: 'g.x', name: 'X', unit: 'bar', limits: { high_warn: 10, high_alarm: 20 }, hysteresis: 1, persistence_s: 0, stale_after_s: 5 }] }] });

function reading(seq: number, x: number, more: Partial<Reading> & { state?: string } = {}): Reading {
  return { source: 's', boot: 'b', seq, room: '', time: seq * 1000, encoding: 'json', texts: new Map([['state', more.state ?? 'boring']]), values: new Map([['g.x', x]]), ...more };
}
const live = (at: number) => ({ at, offset: NaN, replayed: false });

test('what is missing is counted, what comes twice is left out', () => {
  const s = new Source('s', dictionary, new AlarmBook());
  for (const seq of [5, 6, 9, 9, 8, 10]) s.take(reading(seq, 1), live(seq * 1000));
  assert.equal(s.line.missing, 2);
  assert.equal(s.line.repeats, 2);
  assert.equal(s.line.received, 4);
  s.take(reading(1, 1, { boot: 'c', time: 11_000 }), live(11_000));
  assert.equal(s.boots, 2);
  assert.equal(s.line.missing, 2);
});

test('an alarm stands until it is over and acknowledged, and asks again when it becomes worse', () => {
  const book = new AlarmBook();
  const s = new Source('s', dictionary, book);
  let seq = 0;
  const take = (x: number) => s.take(reading(++seq, x), live(seq * 1000));
  take(12);
  assert.equal(book.open, 1);
  book.acknowledge(book.list()[0]!, 1);
  assert.equal(book.open, 0);
  take(25);
  assert.equal(book.open, 1);
  assert.equal(book.list()[0]!.limit, 20);
  take(31);
  assert.equal(book.list()[0]!.worst, 31);
  take(1);
  assert.equal(book.list()[0]!.now, 0);
  assert.equal(book.list()[0]!.ended, 4000);
  book.acknowledgeAll(2);
  assert.equal(book.list().length, 0);
  assert.equal(book.past[0]!.worst, 31);
});

test('a fault and a silence are alarms too; a page that is cut off blames nobody', () => {
  const book = new AlarmBook();
  const s = new Source('s', dictionary, book);
  s.take(reading(1, 1), live(1000));
  s.watch(60_000, NaN);
  s.watch(60_000, 58_000);
  assert.equal(book.list().length, 0);
  s.watch(60_000, 1000);
  assert.deepEqual(book.list().map((a) => a.channel), ['link']);
  s.take(reading(2, 1, { state: 'fault' }), live(61_000));
  assert.deepEqual(book.list().map((a) => [a.channel, a.now]).sort(), [['link', 0], ['state', 2]]);
});

test('alarms are bounded, and what was acknowledged before is remembered', () => {
  const ids = new Set<string>();
  const book = new AlarmBook((id) => ids.has(id), (id) => ids.add(id));
  const raise = (b: AlarmBook, n: number) => b.take({ source: 's', channel: `c${n}`, name: '', unit: '', level: 1, time: n, value: 1 });
  for (let n = 0; n < 600; n++) raise(book, n);
  assert.equal(book.list().length, 500);
  assert.equal(book.lost, 100);
  book.acknowledge(book.list().find((a) => a.channel === 'c7')!, 1);
  const again = new AlarmBook((id) => ids.has(id));
  raise(again, 7);
  raise(again, 8);
  assert.equal(again.open, 1);
});

test('a frozen sensor is an alarm of its own, and its figure looks old', () => {
  const book = new AlarmBook();
  const d = new Dictionary({ groups: [{ id: 'g', name: 'G', channels: [{ id: 'g.x', name: 'X', frozen_after_s: 2, stale_after_s: 60 }] }] });
  const s = new Source('s', d, book);
  const boring = { texts: new Map([['state', 'boring'], ['phase', 'stable']]) };
  for (let seq = 1; seq <= 3; seq++) s.take(reading(seq, 4, boring), live(seq * 1000));
  assert.deepEqual(book.list().map((a) => [a.channel, a.now]), [['g.x:frozen', 1]]);
  assert.match(book.list()[0]!.text, /same value for 2 s/);
  assert.ok(s.stale(s.channel('g.x'), 3000));
  s.take(reading(4, 4.1, boring), live(4000));
  assert.deepEqual(book.list().map((a) => a.now), [0]);
  assert.ok(!s.stale(s.channel('g.x'), 4000));
});

test('a clock that was set back leaves no hole: neither the page\'s nor the source\'s', () => {
  const s = new Source('s', dictionary, new AlarmBook());
  const channel = dictionary.channel('g.x')!;
  for (let seq = 1; seq <= 100; seq++) s.take(reading(seq, 1), live(100_000_000 + seq * 1000));
  const hour = 3_600_000;
  s.setBack(8 * hour); // of the page
  const now = 100_100_000 - 8 * hour;
  assert.equal(s.age(now), 0);
  assert.ok(!s.stale(channel, now + 4000));
  assert.ok(s.stale(channel, now + 6000), 'what is old looks fresh');
  for (let seq = 101; seq <= 110; seq++) s.take(reading(seq, 2, { time: seq * 1000 - 8 * hour }), live(now + seq)); // of the source
  assert.equal(s.backwards, 0);
  assert.equal(s.series.newest, 110_000 - 8 * hour);
  s.take(reading(120, 2, { time: 120_000 - 8 * hour }), live(now + 200));
  s.take(reading(115, 2, { time: 115_000 - 8 * hour }), live(now + 201)); // late, and no other clock
  assert.equal(s.series.newest, 120_000 - 8 * hour);
});
