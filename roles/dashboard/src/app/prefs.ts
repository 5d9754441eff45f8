// What this browser remembers between visits: nothing of it is told to the server but the room.
import { Injectable, effect, signal } from '@angular/core';

export type Theme = 'dark' | 'light';
export type View = 'overview' | 'trends' | 'channels' | 'alarms' | 'inspector' | 'line';
export const VIEWS: readonly View[] = ['overview', 'trends', 'channels', 'alarms', 'inspector', 'line'];
const KEY = 'tbmsock.';
const MAX_ACKNOWLEDGED = 300;

@Injectable({ providedIn: 'root' })
export class Prefs {
  readonly theme = signal<Theme>(read<Theme>('theme', (v) => v === 'dark' || v === 'light') ?? (matchMedia('(prefers-color-scheme: light)').matches ? 'light' : 'dark'));
  readonly room = signal<string>(new URLSearchParams(location.search).get('room') ?? read<string>('room', (v) => typeof v === 'string') ?? 'ops');
  readonly view = signal<View>(viewOf(location.pathname));
  readonly panels = signal<readonly (readonly string[])[] | null>(
    read<string[][]>('panels', (v) => Array.isArray(v) && v.every((p) => Array.isArray(p) && p.every((c) => typeof c === 'string'))));
  readonly acknowledged = new Set<string>(read<string[]>('acknowledged', Array.isArray) ?? []);

  constructor() {
    effect(() => {
      document.documentElement.dataset['theme'] = this.theme();
      write('theme', this.theme());
    });
    effect(() => write('room', this.room()));
    effect(() => write('panels', this.panels()));
    effect(() => {
      const path = this.view() === 'overview' ? '/' : `/${this.view()}`;
      if (location.pathname !== path) history.pushState(null, '', path + location.search);
    });
    addEventListener('popstate', () => this.view.set(viewOf(location.pathname)));
  }

  toggleTheme(): void {
    this.theme.update((t) => (t === 'dark' ? 'light' : 'dark'));
  }

  acknowledge(id: string): void {
    this.acknowledged.add(id);
    write('acknowledged', [...this.acknowledged].slice(-MAX_ACKNOWLEDGED));
  }
}

function viewOf(path: string): View {
  const name = path.replace(/^\/|\/$/g, '');
  return VIEWS.find((v) => v === name) ?? 'overview';
}

function read<T>(key: string, check: (v: unknown) => boolean): T | null {
  try {
    const v: unknown = JSON.parse(localStorage.getItem(KEY + key) ?? 'null');
    return v !== null && check(v) ? (v as T) : null;
  } catch {
    return null;
  }
}

function write(key: string, value: unknown): void {
  try {
    localStorage.setItem(KEY + key, JSON.stringify(value));
  } catch {
    // A browser that keeps nothing: then this visit is all there is.
  }
}
