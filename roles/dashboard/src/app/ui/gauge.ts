// One channel as a gauge: its value, where that stands between its limits, and the least and greatest
// of the last ten minutes. What is normal is quiet; colour is for what is not.
import { ChangeDetectionStrategy, Component, computed, inject, input } from '@angular/core';
import { decimals, figure, short, span } from '../format';
import type { Channel } from '../machine/dictionary';
import { levelName } from '../machine/limits';
import type { Source } from '../machine/source';
import { Store } from '../store';

const SPAN = 600_000;

/** What a gauge shows. */
export interface Gauge {
  readonly value: string;
  readonly low: string;
  readonly high: string;
  readonly at: number | null; // percent of the scale; null if there is no value now
  readonly from: number;
  readonly to: number;
  readonly zones: readonly { readonly kind: string; readonly left: number; readonly width: number }[];
  readonly kind: string; // normal, warn, alarm
  readonly sign: string;
  readonly beyond: number; // the level that it goes to, if it stays there
  readonly stale: boolean;
  readonly hint: string;
}

/** The scale of a gauge: around its limits if it has any, else around what was read. */
export function scaleOf(c: Channel, low: number, high: number): [number, number] {
  const l = c.limits;
  const lows = [l.low_alarm, l.low_warn].filter((v) => v !== undefined);
  const highs = [l.high_alarm, l.high_warn].filter((v) => v !== undefined);
  let a: number;
  let b: number;
  if (lows.length && highs.length) {
    const pad = (highs[0]! - lows[0]!) * 0.2;
    [a, b] = [lows[0]! - pad, highs[0]! + pad];
  } else if (highs.length) {
    [a, b] = [Math.min(c.range?.[0] ?? 0, 0), highs[0]! * 1.15];
    if (b <= a) [a, b] = [highs[0]! * 1.3, 0];
  } else if (c.range && c.unit === '%') {
    [a, b] = [c.range[0], c.range[1]];
  } else {
    a = Math.min(0, low);
    b = nice(Math.max(high, 0) * 1.2 || 1);
    if (low > 0 && high - low < low * 0.02) a = low - (b - low); // a position: only its change tells
  }
  if (c.range) [a, b] = [Math.max(a, c.range[0]), Math.min(b, Math.max(c.range[1], a))];
  return [Math.min(a, low), Math.max(b, high)];
}

/** The lesser of two, of which one may be no number. */
function least(a: number, b: number): number {
  return Number.isNaN(b) || a < b ? a : b;
}

function nice(v: number): number {
  const p = 10 ** Math.floor(Math.log10(v));
  return p * ([1, 2, 3, 5, 8, 10].find((k) => k * p >= v) ?? 10);
}

/** Works a gauge out from the source as it is now. */
export function gauge(s: Source, c: Channel, now: number): Gauge {
  const v = s.value(c.id);
  const [low, high] = s.series.extremes(c.id, SPAN) ?? [v, v];
  const [a, b] = scaleOf(c, least(low, v), -least(-high, -v));
  const pct = (x: number) => (b > a ? Math.min(100, Math.max(0, ((x - a) / (b - a)) * 100)) : 50);
  const l = c.limits;
  const zones: { kind: string; left: number; width: number }[] = [];
  const zone = (kind: string, x: number, y: number) => {
    if (pct(y) > pct(x)) zones.push({ kind, left: pct(x), width: pct(y) - pct(x) });
  };
  if (l.low_alarm !== undefined) zone('alarm', a, l.low_alarm);
  if (l.low_warn !== undefined) zone('warn', l.low_alarm ?? a, l.low_warn);
  if (l.high_warn !== undefined) zone('warn', l.high_warn, l.high_alarm ?? b);
  if (l.high_alarm !== undefined) zone('alarm', l.high_alarm, b);
  const level = s.level(c.id);
  const digits = decimals(c, Math.max(Math.abs(low), Math.abs(high), Math.abs(l.high_warn ?? 0) / 10));
  const limits = [`low alarm ${short(l.low_alarm)}`, `low warning ${short(l.low_warn)}`, `high warning ${short(l.high_warn)}`, `high alarm ${short(l.high_alarm)}`];
  return {
    value: figure(v, digits), low: figure(low, digits), high: figure(high, digits), at: Number.isFinite(v) ? pct(v) : null, from: pct(low), to: pct(high), zones,
    kind: ['normal', 'warn', 'alarm'][Math.abs(level)]!,
    sign: level === 0 ? '' : (level > 0 ? '▲' : '▼').repeat(Math.abs(level)),
    beyond: s.judges.get(c.id)?.beyond ?? 0,
    stale: s.stale(c, now),
    hint: `${c.name} (${c.id}): ${levelName(level)}${s.frozen(c.id) ? `, the same value for ${span(s.frozen(c.id))}` : ''}; ${limits.join(', ')}; last 10 min ${figure(low, digits)} to ${figure(high, digits)} ${c.unit}`,
  };
}

@Component({
  selector: 'tbm-gauge',
  changeDetection: ChangeDetectionStrategy.OnPush,
  host: { class: 'gauge', '[attr.data-channel]': 'channel().id', '[attr.data-level]': 'g().kind', '[attr.data-beyond]': 'g().beyond', '[class.stale]': 'g().stale', '[title]': 'g().hint' },
  template: `
    <span class="name">{{ channel().name }}</span>
    <span class="bar" aria-hidden="true">
      @for (z of g().zones; track $index) {
        <i class="zone" [class]="z.kind" [style.left.%]="z.left" [style.width.%]="z.width"></i>
      }
      <i class="spread" [style.left.%]="g().from" [style.width.%]="g().to - g().from"></i>
      @if (g().at !== null) { <i class="mark" [style.left.%]="g().at"></i> }
    </span>
    <span class="sign">{{ g().sign }}</span>
    @if (wide()) { <span class="least">{{ g().low }}</span> }
    <span class="value">{{ g().value }}</span>
    @if (wide()) { <span class="greatest">{{ g().high }}</span> }
    <span class="unit">{{ channel().unit }}</span>
  `,
})
export class GaugeRow {
  private readonly store = inject(Store);
  readonly source = input.required<Source>();
  readonly channel = input.required<Channel>();
  readonly wide = input(false);
  readonly g = computed(() => {
    this.store.figures();
    return gauge(this.source(), this.channel(), this.store.now);
  });
}
