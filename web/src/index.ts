// octavo: models, their quantization, and running them.
import { describeBackend, type EngineOptions } from "./host.js";
import type { BackendInfo } from "./load.js";

/** What will run with these options, and why. */
export function backendInfo(options: EngineOptions = {}): BackendInfo {
  return describeBackend(options);
}

export * from "./configs.js";
export type { OneOf } from "./config.js";
export { parseRecipe, TuningConfig } from "./recipe.js";
export { schema } from "./schema.js";
export type { ConfigSchema, OptionSchema } from "./schema.js";
export { quantizeModel } from "./quantize.js";
export type { QuantizeOptions } from "./quantize.js";
export type { CalibDataLoader, CalibFunc } from "./calibration.js";
export { autotune } from "./autotune.js";
export type { AutotuneOptions, EvalFn, EvalResult, TrialRecord, TuningResult } from "./autotune.js";
export { diagnose } from "./diagnose.js";
export type {
  DiagnoseOptions,
  Diagnosis,
  OpDiagnosis,
  OpSensitivity,
  TensorComparison,
  TensorDiagnosis,
} from "./diagnose.js";
export { verify } from "./verify.js";
export type { Verification, VerifyOptions } from "./verify.js";
export { InferenceSession, Model, QuantizedModel } from "./model.js";
export type { LoadOptions, OnnxOptions } from "./model.js";
export type { Inspection, NodeReport, QuantizeReport } from "./engine.js";
export type { ProgressEvent } from "./progress.js";
export * from "./errors.js";
export { Tensor } from "./tensor.js";
export type { Feeds, TensorLike, TensorType, TypedArray } from "./tensor.js";
export type { BackendInfo, Source, Variant } from "./load.js";
export type { EngineOptions } from "./host.js";
export type { Outputs, RunOptions, SessionOptions } from "./session.js";
export type { ValueMetadata } from "./owned.js";
