// A group of channels as a card of gauges.
import { ChangeDetectionStrategy, Component, computed, input } from '@angular/core';
import type { Group } from '../machine/dictionary';
import type { Source } from '../machine/source';
import { GaugeRow } from './gauge';

@Component({
  selector: 'tbm-group',
  changeDetection: ChangeDetectionStrategy.OnPush,
  imports: [GaugeRow],
  host: { class: 'card group', '[attr.data-group]': 'group().id', '[class.wide]': 'wide()', '[class.long]': 'long()' },
  template: `
    <h2>{{ group().name }} @if (wide()) { <small><span>min</span><span>now</span><span>max</span></small> }</h2>
    @for (c of group().channels; track c.id) {
      <tbm-gauge [source]="source()" [channel]="c" [wide]="wide()" />
    }
  `,
})
export class GroupCard {
  readonly source = input.required<Source>();
  readonly group = input.required<Group>();
  readonly wide = input(false);
  /** Whether a unit needs more room than bar and mm/min do. */
  readonly long = computed(() => this.group().channels.some((c) => c.unit.length > 7));
}
