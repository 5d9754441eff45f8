// Whether a value is as it should be. A state begins when the value has stood beyond a limit for the
// channel's persistence, and ends when it has come back by the hysteresis.
import type { Channel, Limits } from './dictionary.js';

/** How far off: 0 is normal, 1 a warning, 2 an alarm; below 0 on the low side. */
export type Level = -2 | -1 | 0 | 1 | 2;

/** The limit that a level stands for. */
export function limitOf(limits: Limits, level: Level): number | undefined {
  switch (level) {
    case -2: return limits.low_alarm;
    case -1: return limits.low_warn;
    case 1: return limits.high_warn;
    case 2: return limits.high_alarm;
    default: return undefined;
  }
}

export function levelName(level: Level): string {
  return { '-2': 'low alarm', '-1': 'low warning', '0': 'normal', '1': 'high warning', '2': 'high alarm' }[level];
}

/** The level of a value; held is the level it has now, from which it must come back by the hysteresis. */
export function levelOf(value: number, c: Channel, held: Level = 0): Level {
  const l = c.limits;
  // A value at the limit is beyond it; one that has come back by the whole hysteresis is not.
  const high = (limit: number | undefined, level: Level) => limit !== undefined && (value >= limit || (held >= level && value > limit - c.hysteresis));
  const low = (limit: number | undefined, level: Level) => limit !== undefined && (value <= limit || (held <= level && value < limit + c.hysteresis));
  if (high(l.high_alarm, 2)) return 2;
  if (low(l.low_alarm, -2)) return -2;
  if (high(l.high_warn, 1)) return 1;
  if (low(l.low_warn, -1)) return -1;
  return 0;
}

/** A change of a channel's level. */
export interface Change {
  readonly from: Level;
  readonly to: Level;
  readonly time: number; // of the reading that brought it
  readonly value: number;
  readonly limit: number | undefined;
}

/** Judges one channel of one source, reading by reading. */
export class Judge {
  level: Level = 0;
  /** Where the value is, whether or not it has stood there for long enough: what a gauge may hint at. */
  beyond: Level = 0;
  // Since when the value has been beyond the warning, and the alarm, on the side it is on.
  private readonly since = [NaN, NaN];
  /** For how long, in ms, a sensor that must move while the machine bores has not; 0: it may stand, or moves. */
  frozen = 0;
  private value = NaN;
  private same = NaN; // time since when it has been the same; NaN: it does not matter now

  constructor(public channel: Channel) {}

  /** Takes a value and returns the change that it makes, if any. steady: the machine bores as it should, so that
   *  sensors must move. */
  take(time: number, value: number, steady = false): Change | null {
    if (!Number.isFinite(value)) return null;
    this.freeze(time, value, steady);
    const at = levelOf(value, this.channel, this.level);
    const side = Math.sign(at);
    if (side !== Math.sign(this.beyond)) this.since.fill(NaN);
    this.beyond = at;
    const held = Math.sign(this.level) === side ? Math.abs(this.level) : 0;
    let reached = 0;
    for (const severity of [1, 2]) {
      if (Math.abs(at) < severity) {
        this.since[severity - 1] = NaN;
        continue;
      }
      const since = this.since[severity - 1]!;
      if (Number.isNaN(since) || time < since) this.since[severity - 1] = time; // or its clock was put back
      if (held >= severity || time - this.since[severity - 1]! >= this.channel.persistence) reached = severity;
    }
    const to = (side * reached || 0) as Level;
    if (to === this.level) return null;
    const from = this.level;
    this.level = to;
    return { from, to, time, value, limit: limitOf(this.channel.limits, to) };
  }

  private freeze(time: number, value: number, steady: boolean): void {
    if (!steady || value !== this.value || !(time >= this.same)) this.same = steady ? time : NaN;
    this.value = value;
    const still = time - this.same;
    this.frozen = this.channel.frozenAfter > 0 && still >= this.channel.frozenAfter ? still : 0;
  }
}
