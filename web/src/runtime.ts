// octavo/runtime: runs .octavo files. Neither importer nor quantizer.
import { describeBackend, Hosts, type EngineOptions } from "./host.js";
import { toBytes, type BackendInfo, type Source } from "./load.js";
import { made } from "./owned.js";
import { Session, type SessionOptions } from "./session.js";

const hosts = new Hosts({
  single: {
    loader: async () => ({ glue: (await import("./octavo_runtime.mjs")).default }),
    wasm: {
      simd: () => new URL("./octavo_runtime.wasm", import.meta.url),
      relaxed: () => new URL("./octavo_runtime_relaxed.wasm", import.meta.url),
    },
    worker: () => new Worker(new URL("./runtime_worker.js", import.meta.url), { type: "module" }),
    workerUrl: () => new URL(["runtime_worker.js"].join(), import.meta.url),
  },
  threads: {
    loader: async () => (await import("./runtime_threads.js")).loader,
    wasm: {
      simd: () => new URL("./octavo_runtime_threads.wasm", import.meta.url),
      relaxed: () => new URL("./octavo_runtime_relaxed_threads.wasm", import.meta.url),
    },
    worker: () =>
      new Worker(new URL("./runtime_threads_worker.js", import.meta.url), { type: "module" }),
    workerUrl: () => new URL(["runtime_threads_worker.js"].join(), import.meta.url),
  },
});

export class InferenceSession extends Session {
  /** Makes a session of an .octavo file's address, file, blob or bytes. */
  static async create(model: Source, options: SessionOptions = {}): Promise<InferenceSession> {
    const [host, bytes] = await Promise.all([hosts.get(options), toBytes(model, options.signal)]);
    return new InferenceSession(host, await made(host, "openCompact", [bytes], options.signal));
  }
}

/** What will run with these options, and why. */
export function backendInfo(options: EngineOptions = {}): BackendInfo {
  return describeBackend(options);
}

export * from "./errors.js";
export { Tensor, type Feeds, type TensorLike, type TensorType, type TypedArray } from "./tensor.js";
export type { BackendInfo, Source, Variant } from "./load.js";
export type { EngineOptions } from "./host.js";
export type { Outputs, RunOptions, SessionOptions } from "./session.js";
export type { ValueMetadata } from "./owned.js";
