// One machine as the page knows it: its last reading, its state, how its packets come, the levels of its
// channels and their past.
import type { Reading } from '../wire/envelope.js';
import type { AlarmBook } from './alarms.js';
import { Deriver } from './derived.js';
import type { Channel, Dictionary, Group } from './dictionary.js';
import { Judge, type Level } from './limits.js';
import { Series } from './series.js';

/** A reading's way to the page. */
export interface Arrival {
  readonly at: number; // by this page's clock, ms since 1970
  readonly offset: number; // in the journal; NaN if there is none
  readonly replayed: boolean;
}

/** Packets that this source's run has lost on its way, as far as the page can know. */
export class Line {
  received = 0;
  missing = 0;
  repeats = 0;
  private boot = '';
  private last = 0;

  /** Whether the packet is new. */
  take(boot: string, seq: number, replayed: boolean): boolean {
    if (boot !== this.boot) {
      this.boot = boot;
      this.last = seq;
      this.received++;
      return true;
    }
    if (seq <= this.last) {
      if (!replayed) this.repeats++; // a replay may begin before what the page has
      return false;
    }
    this.missing += seq - this.last - 1;
    this.last = seq;
    this.received++;
    return true;
  }
}

const MAX_GAP = 30_000;

/** One source. */
export class Source {
  readonly series = new Series();
  readonly line = new Line();
  readonly judges = new Map<string, Judge>();
  last: Reading | null = null;
  arrival: Arrival = { at: NaN, offset: NaN, replayed: false };
  machine = '';
  boots = 0;
  /** Time between packets, smoothed, by this page's clock; NaN before the third. */
  period = NaN;
  /** Readings that were not taken into the trends, as their time is before the last one's. */
  backwards = 0;
  silent = false;
  /** Grows when the set of channels changes. */
  layout = 0;
  private groups: Group[] = [];
  private ids = '';
  private deriver = new Deriver();

  constructor(readonly name: string, private dictionary: Dictionary, private readonly alarms: AlarmBook) {}

  /** Takes a reading; false if it had it before. */
  take(reading: Reading, a: Arrival): boolean {
    const restarted = this.last !== null && this.last.boot !== reading.boot;
    const next = restarted || reading.seq > (this.last?.seq ?? 0);
    if (!this.line.take(reading.boot, reading.seq, a.replayed)) return false;
    const r = complete(reading, this.deriver, this.dictionary);
    if (restarted || this.boots === 0) this.boots++;
    this.measure(r, a);
    const time = Number.isNaN(r.time) ? a.at : r.time;
    const machine = r.texts.get('machine') ?? '';
    if (machine !== this.machine) {
      this.machine = machine;
      this.judges.clear();
      this.ids = '';
    }
    const before = this.series.newest;
    if (next && time < before - 1000) this.series.clear(); // another clock, or one that was set back
    if (!(time < this.series.newest)) this.series.add(time, r.values);
    else this.backwards++;
    this.judge(time, r);
    this.last = r;
    this.arrival = a;
    if (this.silent) {
      this.silent = false;
      this.raise('link', 'Link', 0, time, '');
    }
    return true;
  }

  /** Time of the last reading, by the source's clock. */
  get time(): number {
    const t = this.last?.time ?? NaN;
    return Number.isNaN(t) ? this.arrival.at : t;
  }

  /** How old the last reading is. */
  age(now: number): number {
    return Math.max(0, now - (this.arrival.replayed ? Math.min(this.time, this.arrival.at) : this.arrival.at));
  }

  /** The page's clock was set back by so many ms: what has come is as old as it was. */
  setBack(by: number): void {
    this.arrival = { ...this.arrival, at: this.arrival.at - by };
  }

  /** Packets a second, NaN if not known. */
  get rate(): number {
    return 1000 / this.period;
  }

  /** Whether the source has gone silent, for a page that hears it since a time; NaN: not now. */
  watch(now: number, liveSince: number): void {
    const patience = Math.max(5000, Number.isNaN(this.period) ? 0 : Math.min(this.period * 3, MAX_GAP * 2));
    // While the page is cut off, or catches up, the source is not heard whatever it says.
    if (Number.isNaN(liveSince) || now - liveSince <= patience) return;
    if (this.silent || this.age(now) <= patience) return; // its next packet ends it
    this.silent = true;
    this.raise('link', 'Link', 1, this.time, `no packet for ${Math.round(this.age(now) / 1000)} s`);
  }

  /** Whether a channel's last value no longer counts as current. */
  stale(c: Channel, now: number): boolean {
    return this.age(now) > c.staleAfter || this.frozen(c.id) > 0;
  }

  value(id: string): number {
    return this.last?.values.get(id) ?? NaN;
  }

  text(id: string): string {
    return this.last?.texts.get(id) ?? '';
  }

  level(id: string): Level {
    return this.judges.get(id)?.level ?? 0;
  }

  /** For how long a sensor that must move has not, in ms; 0 if it does. */
  frozen(id: string): number {
    return this.judges.get(id)?.frozen ?? 0;
  }

  channel(id: string): Channel {
    return this.dictionary.channel(id, this.machine);
  }

  /** The groups that this machine has. */
  arranged(): readonly Group[] {
    return this.groups;
  }

  /** How long it may be silent before a line of its trends breaks. */
  get gap(): number {
    return Number.isNaN(this.period) ? 3000 : Math.min(Math.max(3 * this.period, 3000), MAX_GAP * 4);
  }

  describe(dictionary: Dictionary): void {
    this.dictionary = dictionary;
    this.judges.clear();
    this.ids = '';
    this.arrange();
  }

  private measure(r: Reading, a: Arrival): void {
    // A replay comes as fast as it can: the source's own clock tells its rate then.
    const between = a.replayed || this.arrival.replayed ? r.time - (this.last?.time ?? NaN) : a.at - this.arrival.at;
    if (!(between >= 0) || between > MAX_GAP) return;
    this.period = Number.isNaN(this.period) ? between : this.period + (between - this.period) / Math.min(20, this.line.received);
  }

  private judge(time: number, r: Reading): void {
    const ids = [...r.values.keys()].join();
    if (ids !== this.ids) {
      this.ids = ids;
      this.arrange(r);
    }
    const steady = r.texts.get('state') === 'boring' && r.texts.get('phase') === 'stable';
    for (const [id, v] of r.values) {
      let j = this.judges.get(id);
      if (!j) this.judges.set(id, (j = new Judge(this.channel(id))));
      const frozen = j.frozen > 0;
      const change = j.take(time, v, steady);
      const c = j.channel;
      if (frozen !== j.frozen > 0) {
        this.raise(`${id}:frozen`, `${this.dictionary.groupName(c.group)}: ${c.name}`, frozen ? 0 : 1, time, `the same value for ${Math.round(j.frozen / 1000)} s: is the sensor dead?`);
      }
      if (change) {
        this.alarms.take({ source: this.name, channel: id, name: `${this.dictionary.groupName(c.group)}: ${c.name}`, unit: c.unit, level: change.to, time, value: v, limit: change.limit });
      } else if (j.level !== 0) {
        this.alarms.follow(this.name, id, v);
      }
    }
    const state = r.texts.get('state') ?? '';
    if (state !== this.text('state') || this.last === null) {
      this.raise('state', 'Machine', state === 'fault' ? 2 : 0, time, 'the machine reports a fault');
    }
  }

  private arrange(r: Reading | null = this.last): void {
    this.groups = r ? this.dictionary.arrange(r.values.keys(), this.machine) : [];
    this.layout++;
  }

  private raise(channel: string, name: string, level: Level, time: number, text: string): void {
    this.alarms.take({ source: this.name, channel, name, unit: '', level, time, value: NaN, text });
  }
}

/** The reading with what follows from it, as far as the dictionary knows such channels. */
export function complete(r: Reading, deriver: Deriver, dictionary: Dictionary): Reading {
  const values = new Map(r.values);
  for (const [id, v] of deriver.take(r, dictionary.geometry(r.texts.get('machine') ?? ''))) {
    if (!values.has(id) && dictionary.channel(id).described) values.set(id, v);
  }
  return { ...r, values };
}
