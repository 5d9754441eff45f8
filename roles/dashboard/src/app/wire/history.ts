// Fetches a part of the journal over a connection of its own, so that what is live does not wait for
// it, and makes it as coarse as a chart is wide: a week fits as an hour does.
import { io } from 'socket.io-client';
import { Tier } from '../machine/series.js';
import { readEnvelope, type Reading } from './envelope.js';

export interface HistoryRequest {
  readonly path: string;
  readonly namespace: string;
  readonly room: string;
  /** Begin, ms since 1970; 0 for all that the journal has. */
  readonly from: number;
  /** Where it ends for each source: what the page has itself. */
  until(source: string): number;
  /** The reading with the channels that follow from it. */
  complete(r: Reading): Reading;
  onProgress(p: Progress): void;
}

export interface Progress {
  readonly state: 'running' | 'done' | 'failed';
  readonly packets: number;
  /** Part that is done, 0 to 1; NaN if nobody knows. */
  readonly part: number;
  readonly error: string;
}

const ROWS = 8000;
const QUIET = 2000;

/** Fetches, and returns what stops it. The tiers fill while it runs. */
export function fetchHistory(request: HistoryRequest, tiers: Map<string, Tier>): () => void {
  const socket = io(request.namespace === '/' ? '' : request.namespace, { path: request.path, forceNew: true, reconnection: false, timeout: 10_000 });
  let packets = 0;
  let first = request.from || NaN;
  let ended = false;
  let part = NaN;
  let reported = 0;
  let quiet: ReturnType<typeof setTimeout> | undefined;
  const seen = new Set<string>();
  const finished = new Set<string>();
  const end = (state: Progress['state'], error = '') => {
    if (ended) return;
    ended = true;
    clearTimeout(quiet);
    socket.disconnect();
    request.onProgress({ state, packets, part: state === 'done' ? 1 : part, error });
  };
  const rest = () => {
    clearTimeout(quiet);
    quiet = setTimeout(() => end('done'), QUIET);
  };
  socket.on('connect_error', (e) => end('failed', e.message));
  socket.on('disconnect', () => end('failed', 'the connection broke'));
  socket.on('connect', () => {
    const since = request.from > 0 ? { time: new Date(request.from).toISOString() } : { offset: 0 };
    socket.timeout(10_000).emit('join', request.room ? { room: request.room, since } : { since }, (err: Error | null, ack?: { ok?: boolean; error?: { code?: string; message?: string } }) => {
      if (err) end('failed', 'the server does not answer');
      else if (ack?.ok !== true) end('failed', ack?.error?.code === 'no_journal' ? 'this server keeps no journal' : (ack?.error?.message ?? 'the server refuses'));
      else rest();
    });
  });
  socket.on('log_telemetry', (value: unknown, extra?: { replayed?: boolean }) => {
    if (ended) return;
    if (extra?.replayed !== true) {
      if (extra) end('done');
      return;
    }
    rest();
    const r = readEnvelope(value);
    if (!r || Number.isNaN(r.time)) return;
    packets++;
    seen.add(r.source);
    const until = request.until(r.source);
    if (r.time >= until) {
      finished.add(r.source);
      if (finished.size === seen.size && [...seen].every((s) => finished.has(s)) && packets > 1000) end('done');
      return;
    }
    let tier = tiers.get(r.source);
    if (!tier) tiers.set(r.source, (tier = new Tier(100, ROWS, 'merge')));
    if (!(r.time < tier.newest)) tier.add(r.time, request.complete(r).values);
    if (Number.isNaN(first)) first = r.time;
    const now = performance.now();
    if (now - reported < 200) return;
    reported = now;
    part = Number.isFinite(until) ? Math.min(1, Math.max(0, (r.time - first) / (until - first))) : NaN;
    request.onProgress({ state: 'running', packets, part, error: '' });
  });
  return () => end('done');
}
