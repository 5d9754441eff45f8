// The alarms of all sources: what is beyond a limit now, what has been and nobody has acknowledged, and
// what is over. An alarm stands until it has both ended and been acknowledged.
import type { Level } from './limits.js';

export interface Alarm {
  readonly key: string; // source and what it is about
  readonly source: string;
  readonly channel: string; // id, or a word of the page's own: "link", "state"
  readonly name: string;
  readonly unit: string;
  readonly since: number; // by the source's clock
  level: Level; // the worst while it stood
  now: Level; // 0: the value has come back
  value: number; // at the time of since, or when it became worse
  worst: number;
  limit: number | undefined;
  text: string; // instead of a value and its limit
  ended: number; // NaN while it stands
  acknowledged: number; // by this page's clock; NaN if nobody has
  count: number; // how often it came back before it was acknowledged
}

export interface Raised {
  readonly source: string;
  readonly channel: string;
  readonly name: string;
  readonly unit: string;
  readonly level: Level; // 0: it is over
  readonly time: number;
  readonly value: number;
  readonly limit?: number;
  readonly text?: string;
}

const MAX_STANDING = 500;
const MAX_PAST = 500;

/** All alarms. What was acknowledged is remembered by the ids that remember() is given. */
export class AlarmBook {
  private readonly standing = new Map<string, Alarm>();
  readonly past: Alarm[] = []; // the latest first
  /** Grows with every change. */
  revision = 0;
  /** Alarms that were neither kept nor shown, because there were too many. */
  lost = 0;

  constructor(
    private readonly remembered: (id: string) => boolean = () => false,
    private readonly remember: (id: string) => void = () => {},
  ) {}

  /** Takes a change of level. */
  take(r: Raised): void {
    const key = `${r.source}|${r.channel}`;
    const a = this.standing.get(key);
    if (!a) {
      if (r.level === 0) return;
      if (this.standing.size >= MAX_STANDING) {
        this.lost++;
        this.revision++;
        return;
      }
      const fresh: Alarm = {
        key, source: r.source, channel: r.channel, name: r.name, unit: r.unit, since: r.time, level: r.level, now: r.level, value: r.value,
        worst: r.value, limit: r.limit, text: r.text ?? '', ended: NaN, acknowledged: NaN, count: 1,
      };
      if (this.remembered(idOf(fresh))) fresh.acknowledged = fresh.since;
      this.standing.set(key, fresh);
      this.revision++;
      return;
    }
    this.revision++;
    if (r.level === 0) {
      a.now = 0;
      a.ended = r.time;
      this.settle(a);
      return;
    }
    const worse = Math.abs(r.level) > Math.abs(a.level) || Math.sign(r.level) !== Math.sign(a.level);
    if (a.now === 0) a.count++;
    if (worse) {
      a.level = r.level;
      a.value = r.value;
      a.worst = r.value;
      a.limit = r.limit;
      a.text = r.text ?? '';
      a.acknowledged = this.remembered(idOf(a)) ? a.since : NaN; // what became worse asks again
    }
    a.now = r.level;
    a.ended = NaN;
  }

  /** Follows the value of an alarm that stands. */
  follow(source: string, channel: string, value: number): void {
    const a = this.standing.get(`${source}|${channel}`);
    if (!a || a.now === 0 || !(a.level > 0 ? value > a.worst : value < a.worst)) return;
    a.worst = value;
    this.revision++;
  }

  acknowledge(a: Alarm, now: number): void {
    if (!Number.isNaN(a.acknowledged)) return;
    a.acknowledged = now;
    this.remember(idOf(a));
    this.revision++;
    this.settle(a);
  }

  acknowledgeAll(now: number): void {
    for (const a of [...this.standing.values()]) this.acknowledge(a, now);
  }

  /** What stands: not acknowledged first, then the worse, then the later. */
  list(): Alarm[] {
    const open = (a: Alarm) => (Number.isNaN(a.acknowledged) ? 1 : 0);
    return [...this.standing.values()].sort((a, b) =>
      open(b) - open(a) || Math.abs(b.now) - Math.abs(a.now) || Math.abs(b.level) - Math.abs(a.level) || b.since - a.since);
  }

  /** How many are not acknowledged. */
  get open(): number {
    let n = 0;
    for (const a of this.standing.values()) if (Number.isNaN(a.acknowledged)) n++;
    return n;
  }

  /** The worst that stands, of one source or of all. */
  worst(source?: string): number {
    let worst = 0;
    for (const a of this.standing.values()) if (source === undefined || a.source === source) worst = Math.max(worst, Math.abs(a.now));
    return worst;
  }

  /** Forgets a source that is no longer looked at. */
  forget(source: string): void {
    for (const a of [...this.standing.values()]) if (a.source === source) this.standing.delete(a.key);
    for (let i = this.past.length - 1; i >= 0; i--) if (this.past[i]!.source === source) this.past.splice(i, 1);
    this.revision++;
  }

  private settle(a: Alarm): void {
    if (a.now !== 0 || Number.isNaN(a.acknowledged)) return;
    this.standing.delete(a.key);
    this.past.unshift(a);
    this.past.length = Math.min(this.past.length, MAX_PAST);
  }
}

function idOf(a: Alarm): string {
  return `${a.key}|${Math.round(a.since)}|${a.level}`;
}
