import type { Inspection, QuantizeReport, WireObject } from "./engine.js";
import { Hosts, type EngineOptions, type Host } from "./host.js";
import { toBytes, type Source } from "./load.js";
import { made, Owned } from "./owned.js";
import { Session, type SessionOptions } from "./session.js";
import { invalidArgument } from "./make_error.js";

const hosts = new Hosts({
  single: {
    loader: async () => ({ glue: (await import("./octavo.mjs")).default }),
    wasm: {
      simd: () => new URL("./octavo.wasm", import.meta.url),
      relaxed: () => new URL("./octavo_relaxed.wasm", import.meta.url),
    },
    worker: () => new Worker(new URL("./worker.js", import.meta.url), { type: "module" }),
    workerUrl: () => new URL(["worker.js"].join(), import.meta.url),
  },
  threads: {
    loader: async () => (await import("./threads.js")).loader,
    wasm: {
      simd: () => new URL("./octavo_threads.wasm", import.meta.url),
      relaxed: () => new URL("./octavo_relaxed_threads.wasm", import.meta.url),
    },
    worker: () => new Worker(new URL("./threads_worker.js", import.meta.url), { type: "module" }),
    workerUrl: () => new URL(["threads_worker.js"].join(), import.meta.url),
  },
});

/** The host of the full module. */
export const coreHost = (options: EngineOptions) => hosts.get(options);

export interface LoadOptions extends EngineOptions {
  signal?: AbortSignal;
  /** The files that an ONNX model keeps its weights in, by the names it gives them. */
  externalData?: Readonly<Record<string, Source>>;
}

export interface OnnxOptions {
  /**
   * Keep the names of a quantized model's inner tensors and nodes even where they would be more than
   * 1 % of its constants' bytes. Default: false, short ones then.
   */
  keepNames?: boolean;
}

/** A float or quantized model. */
export class Model extends Owned {
  /** Reads an ONNX model or an .octavo file: its address, a File or Blob, or its bytes. */
  static async load(source: Source, options: LoadOptions = {}): Promise<Model> {
    return loadOn(hosts.get(options), source, options);
  }

  /** The model as ONNX; quantized values between QuantizeLinear and DequantizeLinear. */
  async toOnnx(options: OnnxOptions = {}): Promise<Uint8Array> {
    return this.owned.host.call("toOnnx", [this.owned.id, options.keepNames === true]);
  }
  /** The model as an .octavo file, which octavo/runtime runs. */
  async toCompact(): Promise<Uint8Array> {
    return this.owned.host.call("toCompact", [this.owned.id]);
  }

  /**
   * What the model consists of. Of a quantized model: what became of each operator; of a float one:
   * what static quantization with its default options would make of it, and why not more.
   */
  async inspect(): Promise<Inspection> {
    return this.owned.host.call("inspect", [this.owned.id]);
  }

  /** @internal Where the model lives. */
  get place() {
    return this.owned;
  }
}

/** A quantized model, and what became of each operator. */
export class QuantizedModel extends Model {
  readonly report: QuantizeReport;
  /** @internal */
  constructor(host: Host, made: WireObject & { report: QuantizeReport }) {
    super(host, made);
    this.report = made.report;
  }
}

async function loadOn(where: Host | Promise<Host>, source: Source, options: LoadOptions) {
  const { signal, externalData = {} } = options;
  const files = Promise.all(
    Object.entries(externalData).map(async ([name, file]) => [name, await toBytes(file, signal)]),
  );
  const [host, bytes, external] = await Promise.all([where, toBytes(source, signal), files]);
  const args = [bytes, Object.fromEntries(external)];
  return new Model(host, await made(host, "loadModel", args, signal));
}

/** The model, and whether it was loaded here and so is ours to dispose of. */
export async function modelOf(source: Source | Model, options: LoadOptions, host?: Host) {
  if (source instanceof Model) return { model: source, ours: false };
  if (source === undefined || source === null) throw invalidArgument("there is no model");
  return { model: await loadOn(host ?? hosts.get(options), source, options), ours: true };
}

export class InferenceSession extends Session {
  /** Makes a session of a Model, or of a model's address, file, blob or bytes. */
  static async create(
    model: Source | Model,
    options: SessionOptions = {},
  ): Promise<InferenceSession> {
    const { model: loaded, ours } = await modelOf(model, options);
    try {
      const { host, id } = loaded.place;
      return new InferenceSession(host, await made(host, "createSession", [id], options.signal));
    } finally {
      if (ours) await loaded.dispose();
    }
  }
}
