import assert from 'node:assert/strict';
import { test } from 'node:test';
import { followQuery, parser } from './parser.js';

test('takes as many attachments as the query declares', () => {
  const n = followQuery.attachments;
  const decoder = new parser.Decoder();
  const got: (unknown[] | undefined)[] = [];
  decoder.on('decoded', (packet) => got.push(packet.data as unknown[] | undefined));
  const marks = Array.from({ length: n }, (_, num) => ({ _placeholder: true, num }));
  decoder.add(`5${n}-${JSON.stringify(['log_telemetry', ...marks])}`);
  for (let i = 0; i < n; i++) decoder.add(new Uint8Array([i]).buffer);
  assert.equal(got.length, 1);
  assert.equal(got[0]?.length, 1 + n);
  assert.throws(() => decoder.add(`5${n + 1}-["log_telemetry"]`), /too many attachments/);
});
