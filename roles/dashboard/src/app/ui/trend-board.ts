// The charts, one below the other, with what moves their window; and where they are chosen.
import { ChangeDetectionStrategy, Component, computed, inject, input, signal } from '@angular/core';
import { day, clock } from '../format';
import type { Source } from '../machine/source';
import { Prefs } from '../prefs';
import { Store } from '../store';
import { SPANS, Trends } from '../trends';
import { TrendPanel } from './trend-panel';

const MAX_PANELS = 8;
const MAX_LINES = 5;

@Component({
  selector: 'tbm-trends',
  changeDetection: ChangeDetectionStrategy.OnPush,
  imports: [TrendPanel],
  host: { class: 'card trends', 'data-testid': 'trends', '[attr.data-from]': 'shown().from', '[attr.data-to]': 'shown().to' },
  template: `
    <h2>
      Trends
      <span class="tools" role="group" aria-label="Window">
        @for (s of spans; track s.label) {
          <button type="button" [class.on]="trends.span() === s.ms" [attr.aria-pressed]="trends.span() === s.ms" (click)="trends.show(s.ms)">{{ s.label }}</button>
        }
      </span>
      <span class="tools">
        <button type="button" (click)="trends.pan(-0.5)" aria-label="Back in time" title="Back in time (←)">◀</button>
        <button type="button" (click)="trends.pan(0.5)" aria-label="Forward" title="Forward (→)">▶</button>
        <button type="button" (click)="trends.zoom(0.5, centre())" aria-label="Zoom in" title="Zoom in (+)">+</button>
        <button type="button" (click)="trends.zoom(2, centre())" aria-label="Zoom out" title="Zoom out (−)">−</button>
        <button type="button" class="live" [class.on]="trends.end() === null" [attr.aria-pressed]="trends.end() === null" (click)="trends.live()" title="Follow the machine (L)">Live</button>
        <button type="button" data-testid="choose" [class.on]="editing()" [attr.aria-pressed]="editing()" (click)="editing.set(!editing())">Channels</button>
      </span>
      <span class="note" data-testid="trend-note">{{ note() }} @if (trends.progress()?.state === 'running') { <button type="button" (click)="trends.cancel()">Stop</button> }</span>
    </h2>
    @if (editing()) {
      <div class="picker" data-testid="picker">
        @for (p of trends.panels(); track $index) {
          <fieldset>
            <legend>Chart {{ $index + 1 }}</legend>
            @for (id of p; track id) {
              <button type="button" class="chip" (click)="remove($index, id)" [attr.aria-label]="'Remove ' + name(id)">{{ name(id) }} ✕</button>
            }
            @if (p.length < maxLines) {
              <select [attr.aria-label]="'Add a channel to chart ' + ($index + 1)" (change)="add($index, $event)">
                <option value="">add a channel…</option>
                @for (g of groups(); track g.id) {
                  <optgroup [label]="g.name">
                    @for (c of g.channels; track c.id) { <option [value]="c.id">{{ c.name }} {{ c.unit && '(' + c.unit + ')' }}</option> }
                  </optgroup>
                }
              </select>
            }
            <button type="button" (click)="drop($index)">Remove chart</button>
          </fieldset>
        }
        <p>
          @if (trends.panels().length < maxPanels) { <button type="button" (click)="fresh()">Add a chart</button> }
          <button type="button" (click)="prefs.panels.set(null)">As it was</button>
          <button type="button" (click)="editing.set(false)">Done</button>
        </p>
      </div>
    }
    <div class="panels">
      @for (p of trends.panels(); track $index) { <tbm-trend-panel [source]="source()" [ids]="p" [times]="$last" /> }
    </div>
  `,
})
export class TrendBoard {
  readonly store = inject(Store);
  readonly trends = inject(Trends);
  readonly prefs = inject(Prefs);
  readonly source = input.required<Source>();
  readonly spans = SPANS;
  readonly maxPanels = MAX_PANELS;
  readonly maxLines = MAX_LINES;
  readonly editing = signal(false);
  readonly centre = computed(() => (this.trends.end() === null ? 1 : 0.5));
  readonly groups = computed(() => {
    this.store.figures();
    return this.source().arranged();
  });

  readonly shown = computed(() => {
    this.store.figures();
    this.trends.end();
    return this.trends.window(this.source());
  });

  /** What the window shows that is not now, and why it may be empty. */
  readonly note = computed(() => {
    this.store.figures();
    const p = this.trends.progress();
    if (p?.state === 'running') return `Fetching from the journal: ${Number.isNaN(p.part) ? `${p.packets} packets` : `${Math.round(p.part * 100)} %`}`;
    if (p?.state === 'failed') return `Not fetched: ${p.error}`;
    const { from, to } = this.trends.window(this.source());
    const oldest = this.source().series.oldest;
    const past = this.trends.end() !== null;
    const missing = from < oldest - 2000 && this.store.linkState().journal === 'no';
    if (past) return `${day(from)} ${clock(from)} to ${clock(to)} UTC${missing ? '; nothing older is kept' : ''}`;
    return missing && this.trends.span() !== Infinity ? `no journal: nothing before ${clock(oldest)} UTC` : '';
  });

  name(id: string): string {
    return this.source().channel(id).name;
  }

  private edit(f: (panels: string[][]) => void): void {
    const panels = this.trends.panels().map((p) => [...p]);
    f(panels);
    this.prefs.panels.set(panels);
  }

  add(panel: number, e: Event): void {
    const select = e.target as HTMLSelectElement;
    const id = select.value;
    select.value = '';
    if (id) this.edit((p) => p[panel]!.includes(id) || p[panel]!.push(id));
  }

  remove(panel: number, id: string): void {
    this.edit((p) => (p[panel] = p[panel]!.filter((x) => x !== id)));
  }

  drop(panel: number): void {
    this.edit((p) => p.splice(panel, 1));
  }

  fresh(): void {
    this.edit((p) => p.push([]));
  }
}
