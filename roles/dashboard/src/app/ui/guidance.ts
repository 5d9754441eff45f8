// Where the machine is against where it should be: deviation on a target with its limits as rings and
// the way it has come, roll as a horizon, pitch beside it.
import { ChangeDetectionStrategy, Component, computed, inject, input } from '@angular/core';
import { figure, short } from '../format';
import type { Channel } from '../machine/dictionary';
import type { Source } from '../machine/source';
import { Store } from '../store';
import { gauge } from './gauge';

export const GUIDANCE = {
  horizontal: 'guidance.deviation_horizontal',
  vertical: 'guidance.deviation_vertical',
  roll: 'guidance.roll',
  pitch: 'guidance.pitch',
} as const;

const TRAIL = 10 * 60_000;
const RADIUS = 92; // of the outermost ring, in the drawing's units

@Component({
  selector: 'tbm-guidance',
  changeDetection: ChangeDetectionStrategy.OnPush,
  host: { class: 'card guidance', 'data-testid': 'guidance' },
  template: `
    <h2>Guidance</h2>
    <div class="both">
      @if (target(); as t) {
        <svg class="target" viewBox="-100 -100 200 200" role="img" [attr.aria-label]="'Deviation ' + t.h + ' horizontal, ' + t.v + ' vertical'">
          <circle class="ring edge" r="92" />
          @for (r of t.rings; track r.kind) { <circle class="ring" [class]="r.kind" [attr.r]="r.r" /> }
          <path class="axes" d="M-96 0H96M0 -96V96" />
          @for (r of t.rings; track r.kind) { <text class="scale" x="3" [attr.y]="-r.r - 2">{{ r.label }}</text> }
          <polyline class="trail" [attr.points]="t.trail" />
          <g class="cross" [class]="t.kind" [attr.transform]="'translate(' + t.x + ' ' + t.y + ')'"><circle r="5" /><path d="M-10 0H10M0 -10V10" /></g>
        </svg>
      }
      <div class="figures">
        @for (f of figures(); track f.id) {
          <div class="fig" [class]="f.g.kind" [class.stale]="f.g.stale" [title]="f.g.hint" [attr.data-channel]="f.id">
            <span class="name">{{ f.name }}</span>
            <span class="value">{{ f.g.sign }} {{ f.g.value }}<small>{{ f.unit }}</small></span>
          </div>
        }
        @if (attitude(); as a) {
          <svg class="attitude" viewBox="-60 -34 120 68" role="img" [attr.aria-label]="'Roll ' + a.rollText + ', pitch ' + a.pitchText + ' degrees'">
            <path class="scale" d="M-58 0H-46M46 0H58" />
            <g [attr.transform]="'rotate(' + a.roll + ')'">
              <circle class="shield" r="28" />
              <path class="level" d="M-42 0H42" />
              <path class="top" d="M0 -28V-20" />
            </g>
            <path class="pitch" [attr.d]="'M-12 ' + a.pitch + 'H12'" />
          </svg>
        }
      </div>
    </div>
  `,
})
export class Guidance {
  private readonly store = inject(Store);
  readonly source = input.required<Source>();

  readonly figures = computed(() => {
    this.store.figures();
    const s = this.source();
    return this.channels().map((c) => ({ id: c.id, name: c.name.replace(' deviation', ''), unit: c.unit, g: gauge(s, c, this.store.now) }));
  });

  readonly target = computed(() => {
    this.store.figures();
    const s = this.source();
    const [h, v] = [s.value(GUIDANCE.horizontal), s.value(GUIDANCE.vertical)];
    if (!Number.isFinite(h) || !Number.isFinite(v)) return null;
    const l = s.channel(GUIDANCE.horizontal).limits;
    const reach = Math.max((l.high_alarm ?? l.high_warn ?? 0) * 1.25, Math.abs(h) * 1.1, Math.abs(v) * 1.1, 10);
    const k = RADIUS / reach;
    const lines = s.series.tiers[1]!;
    const out = { times: [], width: 0, channels: [{ low: [], mean: [], high: [] }, { low: [], mean: [], high: [] }] };
    const first = lines.find(s.series.newest - TRAIL);
    lines.read([GUIDANCE.horizontal, GUIDANCE.vertical], first, lines.length, 10, Infinity, out);
    const [xs, ys] = [out.channels[0]!.mean as (number | null)[], out.channels[1]!.mean as (number | null)[]];
    const trail = xs.map((x, i) => (x === null || ys[i] == null ? '' : `${(x * k).toFixed(1)},${(-ys[i]! * k).toFixed(1)}`)).filter(Boolean);
    const level = Math.max(Math.abs(s.level(GUIDANCE.horizontal)), Math.abs(s.level(GUIDANCE.vertical)));
    const rings = ([['warn', l.high_warn], ['alarm', l.high_alarm]] as const).flatMap(([kind, limit]) =>
      limit === undefined ? [] : [{ kind, r: limit * k, label: short(limit) }]);
    return { x: h * k, y: -v * k, rings, trail: [...trail, `${h * k},${-v * k}`].join(' '), kind: ['normal', 'warn', 'alarm'][level]!, h: figure(h, 1), v: figure(v, 1) };
  });

  readonly attitude = computed(() => {
    this.store.figures();
    const s = this.source();
    const [roll, pitch] = [s.value(GUIDANCE.roll), s.value(GUIDANCE.pitch)];
    if (!Number.isFinite(roll) || !Number.isFinite(pitch)) return null;
    const steep = s.channel(GUIDANCE.pitch).limits.high_alarm ?? 10;
    return { roll: Math.max(-90, Math.min(90, roll)), pitch: -Math.max(-28, Math.min(28, (pitch / steep) * 24)), rollText: figure(roll, 2), pitchText: figure(pitch, 2) };
  });

  private channels(): Channel[] {
    const s = this.source();
    return Object.values(GUIDANCE).filter((id) => Number.isFinite(s.value(id))).map((id) => s.channel(id));
  }
}
