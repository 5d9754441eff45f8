import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Series, Tier } from './series.js';

const v = (x: number) => new Map([['a', x]]);

test('a row keeps the least, the greatest and the mean', () => {
  const t = new Tier(1000, 10);
  for (const [time, x] of [[0, 5], [100, 1], [900, 9], [1000, 4]] as const) t.add(time, v(x));
  const out = { times: [], width: 0, channels: [{ low: [], mean: [], high: [] }] };
  t.read(['a'], 0, 2, 1, 1e9, out);
  assert.deepEqual(out, { times: [0.9, 1], width: 0, channels: [{ low: [1, 4], mean: [5, 4], high: [9, 4] }] });
});

test('a ring forgets the oldest, and takes no more memory', () => {
  const t = new Tier(10, 300);
  for (let i = 0; i < 1000; i++) t.add(i * 10, v(i));
  assert.equal(t.length, 300);
  assert.equal(t.oldest, 7000);
  assert.equal(t.newest, 9990);
  assert.deepEqual(t.extremes('a', 9000), [900, 999]);
  assert.equal(t.find(8000), 100);
});

test('a silence is a gap', () => {
  const s = new Series();
  for (let i = 0; i < 10; i++) s.add(i * 1000, v(i));
  for (let i = 40; i < 50; i++) s.add(i * 1000, v(i));
  const lines = s.read(['a'], 0, 60_000, 1000, 3000);
  assert.equal(lines.channels[0]!.mean.indexOf(null), 10);
  assert.equal(lines.times.length, 21);
});

test('the widths fit the window, and peaks stay', () => {
  const s = new Series();
  for (let i = 0; i < 100_000; i++) s.add(i * 100, v(i === 54_321 ? 1000 : Math.sin(i / 1000)));
  for (const [span, most] of [[60_000, 1200], [3_600_000, 1200], [10_000_000, 1200]] as const) {
    const lines = s.read(['a'], 9_999_900 - span, 9_999_900, most, 3000);
    assert.ok(lines.times.length <= most + 2 && lines.times.length > most / 4, `${span}: ${lines.times.length} rows`);
    const peak = Math.max(...lines.channels[0]!.high.map((x) => x ?? 0));
    assert.ok(span < 5_000_000 ? peak < 2 : peak === 1000, `${span}: ${peak}`);
  }
  assert.ok(s.oldest < 10_000);
});

test('great values keep their last digits', () => {
  const s = new Series();
  s.add(0, v(2_683_412.314));
  s.add(1000, v(2_683_412.327));
  const { mean } = s.read(['a'], 0, 2000, 100, 1e9).channels[0]!;
  assert.ok(Math.abs(mean[1]! - mean[0]! - 0.013) < 1e-6);
});

test('history is as coarse as it must be, and goes before what the page has', () => {
  const h = new Tier(100, 1000, 'merge');
  for (let i = 0; i < 50_000; i++) h.add(i * 1000, v(i % 100));
  assert.ok(h.length <= 1000 && h.length > 400, `${h.length} rows`);
  assert.deepEqual(h.extremes('a', 0), [0, 99]);
  assert.ok(h.oldest < h.width);
  const s = new Series();
  s.history = h;
  for (let i = 50_000; i < 51_000; i++) s.add(i * 1000, v(200));
  const lines = s.read(['a'], 0, 51_000_000, 800, 120_000);
  for (let i = 1; i < lines.times.length; i++) assert.ok(lines.times[i]! >= lines.times[i - 1]!, `row ${i} goes back`);
  assert.equal(lines.channels[0]!.mean.at(-1), 200);
  assert.ok(lines.channels[0]!.mean[0]! < 100);
});
