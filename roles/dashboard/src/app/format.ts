// Figures for people: as many digits as the channel's size asks for, never more.
import type { Channel } from './machine/dictionary.js';

export const NONE = '–';

/** How many decimals a channel is shown with, by the greatest value that it has now or soon. */
export function decimals(c: Channel, size: number): number {
  if (c.unit === 'm' || c.unit === '°') return 2;
  if (c.unit === 'mm') return 1;
  const top = Math.max(Math.abs(size), 1e-9);
  if (top >= 1000) return 0;
  if (top >= 100) return 1;
  return top >= 1 ? 2 : 3;
}

export function figure(v: number, digits: number): string {
  if (!Number.isFinite(v)) return NONE;
  return grouped(v.toFixed(digits));
}

/** A thin space between thousands, and a real minus: columns stay aligned and are read at a glance. */
function grouped(s: string): string {
  if (s.includes('e')) return s;
  const [whole, part] = (s.startsWith('-') ? s.slice(1) : s).split('.');
  const spaced = whole!.length > 4 ? whole!.replace(/\B(?=(\d{3})+$)/g, '\u2009') : whole!;
  return (s.startsWith('-') && Number(s) !== 0 ? '\u2212' : '') + spaced + (part ? '.' + part : '');
}

/** A limit as short as it can be written. */
export function short(v: number | undefined): string {
  if (v === undefined || !Number.isFinite(v)) return NONE;
  return grouped(String(Number(v.toPrecision(6))));
}

/** A span of time: 0.4 s, 12 s, 3 min 20 s, 2 h 05 min. */
export function span(ms: number): string {
  if (!Number.isFinite(ms)) return NONE;
  const s = Math.max(0, ms) / 1000;
  if (s < 10) return `${s.toFixed(1)} s`;
  if (s < 60) return `${Math.floor(s)} s`;
  const m = Math.floor(s / 60);
  if (m < 60) return `${m} min ${String(Math.floor(s % 60)).padStart(2, '0')} s`;
  const h = Math.floor(m / 60);
  if (h < 48) return `${h} h ${String(m % 60).padStart(2, '0')} min`;
  return `${Math.floor(h / 24)} d ${h % 24} h`;
}

const two = (n: number) => String(n).padStart(2, '0');

/** Time of day, UTC, as the machine's and the journal's times are. */
export function clock(ms: number, parts: 'minutes' | 'seconds' | 'ms' = 'seconds'): string {
  const d = new Date(ms);
  if (Number.isNaN(d.getTime())) return NONE;
  let s = `${two(d.getUTCHours())}:${two(d.getUTCMinutes())}`;
  if (parts !== 'minutes') s += `:${two(d.getUTCSeconds())}`;
  if (parts === 'ms') s += `.${String(d.getUTCMilliseconds()).padStart(3, '0')}`;
  return s;
}

export function day(ms: number): string {
  const d = new Date(ms);
  return Number.isNaN(d.getTime()) ? NONE : d.toISOString().slice(0, 10);
}

export function words(id: string): string {
  const s = id.replace(/_/g, ' ');
  return s.charAt(0).toUpperCase() + s.slice(1);
}

export function rate(hz: number): string {
  if (!Number.isFinite(hz)) return NONE;
  return hz >= 100 ? hz.toFixed(0) : hz >= 9.95 ? hz.toFixed(1) : hz.toFixed(hz < 1 ? 2 : 1);
}
