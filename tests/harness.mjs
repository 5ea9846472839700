// What the scripts that compare Octavo with ONNX Runtime share.
import { spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { createRequire } from "node:module";
import { parseArgs } from "node:util";

export const root = resolve(dirname(fileURLToPath(import.meta.url)), "..");
/** Folder with other people's models and data; they are not part of this project. */
export const shared = resolve(root, process.env.OCTAVO_SHARED ?? "../shared");
export const ort = createRequire(import.meta.url)("onnxruntime-node");

const build = process.env.OCTAVO_BUILD ?? join(root, "build/native");

/** Ends the program: it was called the wrong way. */
export function misused(why) {
  console.error(`${basename(process.argv[1], ".mjs")}: ${why}`);
  process.exit(2);
}

/**
 * The flags of the command line, by name. Each has the type of its default: a switch, a number above
 * 0 (whole if the default is), a text, or a list A,B of such numbers or of the names that the default
 * lists.
 */
export function readFlags(defaults) {
  const type = (value) => (typeof value === "boolean" ? "boolean" : "string");
  const flags = Object.entries(defaults).map(([flag, value]) => [flag, { type: type(value) }]);
  let given = {};
  try {
    given = parseArgs({ options: Object.fromEntries(flags) }).values;
  } catch (error) {
    misused(`${error.message.split(". ")[0]}; there are --${Object.keys(defaults).join(", --")}`);
  }
  const read = (flag, text, like) => {
    if (typeof like === "number") {
      const fits = Number(text) > 0 && (!Number.isInteger(like) || Number.isInteger(Number(text)));
      const kind = Number.isInteger(like) ? "whole number" : "number";
      return fits ? Number(text) : misused(`--${flag}: '${text}' is no ${kind} above 0`);
    }
    if (!Array.isArray(like)) return text;
    const parts = text.split(",").filter(Boolean);
    if (typeof like[0] === "number") return parts.map((part) => read(flag, part, like[0]));
    const unknown = parts.find((part) => !like.includes(part));
    if (unknown !== undefined) misused(`--${flag} has no '${unknown}', but ${like.join(", ")}`);
    return parts;
  };
  for (const [flag, text] of Object.entries(given)) given[flag] = read(flag, text, defaults[flag]);
  return { ...defaults, ...given };
}

/** Runs a program; returns its stdout, or throws with its stderr. */
export function execute(command, ...args) {
  const done = spawnSync(command, args.map(String), { encoding: "utf8", maxBuffer: 1 << 28 });
  if (done.error) throw done.error;
  if (done.status !== 0) {
    const message = done.stderr.trim().split("\n").at(-1);
    const name = [basename(command), ...args.slice(0, 2)].join(" ");
    throw new Error(`${name} ended with ${done.status ?? done.signal}: ${message}`);
  }
  return done.stdout;
}
/** The path of a program of the build. */
export const program = (name) => join(build, name);
export const tool = (name, ...args) => execute(program(name), ...args);
export const octavo = (...args) => tool("octavo", ...args);
export const octavoJson = (...args) => JSON.parse(octavo(...args, "--json"));

export async function ortSession(path, threads = 1) {
  return ort.InferenceSession.create(path, {
    logSeverityLevel: 4,
    intraOpNumThreads: threads,
    interOpNumThreads: 1,
    graphOptimizationLevel: "all",
  });
}

/** Calls body(folder) with a folder that is gone afterwards. */
export async function withFolder(body) {
  const folder = mkdtempSync(join(tmpdir(), "octavo-"));
  try {
    return await body(folder);
  } finally {
    rmSync(folder, { recursive: true });
  }
}

/** Names the shared folder's file, or undefined if there is none. */
export function sharedFile(...parts) {
  const path = join(shared, ...parts);
  return existsSync(path) ? path : undefined;
}

/** Mulberry32: numbers in [0, 1). */
export function random(seed) {
  return () => {
    seed = (seed + 0x6d2b79f5) | 0;
    let t = Math.imul(seed ^ (seed >>> 15), 1 | seed);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}

export function argmax(data, from = 0, to = data.length) {
  let best = from;
  for (let i = from + 1; i < to; i++) if (data[i] > data[best]) best = i;
  return best - from;
}

export function quantile(values, q) {
  const sorted = Float64Array.from(values).sort();
  return sorted[Math.round(q * (sorted.length - 1))];
}

/** Signal over noise in dB: 10 log10(sum a^2 / sum (a - b)^2). */
export function sqnr(a, b) {
  let signal = 0;
  let noise = 0;
  for (let i = 0; i < a.length; i++) {
    signal += a[i] * a[i];
    noise += (a[i] - b[i]) ** 2;
  }
  return noise === 0 ? Infinity : 10 * Math.log10(signal / noise);
}
