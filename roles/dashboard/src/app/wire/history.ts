// Fetches a part of the journal over a connection of its own, so that what is live does not wait for
// it, and makes it as coarse as a chart is wide: a week fits as an hour does.
import { io } from 'socket.io-client';
import { Tier } from '../machine/series.js';
import { readEnvelope, type Reading } from './envelope.js';
import { followQuery, parser } from './parser.js';

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
  readonly state: 'running' | 'done' | 'stopped' | 'failed';
  readonly packets: number;
  /** Part that is done, 0 to 1; NaN if nobody knows. */
  readonly part: number;
  readonly error: string;
}

const ROWS = 8000;

/** Fetches, and returns a function that stops it. The tiers fill while it runs. A broken connection is resumed. */
export function fetchHistory(request: HistoryRequest, tiers: Map<string, Tier>): () => void {
  const socket = io(request.namespace === '/' ? '' : request.namespace, { path: request.path, forceNew: true, query: followQuery, parser });
  let packets = 0;
  let first = request.from || NaN;
  let ended = false;
  let part = NaN;
  let reported = 0;
  let offset = NaN; // of the last event
  let journal = '';
  const seen = new Set<string>();
  const finished = new Set<string>();
  const end = (state: Progress['state'], error = '') => {
    if (ended) return;
    ended = true;
    socket.disconnect();
    request.onProgress({ state, packets, part: state === 'done' ? 1 : part, error });
  };
  socket.on('connect_error', (e) => {
    if (!socket.active) end('failed', e.message); // the server's answer; otherwise the library retries
  });
  socket.on('disconnect', () => {
    if (!socket.active) end('failed', 'the server ended the connection');
  });
  socket.on('journal', (s: { ok?: boolean; journal?: string; error?: { code?: string; message?: string } }) => {
    if (ended) return;
    if (s.ok !== true) {
      end('failed', s.error?.code === 'no_journal' ? 'this server keeps no journal' : (s.error?.message ?? 'the server refuses'));
      return;
    }
    if (s.journal === undefined) return; // it accepts events again
    if (journal && s.journal !== journal) {
      end('failed', 'the server has another journal now');
      return;
    }
    journal = s.journal;
    const since = !Number.isNaN(offset) ? { offset: offset + 1 } : request.from > 0 ? { time: new Date(request.from).toISOString() } : { offset: 1 };
    socket.emit('join', { ...(request.room && { room: request.room }), since: { ...since, journal }, offsets: true },
      (ack?: { ok?: boolean; error?: { message?: string } }) => {
        if (ack?.ok !== true) end('failed', ack?.error?.message ?? 'the server refuses');
      });
  });
  socket.on('caught_up', () => end('done'));
  socket.on('log_telemetry', (value: unknown, extra?: { offset: number; replayed: boolean }) => {
    if (ended) return;
    if (extra?.replayed !== true) {
      if (extra) end('done');
      else end('failed', 'this server keeps no journal');
      return;
    }
    offset = extra.offset;
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
  return () => end('stopped');
}
