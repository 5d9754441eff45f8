// Lays compressed forms beside what ng build has written, for the server to hand out.
import { readFileSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { brotliCompressSync, constants, gzipSync } from 'node:zlib';

const dir = new URL('../dist/app/', import.meta.url).pathname;
let raw = 0;
for (const entry of readdirSync(dir, { recursive: true, withFileTypes: true })) {
  if (!entry.isFile() || !/\.(js|css|html|svg|txt)$/.test(entry.name)) continue;
  const path = join(entry.parentPath ?? entry.path, entry.name);
  const data = readFileSync(path);
  if (/\.(js|css|html)$/.test(entry.name)) raw += data.length;
  if (data.length < 1024) continue;
  writeFileSync(path + '.gz', gzipSync(data, { level: 9 }));
  writeFileSync(path + '.br', brotliCompressSync(data, { params: { [constants.BROTLI_PARAM_QUALITY]: 11 } }));
}
console.log(`${raw} bytes before compression`);
if (raw > 500_000) throw new Error('the page is more than 500 kB: something came in that was not meant to');
