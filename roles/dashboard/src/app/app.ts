// The page around everything: which source, which view, how the line is, and the keys.
import { ChangeDetectionStrategy, Component, ElementRef, computed, effect, inject, signal, viewChild } from '@angular/core';
import { clock, day, span } from './format';
import type { Group } from './machine/dictionary';
import { Prefs, VIEWS, type View } from './prefs';
import { Store } from './store';
import { Trends } from './trends';
import { AlarmList } from './ui/alarm-list';
import { GroupCard } from './ui/group-card';
import { GUIDANCE, Guidance } from './ui/guidance';
import { Inspector } from './ui/inspector';
import { LineView } from './ui/line-view';
import { StatusStrip } from './ui/status-strip';
import { TrendBoard } from './ui/trend-board';

const NAMES: Record<View, string> = { overview: 'Overview', trends: 'Trends', channels: 'Channels', alarms: 'Alarms', inspector: 'Packets', line: 'Line' };

@Component({
  selector: 'tbm-app',
  changeDetection: ChangeDetectionStrategy.OnPush,
  imports: [AlarmList, GroupCard, Guidance, Inspector, LineView, StatusStrip, TrendBoard],
  host: { '[class.dead]': 'dead()', '(document:keydown)': 'key($event)' },
  templateUrl: './app.html',
})
export class App {
  readonly store = inject(Store);
  readonly prefs = inject(Prefs);
  readonly trends = inject(Trends);
  readonly views = VIEWS.map((id, i) => ({ id, name: NAMES[id], key: i + 1 }));
  readonly help = viewChild.required<ElementRef<HTMLDialogElement>>('help');
  readonly roomBox = viewChild.required<ElementRef<HTMLInputElement>>('roomBox');
  readonly ready = signal(false);

  readonly time = computed(() => {
    this.store.figures();
    return clock(this.store.now);
  });
  readonly date = computed(() => {
    this.store.figures();
    return day(this.store.now);
  });
  readonly open = computed(() => {
    this.store.figures();
    return this.store.alarms.open;
  });
  readonly tabs = computed(() => {
    this.store.figures();
    return this.store.sources().map((s) => ({
      name: s.name, on: s === this.store.source(), silent: s.silent, state: s.text('state'),
      kind: ['normal', 'warn', 'alarm'][this.store.alarms.worst(s.name)]!,
      title: `${s.name}: ${s.text('state') || 'state unknown'}, last packet ${span(s.age(this.store.now))} ago`,
    }));
  });
  readonly groups = computed<readonly Group[]>(() => {
    this.store.figures();
    const hidden = new Set(['ring']); // stands in the strip
    return (this.store.source()?.arranged() ?? [])
      .map((g) => (g.id === '' ? { ...g, channels: g.channels.filter((c) => !hidden.has(c.id)) } : g))
      .filter((g) => g.channels.length);
  }, { equal: (a, b) => a.length === b.length && a.every((g, i) => g.id === b[i]!.id && g.channels.length === b[i]!.channels.length && g.channels.every((c, k) => c === b[i]!.channels[k])) });
  /** Beside the charts: the air has a place of its own, where the machine is another. */
  readonly process = computed(() => this.groups().filter((g) => g.id !== 'atmosphere' && !(g.id === 'guidance' && this.guided())));
  readonly air = computed(() => this.groups().find((g) => g.id === 'atmosphere') ?? null);
  readonly guided = computed(() => {
    const guidance = this.groups().find((g) => g.id === 'guidance');
    return !!guidance?.channels.some((c) => c.id === GUIDANCE.horizontal);
  });

  /** What must be said before anything is read off the page. */
  readonly banner = computed<{ kind: string; text: string } | null>(() => {
    this.store.figures();
    if (!this.ready()) return null;
    const l = this.store.linkState();
    const since = span(this.store.now - l.since);
    const s = this.store.source();
    switch (l.state) {
      case 'connecting':
        return { kind: 'warn', text: `Connecting to the server, for ${since}${l.reason ? ': ' + l.reason : ''}.` };
      case 'lost':
        return { kind: 'alarm', text: `Disconnected for ${since}: ${l.reason}. ${s ? 'What you see is the last that came.' : ''} Trying to reconnect.` };
      case 'refused':
        return { kind: 'alarm', text: `The server refuses this page: ${l.reason}.` };
      case 'replaying':
        return { kind: 'info', text: `Catching up from the journal${s ? ': ' + clock(s.time) + ' UTC' : ''}. What you see is past.` };
    }
    if (l.trouble) return { kind: 'alarm', text: `The server's journal takes nothing: ${l.trouble}. Sources keep what they have; nothing new comes until it does.` };
    if (l.roomError) return { kind: 'alarm', text: `Room ${l.room} was not joined: ${l.roomError}.` };
    if (s?.silent) return { kind: 'warn', text: `${s.name} is silent: its last packet came ${span(s.age(this.store.now))} ago. What you see is old.` };
    if (this.trends.end() !== null && (this.prefs.view() === 'overview' || this.prefs.view() === 'trends')) {
      return { kind: 'info', text: 'The charts show the past; gauges and alarms show now. Press L or Live to follow the machine.' };
    }
    return null;
  });
  /** Whether the figures are old: the page is cut off, or the source is silent. */
  readonly dead = computed(() => {
    this.store.figures();
    return this.ready() && (!this.store.connected() || (this.store.source()?.silent ?? false));
  });
  readonly pill = computed(() => {
    this.store.figures();
    const l = this.store.linkState();
    const text = { connecting: 'Connecting', lost: 'Disconnected', refused: 'Refused', replaying: 'Replaying', live: 'Live' }[l.state];
    const silent = l.state === 'live' && this.store.source()?.silent;
    return { kind: l.state === 'live' ? (silent ? 'warn' : 'normal') : l.state === 'lost' || l.state === 'refused' ? 'alarm' : 'warn', text: silent ? 'Silent' : text };
  });

  constructor() {
    void this.store.open().then(() => this.ready.set(true));
    effect(() => {
      const n = this.open();
      const lost = this.ready() && !this.store.connected();
      document.title = `${lost ? '⚠ ' : ''}${n ? `(${n}) ` : ''}${this.store.source()?.name ?? 'tbmsock'}`;
    });
  }

  join(e: Event): void {
    e.preventDefault();
    const box = this.roomBox().nativeElement;
    this.store.changeRoom(box.value.trim());
    box.blur();
  }

  refreshRooms(): void {
    void this.store.loadStatus();
  }

  readonly rooms = computed(() => this.store.status()?.namespaces.find((n) => n.name === this.store.namespace)?.rooms ?? []);

  private turn(by: number): void {
    const all = this.store.sources();
    const at = all.indexOf(this.store.source()!);
    const next = all[(at + by + all.length) % all.length];
    if (next) this.store.choose(next.name);
  }

  key(e: KeyboardEvent): void {
    const target = e.target as HTMLElement;
    if (e.ctrlKey || e.metaKey || e.altKey) return;
    if (target.matches('input, select, textarea')) {
      if (e.key === 'Escape') target.blur();
      return;
    }
    const done = this.command(e.key, target);
    if (done) e.preventDefault();
  }

  private command(key: string, target: HTMLElement): boolean {
    const view = this.views[Number(key) - 1];
    if (view) {
      this.prefs.view.set(view.id);
      return true;
    }
    switch (key) {
      case '[': this.turn(-1); return true;
      case ']': this.turn(1); return true;
      case 't': this.prefs.toggleTheme(); return true;
      case 'l': case 'L': this.trends.live(); return true;
      case '+': case '=': this.trends.zoom(0.5, this.trends.end() === null ? 1 : 0.5); return true;
      case '-': this.trends.zoom(2, this.trends.end() === null ? 1 : 0.5); return true;
      case 'ArrowLeft': this.trends.pan(-0.1); return true;
      case 'ArrowRight': this.trends.pan(0.1); return true;
      case 'a': {
        const first = this.store.alarms.list().find((a) => Number.isNaN(a.acknowledged));
        if (first) this.store.acknowledge(first);
        return true;
      }
      case 'A': this.store.acknowledgeAll(); return true;
      case '/': this.roomBox().nativeElement.select(); return true;
      case '?': this.help().nativeElement.showModal(); return true;
    }
    return target === null;
  }
}
