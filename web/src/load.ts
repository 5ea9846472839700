// Finds out what this engine can do, chooses the WebAssembly variant, and gets its bytes.
import { LoadError, UnavailableError } from "./errors.js";
import { invalidArgument } from "./make_error.js";

export type Variant = "simd" | "relaxed";

// Modules with one function: i8x16.popcnt(i8x16.splat(0)), and dot(w, x), the first lane of
// i32x4.relaxed_dot_i8x16_i7x16_add(i8x16.splat(w), i8x16.splat(x), 0).
const simdProbe = "AGFzbQEAAAABBQFgAAF7AwIBAAoKAQgAQQD9D/1iCw==";
const dotProbe = "AGFzbQEAAAABBwFgAn9/AX8DAgEABwcBA2RvdAAAChYBFAAgAP0PIAH9D0EA/RH9kwL9GwAL";

const decode = (base64: string) => Uint8Array.from(atob(base64), (c) => c.charCodeAt(0));

function validates(base64: string): boolean {
  try {
    return WebAssembly.validate(decode(base64));
  } catch {
    return false;
  }
}

/**
 * Whether the relaxed dot product is exact for int8 weights and 8-bit activations. Engines may take
 * the activations for signed or for unsigned, and those that add pairs in 16 bits saturate.
 */
function dotIsExact(): boolean {
  const instance = new WebAssembly.Instance(new WebAssembly.Module(decode(dotProbe)));
  const dot = instance.exports["dot"] as (w: number, x: number) => number;
  return [
    [0, 255],
    [-128, 127],
  ].some((range) => range.every((x) => [-128, 127].every((w) => dot(w, x) === 4 * w * x)));
}

let features: { simd: boolean; relaxed: boolean; exact: boolean } | undefined;
function detect() {
  if (!features) {
    const relaxed = validates(dotProbe);
    features = { simd: validates(simdProbe), relaxed, exact: relaxed && dotIsExact() };
  }
  return features;
}

/** More are seldom faster on networks that run in a page. */
const maxThreads = 4;

export interface BackendInfo {
  /** Which build of the module runs: plain SIMD, or relaxed SIMD (int8 dot products). */
  variant: Variant;
  /** How many threads share the work of an operator. */
  threads: number;
  /** Whether the work is done in a worker, or in the thread that calls. */
  worker: boolean;
  /** Why it is this variant, and why so many threads. */
  reason: string;
}

export function chooseVariant(wanted?: Variant): { variant: Variant; reason: string } {
  const { simd, relaxed, exact } = detect();
  if (!simd) {
    throw new UnavailableError({
      code: "unavailable",
      message: "this JavaScript engine has no WebAssembly SIMD; any browser since 2023 has it",
    });
  }
  if (wanted !== undefined && wanted !== "simd" && wanted !== "relaxed") {
    throw invalidArgument(`there is no variant '${wanted}'; use 'simd' or 'relaxed'`);
  }
  if (wanted === "simd") return { variant: "simd", reason: "asked for" };
  if (exact) return { variant: "relaxed", reason: "the engine has relaxed SIMD" };
  const why = relaxed
    ? "the engine's relaxed dot product is inexact"
    : "the engine has no relaxed SIMD";
  return { variant: "simd", reason: `${why}${wanted ? ", though it was asked for" : ""}` };
}

const cores = () =>
  globalThis.navigator?.hardwareConcurrency ??
  (isNode ? process.getBuiltinModule?.("node:os").availableParallelism() : undefined) ??
  1;

/** `worker`: whether the module will run in a worker. */
export function chooseThreads(
  wanted: number | undefined,
  worker: boolean,
): { threads: number; reason: string } {
  if (wanted !== undefined && !(Number.isInteger(wanted) && wanted >= 1 && wanted <= 64)) {
    throw invalidArgument(`threads is ${wanted}; it must be a whole number from 1 to 64`);
  }
  if (wanted === 1) return { threads: 1, reason: "one thread asked for" };
  const no = (why: string) => ({ threads: 1, reason: `one thread: ${why}` });
  if (typeof SharedArrayBuffer === "undefined" || (!isNode && !globalThis.crossOriginIsolated)) {
    return no("the page is not cross-origin isolated (headers COOP and COEP)");
  }
  if (!isNode && typeof Worker === "undefined") return no("no workers can be started here");
  if (!worker && "document" in globalThis) return no("a page's own thread may not wait for others");
  if (wanted !== undefined) return { threads: wanted, reason: `${wanted} threads asked for` };
  const count = Math.min(cores(), maxThreads);
  return count === 1 ? no("one processor") : { threads: count, reason: `${count} threads` };
}

export const isNode =
  typeof process === "object" &&
  typeof process.versions?.node === "string" &&
  !("window" in globalThis);

/** A module of Node's own, hidden from bundlers. */
export async function nodeModule<T>(name: string): Promise<T> {
  return import(/* @vite-ignore */ /* webpackIgnore: true */ `node:${name}`);
}

/** In Node: the function that makes the worker of one of Emscripten's threads. */
export async function nodeThread(url: () => URL): Promise<(() => unknown) | undefined> {
  if (!isNode) return undefined;
  const { Worker } = await nodeModule<typeof import("node:worker_threads")>("worker_threads");
  return () => new Worker(url(), { workerData: "em-pthread" });
}

const loadError = (message: string, cause?: unknown) =>
  new LoadError({ code: "io", message }, { cause });

async function readFile(path: string | URL): Promise<Uint8Array<ArrayBuffer>> {
  const fs = await nodeModule<typeof import("node:fs/promises")>("fs/promises");
  try {
    return new Uint8Array(await fs.readFile(path));
  } catch (cause) {
    throw loadError(`'${path}' cannot be read: ${(cause as Error).message}`, cause);
  }
}

async function fetchOk(url: URL | string, signal?: AbortSignal): Promise<Response> {
  let response: Response;
  try {
    response = await fetch(url, signal ? { signal } : {});
  } catch (cause) {
    signal?.throwIfAborted();
    throw loadError(`'${url}' cannot be fetched: ${(cause as Error).message}`, cause);
  }
  if (!response.ok) {
    throw loadError(`'${url}' cannot be fetched: the server answered ${response.status}`);
  }
  return response;
}

/** A model's or file's bytes: an address (in Node also a path), a File or Blob, or the bytes. */
export type Source = string | URL | Blob | Response | ArrayBufferLike | ArrayBufferView;

export async function toBytes(source: Source, signal?: AbortSignal): Promise<Uint8Array> {
  signal?.throwIfAborted();
  if (ArrayBuffer.isView(source)) {
    return new Uint8Array(source.buffer as ArrayBuffer, source.byteOffset, source.byteLength);
  }
  if (typeof source === "string" || source instanceof URL) {
    const text = String(source);
    if (isNode && text.startsWith("file:")) return readFile(new URL(text));
    if (isNode && !/^[a-z][a-z0-9+.-]+:/i.test(text)) return readFile(text);
    const response = await fetchOk(source, signal);
    const bytes = new Uint8Array(await response.arrayBuffer());
    if (/^\s*</.test(new TextDecoder("latin1").decode(bytes.subarray(0, 32)))) {
      throw loadError(`'${text}' is a page of HTML, not a model; check the address`);
    }
    return bytes;
  }
  if (source instanceof Blob || (typeof Response !== "undefined" && source instanceof Response)) {
    const buffer = await source.arrayBuffer();
    signal?.throwIfAborted();
    return new Uint8Array(buffer);
  }
  if (Object.prototype.toString.call(source).endsWith("ArrayBuffer]")) {
    return new Uint8Array(source as ArrayBuffer);
  }
  throw invalidArgument("a model is an address, a File or Blob, or bytes");
}

/** Where the WebAssembly module comes from, if not from beside the package's JavaScript. */
export type WasmSource = string | URL | BufferSource | WebAssembly.Module;

export async function compile(source: WasmSource): Promise<WebAssembly.Module> {
  if (source instanceof WebAssembly.Module) return source;
  if (typeof source !== "string" && !(source instanceof URL)) return WebAssembly.compile(source);
  const url = String(source);
  if (isNode && url.startsWith("file:")) return WebAssembly.compile(await readFile(new URL(url)));
  const response = await fetchOk(url);
  const type = response.headers.get("content-type") ?? "";
  if (type.startsWith("application/wasm")) return WebAssembly.compileStreaming(response);
  const bytes = new Uint8Array(await response.arrayBuffer());
  if (bytes[0] !== 0 || bytes[1] !== 0x61 || bytes[2] !== 0x73 || bytes[3] !== 0x6d) {
    throw loadError(
      `'${url}' is not a WebAssembly module but ${type || "of unknown type"}; the file must be served beside the JavaScript`,
    );
  }
  return WebAssembly.compile(bytes);
}
