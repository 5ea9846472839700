// Numbers and errors in words.

const number = (value: number, digits: number) =>
  value.toLocaleString("en", { maximumFractionDigits: digits, minimumFractionDigits: digits });

export const count = (value: number) => Math.round(value).toLocaleString("en");

/** "1 image", "2 images" */
export const plural = (value: number, thing: string) =>
  `${count(value)} ${thing}${value === 1 ? "" : "s"}`;

export function bytes(value: number): string {
  if (value < 1000) return `${value} B`;
  if (value < 1e6) return `${number(value / 1e3, value < 1e5 ? 1 : 0)} kB`;
  return `${number(value / 1e6, value < 1e8 ? 1 : 0)} MB`;
}

export function ms(value: number): string {
  if (value >= 1000) return `${number(value / 1000, 2)} s`;
  if (value >= 100) return `${number(value, 0)} ms`;
  if (value >= 1) return `${number(value, value >= 10 ? 1 : 2)} ms`;
  return `${number(value * 1000, 0)} µs`;
}

export const percent = (share: number, digits = 1) => `${number(100 * share, digits)} %`;

/** "2.1×" */
export const times = (ratio: number) => `${number(ratio, ratio < 10 ? 1 : 0)}×`;

/** "about 4 s left" */
export function timeLeft(etaMs: number): string {
  const seconds = Math.round(etaMs / 1000);
  if (seconds < 1) return "less than a second left";
  if (seconds < 90) return `about ${seconds} s left`;
  return `about ${Math.round(seconds / 60)} min left`;
}

export const decibels = (value: number) => (value >= 199 ? "exact" : `${number(value, 1)} dB`);

/** "1 × 3 × 224 × 224", sizes that may vary by their names */
export const shape = (dims: readonly (number | string | null)[] | undefined) =>
  dims === undefined
    ? "any shape"
    : dims.length === 0
      ? "a scalar"
      : dims.map((d) => d ?? "?").join(" × ");

/** An error as one sentence that begins with a capital and ends with a full stop. */
export function sentence(error: unknown): string {
  const text = (error instanceof Error ? error.message : String(error)).trim();
  const start = text.charAt(0).toUpperCase() + text.slice(1);
  return /[.!?]$/.test(start) ? start : `${start}.`;
}

export const isAbort = (error: unknown) =>
  error instanceof DOMException && error.name === "AbortError";

export const baseName = (file: string) => file.replace(/\.(onnx|octavo)$/i, "");
