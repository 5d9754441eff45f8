// The alarms: what stands, with its time, value and limit, and what has passed. Acknowledging one is a
// note of this page's, and kept in this browser.
import { ChangeDetectionStrategy, Component, computed, inject, input } from '@angular/core';
import { clock, day, short, span } from '../format';
import type { Alarm } from '../machine/alarms';
import { levelName } from '../machine/limits';
import { Store } from '../store';

@Component({
  selector: 'tbm-alarms',
  changeDetection: ChangeDetectionStrategy.OnPush,
  host: { class: 'card alarms', 'data-testid': 'alarms', '[class.full]': 'full()' },
  template: `
    <h2>
      Alarms
      @if (open()) { <span class="count" data-testid="alarm-count">{{ open() }} not acknowledged</span> }
      @if (open()) { <span class="tools"><button type="button" (click)="store.acknowledgeAll()" title="Shift+A">Acknowledge all</button></span> }
    </h2>
    @if (rows().length === 0) { <p class="quiet">No alarms.</p> }
    <ul aria-live="polite">
      @for (r of rows(); track r.a.key) {
        <li [class]="r.kind" [class.open]="r.open" [class.over]="r.over" [attr.data-alarm]="r.a.channel" [attr.data-source]="r.a.source">
          <span class="sign" aria-hidden="true">{{ r.sign }}</span>
          <span class="what">{{ r.a.name }}</span>
          <span class="how">@if (r.level) { <span class="level">{{ r.level }}:&#32;</span> }{{ r.how }}@if (many()) { <span class="of">{{ r.a.source }}</span> }</span>
          <time>{{ r.time }}</time>
          <span class="state">{{ r.state }}</span>
          @if (r.open) { <button type="button" class="ack" (click)="store.acknowledge(r.a)">Acknowledge</button> }
        </li>
      }
    </ul>
    @if (more()) { <p class="quiet">and {{ more() }} more</p> }
    @if (store.alarms.lost) { <p class="quiet">{{ store.alarms.lost }} more are not shown.</p> }
    @if (full() && past().length) {
      <h3>Over and acknowledged</h3>
      <ul class="past">
        @for (r of past(); track $index) {
          <li [class]="r.kind">
            <span class="sign" aria-hidden="true">{{ r.sign }}</span>
            <span class="what">{{ r.a.name }}</span>
            <span class="how">@if (r.level) { <span class="level">{{ r.level }}:&#32;</span> }{{ r.how }}@if (many()) { <span class="of">{{ r.a.source }}</span> }</span><time>{{ r.time }}</time><span class="state">{{ r.state }}</span>
          </li>
        }
      </ul>
    }
  `,
})
export class AlarmList {
  readonly store = inject(Store);
  readonly full = input(false);
  readonly limit = input(4);

  private readonly all = computed(() => {
    this.store.figures();
    return this.store.alarms.list();
  });
  readonly many = computed(() => this.store.sources().length > 1);
  readonly open = computed(() => this.all().filter((a) => Number.isNaN(a.acknowledged)).length);
  readonly rows = computed(() => this.all().slice(0, this.full() ? 200 : this.limit()).map((a) => row(a, this.store.now)));
  readonly more = computed(() => Math.max(0, this.all().length - this.rows().length));
  readonly past = computed(() => {
    this.store.figures();
    return this.store.alarms.past.slice(0, 200).map((a) => row(a, this.store.now));
  });
}

function row(a: Alarm, now: number) {
  const over = a.now === 0;
  const open = Number.isNaN(a.acknowledged);
  const how = a.text || `${short(Number(a.value.toPrecision(4)))}${a.worst === a.value ? '' : `, then ${short(Number(a.worst.toPrecision(4)))}`} ${a.unit}, limit ${short(a.limit)}`;
  const today = day(now) === day(a.since) ? '' : day(a.since) + ' ';
  return {
    a, open, over, how,
    kind: Math.abs(a.level) === 2 ? 'alarm' : 'warn',
    sign: a.text ? '●' : (a.level > 0 ? '▲' : '▼').repeat(Math.abs(a.level)),
    level: a.text ? '' : levelName(a.level),
    time: today + clock(a.since),
    state: over ? `over after ${span(a.ended - a.since)}${a.count > 1 ? `, ${a.count} times` : ''}` : open ? '' : 'acknowledged',
  };
}
