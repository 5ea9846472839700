/// <reference lib="esnext.disposable" preserve="true" />
import type { EngineMethod, WireObject, WireValue } from "./engine.js";
import { DisposedError } from "./errors.js";
import type { Host, Steps } from "./host.js";
import { typeOf, type TensorType } from "./tensor.js";

// Engines without explicit resource management have no such symbols; the classes work all the same.
const dispose: typeof Symbol.dispose = Symbol.dispose ?? Symbol.for("Symbol.dispose");
const asyncDispose: typeof Symbol.asyncDispose =
  Symbol.asyncDispose ?? Symbol.for("Symbol.asyncDispose");

/** What is known of an input or output of a model. */
export interface ValueMetadata {
  name: string;
  type: TensorType;
  /** Sizes; the name of a symbolic dimension; null if unknown. undefined: of unknown rank. */
  shape: readonly (number | string | null)[] | undefined;
}

const metadata = (values: WireValue[]): ValueMetadata[] =>
  values.map(({ name, dtype, dims }) => ({
    name,
    type: typeOf(dtype),
    shape: dims ?? undefined,
  }));

// Objects that were dropped without dispose(): their memory is given back, late.
const forgotten = new FinalizationRegistry<{ host: Host; id: number }>(({ host, id }) => {
  if (!host.stopped) host.call("release", [id]).catch(() => undefined);
});

/** A model or session, which lives in the engine until dispose(). */
export abstract class Owned {
  readonly inputNames: readonly string[];
  readonly outputNames: readonly string[];
  readonly inputMetadata: readonly ValueMetadata[];
  readonly outputMetadata: readonly ValueMetadata[];
  #host: Host;
  #id: number;
  #disposed = false;

  /** @internal */
  constructor(host: Host, { id, inputs, outputs }: WireObject) {
    this.inputMetadata = metadata(inputs);
    this.outputMetadata = metadata(outputs);
    this.inputNames = inputs.map(({ name }) => name);
    this.outputNames = outputs.map(({ name }) => name);
    this.#host = host;
    this.#id = id;
    forgotten.register(this, { host, id }, this);
  }

  /** The engine and the object's number in it. Throws DisposedError after dispose(). */
  protected get owned(): { host: Host; id: number } {
    if (this.#disposed) {
      throw new DisposedError({
        code: "disposed",
        message: "this object was disposed of",
      });
    }
    return { host: this.#host, id: this.#id };
  }

  /** Gives the memory back. Calls that are under way are still finished. May be called twice. */
  async dispose(): Promise<void> {
    if (this.#disposed) return;
    this.#disposed = true;
    forgotten.unregister(this);
    if (!this.#host.stopped) await this.#host.call("release", [this.#id]);
  }
  [dispose](): void {
    this.dispose().catch(() => undefined);
  }
  [asyncDispose](): Promise<void> {
    return this.dispose();
  }
}

/**
 * The promise's outcome, or the signal's reason (an AbortError) as soon as it is aborted. What then
 * still arrives is given to `late`.
 */
export async function abortable<T>(
  promise: Promise<T>,
  signal?: AbortSignal,
  late: (value: T) => unknown = () => undefined,
): Promise<T> {
  if (!signal) return promise;
  let onAbort!: () => void;
  const aborted = new Promise<never>((_, reject) => {
    onAbort = () => reject(signal.reason);
    if (signal.aborted) onAbort();
    else signal.addEventListener("abort", onAbort, { once: true });
  });
  try {
    return await Promise.race([aborted, promise]);
  } catch (error) {
    if (signal.aborted) promise.then(late).catch(() => undefined);
    throw error;
  } finally {
    signal.removeEventListener("abort", onAbort);
  }
}

/** The object that a call makes; released if the caller no longer wants it. */
export function made<T extends WireObject | number | null>(
  host: Host,
  method: EngineMethod,
  args: unknown[],
  signal?: AbortSignal,
  steps?: Steps,
): Promise<T> {
  return abortable(host.call<T>(method, args, [], steps), signal, (object) =>
    host.call("release", [typeof object === "number" ? object : object?.id]),
  );
}
