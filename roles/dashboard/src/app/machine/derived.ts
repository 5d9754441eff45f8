// What follows from a machine's packets and is not in them: penetration, the indices FPI and TPI, specific energy,
// utilisation, advance per ring. The same rules as telemetry/derived.go; a test holds both against the same readings.
import type { Reading } from '../wire/envelope.js';

/** What of a machine's build the derived channels need. */
export interface Geometry {
  readonly diameter: number; // m; NaN if not known
  readonly cutters: number;
}

export const DERIVED = {
  penetration: 'derived.penetration', // mm/rev
  fpi: 'derived.fpi', // kN a cutter for each mm/rev
  tpi: 'derived.tpi', // kNm a cutter for each mm/rev
  energy: 'derived.specific_energy', // kWh/m³
  utilisation: 'derived.utilisation', // %
  advance: 'derived.advance_per_ring', // mm
} as const;

const LEAST_PENETRATION = 0.1; // mm/rev, below which the indices say nothing
const MINUTE = 60_000;
const WINDOW = 24 * 60; // minutes
const LONGEST_HOLE = 60_000; // what is longer was not seen

/** Derives the channels of one source, reading by reading. */
export class Deriver {
  private last = NaN;
  private boring = false;
  private readonly seenIn = new Float64Array(WINDOW);
  private readonly boringIn = new Float64Array(WINDOW);
  private readonly minutes = new Float64Array(WINDOW).fill(NaN); // their numbers
  private seen = 0;
  private bored = 0;
  private swept = NaN;
  private ring = 0;
  private ringFrom = 0;
  private whole = false;
  private advance = NaN;

  /** The derived channels after a reading, NaN where there is nothing to say; those that the machine can never have
   *  are left out. */
  take(r: Reading, g: Geometry): Map<string, number> {
    const out = new Map<string, number>();
    const v = (id: string) => r.values.get(id) ?? NaN;
    if (r.values.has('cutterhead.speed') && r.values.has('thrust.advance')) this.indices(r, g, v, out);
    if (r.texts.has('state') && !Number.isNaN(r.time)) out.set(DERIVED.utilisation, this.utilisation(r));
    if (r.values.has('guidance.chainage') && r.values.has('ring')) out.set(DERIVED.advance, this.advanceOf(v('ring'), v('guidance.chainage')));
    return out;
  }

  private indices(r: Reading, g: Geometry, v: (id: string) => number, out: Map<string, number>): void {
    const speed = v('cutterhead.speed');
    const penetration = speed > 0 ? v('thrust.advance') / speed : NaN;
    out.set(DERIVED.penetration, penetration);
    const says = penetration >= LEAST_PENETRATION && r.texts.get('phase') !== 'free_advancing';
    const p = says ? penetration : NaN;
    const [thrust, torque] = [v('thrust.total'), v('cutterhead.torque')];
    if (g.cutters > 0) {
      out.set(DERIVED.fpi, thrust / (g.cutters * p));
      out.set(DERIVED.tpi, torque / (g.cutters * p));
    }
    if (g.diameter > 0) {
      const area = (Math.PI * g.diameter * g.diameter) / 4;
      out.set(DERIVED.energy, (thrust / area + (2 * Math.PI * torque) / ((area * p) / 1000)) / 3600); // Teale 1965
    }
  }

  private utilisation(r: Reading): number {
    const hole = r.time - this.last;
    const minute = Math.floor(r.time / MINUTE);
    if (hole > 0 && hole <= LONGEST_HOLE) this.count(minute, hole);
    // A packet that comes late is older than the last one by little; a clock that was set back stays behind.
    if (!(r.time <= this.last && this.last - r.time <= LONGEST_HOLE)) this.last = r.time;
    this.boring = r.texts.get('state') === 'boring';
    if (minute !== this.swept) {
      this.swept = minute;
      for (let i = 0; i < WINDOW; i++) if (Math.abs(this.minutes[i]! - minute) >= WINDOW) this.clear(i, NaN);
    }
    return this.seen > 0 ? (100 * this.bored) / this.seen : NaN;
  }

  private count(minute: number, span: number): void {
    const i = ((minute % WINDOW) + WINDOW) % WINDOW;
    if (this.minutes[i] !== minute) this.clear(i, minute);
    this.seenIn[i]! += span;
    this.seen += span;
    if (!this.boring) return;
    this.boringIn[i]! += span;
    this.bored += span;
  }

  private clear(i: number, minute: number): void {
    this.seen -= this.seenIn[i]!;
    this.bored -= this.boringIn[i]!;
    this.seenIn[i] = this.boringIn[i] = 0;
    this.minutes[i] = minute;
  }

  private advanceOf(ring: number, chainage: number): number {
    if (ring !== this.ring) {
      if (this.whole && ring === this.ring + 1) this.advance = (chainage - this.ringFrom) * 1000;
      this.whole = this.ring !== 0;
      this.ring = ring;
      this.ringFrom = chainage;
    }
    return this.advance;
  }
}
