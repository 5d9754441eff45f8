// The machine in one line: what it does, where it is, and how its packets come.
import { ChangeDetectionStrategy, Component, computed, inject, input } from '@angular/core';
import { decimals, figure, rate, span, words } from '../format';
import type { Source } from '../machine/source';
import { Store } from '../store';

/** Shown if the machine has them. */
const KEY = ['guidance.chainage', 'thrust.stroke', 'thrust.advance'];

@Component({
  selector: 'tbm-status',
  changeDetection: ChangeDetectionStrategy.OnPush,
  host: { class: 'status', 'data-testid': 'status' },
  template: `
    @let s = view();
    <div class="cell state" [class]="'is-' + s.state" data-testid="state"><span>State</span><b>{{ s.stateText }}</b></div>
    @if (s.phase) { <div class="cell" data-testid="phase"><span>Phase</span><b>{{ s.phase }}</b></div> }
    @if (s.ring) { <div class="cell" data-testid="ring"><span>Ring</span><b>{{ s.ring }}</b></div> }
    @for (k of s.key; track k.id) {
      <div class="cell" [attr.data-key]="k.id"><span>{{ k.name }}</span><b>{{ k.value }}<small>{{ k.unit }}</small></b></div>
    }
    <div class="cell" data-testid="packets"><span>Packets</span><b><span data-testid="rate">{{ s.rate }}</span><small>/s</small></b></div>
    <div class="cell" [class.bad]="s.late" data-testid="age"><span>Last packet</span><b>{{ age() }}<small>ago</small></b></div>
    <div class="cell"><span>No. · run</span><b><span data-testid="seq">{{ seq() }}</span><small>{{ s.boot }}</small></b></div>
    <div class="cell" [class.bad]="s.missing > 0" data-testid="missing"><span>Missing</span><b>{{ s.missing }}</b></div>
    <div class="cell"><span>Machine</span><b class="plain">{{ s.machine }}</b></div>
  `,
})
export class StatusStrip {
  private readonly store = inject(Store);
  readonly source = input.required<Source>();

  readonly age = computed(() => {
    this.store.figures();
    return span(this.source().age(this.store.now));
  });
  readonly seq = computed(() => {
    this.store.frame();
    return this.source().last?.seq ?? 0;
  });
  readonly view = computed(() => {
    this.store.figures();
    const s = this.source();
    const phase = s.text('phase');
    const key = KEY.filter((id) => Number.isFinite(s.value(id))).map((id) => {
      const c = s.channel(id);
      return { id, name: c.name, unit: c.unit, value: figure(s.value(id), decimals(c, Math.max(100, Math.abs(s.value(id))))) };
    });
    return {
      state: s.text('state') || 'unknown', stateText: words(s.text('state') || 'unknown'), phase: phase && phase !== 'none' ? words(phase) : phase ? '–' : '',
      ring: Number.isFinite(s.value('ring')) ? String(s.value('ring')) : '', key,
      rate: rate(s.rate), late: s.silent, missing: s.line.missing, boot: (s.last?.boot ?? '').slice(0, 6),
      machine: [s.machine, s.last?.encoding].filter(Boolean).join(', '),
    };
  });
}
