import { Calibration, type CalibDataLoader } from "./calibration.js";
import { fromCore } from "./config.js";
import { invalidArgument } from "./make_error.js";
import type { Source } from "./load.js";
import { modelOf, type LoadOptions, type Model } from "./model.js";
import { abortable, made } from "./owned.js";
import { Progress, type ProgressEvent } from "./progress.js";

/** One tensor of two models, compared over all samples. */
export interface TensorComparison {
  tensor: string;
  /** The operator that computes it. */
  op: string;
  /** 10 log10(sum a² / sum (a - b)²); at most 200. */
  sqnrDb: number;
  cosine: number;
  mse: number;
  /** Kullback-Leibler divergence of the distributions, in nats. */
  kl: number;
  maxAbsError: number;
  /** Counts in equal bins from min to max. */
  histogram: { min: number; max: number; float: number[]; quantized: number[] };
}
export interface TensorDiagnosis extends TensorComparison {
  /** Of the quantized model: "u8", "f32". */
  dtype: string;
  quantized: boolean;
  /** Of its integers, if it is quantized as a whole; the real numbers that they reach. */
  scale?: number;
  low?: number;
  high?: number;
  /** Share of the float model's values outside [low, high]. */
  clipped?: number;
}
export interface OpDiagnosis {
  node: string;
  op: string;
  /** Its first output. */
  tensor: string;
  quantized: boolean;
  /** "i8 per_channel"; empty if float. */
  weights: string;
  activations: string;
  /** Of its output in the whole run. */
  sqnrDb: number | null;
  /** Of its output when its inputs are the float model's: what the operator adds by itself. */
  ownSqnrDb: number | null;
  weightSqnrDb: number | null;
}
/** What one operator alone costs: SQNR of the first output, in dB. */
export interface OpSensitivity {
  node: string;
  op: string;
  /** The operator quantized, everything else float. */
  sqnrDb: number;
  /** Only its weights. */
  weightsSqnrDb: number;
  /** What its activations add to that. */
  activationsSqnrDb: number;
}
/** Where a quantized model loses accuracy: what `octavo report` gives. */
export interface Diagnosis {
  samples: number;
  /** Share of samples with the same argmax in the first output. */
  agreement: number;
  floatConstantBytes: number;
  quantizedConstantBytes: number;
  /** SQNR of the first output, in dB, with only some of the model quantized. */
  errorSources: { weightsSqnrDb: number; activationsSqnrDb: number; bothSqnrDb: number };
  /** Of the operators that add most error by themselves, the most sensitive first. */
  sensitivity: OpSensitivity[];
  /** What to do if single operators cannot be judged. */
  hint?: string;
  outputs: TensorComparison[];
  /** In the graph's order. */
  tensors: TensorDiagnosis[];
  ops: OpDiagnosis[];
  /** All of it as one page that needs no network and no scripts. */
  html: string;
}

export interface DiagnoseOptions extends LoadOptions {
  /** Samples used at most. Default: 100. */
  iterations?: number;
  /** Told at most ten times a second, and at the end of each phase. */
  onProgress?: (event: ProgressEvent) => void;
  /** What the page calls them. */
  names?: { floatModel?: string; quantizedModel?: string; data?: string };
}

/** Runs a model and its quantized form on samples and says where the latter loses accuracy. */
export async function diagnose(
  floatModel: Source | Model,
  quantizedModel: Source | Model,
  samples: CalibDataLoader,
  options: DiagnoseOptions = {},
): Promise<Diagnosis> {
  const { signal, onProgress, iterations = 100, names = {} } = options;
  if (!samples) throw invalidArgument("diagnose needs samples to run the models on");
  const progress = new Progress(onProgress);
  progress.begin("load", 2);
  const float = await modelOf(floatModel, options);
  const release: (() => Promise<unknown>)[] = [];
  if (float.ours) release.push(() => float.model.dispose());
  try {
    const { host, id } = float.model.place;
    const small = await modelOf(quantizedModel, options, host);
    if (small.ours) release.push(() => small.model.dispose());
    progress.end(2);
    if (small.model.place.host !== host) {
      throw invalidArgument(
        "the models were loaded with different options; load both the same way",
      );
    }
    const data = new Calibration(host, progress, samples, iterations, null, signal);
    release.push(async () => data.close());
    const models = [id, small.model.place.id];
    const diagnoser = await made<number>(host, "createDiagnoser", models, signal);
    release.push(() => host.call("release", [diagnoser]));
    await data.compare(diagnoser);
    const { floatModel: a = "float model", quantizedModel: b = "quantized model" } = names;
    const args = [diagnoser, a, b, names.data ?? "samples"];
    const { json, html } = await abortable(
      host.call<{ json: string; html: string }>("diagnosis", args),
      signal,
    );
    const {
      floatModel: _,
      quantizedModel: __,
      data: ___,
      ...rest
    } = fromCore(JSON.parse(json)) as {
      [name: string]: unknown;
    };
    return { ...rest, html } as unknown as Diagnosis;
  } finally {
    for (const free of release.reverse()) await free();
  }
}
