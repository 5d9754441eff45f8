// The past of one source, for trends: each channel's least, mean and greatest value in buckets of four
// widths. Each width keeps so many buckets and no more, so that memory does not grow with the shift.

/** How a channel went within a row: three numbers each. */
const LOW = 0, MEAN = 1, HIGH = 2, PARTS = 3;

/** What a chart draws: rows of times in seconds, and for each channel its three lines. null is a gap. */
export interface Lines {
  readonly times: number[];
  readonly channels: { low: (number | null)[]; mean: (number | null)[]; high: (number | null)[] }[];
  /** Width of a row in ms. */
  readonly width: number;
}

interface Column {
  base: number; // values are stored less this: single precision, of eastings in the millions too
  data: Float32Array;
}

/** Rows of one width, in a ring that grows to its capacity and then forgets the oldest. */
export class Tier {
  length = 0;
  private start = 0;
  private size = 256;
  private times = new Float64Array(this.size); // of the last reading in the row
  private counts = new Float64Array(this.size);
  private readonly columns = new Map<string, Column>();
  private bucket = NaN;

  constructor(public width: number, readonly capacity: number, private readonly onFull: 'forget' | 'merge' = 'forget') {}

  get oldest(): number {
    return this.length ? this.times[this.start]! : NaN;
  }

  get newest(): number {
    return this.length ? this.times[this.at(this.length - 1)]! : NaN;
  }

  /** Whether rows have been forgotten. */
  get wrapped(): boolean {
    return this.length === this.capacity;
  }

  add(time: number, values: ReadonlyMap<string, number>): void {
    const bucket = Math.floor(time / this.width);
    if (bucket !== this.bucket || this.length === 0) {
      this.bucket = bucket;
      this.push();
    }
    const row = this.at(this.length - 1);
    this.times[row] = time;
    const n = ++this.counts[row]!;
    for (const [id, v] of values) {
      if (!Number.isFinite(v)) continue;
      let c = this.columns.get(id);
      if (!c) {
        c = { base: v, data: new Float32Array(this.size * PARTS).fill(NaN) };
        this.columns.set(id, c);
      }
      const x = v - c.base;
      const i = row * PARTS;
      const d = c.data;
      if (Number.isNaN(d[i]!)) {
        d[i + LOW] = d[i + MEAN] = d[i + HIGH] = x;
        continue;
      }
      if (x < d[i + LOW]!) d[i + LOW] = x;
      if (x > d[i + HIGH]!) d[i + HIGH] = x;
      d[i + MEAN]! += (x - d[i + MEAN]!) / n;
    }
  }

  /** Index of the first row that is not before the time. */
  find(time: number): number {
    let lo = 0;
    let hi = this.length;
    while (lo < hi) {
      const mid = (lo + hi) >> 1;
      if (this.times[this.at(mid)]! < time) lo = mid + 1;
      else hi = mid;
    }
    return lo;
  }

  timeAt(i: number): number {
    return this.times[this.at(i)]!;
  }

  /** Appends rows from..to, every `step` of them made one, and a gap where nothing was read for so long. */
  read(ids: readonly string[], from: number, to: number, step: number, gap: number, out: Lines): void {
    const columns = ids.map((id) => this.columns.get(id));
    for (let i = from; i < to; i += step) {
      const end = Math.min(i + step, to);
      const time = this.timeAt(end - 1);
      const last = out.times.length ? out.times[out.times.length - 1]! * 1000 : NaN;
      if (this.timeAt(i) - last > gap) {
        out.times.push((last + 1) / 1000);
        for (const c of out.channels) pushRow(c, null, null, null);
      }
      out.times.push(time / 1000);
      columns.forEach((c, k) => this.readRow(c, i, end, out.channels[k]!));
    }
  }

  /** The least and the greatest value of a channel since the time; null if there is none. */
  extremes(id: string, since: number): [number, number] | null {
    const c = this.columns.get(id);
    if (!c) return null;
    let low = Infinity;
    let high = -Infinity;
    for (let i = this.find(since); i < this.length; i++) {
      const k = this.at(i) * PARTS;
      if (c.data[k + LOW]! < low) low = c.data[k + LOW]!;
      if (c.data[k + HIGH]! > high) high = c.data[k + HIGH]!;
    }
    return low <= high ? [low + c.base, high + c.base] : null;
  }

  private readRow(c: Column | undefined, from: number, to: number, out: Lines['channels'][number]): void {
    let low = Infinity, high = -Infinity, sum = 0, n = 0;
    for (let i = from; c && i < to; i++) {
      const k = this.at(i) * PARTS;
      if (Number.isNaN(c.data[k]!)) continue;
      low = Math.min(low, c.data[k + LOW]!);
      high = Math.max(high, c.data[k + HIGH]!);
      sum += c.data[k + MEAN]!;
      n++;
    }
    if (!c || n === 0) pushRow(out, null, null, null);
    else pushRow(out, low + c.base, sum / n + c.base, high + c.base);
  }

  private at(i: number): number {
    const k = this.start + i;
    return k < this.size ? k : k - this.size;
  }

  private push(): void {
    while (this.length === this.capacity && this.onFull === 'merge') this.halve(); // until it has made room
    if (this.length === this.size && this.size < this.capacity) this.grow();
    if (this.length === this.size) {
      this.start = this.at(1);
    } else {
      this.length++;
    }
    const row = this.at(this.length - 1);
    this.counts[row] = 0;
    for (const c of this.columns.values()) c.data.fill(NaN, row * PARTS, (row + 1) * PARTS);
  }

  private grow(): void {
    const size = Math.min(this.size * 2, this.capacity);
    const straight = (old: Float64Array) => {
      const out = new Float64Array(size);
      for (let i = 0; i < this.length; i++) out[i] = old[this.at(i)]!;
      return out;
    };
    for (const c of this.columns.values()) {
      const data = new Float32Array(size * PARTS).fill(NaN);
      for (let i = 0; i < this.length; i++) data.set(c.data.subarray(this.at(i) * PARTS, (this.at(i) + 1) * PARTS), i * PARTS);
      c.data = data;
    }
    this.times = straight(this.times);
    this.counts = straight(this.counts);
    this.size = size;
    this.start = 0;
  }

  /** Doubles the width: each two rows become one. Only of a ring that has forgotten nothing. */
  private halve(): void {
    this.width *= 2;
    let n = 0;
    let bucket = NaN;
    for (let i = 0; i < this.length; i++) {
      const b = Math.floor(this.times[i]! / this.width);
      if (b !== bucket) {
        if (n !== i) {
          this.times[n] = this.times[i]!;
          this.counts[n] = this.counts[i]!;
          for (const c of this.columns.values()) c.data.copyWithin(n * PARTS, i * PARTS, (i + 1) * PARTS);
        }
        bucket = b;
        n++;
        continue;
      }
      this.mergeInto(n - 1, i);
    }
    this.length = n;
    this.bucket = Math.floor(this.newest / this.width);
  }

  private mergeInto(to: number, from: number): void {
    const n = this.counts[to]!, m = this.counts[from]!;
    this.times[to] = this.times[from]!;
    this.counts[to] = n + m;
    for (const { data } of this.columns.values()) {
      const a = to * PARTS, b = from * PARTS;
      if (Number.isNaN(data[b]!)) continue;
      if (Number.isNaN(data[a]!)) {
        data.copyWithin(a, b, b + PARTS);
        continue;
      }
      data[a + LOW] = Math.min(data[a + LOW]!, data[b + LOW]!);
      data[a + HIGH] = Math.max(data[a + HIGH]!, data[b + HIGH]!);
      data[a + MEAN] = (data[a + MEAN]! * n + data[b + MEAN]! * m) / (n + m);
    }
  }
}

function pushRow(c: Lines['channels'][number], low: number | null, mean: number | null, high: number | null): void {
  c.low.push(low);
  c.mean.push(mean);
  c.high.push(high);
}

/** All widths of one source. */
export class Series {
  /** 10 minutes, 2 hours, a day and a week of a source that is never silent. */
  readonly tiers = [new Tier(100, 6000), new Tier(1000, 7200), new Tier(10_000, 8640), new Tier(60_000, 10_080)];
  /** What was fetched from the journal, from before the oldest of the tiers. */
  history: Tier | null = null;

  get newest(): number {
    return this.tiers[0]!.newest;
  }

  /** The oldest that can be shown. */
  get oldest(): number {
    // A row has the time of its last reading, so that of the widest is not the oldest.
    const times = [...this.tiers, this.history].flatMap((t) => (t?.length ? [t.oldest] : []));
    return times.length ? Math.min(...times) : NaN;
  }

  add(time: number, values: ReadonlyMap<string, number>): void {
    for (const t of this.tiers) t.add(time, values);
  }

  clear(): void {
    this.tiers.forEach((t, i) => (this.tiers[i] = new Tier(t.width, t.capacity)));
    this.history = null;
  }

  /** The least and greatest value in the last so many ms. */
  extremes(id: string, span: number): [number, number] | null {
    const tier = this.tiers.find((t) => !t.wrapped || t.oldest <= this.newest - span) ?? this.tiers[1]!;
    return (span > 60_000 && tier === this.tiers[0] ? this.tiers[1]! : tier).extremes(id, this.newest - span);
  }

  /** What lies between the times, in at most about `most` rows; one row more at each end, so that lines
   *  reach the edges. gap is for how long a source may be silent before a line breaks. */
  read(ids: readonly string[], from: number, to: number, most: number, gap: number): Lines {
    const tier = this.pick(from, to, most);
    const lines: Lines = { times: [], channels: ids.map(() => ({ low: [], mean: [], high: [] })), width: tier.width };
    const own = tier.oldest;
    const h = this.history;
    if (h?.length && !(own <= from)) {
      const end = Number.isNaN(own) ? h.find(to) + 1 : h.find(Math.min(own, to));
      readSome(h, ids, from, end, most, gap, lines);
    }
    if (tier.length) readSome(tier, ids, from, tier.find(to) + 1, most, gap, lines);
    return lines;
  }

  private pick(from: number, to: number, most: number): Tier {
    const last = this.tiers[this.tiers.length - 1]!;
    for (const t of this.tiers) {
      const all = !t.wrapped || t.oldest <= from;
      if (all && t.find(to) - t.find(from) <= most) return t;
    }
    return last;
  }
}

function readSome(t: Tier, ids: readonly string[], from: number, end: number, most: number, gap: number, out: Lines): void {
  const first = Math.max(t.find(from) - 1, 0);
  const last = Math.min(end, t.length);
  const step = Math.max(1, Math.ceil((last - first) / most));
  t.read(ids, first, last, step, Math.max(gap, t.width * step * 2.5), out);
}
