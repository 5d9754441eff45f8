// One chart: up to a few channels over the window that all charts share. Mouse, touch and keys move the
// window; the chart only draws what it holds.
import { ChangeDetectionStrategy, Component, ElementRef, computed, effect, inject, input, signal, untracked, viewChild } from '@angular/core';
import uPlot from 'uplot';
import { decimals, figure, short } from '../format';
import type { Channel } from '../machine/dictionary';
import type { Source } from '../machine/source';
import { Prefs } from '../prefs';
import { Store } from '../store';
import { Trends } from '../trends';
import { timeLabels, yRange } from './axes';
import { gestures } from './gestures';

const ROWS = 1200;
const SYNC = 'trends';

@Component({
  selector: 'tbm-trend-panel',
  changeDetection: ChangeDetectionStrategy.OnPush,
  host: { class: 'panel', '[attr.data-panel]': 'ids().join()' },
  template: `
    <header>
      @for (l of legend(); track l.id) {
        <span class="key" [attr.data-channel]="l.id">
          <i [class]="'line' + $index"></i>{{ l.name }} <b>{{ l.value }}</b><small>{{ l.unit }}</small>
        </span>
      }
      @if (hoverText()) { <span class="at">{{ hoverText() }}</span> }
    </header>
    <div #plot class="plot"></div>
  `,
})
export class TrendPanel {
  private readonly store = inject(Store);
  private readonly trends = inject(Trends);
  private readonly prefs = inject(Prefs);
  readonly source = input.required<Source>();
  readonly ids = input.required<readonly string[]>();
  /** Whether the times stand below it: they are the same for all charts. */
  readonly times = input(true);
  readonly plot = viewChild.required<ElementRef<HTMLElement>>('plot');

  /** Row under the pointer, of any chart; -1 for none. */
  private readonly hover = signal(-1);
  private chart: uPlot | null = null;
  private readonly size = signal({ width: 0, height: 0 });

  private readonly channels = computed<Channel[]>(() => {
    this.store.dictionary();
    return this.ids().map((id) => this.source().channel(id));
  });

  readonly legend = computed(() => {
    this.store.figures();
    const row = this.hover();
    const s = this.source();
    return this.channels().map((c, i) => {
      const hovered = row >= 0 ? this.chart?.data[1 + i * 3]?.[row] : undefined;
      const v = typeof hovered === 'number' ? hovered : row >= 0 ? NaN : s.value(c.id);
      const top = s.series.extremes(c.id, 600_000);
      return { id: c.id, name: c.name, unit: c.unit, value: figure(v, decimals(c, top ? Math.max(Math.abs(top[0]), Math.abs(top[1])) : v)) };
    });
  });

  readonly hoverText = computed(() => {
    const row = this.hover();
    const t = row >= 0 ? this.chart?.data[0][row] : undefined;
    return t === undefined ? '' : new Date(t * 1000).toISOString().slice(5, 19).replace('T', ' ');
  });

  constructor() {
    effect((onCleanup) => {
      const box = this.plot().nativeElement;
      const observer = new ResizeObserver(() => this.size.set({ width: box.clientWidth, height: box.clientHeight }));
      observer.observe(box);
      const off = gestures(box, {
        pan: (part) => this.trends.pan(part),
        zoom: (factor, about) => this.trends.zoom(factor, about),
        reset: () => this.trends.live(),
        area: () => this.chart?.over.getBoundingClientRect() ?? box.getBoundingClientRect(),
      });
      onCleanup(() => {
        observer.disconnect();
        off();
      });
    });
    effect((onCleanup) => {
      this.prefs.theme();
      const channels = this.channels();
      const box = this.plot().nativeElement;
      this.chart = untracked(() => new uPlot(this.options(channels), [[], ...channels.flatMap(() => [[], [], []])], box));
      untracked(() => this.draw());
      onCleanup(() => {
        this.chart?.destroy();
        this.chart = null;
        this.hover.set(-1);
      });
    });
    effect(() => {
      const { width, height } = this.size();
      if (width > 0 && height > 0) this.chart?.setSize({ width, height });
    });
    effect(() => {
      this.store.frame();
      this.trends.span();
      this.trends.end();
      this.trends.progress();
      this.source();
      untracked(() => this.draw());
    });
  }

  private draw(): void {
    const chart = this.chart;
    const { width } = this.size();
    if (!chart || width === 0) return;
    const s = this.source();
    if (!s.last) return;
    const { from, to } = this.trends.window(s);
    const lines = s.series.read(this.ids(), from, to, Math.min(ROWS, width * 2), s.gap);
    chart.batch(() => {
      chart.setData([lines.times, ...lines.channels.flatMap((c) => [c.mean, c.low, c.high])], false);
      chart.setScale('x', { min: from / 1000, max: to / 1000 });
    });
  }

  private options(channels: readonly Channel[]): uPlot.Options {
    const style = getComputedStyle(this.plot().nativeElement);
    const colour = (name: string) => style.getPropertyValue(name).trim();
    const dim = colour('--dim');
    const grid = { stroke: colour('--grid'), width: 1 };
    const font = `11px ${style.fontFamily}`;
    const units = [...new Set(channels.map((c) => c.unit))];
    const scales: uPlot.Scales = { x: { time: false, auto: false } };
    const times = this.times();
    const axes: uPlot.Axis[] = [{
      stroke: dim, grid, ticks: { ...grid, size: 4 }, font, size: times ? 22 : 7, gap: 3, space: 90, incrs: timeLabels.steps,
      values: times ? timeLabels.values : (_u, splits) => splits.map(() => ''),
    }];
    units.forEach((unit, i) => {
      scales[`y${unit}`] = { auto: true, range: (_u, min, max) => yRange(min, max) };
      if (i < 2) axes.push({ scale: `y${unit}`, side: i === 0 ? 3 : 1, stroke: dim, grid: i === 0 ? grid : { show: false }, ticks: { show: false }, font, size: 48, gap: 4, space: 26, values: (_u, splits) => splits.map((v) => short(v)) });
    });
    const series: uPlot.Series[] = [{}];
    const bands: uPlot.Band[] = [];
    channels.forEach((c, i) => {
      const stroke = colour(`--line${i % 5}`);
      const scale = `y${c.unit}`;
      const edge: uPlot.Series = { scale, width: 0, points: { show: false } };
      series.push({ scale, stroke, width: 1.5, points: { show: false } }, edge, { ...edge });
      bands.push({ series: [i * 3 + 3, i * 3 + 2], fill: stroke + '30' });
    });
    return {
      width: Math.max(this.size().width, 100), height: Math.max(this.size().height, 60), padding: [6, units.length > 1 ? 0 : 22, 0, 0],
      scales, axes, series, bands, legend: { show: false },
      cursor: { sync: { key: SYNC, setSeries: false }, drag: { x: false, y: false, setScale: false }, points: { size: 5 }, y: false },
      hooks: {
        setCursor: [(u) => this.hover.set(u.cursor.idx ?? -1)],
        drawClear: [(u) => drawLimits(u, channels, colour('--warn'), colour('--alarm'))],
      },
    };
  }
}

/** The limits of the channels that are in sight: lines across. */
function drawLimits(u: uPlot, channels: readonly Channel[], warn: string, alarm: string): void {
  const { ctx, bbox } = u;
  const seen = new Set<string>();
  ctx.save();
  ctx.lineWidth = devicePixelRatio;
  ctx.setLineDash([4 * devicePixelRatio, 4 * devicePixelRatio]);
  for (const c of channels) {
    const scale = u.scales[`y${c.unit}`];
    if (scale?.min == null || scale.max == null) continue;
    for (const [limit, stroke] of [[c.limits.low_alarm, alarm], [c.limits.low_warn, warn], [c.limits.high_warn, warn], [c.limits.high_alarm, alarm]] as const) {
      if (limit === undefined || limit < scale.min || limit > scale.max || seen.has(`${c.unit}${limit}`)) continue;
      seen.add(`${c.unit}${limit}`);
      const y = Math.round(u.valToPos(limit, `y${c.unit}`, true)) + 0.5;
      ctx.strokeStyle = stroke;
      ctx.globalAlpha = 0.75;
      ctx.beginPath();
      ctx.moveTo(bbox.left, y);
      ctx.lineTo(bbox.left + bbox.width, y);
      ctx.stroke();
    }
  }
  ctx.restore();
}
