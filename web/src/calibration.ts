// Samples on their way from the caller to the engine.
import { invalidArgument } from "./make_error.js";
import type { Host } from "./host.js";
import { callWith, copyOf } from "./loan.js";
import { abortable } from "./owned.js";
import type { Progress } from "./progress.js";
import { toWire, type Feeds, type WireTensor } from "./tensor.js";

/**
 * Calibration samples, one after another: an array, a generator, a stream, ... Some algorithms read
 * them more than once: what gives its items only once, as generators do, is kept in memory then.
 */
export type CalibDataLoader = Iterable<Feeds> | AsyncIterable<Feeds>;
/** Runs the calibration itself: calls `observe` with each sample's feeds. Called once for each pass. */
export type CalibFunc = (observe: (feeds: Feeds) => Promise<void>) => void | Promise<void>;

type AnyIterator = Iterator<Feeds> | AsyncIterator<Feeds>;

function iterate(loader: CalibDataLoader): AnyIterator {
  if (Symbol.asyncIterator in loader) return loader[Symbol.asyncIterator]();
  if (Symbol.iterator in loader) return loader[Symbol.iterator]();
  throw invalidArgument("the samples are an iterable or asynchronous iterable of feeds");
}

/** The same samples on every pass. */
class Samples {
  #kept: WireTensor[][] = [];
  #once: AnyIterator | undefined; // of a loader that can be iterated only once

  constructor(
    private readonly loader: CalibDataLoader,
    private readonly signal?: AbortSignal,
  ) {}

  async forEach(count: number, visit: (feeds: WireTensor[]) => Promise<void>) {
    for (const feeds of this.#kept.slice(0, count)) await visit(feeds);
    const iterator = this.#once ?? iterate(this.loader);
    if ((iterator as unknown) === this.loader) this.#once = iterator;
    try {
      for (let i = this.#kept.length; i < count; i++) {
        const next = await abortable(Promise.resolve(iterator.next()), this.signal);
        if (next.done) break;
        const feeds = toWire(next.value);
        // A generator may fill the same array again and again.
        if (this.#once) this.#kept.push(copyOf(feeds));
        await visit(feeds);
      }
    } catch (error) {
      this.#end(iterator);
      throw error;
    }
    if (!this.#once) this.#end(iterator);
  }

  /** Not awaited: a generator that waits for data would hold up an abortion. */
  #end(iterator: AnyIterator) {
    Promise.resolve(iterator.return?.()).catch(() => undefined);
  }
  close() {
    if (this.#once) this.#end(this.#once);
  }
}

/** Lets the page's events in: an abort, a click. */
const breathe = () =>
  new Promise<void>((resolve) => {
    if (typeof setImmediate === "function") return void setImmediate(resolve);
    const { port1, port2 } = new MessageChannel();
    port1.onmessage = () => {
      port1.close();
      resolve();
    };
    port2.postMessage(0);
  });

/** Shows the caller's samples to objects of the engine. */
export class Calibration {
  readonly #samples: Samples | undefined;

  constructor(
    private readonly host: Host,
    private readonly progress: Progress,
    loader: CalibDataLoader | null | undefined,
    private readonly iterations: number,
    private readonly func: CalibFunc | null | undefined,
    private readonly signal?: AbortSignal,
  ) {
    if (loader && !func) {
      if (!(Number.isInteger(iterations) && iterations > 0)) {
        throw invalidArgument(`calibIteration is ${iterations}; it must be at least 1`);
      }
      this.#samples = new Samples(loader, signal);
    }
  }

  /** Calls a method of the object with each sample, or with the first `limit`. */
  async #pass(method: "observe" | "addSample", object: number, limit: number): Promise<number> {
    const { host, signal, progress } = this;
    let count = 0;
    const show = async (tensors: WireTensor[]) => {
      signal?.throwIfAborted();
      await abortable(callWith(host, method, object, tensors), signal);
      progress.step(++count);
      if (!host.info.worker) await breathe();
      signal?.throwIfAborted();
    };
    if (this.func) {
      const observe = (feeds: Feeds) => show(toWire(feeds));
      await abortable(Promise.resolve(this.func(observe)), signal);
    } else {
      await this.#samples!.forEach(limit, show);
    }
    return count;
  }

  /** The first samples alone, if there is a loader that gives them. */
  async preview(object: number, count: number) {
    if (this.#samples) await this.#pass("addSample", object, Math.min(count, this.iterations));
  }

  /** All samples, for as many passes as a quantizer or a tuner's trial wants. */
  async calibrate(object: number) {
    const { host, progress, signal } = this;
    let wanted = await abortable(host.call<boolean>("wantsData", [object]), signal);
    if (wanted && !this.func && !this.#samples) {
      throw invalidArgument("this recipe needs calibration data: calibDataloader or calibFunc");
    }
    while (wanted) {
      progress.begin("calibrate", this.func ? 0 : this.iterations);
      const count = await this.#pass("observe", object, this.iterations);
      const call = host.call<boolean>("endPass", [object], [], progress.steps(signal));
      wanted = await abortable(call, signal);
      progress.end(count);
    }
  }

  /** All samples once. */
  async compare(object: number) {
    this.progress.begin("compare", this.iterations);
    this.progress.end(await this.#pass("observe", object, this.iterations));
  }

  /** Lets go of a loader that was not read to its end. */
  close() {
    this.#samples?.close();
  }
}
