// A real Chromium, steered by JSON lines on stdin and answering each with one on stdout. What goes wrong
// in a page, which a person would see in its console only, is told as lines of its own.
'use strict';
const { chromium } = require('playwright-core');
const readline = require('readline');

const options = JSON.parse(process.argv[2]);
const tell = (o) => process.stdout.write(JSON.stringify(o) + '\n');
const pages = new Map();

// The flags keep the browser from looking for its maker's servers.
const args = ['--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking', '--disable-component-update', '--disable-sync',
  '--js-flags=--expose-gc', '--enable-precise-memory-info', '--disable-background-timer-throttling'];
if (process.getuid && process.getuid() === 0) args.push('--no-sandbox');

async function open(browser, c) {
  const context = await browser.newContext({
    viewport: c.viewport || { width: 1440, height: 900 }, colorScheme: c.scheme || 'dark', hasTouch: !!c.touch, deviceScaleFactor: c.scale || 1,
  });
  const page = await context.newPage();
  const origin = new URL(c.url).origin;
  page.on('pageerror', (e) => tell({ problem: 'page error', page: c.page, text: String(e.stack || e) }));
  page.on('console', (m) => {
    if (m.type() !== 'error' && m.type() !== 'warning') return;
    // The browser's own note of a server that is not there, which tests bring about.
    if (/ERR_CONNECTION|ERR_EMPTY_RESPONSE|ERR_SOCKET|WebSocket connection to|status of 400|503/.test(m.text())) return;
    tell({ problem: 'console', page: c.page, text: m.text() });
  });
  const elsewhere = (url) => {
    const u = new URL(url);
    if (!/^(https?|wss?):$/.test(u.protocol)) return;
    const asked = u.origin.replace(/^ws/, 'http');
    if (asked !== origin && !(c.allow || []).includes(asked)) tell({ problem: 'request elsewhere', page: c.page, text: url });
  };
  page.on('request', (r) => elsewhere(r.url()));
  page.on('websocket', (w) => elsewhere(w.url()));
  await page.addInitScript(() => {
    addEventListener('securitypolicyviolation', (e) => console.error(`policy: ${e.violatedDirective} refuses ${e.blockedURI}`));
  });
  pages.set(c.page, { page, context, cdp: await context.newCDPSession(page) });
  await page.goto(c.url, { waitUntil: 'load' });
}

async function run(browser, c) {
  if (c.do === 'open') return open(browser, c);
  const { page, context, cdp } = pages.get(c.page) || {};
  if (!page) throw new Error(`no page ${c.page}`);
  switch (c.do) {
    case 'eval': return page.evaluate(`(() => { ${c.js} })()`);
    case 'wait': {
      // Asked often: what is measured is the page, not the asking. Not by the library's own way, which
      // evaluates text within the page, and that its policy forbids.
      const until = Date.now() + (c.timeout || 30000);
      for (;;) {
        const v = await page.evaluate(`(() => { ${c.js} })()`).catch((e) => {
          if (!/Execution context was destroyed|navigat/.test(String(e))) throw e;
        });
        if (v) return v;
        if (Date.now() > until) throw new Error('it never became true');
        await new Promise((r) => setTimeout(r, 20));
      }
    }
    case 'click': return page.click(c.at, { timeout: 10000 });
    case 'fill': return page.fill(c.at, c.text, { timeout: 10000 });
    case 'press': return page.keyboard.press(c.key);
    case 'drag': {
      await page.mouse.move(c.from[0], c.from[1]);
      await page.mouse.down();
      for (let i = 1; i <= 10; i++) await page.mouse.move(c.from[0] + ((c.to[0] - c.from[0]) * i) / 10, c.from[1] + ((c.to[1] - c.from[1]) * i) / 10);
      return page.mouse.up();
    }
    case 'wheel': await page.mouse.move(c.from[0], c.from[1]); return page.mouse.wheel(0, c.by);
    case 'tap': return page.tap(c.at);
    case 'viewport': return page.setViewportSize(c.viewport);
    case 'shot': await page.screenshot({ path: c.path }); return true;
    case 'reload': await page.reload(); return true;
    // Bytes in use after everything that nobody holds is gone, typed arrays included.
    case 'memory': {
      for (let i = 0; i < 3; i++) await cdp.send('HeapProfiler.collectGarbage');
      const u = await cdp.send('Runtime.getHeapUsage');
      return { used: u.usedSize, embedder: u.embedderHeapUsedSize || 0, backing: u.backingStorageSize || 0 };
    }
    case 'close': await context.close(); pages.delete(c.page); return true;
  }
  throw new Error(`cannot ${c.do}`);
}

(async () => {
  const browser = await chromium.launch({ executablePath: options.chromium, args });
  tell({ ready: true, version: browser.version() });
  let last = Promise.resolve();
  readline.createInterface({ input: process.stdin }).on('line', (line) => {
    const c = JSON.parse(line);
    last = last.then(() => run(browser, c)).then((value) => tell({ id: c.id, value: value === undefined ? null : value }), (e) => tell({ id: c.id, error: String(e.message || e).slice(0, 2000) }));
  }).on('close', () => last.then(() => browser.close()).then(() => process.exit(0)));
})().catch((e) => {
  tell({ error: String(e.message || e) });
  process.exit(1);
});
