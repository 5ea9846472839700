// The WebAssembly module's objects, by number: what lies behind every public class, in this thread
// or in a worker. All arguments and results can be sent between threads.
import { InternalError, OutOfMemoryError, makeError, type ErrorDetail } from "./errors.js";
import type { WireTensor } from "./tensor.js";

export interface WireValue {
  name: string;
  dtype: string;
  dims: (number | string | null)[] | null;
}
export interface WireObject {
  id: number;
  inputs: WireValue[];
  outputs: WireValue[];
}
export interface NodeReport {
  name: string;
  op: string;
  quantized: boolean;
  /** "int8 per_channel"; empty if the operator stayed float. */
  weights: string;
  activations: string;
  /** Why the operator stayed float; empty if it was quantized. */
  reason: string;
}
export interface QuantizeReport {
  nodes: NodeReport[];
  /** Bytes of all constants, before and after. */
  floatBytes: number;
  quantizedBytes: number;
  /** Calibration samples seen. */
  samples: number;
  warnings: string[];
}

type OrError<T> = T | { error: ErrorDetail };
interface Handle {
  delete(): void;
}
interface SessionHandle extends Handle {
  run(feeds: WireTensor[]): OrError<WireTensor[]>;
  inputs(): WireValue[];
  outputs(): WireValue[];
}
interface ModelHandle extends Handle {
  createSession(): OrError<SessionHandle>;
  toOnnx(keepNames: boolean): OrError<Uint8Array>;
  toCompact(): OrError<Uint8Array>;
  inputs(): WireValue[];
  outputs(): WireValue[];
}
interface QuantizerHandle extends Handle {
  wantsData(): boolean;
  observe(feeds: WireTensor[]): OrError<undefined>;
  endPass(): OrError<boolean>;
  finish(): OrError<{ model: ModelHandle; report: QuantizeReport }>;
}
/** What Emscripten's glue gives. */
export interface OctavoModule {
  sessionFromCompact(bytes: Uint8Array): OrError<SessionHandle>;
  loadModel?(bytes: Uint8Array, externalData?: Record<string, Uint8Array>): OrError<ModelHandle>;
  createQuantizer?(
    model: ModelHandle,
    config: string,
    deterministic: boolean,
  ): OrError<QuantizerHandle>;
  schema?(): string;
}
export type Glue = (options?: {
  instantiateWasm(
    imports: WebAssembly.Imports,
    done: (instance: WebAssembly.Instance, module: WebAssembly.Module) => void,
  ): object;
  threads: number;
  openThread?: () => unknown;
}) => Promise<OctavoModule>;
/** The glue of a module, and what makes the workers that its threads run in, if it has threads. */
export interface Loader {
  glue: Glue;
  /** Gives the function that makes one, a Worker of the browser's or of Node's. */
  openThread?: () => Promise<() => unknown>;
}

function check<T>(result: OrError<T>): T {
  if (typeof result === "object" && result !== null && "error" in result) {
    throw makeError(result.error as ErrorDetail);
  }
  return result as T;
}

export class Engine {
  #objects = new Map<number, Handle>();
  #lastId = 0;
  #fault: unknown;

  private constructor(private readonly module: OctavoModule) {}

  static async create(loader: Loader, wasm: WebAssembly.Module, threads: number): Promise<Engine> {
    const openThread = await loader.openThread?.();
    const module = await new Promise<OctavoModule>((resolve, reject) => {
      loader
        .glue({
          threads,
          ...(openThread ? { openThread } : {}),
          instantiateWasm(imports, done) {
            WebAssembly.instantiate(wasm, imports).then((instance) => done(instance, wasm), reject);
            return {};
          },
        })
        .then(resolve, reject);
    });
    return new Engine(module);
  }

  /** Calls a method by name: the one door for this thread and for workers. */
  call(method: EngineMethod, args: unknown[]): unknown {
    if (this.#fault) throw this.#dead();
    try {
      return (this[method] as (...args: unknown[]) => unknown)(...args);
    } catch (error) {
      // A trap (memory exhausted, stack overflow) leaves the module in no state to go on.
      if (error instanceof WebAssembly.RuntimeError || error instanceof RangeError) {
        this.#fault = error;
        throw this.#dead();
      }
      throw error;
    }
  }

  #dead() {
    const message = String((this.#fault as Error).message);
    const [type, code] = /memory|allocation|OOM/i.test(message)
      ? [OutOfMemoryError, "out_of_memory"]
      : [InternalError, "internal"];
    return new type(
      { code, message: `the WebAssembly module has stopped (${message}); load the model anew` },
      { cause: this.#fault },
    );
  }

  get stopped() {
    return this.#fault !== undefined;
  }

  loadModel(bytes: Uint8Array, externalData?: Record<string, Uint8Array>): WireObject {
    return this.#describe(check(this.module.loadModel!(bytes, externalData)));
  }
  createSession(model: number): WireObject {
    return this.#describe(check(this.#get<ModelHandle>(model).createSession()));
  }
  openCompact(bytes: Uint8Array): WireObject {
    return this.#describe(check(this.module.sessionFromCompact(bytes)));
  }
  run(session: number, feeds: WireTensor[]): WireTensor[] {
    return check(this.#get<SessionHandle>(session).run(feeds));
  }
  toOnnx(model: number, keepNames: boolean): Uint8Array {
    return check(this.#get<ModelHandle>(model).toOnnx(keepNames));
  }
  toCompact(model: number): Uint8Array {
    return check(this.#get<ModelHandle>(model).toCompact());
  }
  createQuantizer(model: number, config: string, deterministic: boolean): number {
    const handle = this.#get<ModelHandle>(model);
    return this.#keep(check(this.module.createQuantizer!(handle, config, deterministic)));
  }
  schema(): string {
    return this.module.schema!();
  }
  observe(quantizer: number, feeds: WireTensor[]): void {
    check(this.#get<QuantizerHandle>(quantizer).observe(feeds));
  }
  wantsData(quantizer: number): boolean {
    return this.#get<QuantizerHandle>(quantizer).wantsData();
  }
  /** Whether the samples are wanted once more. */
  endPass(quantizer: number): boolean {
    return check(this.#get<QuantizerHandle>(quantizer).endPass());
  }
  finish(quantizer: number): WireObject & { report: QuantizeReport } {
    const { model, report } = check(this.#get<QuantizerHandle>(quantizer).finish());
    return { ...this.#describe(model), report };
  }
  release(id: number): void {
    this.#objects.get(id)?.delete();
    this.#objects.delete(id);
  }

  #keep(handle: Handle): number {
    this.#objects.set(++this.#lastId, handle);
    return this.#lastId;
  }
  #get<T extends Handle>(id: number): T {
    const handle = this.#objects.get(id);
    if (!handle) throw makeError({ code: "disposed", message: "the object was disposed of" });
    return handle as T;
  }
  #describe(handle: SessionHandle | ModelHandle): WireObject {
    return { id: this.#keep(handle), inputs: handle.inputs(), outputs: handle.outputs() };
  }
}

export type EngineMethod =
  | "loadModel"
  | "createSession"
  | "openCompact"
  | "run"
  | "toOnnx"
  | "toCompact"
  | "createQuantizer"
  | "schema"
  | "wantsData"
  | "observe"
  | "endPass"
  | "finish"
  | "release";

/** Buffers of a result that may be handed over instead of copied. */
export function resultBuffers(result: unknown): ArrayBuffer[] {
  const items = Array.isArray(result) ? result.map((item) => item?.bytes) : [result];
  return items
    .filter((item): item is Uint8Array => item instanceof Uint8Array)
    .map((item) => item.buffer as ArrayBuffer);
}
