import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Dictionary, type Channel } from './dictionary.js';
import { Judge, levelOf, type Level } from './limits.js';

const dictionary = new Dictionary({
  groups: [{ id: 'air', name: 'Air', channels: [
    { id: 'air.ch4', name: 'Methane', unit: '% LEL', limits: { high_warn: 10, high_alarm: 20 }, hysteresis: 1, persistence_s: 1, stale_after_s: 5 },
    { id: 'air.o2', name: 'Oxygen', unit: '%', limits: { low_alarm: 19, low_warn: 19.5, high_warn: 22 }, hysteresis: 0.1, persistence_s: 0, stale_after_s: 5 },
  ] }],
  machines: [{ id: 'micro', name: 'Micro', channels: [{ id: 'air.ch4', name: 'Methane', unit: '% LEL', limits: { high_warn: 5 }, hysteresis: 0, persistence_s: 0 }] }],
});
const ch4 = dictionary.channel('air.ch4');

/** Levels after each value, one a second. */
function run(c: Channel, values: number[], step = 1000): Level[] {
  const j = new Judge(c);
  return values.map((v, i) => {
    j.take(i * step, v);
    return j.level;
  });
}

test('a level begins at its limit, on both sides', () => {
  const o2 = dictionary.channel('air.o2');
  for (const [v, want] of [[20.8, 0], [22, 1], [30, 1], [19.5, -1], [19.4, -1], [19, -2], [0, -2]] as const) assert.equal(levelOf(v, o2), want, String(v));
});

test('a state begins after the persistence, and ends at once, but by the hysteresis', () => {
  assert.deepEqual(run(ch4, [0, 12, 12, 9.5, 9.0, 8.9]), [0, 0, 1, 1, 0, 0]);
  assert.deepEqual(run(ch4, [0, 12, 0, 12, 0, 12]), [0, 0, 0, 0, 0, 0]);
});

test('an alarm waits for itself; the warning below it does not wait for the alarm', () => {
  assert.deepEqual(run(ch4, [12, 25, 25], 600), [0, 0, 1]);
  assert.deepEqual(run(ch4, [12, 25, 25, 25], 600), [0, 0, 1, 2]);
  assert.deepEqual(run(ch4, [25, 25, 19.5, 18.9, 8.9]), [0, 2, 2, 1, 0]);
});

test('a value that is none changes nothing', () => {
  const j = new Judge(ch4);
  assert.equal(j.take(0, NaN), null);
  assert.equal(j.take(1, Infinity), null);
  assert.equal(j.level, 0);
});

test('a change tells the limit and the value', () => {
  const j = new Judge(ch4);
  j.take(0, 21);
  assert.deepEqual(j.take(1000, 23), { from: 0, to: 2, time: 1000, value: 23, limit: 20 });
});

test('a machine has limits of its own, and what nobody described is shown', () => {
  assert.equal(dictionary.channel('air.ch4', 'micro').limits.high_warn, 5);
  assert.equal(dictionary.channel('air.ch4', 'micro').limits.high_alarm, undefined);
  assert.equal(dictionary.channel('air.ch4', 'epb').limits.high_warn, 10);
  assert.equal(dictionary.channel('pump_room.flow_rate').name, 'Flow rate');
  const groups = dictionary.arrange(['other.x', 'air.o2', 'air.new', 'air.ch4', 'ring']);
  assert.deepEqual(groups.map((g) => [g.id, g.channels.map((c) => c.id)]), [['air', ['air.ch4', 'air.o2', 'air.new']], ['other', ['other.x']], ['', ['ring']]]);
});

test('a dictionary that is none is an empty one', () => {
  for (const bad of [null, 3, [], { groups: 1, machines: {} }, { groups: [null, { id: 3 }, { id: 'a', channels: [1, {}] }], machines: [2, { id: 'x', channels: 1 }] }]) {
    assert.equal(new Dictionary(bad).channel('a.b').described, false);
  }
});

test('a sensor that must move while the machine bores, and does not, is frozen until it does', () => {
  const c = new Dictionary({ groups: [{ id: 'g', channels: [{ id: 'g.x', frozen_after_s: 3 }] }] }).channel('g.x');
  const j = new Judge(c);
  const still = (time: number, value: number, steady = true) => {
    j.take(time * 1000, value, steady);
    return j.frozen;
  };
  assert.deepEqual([0, 1, 2, 3, 4].map((t) => still(t, 7)), [0, 0, 0, 3000, 4000]);
  assert.equal(still(5, 7.1), 0);
  assert.deepEqual([6, 7].map((t) => still(t, 7.1)), [0, 0]);
  assert.equal(still(8, 7.1, false), 0); // between strokes it may
  assert.deepEqual([9, 11, 12].map((t) => still(t, 7.1)), [0, 0, 3000]);
  assert.equal(still(2, 7.1), 0); // the source's clock was put back
  assert.equal(new Judge(dictionary.channel('air.o2')).frozen, 0);
});
