// The channels as the server describes them at /dictionary: names, units, ranges, limits. A machine may
// have limits of its own (overrides by kind of machine); a channel that nobody described is made up from
// its id, so that nothing that arrives is hidden.
import { splitId } from '../wire/envelope.js';
import type { Geometry } from './derived.js';

export interface Limits {
  readonly low_alarm?: number;
  readonly low_warn?: number;
  readonly high_warn?: number;
  readonly high_alarm?: number;
}

export interface Channel {
  readonly id: string; // "thrust.total"
  readonly group: string;
  readonly name: string;
  readonly unit: string;
  readonly range?: readonly [number, number];
  readonly limits: Limits;
  readonly hysteresis: number;
  readonly persistence: number; // ms
  readonly staleAfter: number; // ms
  readonly frozenAfter: number; // ms that a sensor may show the same value while the machine bores; 0: as long as it likes
  readonly described: boolean; // by the dictionary
}

export interface Group {
  readonly id: string;
  readonly name: string;
  readonly channels: readonly Channel[];
}

const LIMITS = ['low_alarm', 'low_warn', 'high_warn', 'high_alarm'] as const;
type Json = Record<string, unknown>;
const isObject = (v: unknown): v is Json => typeof v === 'object' && v !== null && !Array.isArray(v);
const finite = (v: unknown): v is number => typeof v === 'number' && Number.isFinite(v);

/** A kind of machine: its build, and the channels that differ from the common ones. */
interface Machine {
  readonly geometry: Geometry;
  readonly channels: ReadonlyMap<string, Channel>;
}

const UNKNOWN: Geometry = { diameter: NaN, cutters: NaN };

/** What is known of the channels, for each kind of machine. */
export class Dictionary {
  readonly groups: readonly Group[];
  private readonly byId = new Map<string, Channel>();
  private readonly machines: ReadonlyMap<string, Machine>;
  private readonly groupNames = new Map<string, string>();
  private readonly made = new Map<string, Channel>();

  constructor(json: unknown = {}) {
    const root = isObject(json) ? json : {};
    this.groups = readGroups(root['groups']);
    for (const g of this.groups) {
      this.groupNames.set(g.id, g.name);
      for (const c of g.channels) this.byId.set(c.id, c);
    }
    const machines = new Map<string, Machine>();
    for (const m of Array.isArray(root['machines']) ? root['machines'] : []) {
      if (isObject(m) && typeof m['id'] === 'string') machines.set(m['id'], readMachine(m, this.byId));
    }
    this.machines = machines;
  }

  /** The channel as it is on that kind of machine. */
  channel(id: string, machine = ''): Channel {
    return this.machines.get(machine)?.channels.get(id) ?? this.byId.get(id) ?? this.makeUp(id);
  }

  /** The build of that kind of machine. */
  geometry(machine: string): Geometry {
    return this.machines.get(machine)?.geometry ?? UNKNOWN;
  }

  groupName(id: string): string {
    return this.groupNames.get(id) || (id === '' ? 'Packet' : humanize(id));
  }

  /** Groups the ids in the dictionary's order; what it does not know comes last. */
  arrange(ids: Iterable<string>, machine = ''): Group[] {
    const present = new Set(ids);
    const out: Group[] = [];
    for (const g of this.groups) {
      const known = g.channels.filter((c) => present.delete(c.id)).map((c) => this.channel(c.id, machine));
      if (known.length) out.push({ id: g.id, name: this.groupName(g.id), channels: known });
    }
    const rest = new Map<string, Channel[]>();
    for (const id of present) {
      const c = this.channel(id, machine);
      const list = rest.get(c.group);
      if (list) list.push(c);
      else rest.set(c.group, [c]);
    }
    for (const [id, channels] of rest) {
      const i = out.findIndex((g) => g.id === id);
      if (i >= 0) out[i] = { ...out[i]!, channels: [...out[i]!.channels, ...channels] };
      else out.push({ id, name: this.groupName(id), channels });
    }
    return out;
  }

  private makeUp(id: string): Channel {
    let c = this.made.get(id);
    if (!c) {
      const [group, name] = splitId(id);
      c = { id, group, name: humanize(name), unit: '', limits: {}, hysteresis: 0, persistence: 0, staleAfter: 5000, frozenAfter: 0, described: false };
      this.made.set(id, c);
    }
    return c;
  }
}

function humanize(id: string): string {
  const words = id.replace(/[._]+/g, ' ').trim();
  return words.charAt(0).toUpperCase() + words.slice(1);
}

function readGroups(v: unknown): Group[] {
  const out: Group[] = [];
  for (const g of Array.isArray(v) ? v : []) {
    if (!isObject(g) || typeof g['id'] !== 'string') continue;
    const id = g['id'];
    const channels: Channel[] = [];
    for (const c of Array.isArray(g['channels']) ? g['channels'] : []) {
      if (isObject(c) && typeof c['id'] === 'string') channels.push(readChannel(c, fullId(id, c['id']), null));
    }
    out.push({ id, name: typeof g['name'] === 'string' ? g['name'] : '', channels });
  }
  return out;
}

function fullId(group: string, id: string): string {
  return id.startsWith(group + '.') ? id : `${group}.${id}`;
}

function readMachine(m: Json, base: ReadonlyMap<string, Channel>): Machine {
  const channels = new Map<string, Channel>();
  for (const c of Array.isArray(m['channels']) ? m['channels'] : []) if (isObject(c) && typeof c['id'] === 'string') channels.set(c['id'], readChannel(c, c['id'], base));
  const number = (v: unknown) => (finite(v) ? v : NaN);
  return { geometry: { diameter: number(m['diameter_m']), cutters: number(m['cutters']) }, channels };
}

function readChannel(c: Json, id: string, base: ReadonlyMap<string, Channel> | null): Channel {
  const old = base?.get(id);
  const range = c['range'];
  const limits: Record<string, number> = {};
  const given = c['limits'];
  if (isObject(given)) for (const name of LIMITS) if (finite(given[name])) limits[name] = given[name];
  const text = (key: string, or: string) => (typeof c[key] === 'string' ? (c[key] as string) : or);
  const number = (key: string, scale: number, or: number) => (finite(c[key]) ? (c[key] as number) * scale : or);
  return {
    id, group: splitId(id)[0], described: true,
    name: text('name', old?.name ?? humanize(splitId(id)[1])),
    unit: unitText(text('unit', old?.unit ?? '')),
    range: Array.isArray(range) && finite(range[0]) && finite(range[1]) ? [range[0], range[1]] : old?.range,
    limits: isObject(given) ? limits : (old?.limits ?? {}),
    hysteresis: number('hysteresis', 1, old?.hysteresis ?? 0),
    persistence: number('persistence_s', 1000, old?.persistence ?? 0),
    staleAfter: number('stale_after_s', 1000, old?.staleAfter ?? 5000),
    frozenAfter: number('frozen_after_s', 1000, old?.frozenAfter ?? 0),
  };
}

/** "1" stands for no unit; degrees have a sign of their own. */
function unitText(unit: string): string {
  if (unit === '1') return '';
  return unit === 'deg' ? '°' : unit;
}
