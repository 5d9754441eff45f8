// Axes that keep still: steps that people count in, and a range that changes only by whole steps.
import { clock } from '../format';

/** A range in whole steps around the values, with room above and below. */
export function yRange(min: number | null, max: number | null): [number, number] {
  if (min === null || max === null || !Number.isFinite(min) || !Number.isFinite(max)) return [0, 1];
  // Noise does not fill a chart: a span is at least a hundredth of the value.
  const least = Math.max((max - min) * 1.15, Math.max(Math.abs(max), Math.abs(min)) * 0.02, 1e-3);
  const middle = (max + min) / 2;
  const raw = least / 3;
  const p = 10 ** Math.floor(Math.log10(raw));
  const step = p * ([1, 2, 2.5, 5, 10].find((k) => k * p >= raw) ?? 10);
  let low = Math.floor((middle - least / 2) / step) * step;
  const high = Math.ceil((middle + least / 2) / step) * step;
  if (min >= 0 && low < 0) low = 0;
  return [low, high];
}

const S = 1, M = 60, H = 3600, D = 86_400;

/** Times of day along the bottom, in UTC. */
export const timeLabels = {
  steps: [S, 2 * S, 5 * S, 10 * S, 15 * S, 30 * S, M, 2 * M, 5 * M, 10 * M, 15 * M, 30 * M, H, 2 * H, 3 * H, 6 * H, 12 * H, D, 2 * D, 7 * D],
  values: (_u: unknown, splits: number[]): string[] => {
    const step = (splits[1] ?? 0) - (splits[0] ?? 0);
    const days = (splits[splits.length - 1] ?? 0) - (splits[0] ?? 0) > D;
    return splits.map((t) => {
      const time = clock(t * 1000, step < M ? 'seconds' : 'minutes');
      return days || step >= D ? `${new Date(t * 1000).toISOString().slice(5, 10)} ${time}` : time;
    });
  },
};
