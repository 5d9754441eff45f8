// All that the page knows, and the moments at which it looks again: readings come as fast as they like,
// the page is drawn at most ten times a second and its figures change at most four.
import { Injectable, computed, inject, signal } from '@angular/core';
import { AlarmBook, type Alarm } from './machine/alarms.js';
import { Dictionary } from './machine/dictionary.js';
import { Source } from './machine/source.js';
import { Prefs } from './prefs.js';
import { bytesOf, readEnvelope, type Reading } from './wire/envelope.js';
import { Link, type Delivery } from './wire/link.js';

/** An event as it came, for the inspector. */
export interface RawEvent {
  readonly n: number;
  readonly delivery: Delivery;
  readonly reading: Reading | null;
}

export interface ServerStatus {
  readonly version: string;
  readonly path: string;
  readonly started: string;
  readonly clients: number;
  readonly events_in: number;
  readonly events_out: number;
  readonly dropped: number;
  readonly refused: number;
  readonly namespaces: {
    readonly name: string;
    readonly count: number;
    readonly rooms: { readonly name: string; readonly members: number }[];
    readonly clients: {
      readonly id: string; readonly engine: number; readonly transport: string; readonly address?: string;
      readonly agent?: string; readonly since?: string; readonly rooms: string[];
    }[];
  }[];
}

const MAX_RAW = 200;
const MAX_SOURCES = 64;
const REACH = 15 * 60_000; // of the first join into the past
const FRAME = 100;
const FIGURES = 250;

@Injectable({ providedIn: 'root' })
export class Store {
  private readonly prefs = inject(Prefs);

  /** Changes when charts and clocks should be drawn again. */
  readonly frame = signal(0);
  /** Changes when figures should. */
  readonly figures = signal(0);
  /** This page's clock at the last frame. */
  now = Date.now();
  private steady = performance.now(); // at the last frame

  readonly dictionary = signal(new Dictionary());
  readonly dictionaryError = signal('');
  readonly status = signal<ServerStatus | null>(null);
  readonly sources = signal<readonly Source[]>([]);
  readonly alarms = new AlarmBook((id) => this.prefs.acknowledged.has(id), (id) => this.prefs.acknowledge(id));
  readonly raw: RawEvent[] = [];
  others = 0; // events that were no envelope
  tooMany = false; // sources
  link!: Link;
  path = '/socket.io/';
  namespace = '/';

  /** The source that is looked at: the one chosen, or the first. */
  readonly chosen = signal('');
  readonly source = computed(() => {
    const all = this.sources();
    return all.find((s) => s.name === this.chosen()) ?? all[0] ?? null;
  });
  readonly linkState = computed(() => {
    this.linkChanged();
    const l = this.link;
    return { state: l.state, since: l.stateSince, reason: l.reason, room: l.room, roomError: l.roomError, journal: l.journal, dropped: l.dropped, sid: l.sid, trouble: l.trouble };
  });
  readonly connected = computed(() => ['live', 'replaying'].includes(this.linkState().state));

  private readonly linkChanged = signal(0);
  private readonly byName = new Map<string, Source>();
  private number = 0;
  private left = ''; // room that events are on their way from
  private dirty = false;
  private lastFigures = 0;

  async open(): Promise<void> {
    this.namespace = new URLSearchParams(location.search).get('namespace') || '/';
    // ?reach=60: on a thin link, a page need not begin with the last quarter of an hour.
    const asked = Number(new URLSearchParams(location.search).get('reach') ?? NaN);
    const reach = asked >= 0 ? asked * 1000 : REACH;
    this.link = new Link({ path: this.path, namespace: this.namespace, reach, onDelivery: () => {}, onChange: () => {} });
    await Promise.all([this.loadStatus(), this.loadDictionary()]);
    this.link = new Link({
      path: this.status()?.path ?? this.path,
      namespace: this.namespace,
      reach,
      onDelivery: (d) => this.take(d),
      onChange: () => this.linkChanged.update((n) => n + 1),
    });
    this.link.open(this.prefs.room());
    this.linkChanged.update((n) => n + 1);
    setInterval(() => this.tick(), FRAME);
  }

  changeRoom(room: string): void {
    const old = this.link.room;
    if (room === old) return;
    this.left = old;
    this.prefs.room.set(room);
    this.link.changeRoom(room);
    // What was sent to the room that is left will not go on; what is for everyone will.
    for (const s of this.sources()) {
      if (s.last?.room !== old || old === '') continue;
      this.byName.delete(s.name);
      this.alarms.forget(s.name);
    }
    this.sources.set([...this.byName.values()]);
    this.dirty = true;
  }

  choose(name: string): void {
    this.chosen.set(name);
  }

  acknowledge(a: Alarm): void {
    this.alarms.acknowledge(a, Date.now());
    this.redraw();
  }

  acknowledgeAll(): void {
    this.alarms.acknowledgeAll(Date.now());
    this.redraw();
  }

  async loadStatus(): Promise<void> {
    try {
      const res = await fetch('/status', { cache: 'no-store' });
      this.status.set(res.ok ? ((await res.json()) as ServerStatus) : null);
    } catch {
      this.status.set(null);
    }
  }

  async loadDictionary(): Promise<void> {
    try {
      const res = await fetch('/dictionary');
      if (!res.ok) throw new Error(`the server answers ${res.status}`);
      const d = new Dictionary(await res.json());
      this.dictionary.set(d);
      this.dictionaryError.set('');
      for (const s of this.byName.values()) s.describe(d);
    } catch (e) {
      this.dictionaryError.set(e instanceof Error ? e.message : String(e));
    }
  }

  private take(d: Delivery): void {
    const reading = readEnvelope(d.value);
    this.raw.push({ n: ++this.number, delivery: d, reading });
    if (this.raw.length > MAX_RAW) this.raw.shift();
    this.dirty = true;
    if (!reading) {
      this.others++;
      return;
    }
    if (reading.room !== '' && reading.room === this.left && this.left !== this.link.room) return;
    let s = this.byName.get(reading.source);
    if (!s) {
      if (this.byName.size >= MAX_SOURCES) {
        this.tooMany = true;
        return;
      }
      s = new Source(reading.source, this.dictionary(), this.alarms);
      this.byName.set(reading.source, s);
      this.sources.set([...this.byName.values()].sort((a, b) => a.name.localeCompare(b.name)));
    }
    s.take(reading, d);
  }

  private tick(): void {
    this.readClock();
    const revision = this.alarms.revision;
    for (const s of this.byName.values()) s.watch(this.now, this.link.state === 'live' ? this.link.stateSince : NaN);
    const second = Math.floor(this.now / 1000) !== Math.floor((this.now - FRAME) / 1000);
    // Ages go on while nothing comes; a page in the background is not drawn by the browser anyway.
    if (this.dirty || second || revision !== this.alarms.revision) {
      this.dirty = false;
      this.frame.update((n) => n + 1);
    }
    if (this.now - this.lastFigures >= FIGURES - FRAME / 2) this.redraw();
  }

  /** Reads the page's clock. Where it was set back, the times that ages are counted from go back with it: old values would
   *  pass for fresh otherwise, and nothing would be drawn. Set ahead, it is not told from a computer that slept: ages grow. */
  private readClock(): void {
    const [wall, steady] = [Date.now(), performance.now()];
    const back = this.now + (steady - this.steady) - wall;
    [this.now, this.steady] = [wall, steady];
    if (back < 1000) return;
    this.lastFigures -= back;
    this.link.stateSince -= back;
    for (const s of this.byName.values()) s.setBack(back);
  }

  private redraw(): void {
    this.lastFigures = this.now;
    this.figures.update((n) => n + 1);
  }
}

/** Size of an event's value on the wire, about. */
export function sizeOf(value: unknown): number {
  return bytesOf(value)?.length ?? new TextEncoder().encode(JSON.stringify(value) ?? '').length;
}
