import { Calibration, type CalibDataLoader, type CalibFunc } from "./calibration.js";
import { fromCore } from "./config.js";
import type { QuantizeReport, WireObject } from "./engine.js";
import { NotFoundError } from "./errors.js";
import { invalidArgument } from "./make_error.js";
import type { Source } from "./load.js";
import {
  InferenceSession,
  modelOf,
  QuantizedModel,
  type LoadOptions,
  type Model,
} from "./model.js";
import { abortable, made } from "./owned.js";
import { Progress, type ProgressEvent } from "./progress.js";
import { quantizeModel } from "./quantize.js";
import { parseRecipe, TuningConfig, withOurNames } from "./recipe.js";

export interface EvalResult {
  accuracy: number;
  /** Of one run; the tuner measures it otherwise. */
  latencyMs?: number;
}
/**
 * Gives the accuracy of a model, in any unit. Called for the float model first, then for each trial.
 * The session is disposed of afterwards.
 */
export type EvalFn<Args extends readonly unknown[] = readonly any[]> = (
  session: InferenceSession,
  ...evalArgs: Args
) => number | EvalResult | Promise<number | EvalResult>;

export interface TrialRecord {
  /** 0: the float model. */
  index: number;
  /** Of the strategy: "op by op". */
  phase: string;
  /** "Conv_3 in fp32" */
  description: string;
  /** As parseRecipe reads it; null: the float model. */
  recipe: object | null;
  /** Why the trial did not come to its end: what it would have found is absent then. */
  error?: string;
  accuracy?: number;
  /** In units of tolerableLoss; negative is a gain. */
  loss?: number;
  /** The loss is tolerable. */
  holds?: boolean;
  latencyMs?: number | null;
  /** Of constants. */
  sizeBytes?: number;
  /** Constants and activations of one run; 0 if unknown. */
  memoryBytes?: number;
  modelHash?: string;
  /** An earlier trial that made the same model, whose figures these are. */
  sameAs?: number;
  /** Seconds. */
  quantizeS: number;
  evaluateS: number;
  /** From the journal. */
  resumed?: boolean;
}

export interface TuningResult {
  /** Of the best trial. */
  model: QuantizedModel;
  /** It holds the accuracy. */
  success: boolean;
  /** Index of the best trial. */
  best: number;
  /** The float model. */
  baseline: TrialRecord;
  trials: TrialRecord[];
  /** Trials that none beats in accuracy, latency and size; 0: the float model. */
  pareto: number[];
  /** Why it is the best, in words. */
  decision: string;
  /** Why tuning is over, in words. */
  stopped: string;
  /** What `resume` takes. */
  journal: string;
}

export interface AutotuneOptions extends LoadOptions {
  /** Told at most ten times a second, and at the end of each phase. */
  onProgress?: (event: ProgressEvent) => void;
  /** Told of the float model and of each trial; `message`: in one line, for people. */
  onTrial?: (trial: TrialRecord, message: string) => void;
  /** Ends the tuning: the best so far is the result. (`signal` rejects.) */
  stopSignal?: AbortSignal;
  /** Receives the journal line by line (each ends in \n). */
  onJournal?: (line: string) => void;
  /** The journal of an earlier run over the same model: its trials are not run again. */
  resume?: string;
}

type Found = Omit<TuningResult, "model" | "journal">;

function foundIn(json: string): Found {
  const index = ({ trial, ...rest }: Record<string, unknown>) => ({ index: trial, ...rest });
  const { baseline, trials, ...rest } = fromCore(JSON.parse(json)) as Record<string, any>;
  return { ...rest, baseline: index(baseline), trials: trials.map(index) } as Found;
}

/** Aborted when one of the signals is. */
function either(signals: (AbortSignal | undefined)[]): AbortSignal {
  const controller = new AbortController();
  for (const signal of signals) {
    const abort = () => controller.abort(signal!.reason);
    if (signal?.aborted) abort();
    else signal?.addEventListener("abort", abort, { once: true, signal: controller.signal });
  }
  return controller.signal;
}

/**
 * Finds a recipe whose model keeps the accuracy that `evalFn` measures, within the budget of
 * `tuneConfig` (Neural Compressor's call). The calibration data are quantizeModel's; a loader is
 * iterated anew for each trial. Errors in trials are recorded, and tuning goes on; NotFoundError if
 * no trial came to its end.
 */
export async function autotune<Args extends readonly unknown[]>(
  model: Source | Model,
  tuneConfig: TuningConfig,
  evalFn: EvalFn<Args>,
  evalArgs?: Args | null,
  calibDataloader?: CalibDataLoader | null,
  calibIteration = 100,
  calibFunc?: CalibFunc | null,
  options: AutotuneOptions = {},
): Promise<TuningResult> {
  const { signal, stopSignal, onProgress, onTrial, onJournal, resume = "" } = options;
  if (!(tuneConfig instanceof TuningConfig)) throw invalidArgument("tuneConfig is a TuningConfig");
  if (typeof evalFn !== "function") {
    throw invalidArgument("evalFn is a function that gives the accuracy of a session");
  }
  const progress = new Progress(onProgress);
  progress.begin("load", 1);
  const { model: float, ours } = await modelOf(model, options);
  const ended = either([signal, stopSignal]);
  const release: (() => Promise<unknown>)[] = [];
  try {
    progress.end(1);
    const { host, id } = float.place;
    const data = new Calibration(host, progress, calibDataloader, calibIteration, calibFunc, ended);
    release.push(async () => data.close());
    const args = [id, JSON.stringify(tuneConfig), resume];
    const tuner = await made<number>(host, "createTuner", args, signal).catch((error) => {
      throw withOurNames(error, [tuneConfig]);
    });
    release.push(() => host.call("release", [tuner]));
    const call = <T>(method: Parameters<typeof host.call>[0], ...rest: unknown[]) =>
      abortable(host.call<T>(method, [tuner, ...rest]), ended);

    let journal = resume;
    let told = resume ? 0 : -1;
    const tell = async () => {
      const lines = await host.call<string>("takeJournal", [tuner]);
      journal += lines;
      for (const line of lines.match(/.*\n/g) ?? []) onJournal?.(line);
      const [found, message] = await host.call<[string, string]>("tuned", [tuner]);
      const result = foundIn(found);
      if (told < 0 && result.baseline.accuracy !== undefined) {
        onTrial?.(result.baseline, `float model: accuracy ${result.baseline.accuracy}`);
        told = 0;
      }
      for (const trial of result.trials.slice(told)) onTrial?.(trial, message);
      told = Math.max(told, result.trials.length);
      return result;
    };
    const evaluate = async (object: WireObject): Promise<EvalResult> => {
      const session = new InferenceSession(host, object);
      progress.begin("evaluate", 1);
      try {
        const given = (evalArgs ?? []) as unknown as Args;
        const outcome = await abortable(Promise.resolve(evalFn(session, ...given)), ended);
        const result = typeof outcome === "number" ? { accuracy: outcome } : outcome;
        if (typeof result?.accuracy !== "number") {
          throw invalidArgument("evalFn gives a number or { accuracy, latencyMs }");
        }
        return result;
      } finally {
        progress.end(1);
        await session.dispose();
      }
    };
    const tryOne = async (): Promise<EvalResult | { error: string }> => {
      try {
        await data.calibrate(tuner);
        progress.begin("quantize", 1);
        const session = await made<WireObject | null>(host, "quantizeTrial", [tuner], ended);
        progress.end(1);
        return session ? await evaluate(session) : { accuracy: 0 };
      } catch (error) {
        if (ended.aborted || host.stopped) throw error;
        return { error: error instanceof Error ? error.message : String(error) };
      }
    };

    let stopped = "";
    try {
      progress.trial = 0;
      await data.preview(tuner, tuneConfig.options.confidenceBatches ?? 2);
      if (await call<boolean>("wantsBaseline")) {
        const session = await made<WireObject>(host, "createSession", [id], ended);
        await call("setBaseline", await evaluate(session));
      }
      await tell();
      while (await call<boolean>("nextTrial")) {
        progress.trial = (await tell()).trials.length + 1;
        await call("reportTrial", await tryOne());
        await tell();
      }
    } catch (error) {
      if (signal?.aborted || !stopSignal?.aborted || host.stopped) throw error;
      stopped = "it was stopped by the caller";
    }
    const found = await tell();
    if (found.best < 1) throw new NotFoundError({ code: "not_found", message: found.decision });
    const best = await host.call<(WireObject & { report: QuantizeReport }) | undefined>(
      "bestModel",
      [tuner],
    );
    const recipe = parseRecipe(found.trials[found.best - 1]!.recipe!);
    const small = best
      ? new QuantizedModel(host, best)
      : await quantizeModel(float, recipe, calibDataloader, calibIteration, calibFunc, {
          ...(signal ? { signal } : {}),
        });
    return { ...found, stopped: found.stopped || stopped, model: small, journal };
  } finally {
    for (const free of release) await free();
    if (ours) await float.dispose();
  }
}
