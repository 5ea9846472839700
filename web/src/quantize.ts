import { BaseConfig, snakeCase } from "./config.js";
import { optionNames, type QuantConfig } from "./configs.js";
import { invalidArgument, makeError, OctavoError } from "./errors.js";
import type { Source } from "./load.js";
import { modelOf, QuantizedModel, type LoadOptions, type Model } from "./model.js";
import { abortable, made } from "./owned.js";
import { Progress, type ProgressEvent } from "./progress.js";
import { toWire, type Feeds, type WireTensor } from "./tensor.js";

export interface QuantizeOptions extends LoadOptions {
  /**
   * The quantized file is the same bytes on every machine and in the command line (`octavo quantize
   * --deterministic`). Calibration takes longer. Default: false.
   */
  deterministic?: boolean;
  /** Told at most ten times a second, and at the end of each phase. */
  onProgress?: (event: ProgressEvent) => void;
}
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
  throw invalidArgument("calibDataloader is an iterable or asynchronous iterable of feeds");
}

/** The same samples on every pass. */
class Samples {
  #kept: WireTensor[][] = [];
  #once = false;
  #pass = 0;

  constructor(
    private readonly loader: CalibDataLoader,
    private readonly count: number,
    private readonly isolate: boolean,
    private readonly signal?: AbortSignal,
  ) {}

  async forEach(visit: (feeds: WireTensor[]) => Promise<void>) {
    if (this.#pass++ > 0 && this.#once) {
      for (const feeds of this.#kept) await visit(copyOf(feeds));
      return;
    }
    const iterator = iterate(this.loader);
    this.#once = (iterator as unknown) === this.loader;
    try {
      for (let i = 0; i < this.count; i++) {
        const next = await abortable(Promise.resolve(iterator.next()), this.signal);
        if (next.done) break;
        const feeds = toWire(next.value, this.isolate);
        // A generator may fill the same array again and again.
        if (this.#once) this.#kept.push(copyOf(feeds));
        await visit(feeds);
      }
    } finally {
      // Not awaited: a generator that waits for data would hold up an abortion.
      Promise.resolve(iterator.return?.()).catch(() => undefined);
    }
  }
}

const copyOf = (feeds: WireTensor[]) =>
  feeds.map((feed) => ({ ...feed, bytes: feed.bytes.slice() }) as WireTensor);

/** The stages that are meant, in order. */
function stagesOf(config: QuantConfig | readonly QuantConfig[]): readonly QuantConfig[] {
  const list = config instanceof BaseConfig ? [config] : config;
  if (!Array.isArray(list) || !list.every((stage) => stage instanceof BaseConfig)) {
    throw invalidArgument("quantConfig is a config (StaticQuantConfig, ...) or a list of them");
  }
  return list;
}

/** The core's error with options called by their names here. */
function withOurNames(error: unknown, stages: readonly QuantConfig[]) {
  if (!(error instanceof OctavoError)) return error;
  const all = [...optionNames, ...stages.flatMap(({ named }) => named)];
  const names = new Map(all.map((name) => [snakeCase(name), name]));
  const { code, node, tensor } = error;
  const message = error.message.replace(/\w+/g, (word) => names.get(word) ?? word);
  const place = { ...(node ? { node } : {}), ...(tensor ? { tensor } : {}) };
  return makeError({ code, message, ...place });
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
 * Quantizes a trained model by a config, or by a list of them, applied one after another (Neural
 * Compressor's call). Of `calibDataloader` the first `calibIteration` items are used, unless
 * `calibFunc` drives the calibration.
 * Aborting rejects with the signal's reason, at once if a worker does the work, else at the next
 * sample.
 */
export async function quantizeModel(
  model: Source | Model,
  quantConfig: QuantConfig | readonly QuantConfig[],
  calibDataloader?: CalibDataLoader | null,
  calibIteration = 100,
  calibFunc?: CalibFunc | null,
  options: QuantizeOptions = {},
): Promise<QuantizedModel> {
  const { signal, onProgress } = options;
  const stages = stagesOf(quantConfig);
  if (calibDataloader && !calibFunc && !(Number.isInteger(calibIteration) && calibIteration > 0)) {
    throw invalidArgument(`calibIteration is ${calibIteration}; it must be at least 1`);
  }
  const progress = new Progress(onProgress);
  progress.begin("load", 1);
  const { model: float, ours } = await modelOf(model, options);
  let release: (() => Promise<void>) | undefined;
  try {
    progress.end(1);
    const { host, id } = float.place;
    const args = [id, JSON.stringify(stages), options.deterministic === true];
    const quantizer = await made<number>(host, "createQuantizer", args, signal).catch((error) => {
      throw withOurNames(error, stages);
    });
    release = () => host.call("release", [quantizer]);

    let wanted = (await host.call("wantsData", [quantizer])) as boolean;
    if (wanted && !calibDataloader && !calibFunc) {
      throw invalidArgument("this recipe needs calibration data: calibDataloader or calibFunc");
    }
    let samples = 0;
    const observe = async (tensors: WireTensor[]) => {
      signal?.throwIfAborted();
      await abortable(host.call("observe", [quantizer, tensors]), signal);
      progress.step(++samples);
      if (!host.info.worker) await breathe();
      signal?.throwIfAborted();
    };
    const data =
      calibDataloader && new Samples(calibDataloader, calibIteration, host.info.worker, signal);
    while (wanted) {
      samples = 0;
      progress.begin("calibrate", calibFunc ? 0 : calibIteration);
      if (calibFunc) {
        const show = (feeds: Feeds) => observe(toWire(feeds, host.info.worker));
        await abortable(Promise.resolve(calibFunc(show)), signal);
      } else {
        await data!.forEach(observe);
      }
      wanted = (await abortable(host.call("endPass", [quantizer]), signal)) as boolean;
      progress.end(samples);
    }

    progress.begin("quantize", 1);
    const small = new QuantizedModel(host, await made(host, "finish", [quantizer], signal));
    progress.end(1);
    return small;
  } finally {
    await release?.();
    if (ours) await float.dispose();
  }
}
