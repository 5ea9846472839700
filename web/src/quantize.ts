import { singleConfig, type StaticQuantConfig } from "./config.js";
import { invalidArgument } from "./errors.js";
import type { Source } from "./load.js";
import { modelOf, QuantizedModel, type LoadOptions, type Model } from "./model.js";
import { abortable, made } from "./owned.js";
import { Progress, type ProgressEvent } from "./progress.js";
import { toWire, type Feeds } from "./tensor.js";

export interface QuantizeOptions extends LoadOptions {
  /** Told at most ten times a second, and at the end of each phase. */
  onProgress?: (event: ProgressEvent) => void;
}
/** Calibration samples, one after another: an array, a generator, a stream, ... */
export type CalibDataLoader = Iterable<Feeds> | AsyncIterable<Feeds>;
/** Runs the calibration itself: calls `observe` with each sample's feeds. */
export type CalibFunc = (observe: (feeds: Feeds) => Promise<void>) => void | Promise<void>;

function iterate(loader: CalibDataLoader): Iterator<Feeds> | AsyncIterator<Feeds> {
  if (Symbol.asyncIterator in loader) return loader[Symbol.asyncIterator]();
  if (Symbol.iterator in loader) return loader[Symbol.iterator]();
  throw invalidArgument("calibDataloader is an iterable or asynchronous iterable of feeds");
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

/**
 * Quantizes a model after training (Neural Compressor's call). Of `calibDataloader` the first
 * `calibIteration` items are used, unless `calibFunc` drives the calibration.
 * Aborting rejects with the signal's reason, at once if a worker does the work, else at the next
 * sample.
 */
export async function quantizeModel(
  model: Source | Model,
  quantConfig: StaticQuantConfig | readonly StaticQuantConfig[],
  calibDataloader?: CalibDataLoader | null,
  calibIteration = 100,
  calibFunc?: CalibFunc | null,
  options: QuantizeOptions = {},
): Promise<QuantizedModel> {
  const { signal, onProgress } = options;
  const config = JSON.stringify(singleConfig(quantConfig));
  if (!calibDataloader && !calibFunc) {
    throw invalidArgument(
      "static quantization needs calibration data: calibDataloader or calibFunc",
    );
  }
  if (!calibFunc && !(Number.isInteger(calibIteration) && calibIteration > 0)) {
    throw invalidArgument(`calibIteration is ${calibIteration}; it must be at least 1`);
  }
  const progress = new Progress(onProgress);
  progress.begin("load", 1);
  const { model: float, ours } = await modelOf(model, options);
  let release: (() => Promise<void>) | undefined;
  try {
    progress.end(1);
    const { host, id } = float.place;
    const quantizer = await made<number>(host, "createQuantizer", [id, config], signal);
    release = () => host.call("release", [quantizer]);

    let samples = 0;
    progress.begin("calibrate", calibFunc ? 0 : calibIteration);
    const observe = async (feeds: Feeds) => {
      signal?.throwIfAborted();
      const tensors = toWire(feeds, host.info.worker);
      await abortable(host.call("observe", [quantizer, tensors]), signal);
      progress.step(++samples);
      if (!host.info.worker) await breathe();
      signal?.throwIfAborted();
    };
    if (calibFunc) {
      await abortable(Promise.resolve(calibFunc(observe)), signal);
    } else {
      const iterator = iterate(calibDataloader!);
      try {
        while (samples < calibIteration) {
          const next = await abortable(Promise.resolve(iterator.next()), signal);
          if (next.done) break;
          await observe(next.value);
        }
      } finally {
        // Not awaited: a generator that waits for data would hold up an abortion.
        Promise.resolve(iterator.return?.()).catch(() => undefined);
      }
    }
    progress.end(samples);

    progress.begin("quantize", 1);
    const small = new QuantizedModel(host, await made(host, "finish", [quantizer], signal));
    progress.end(1);
    return small;
  } finally {
    await release?.();
    if (ours) await float.dispose();
  }
}
