import { Calibration, type CalibDataLoader, type CalibFunc } from "./calibration.js";
import type { QuantConfig } from "./configs.js";
import type { Source } from "./load.js";
import { modelOf, QuantizedModel, type LoadOptions, type Model } from "./model.js";
import { made } from "./owned.js";
import { Progress, type ProgressEvent } from "./progress.js";
import { stagesOf, withOurNames } from "./recipe.js";

type Finished = ConstructorParameters<typeof QuantizedModel>[1];

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
 * Quantizes a trained model by a config, or by a list of them, applied one after another (Neural
 * Compressor's call). Of `calibDataloader` the first `calibIteration` items are used, unless
 * `calibFunc` drives the calibration.
 * Aborting rejects with the signal's reason, at once if a worker does the work, else at the next
 * sample. The worker then ends at its next sample or step of learned rounding; where memory cannot
 * be shared (pages that are not cross-origin isolated), behind what it is at.
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
  const progress = new Progress(onProgress);
  progress.begin("load", 1);
  const { model: float, ours } = await modelOf(model, options);
  let release: (() => Promise<void>) | undefined;
  let data: Calibration | undefined;
  try {
    progress.end(1);
    const { host, id } = float.place;
    data = new Calibration(host, progress, calibDataloader, calibIteration, calibFunc, signal);
    const args = [id, JSON.stringify(stages), options.deterministic === true];
    const quantizer = await made<number>(host, "createQuantizer", args, signal).catch((error) => {
      throw withOurNames(error, stages);
    });
    release = () => host.call("release", [quantizer]);
    await data.calibrate(quantizer);
    progress.begin("quantize", 1);
    const finished = made<Finished>(host, "finish", [quantizer], signal, progress.steps(signal));
    const small = new QuantizedModel(host, await finished);
    progress.end(1);
    return small;
  } finally {
    data?.close();
    await release?.();
    if (ours) await float.dispose();
  }
}
