// The WebAssembly module's objects, by number: what lies behind every public class, in this thread
// or in a worker. All arguments and results can be sent between threads.
import { InternalError, OutOfMemoryError, type ErrorDetail } from "./errors.js";
import { makeError } from "./make_error.js";
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
export interface Inspection {
  /** The model is quantized. */
  quantized: boolean;
  parameters: number;
  /** Bytes of all constants. */
  constantBytes: number;
  nodes: NodeReport[];
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
  memoryBytes(): number;
  inputs(): WireValue[];
  outputs(): WireValue[];
}
interface ModelHandle extends Handle {
  createSession(): OrError<SessionHandle>;
  toOnnx(keepNames: boolean): OrError<Uint8Array>;
  toCompact(): OrError<Uint8Array>;
  inspect(): Inspection;
  inputs(): WireValue[];
  outputs(): WireValue[];
}
type Quantized = { model: ModelHandle; report: QuantizeReport };
/** A quantizer, or a tuner's trial. */
interface CalibratedHandle extends Handle {
  wantsData(): boolean;
  observe(feeds: WireTensor[]): OrError<undefined>;
  endPass(): OrError<boolean>;
}
interface QuantizerHandle extends CalibratedHandle {
  finish(): OrError<Quantized>;
}
/** What a quantized file says of itself, and whether it could be made again. */
export interface Verdict {
  difference: string;
  version: string;
  recipe: string;
  model: string;
  data: string;
  samples: number;
  deterministic: boolean;
}
interface VerifierHandle extends CalibratedHandle {
  samples(): number;
  verdict(): OrError<Verdict>;
}
type Outcome = { accuracy: number; latencyMs?: number } | { error: string };
interface TunerHandle extends CalibratedHandle {
  wantsBaseline(): boolean;
  setBaseline(outcome: Outcome): OrError<undefined>;
  addSample(feeds: WireTensor[]): OrError<undefined>;
  nextTrial(): OrError<boolean>;
  quantize(): OrError<SessionHandle | null>;
  report(outcome: Outcome): OrError<undefined>;
  message(): string;
  result(): string;
  bestModel(): Quantized | undefined;
  takeJournal(): string;
}
interface DiagnoserHandle extends Handle {
  observe(feeds: WireTensor[]): OrError<undefined>;
  finish(a: string, b: string, data: string): OrError<{ json: string; html: string }>;
}
/** Told of the steps of what takes long; false cancels it. */
type OnStep = (done: number, total: number) => boolean;
/** What Emscripten's glue gives. */
interface OctavoModule {
  sessionFromCompact(bytes: Uint8Array): OrError<SessionHandle>;
  loadModel?(bytes: Uint8Array, externalData?: Record<string, Uint8Array>): OrError<ModelHandle>;
  createQuantizer?(
    model: ModelHandle,
    config: string,
    deterministic: boolean,
    onStep: OnStep,
  ): OrError<QuantizerHandle>;
  createVerifier?(model: ModelHandle, file: Uint8Array): OrError<VerifierHandle>;
  createTuner?(model: ModelHandle, config: string, resume: string): OrError<TunerHandle>;
  createDiagnoser?(float: ModelHandle, quantized: ModelHandle): OrError<DiagnoserHandle>;
  schema?(): string;
  tuningSchema?(): string;
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

  #onStep: OnStep = () => true;

  /** Calls a method by name: the one door for this thread and for workers. */
  call(method: EngineMethod, args: unknown[], onStep: OnStep = () => true): unknown {
    if (this.#fault) throw this.#dead();
    this.#onStep = onStep;
    try {
      return (this[method] as (...args: never[]) => unknown)(...(args as never[]));
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
  memoryBytes(session: number): number {
    return this.#get<SessionHandle>(session).memoryBytes();
  }
  toOnnx(model: number, keepNames: boolean): Uint8Array {
    return check(this.#get<ModelHandle>(model).toOnnx(keepNames));
  }
  toCompact(model: number): Uint8Array {
    return check(this.#get<ModelHandle>(model).toCompact());
  }
  createQuantizer(model: number, config: string, deterministic: boolean): number {
    const handle = this.#get<ModelHandle>(model);
    const onStep: OnStep = (done, total) => this.#onStep(done, total);
    return this.#keep(check(this.module.createQuantizer!(handle, config, deterministic, onStep)));
  }
  inspect(model: number): Inspection {
    return this.#get<ModelHandle>(model).inspect();
  }
  /** Of recipes, and of tuning. */
  schemas(): [string, string] {
    return [this.module.schema!(), this.module.tuningSchema!()];
  }
  observe(object: number, feeds: WireTensor[]): void {
    check(this.#get<CalibratedHandle | DiagnoserHandle>(object).observe(feeds));
  }
  wantsData(object: number): boolean {
    return this.#get<CalibratedHandle>(object).wantsData();
  }
  /** Whether the samples are wanted once more. */
  endPass(object: number): boolean {
    return check(this.#get<CalibratedHandle>(object).endPass());
  }
  finish(quantizer: number): WireObject & { report: QuantizeReport } {
    return this.#quantized(check(this.#get<QuantizerHandle>(quantizer).finish()));
  }

  createVerifier(model: number, file: Uint8Array): number {
    return this.#keep(check(this.module.createVerifier!(this.#get<ModelHandle>(model), file)));
  }
  /** How many the file was calibrated on. */
  samples(verifier: number): number {
    return this.#get<VerifierHandle>(verifier).samples();
  }
  verdict(verifier: number): Verdict {
    return check(this.#get<VerifierHandle>(verifier).verdict());
  }

  createTuner(model: number, config: string, resume: string): number {
    const handle = this.#get<ModelHandle>(model);
    return this.#keep(check(this.module.createTuner!(handle, config, resume)));
  }
  wantsBaseline(tuner: number): boolean {
    return this.#get<TunerHandle>(tuner).wantsBaseline();
  }
  setBaseline(tuner: number, outcome: Outcome): void {
    check(this.#get<TunerHandle>(tuner).setBaseline(outcome));
  }
  addSample(tuner: number, feeds: WireTensor[]): void {
    check(this.#get<TunerHandle>(tuner).addSample(feeds));
  }
  nextTrial(tuner: number): boolean {
    return check(this.#get<TunerHandle>(tuner).nextTrial());
  }
  /** A session of the trial's model; null if there is nothing to evaluate. */
  quantizeTrial(tuner: number): WireObject | null {
    const session = check(this.#get<TunerHandle>(tuner).quantize());
    return session && this.#describe(session);
  }
  reportTrial(tuner: number, outcome: Outcome): void {
    check(this.#get<TunerHandle>(tuner).report(outcome));
  }
  /** JSON of the result so far, and a line for people. */
  tuned(tuner: number): [string, string] {
    const handle = this.#get<TunerHandle>(tuner);
    return [handle.result(), handle.message()];
  }
  takeJournal(tuner: number): string {
    return this.#get<TunerHandle>(tuner).takeJournal();
  }
  bestModel(tuner: number): (WireObject & { report: QuantizeReport }) | undefined {
    const best = this.#get<TunerHandle>(tuner).bestModel();
    return best && this.#quantized(best);
  }

  createDiagnoser(float: number, quantized: number): number {
    const [a, b] = [this.#get<ModelHandle>(float), this.#get<ModelHandle>(quantized)];
    return this.#keep(check(this.module.createDiagnoser!(a, b)));
  }
  diagnosis(diagnoser: number, a: string, b: string, data: string) {
    return check(this.#get<DiagnoserHandle>(diagnoser).finish(a, b, data));
  }
  release(id: number): void {
    this.#objects.get(id)?.delete();
    this.#objects.delete(id);
  }

  #quantized({ model, report }: Quantized) {
    return { ...this.#describe(model), report };
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

export type EngineMethod = Exclude<
  {
    [Name in keyof Engine]: Engine[Name] extends (...args: never[]) => unknown ? Name : never;
  }[keyof Engine],
  "call"
>;

/** Buffers of a result that may be handed over instead of copied. */
export function resultBuffers(result: unknown): ArrayBuffer[] {
  const items = Array.isArray(result) ? result.map((item) => item?.bytes) : [result];
  return items
    .filter((item): item is Uint8Array => item instanceof Uint8Array)
    .map((item) => item.buffer as ArrayBuffer);
}
