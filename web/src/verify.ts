import { Calibration, type CalibDataLoader } from "./calibration.js";
import type { Verdict } from "./engine.js";
import { toBytes, type Source } from "./load.js";
import { modelOf, type LoadOptions, type Model } from "./model.js";
import { abortable, made } from "./owned.js";
import { Progress, type ProgressEvent } from "./progress.js";

export interface VerifyOptions extends LoadOptions {
  /** Told at most ten times a second, and at the end of each phase. */
  onProgress?: (event: ProgressEvent) => void;
}
/** Where a quantized file comes from, and whether it could be made again. */
export interface Verification {
  /** The file was made again, byte for byte. */
  same: boolean;
  /** Why it was not; empty if it was. */
  difference: string;
  /** Of Octavo. */
  version: string;
  /** Its stages with all their options. */
  recipe: object;
  /** Hash of the float model. */
  model: string;
  /** Hash of the calibration samples, and their number; empty and 0 if none were wanted. */
  data: string;
  samples: number;
  deterministic: boolean;
}

/**
 * Makes a quantized file again from the recipe that it holds, and compares the bytes. `samples`: the
 * calibration samples in their order; of them as many are used as the file was made from. What was
 * not made with `deterministic` gets the same bytes only on the same kind of processor.
 */
export async function verify(
  file: Source,
  floatModel: Source | Model,
  samples?: CalibDataLoader | null,
  options: VerifyOptions = {},
): Promise<Verification> {
  const { signal, onProgress } = options;
  const progress = new Progress(onProgress);
  progress.begin("load", 1);
  const { model: float, ours } = await modelOf(floatModel, options);
  let release: (() => Promise<void>) | undefined;
  let data: Calibration | undefined;
  try {
    const { host, id } = float.place;
    const args = [id, await toBytes(file, signal)];
    const verifier = await made<number>(host, "createVerifier", args, signal);
    release = () => host.call("release", [verifier]);
    progress.end(1);
    const count = Math.max(await host.call<number>("samples", [verifier]), 1);
    data = new Calibration(host, progress, samples, count, null, signal);
    await data.calibrate(verifier);
    const { recipe, ...rest } = await abortable(host.call<Verdict>("verdict", [verifier]), signal);
    return { same: rest.difference === "", ...rest, recipe: JSON.parse(recipe) as object };
  } finally {
    data?.close();
    await release?.();
    if (ours) await float.dispose();
  }
}
