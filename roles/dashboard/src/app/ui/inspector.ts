// What comes, as it comes: the last events with their bytes. It can be stopped to look at one.
import { ChangeDetectionStrategy, Component, computed, inject, signal } from '@angular/core';
import { clock } from '../format';
import { Store, sizeOf, type RawEvent } from '../store';
import { bytesOf, describeProto } from '../wire/envelope';

const SHOWN = 60;
const HEX = 1024;

@Component({
  selector: 'tbm-inspector',
  changeDetection: ChangeDetectionStrategy.OnPush,
  host: { class: 'card inspector', 'data-testid': 'inspector' },
  template: `
    <h2>
      Packets
      <span class="tools">
        <button type="button" [class.on]="frozen() !== null" [attr.aria-pressed]="frozen() !== null" (click)="freeze()">{{ frozen() ? 'Go on' : 'Hold' }}</button>
        <label>Source <select (change)="from.set(value($event))">
          <option value="">all</option>
          @for (s of store.sources(); track s.name) { <option [value]="s.name" [selected]="from() === s.name">{{ s.name }}</option> }
          <option value="?" [selected]="from() === '?'">without envelope</option>
        </select></label>
      </span>
      <span class="note">{{ store.others ? store.others + ' without envelope' : '' }}</span>
    </h2>
    <div class="halves">
      <div class="rows" tabindex="0" role="listbox" aria-label="Packets" (keydown)="step($event)">
        @for (r of rows(); track r.n) {
          <div class="row" role="option" [class.on]="selected()?.n === r.n" [attr.aria-selected]="selected()?.n === r.n" (click)="pick(r)">
            <time>{{ time(r) }}</time><span class="from">{{ r.reading?.source ?? '–' }}</span><span class="num">{{ r.reading ? '#' + r.reading.seq : '' }}</span>
            <span class="kind">{{ kind(r) }}{{ r.delivery.replayed ? ', replayed' : '' }}</span>
          </div>
        } @empty { <p class="quiet">Nothing has come.</p> }
      </div>
      <div class="detail">
        @if (detail(); as d) {
          <p>{{ d.head }}</p>
          <pre data-testid="raw" tabindex="0">{{ d.text }}</pre>
          @if (d.hex) { <h3>Bytes</h3><pre class="hex" tabindex="0">{{ d.hex }}</pre> }
        } @else { <p class="quiet">Choose a packet to see it.</p> }
      </div>
    </div>
  `,
})
export class Inspector {
  readonly store = inject(Store);
  readonly frozen = signal<readonly RawEvent[] | null>(null);
  readonly from = signal('');
  readonly selected = signal<RawEvent | null>(null);

  readonly rows = computed(() => {
    this.store.figures();
    const from = this.from();
    const out: RawEvent[] = [];
    const all = this.frozen() ?? this.store.raw;
    for (let i = all.length - 1; i >= 0 && out.length < SHOWN; i--) {
      const r = all[i]!;
      if (from === '' || (from === '?' ? !r.reading : r.reading?.source === from)) out.push(r);
    }
    return out;
  });

  readonly detail = computed(() => {
    const r = this.selected() ?? this.rows()[0];
    if (!r) return null;
    const { value, at, offset } = r.delivery;
    const bytes = bytesOf(value);
    const shown = bytes ? describeProto(value) : value;
    const parts = [`received ${clock(at, 'ms')} UTC`, `about ${sizeOf(value)} bytes`, bytes ? 'binary' : 'JSON'];
    if (!Number.isNaN(offset)) parts.push(`journal offset ${offset}`);
    return {
      head: parts.join(' · '),
      text: bytes && !shown ? 'bytes that are no envelope' : JSON.stringify(shown, null, 2),
      hex: bytes ? hex(bytes.subarray(0, HEX)) + (bytes.length > HEX ? `\n… ${bytes.length - HEX} more` : '') : '',
    };
  });

  time(r: RawEvent): string {
    return clock(r.reading && !Number.isNaN(r.reading.time) ? r.reading.time : r.delivery.at, 'ms');
  }

  kind(r: RawEvent): string {
    if (r.reading) return r.reading.encoding;
    return bytesOf(r.delivery.value) ? 'bytes' : r.delivery.value === null ? 'null' : typeof r.delivery.value;
  }

  value(e: Event): string {
    return (e.target as HTMLSelectElement).value;
  }

  freeze(): void {
    this.frozen.update((f) => (f ? null : [...this.store.raw]));
    if (!this.frozen()) this.selected.set(null);
  }

  pick(r: RawEvent): void {
    this.frozen.update((f) => f ?? [...this.store.raw]);
    this.selected.set(r);
  }

  step(e: KeyboardEvent): void {
    const by = { ArrowDown: 1, ArrowUp: -1 }[e.key];
    if (!by) return;
    e.preventDefault();
    e.stopPropagation();
    const rows = this.rows();
    const at = rows.findIndex((r) => r.n === this.selected()?.n);
    const next = rows[Math.min(rows.length - 1, Math.max(0, at + by))];
    if (next) this.pick(next);
  }
}

function hex(bytes: Uint8Array): string {
  const lines: string[] = [];
  for (let i = 0; i < bytes.length; i += 16) {
    const row = [...bytes.subarray(i, i + 16)];
    const text = row.map((b) => (b >= 32 && b < 127 ? String.fromCharCode(b) : '·')).join('');
    lines.push(`${i.toString(16).padStart(4, '0')}  ${row.map((b) => b.toString(16).padStart(2, '0')).join(' ').padEnd(47)}  ${text}`);
  }
  return lines.join('\n');
}
