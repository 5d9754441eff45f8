// What the trends look at: how long a span, up to when, and which channels on which chart. All charts
// share it. Going back beyond what the page holds fetches from the journal.
import { Injectable, computed, inject, signal } from '@angular/core';
import { Deriver } from './machine/derived.js';
import { complete, type Source } from './machine/source.js';
import type { Tier } from './machine/series.js';
import { Prefs } from './prefs';
import { Store } from './store';
import { fetchHistory, type Progress } from './wire/history';

export const SPANS: readonly { readonly label: string; readonly ms: number }[] = [
  { label: '1 min', ms: 60_000 },
  { label: '5 min', ms: 300_000 },
  { label: '15 min', ms: 900_000 },
  { label: '1 h', ms: 3_600_000 },
  { label: '6 h', ms: 6 * 3_600_000 },
  { label: '24 h', ms: 24 * 3_600_000 },
  { label: 'All', ms: Infinity },
];

const SHORTEST = 5_000;
const LONGEST = 60 * 24 * 3_600_000;

/** What is shown if nobody has chosen: the first of each row that the machine has. */
const PREFERRED: readonly (readonly string[])[] = [
  ['thrust.total'],
  ['cutterhead.torque'],
  ['thrust.advance'],
  ['chamber.pressure_1', 'chamber.pressure_3', 'chamber.pressure_4'],
  ['cutterhead.penetration'],
  ['cutterhead.speed'],
  ['power.active'],
];
const PANELS = 4;

@Injectable({ providedIn: 'root' })
export class Trends {
  private readonly store = inject(Store);
  private readonly prefs = inject(Prefs);

  readonly span = signal(300_000);
  /** The right edge, by the source's clock; null follows the machine. */
  readonly end = signal<number | null>(null);
  readonly progress = signal<Progress | null>(null);
  private stop: (() => void) | null = null;
  private asked = new Map<string, number>(); // by source: how far back was fetched
  private timer: ReturnType<typeof setTimeout> | undefined;

  readonly panels = computed<readonly (readonly string[])[]>(() => {
    const source = this.store.source();
    this.store.figures();
    const has = new Set(source?.arranged().flatMap((g) => g.channels.map((c) => c.id)) ?? []);
    const chosen = this.prefs.panels();
    if (chosen) return chosen;
    const wanted = PREFERRED.map((p) => p.filter((id) => has.has(id))).filter((p) => p.length);
    const rest = [...has].filter((id) => !wanted.some((p) => p.includes(id))).map((id) => [id]);
    return [...wanted, ...rest].slice(0, PANELS);
  }, { equal: (a, b) => JSON.stringify(a) === JSON.stringify(b) });

  /** The window that is shown, in ms. */
  window(source: Source): { from: number; to: number } {
    const series = source.series;
    // The live edge goes on while nothing comes: a hole that grows is seen.
    const edge = source.time + (source.arrival.replayed ? 0 : Math.max(0, this.store.now - source.arrival.at));
    const to = this.end() ?? edge;
    let span = this.span();
    if (span === Infinity) span = Math.max(SHORTEST, to - (Number.isNaN(series.oldest) ? to : series.oldest));
    return { from: to - span, to };
  }

  show(ms: number): void {
    this.span.set(ms);
    if (ms === Infinity) this.end.set(null);
    this.reach();
  }

  live(): void {
    this.end.set(null);
  }

  /** Moves the window by a part of its width. */
  pan(part: number): void {
    const source = this.store.source();
    if (!source) return;
    const { from, to } = this.window(source);
    this.move(from + (to - from) * part, to + (to - from) * part, source);
  }

  /** Makes the window wider or narrower about a place in it, 0 left to 1 right. */
  zoom(factor: number, about = 1): void {
    const source = this.store.source();
    if (!source) return;
    const { from, to } = this.window(source);
    const width = Math.min(Math.max((to - from) * factor, SHORTEST), LONGEST);
    const fixed = from + (to - from) * about;
    if (about >= 1 && this.end() === null) {
      this.span.set(width);
      this.reach();
      return;
    }
    this.move(fixed - width * about, fixed + width * (1 - about), source);
  }

  private move(from: number, to: number, source: Source): void {
    const newest = source.series.newest;
    this.span.set(to - from);
    this.end.set(to >= newest ? null : to);
    this.reach();
  }

  cancel(): void {
    this.stop?.();
    this.stop = null;
    this.progress.set(null);
  }

  /** Fetches what the window shows and the page does not have, once it has come to rest. */
  private reach(): void {
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.fetch(), 400);
  }

  private fetch(): void {
    const source = this.store.source();
    const link = this.store.link;
    if (!source || link.journal !== 'yes' || this.stop) return;
    const all = this.span() === Infinity;
    const from = all ? 0 : this.window(source).from;
    const oldest = source.series.oldest;
    const asked = this.asked.get(source.name) ?? Infinity;
    if (from >= asked || (!all && !(from < oldest - 1000))) return;
    const tiers = new Map<string, Tier>();
    const derivers = new Map<string, Deriver>();
    const deriver = (name: string) => derivers.get(name) ?? derivers.set(name, new Deriver()).get(name)!;
    const own = new Map(this.store.sources().map((s) => [s.name, s.series.tiers[3]!.oldest]));
    const adopt = () => {
      for (const s of this.store.sources()) {
        const t = tiers.get(s.name);
        if (t) s.series.history = t;
      }
    };
    this.stop = fetchHistory({
      path: link.path, namespace: this.store.namespace, room: link.room, from,
      until: (name) => own.get(name) ?? Infinity,
      complete: (r) => complete(r, deriver(r.source), this.store.dictionary()),
      onProgress: (p) => {
        adopt();
        if (p.state === 'running') {
          this.progress.set(p);
          return;
        }
        if (p.state === 'done') for (const s of this.store.sources()) this.asked.set(s.name, from);
        this.stop = null;
        this.progress.set(p.state === 'failed' ? p : null);
      },
    }, tiers);
    this.progress.set({ state: 'running', packets: 0, part: NaN, error: '' });
  }
}
