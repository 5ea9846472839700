// What answers are compared by.

export interface Share {
  right: number;
  total: number;
}

/**
 * Wilson's score interval of a share, at 95 % (z = 1.96): unlike the usual one it stays within 0 and 1
 * and holds for few samples and for shares near the ends.
 */
export function wilson({ right, total }: Share, z = 1.959964): [low: number, high: number] {
  if (total === 0) return [0, 1];
  const p = right / total;
  const spread = z * Math.sqrt((p * (1 - p)) / total + (z * z) / (4 * total * total));
  const middle = p + (z * z) / (2 * total);
  const scale = 1 + (z * z) / total;
  return [Math.max(0, (middle - spread) / scale), Math.min(1, (middle + spread) / scale)];
}

export function quantile(values: readonly number[], q: number): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.round(q * (sorted.length - 1))] ?? NaN;
}

/** The smallest and the largest value; for spread arguments there may be too many. */
export function rangeOf(values: ArrayLike<number>): [low: number, high: number] {
  let [low, high] = [Infinity, -Infinity];
  for (let i = 0; i < values.length; i++) {
    if (values[i]! < low) low = values[i]!;
    if (values[i]! > high) high = values[i]!;
  }
  return [low, high];
}

/** Values with about so many of them left, evenly spaced. */
export function thinned(values: ArrayLike<number>, most: number): ArrayLike<number> {
  const step = Math.ceil(values.length / most);
  if (step <= 1) return values;
  return Float32Array.from(
    { length: Math.floor(values.length / step) },
    (_, i) => values[i * step]!,
  );
}

export function argmax(values: ArrayLike<number>): number {
  let best = 0;
  for (let i = 1; i < values.length; i++) if (values[i]! > values[best]!) best = i;
  return best;
}

/** Scores as probabilities: as they are if they sum to 1 already, else their softmax. */
export function probabilities(scores: ArrayLike<number>): number[] {
  const values = Array.from(scores);
  const sum = values.reduce((a, b) => a + b, 0);
  if (Math.abs(sum - 1) < 0.02 && values.every((v) => v >= -1e-6 && v <= 1 + 1e-6)) return values;
  const top = Math.max(...values);
  const exponentials = values.map((v) => Math.exp(v - top));
  const total = exponentials.reduce((a, b) => a + b, 0);
  return exponentials.map((v) => v / total);
}

/** Half the sum of differences: 0 for equal distributions, 1 for disjoint ones. */
export function totalVariation(a: ArrayLike<number>, b: ArrayLike<number>): number {
  let sum = 0;
  for (let i = 0; i < a.length; i++) sum += Math.abs(a[i]! - b[i]!);
  return sum / 2;
}

/** The length of a - b over the length of a. */
export function relativeError(a: ArrayLike<number>, b: ArrayLike<number>): number {
  let signal = 0;
  let noise = 0;
  for (let i = 0; i < a.length; i++) {
    signal += a[i]! ** 2;
    noise += (a[i]! - b[i]!) ** 2;
  }
  return noise === 0 ? 0 : Math.sqrt(noise / Math.max(signal, 1e-30));
}

/** Mulberry32: numbers in [0, 1), the same for the same seed. */
export function random(seed: number): () => number {
  let state = seed | 0;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}
