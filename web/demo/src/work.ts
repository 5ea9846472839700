// The page's work: opening models and data, quantizing, judging. Views call it and hear of the
// results by state.ts.
import {
  diagnose,
  Model,
  quantizeModel,
  type Feeds,
  type ProgressEvent,
  type QuantizeReport,
} from "octavo";
import digitsUrl from "../digits.npz?url";
import digitModelUrl from "../../../tools/digits/digits.onnx?url";
import { ownDigits, type Dataset } from "./dataset";
import { feedsOf, imageInput, type Sample } from "./feeds";
import { extension, fileName, isModel, type Entry } from "./files";
import { lab } from "./lab";
import { guess, presets } from "./preprocess";
import { toConfigs, type Recipe } from "./recipe";
import { change, state, type OpenModel, type Outcome } from "./state";
import { judge, timeBoth, type TestSample, type Verdict } from "./verdict";

/** What a run is at: for progress bars. `share` 0 to 1; undefined: unknown. */
export interface Step {
  text: string;
  share?: number;
  etaMs?: number;
}
export interface Task {
  signal: AbortSignal;
  onStep: (step: Step) => void;
}

const digitNames = ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"];

let digitBytes: Promise<Uint8Array> | undefined;
/** The digit model's file; fetched once. */
export function digitModel(): Promise<Uint8Array> {
  digitBytes ??= fetch(digitModelUrl).then(async (response) => {
    if (!response.ok) throw new Error("The digit model could not be loaded; reload the page");
    return new Uint8Array(await response.arrayBuffer());
  });
  return digitBytes;
}

async function showModel(opened: OpenModel, bytes: Uint8Array) {
  await lab("open", "float", { bytes });
  await lab("close", "int8");
  const [previous, outcome] = [state.model, state.outcome];
  const input = imageInput(opened.model.inputMetadata, presets.none.values);
  change({
    model: opened,
    data: undefined,
    classes: undefined,
    outcome: undefined,
    trials: undefined,
    preprocess: opened.own ? presets.none.values : guess(input?.channels),
    recipe: {
      ...state.recipe,
      stages: state.recipe.stages.map((stage) => ({ ...stage, local: {} })),
    },
  });
  void previous?.model.dispose();
  void outcome?.model.dispose();
}

export async function openDigits() {
  const bytes = await digitModel();
  const model = await Model.load(bytes.slice());
  const facts = await model.inspect();
  const opened = { name: "digits.onnx", model, facts, bytes: bytes.length, own: true, entries: [] };
  await showModel(opened, bytes);
  const data = await ownDigits(digitsUrl);
  // Another model may have been opened meanwhile.
  if (state.model === opened) change({ data, classes: digitNames });
}

/** Files of a model whose external data have not all been given. */
let incomplete: Entry[] = [];

/** Opens the model among the files; the others are its external data. */
export async function openModel(given: readonly Entry[]) {
  const entries = [...incomplete, ...given];
  const main = entries.findLast(isModel);
  if (!main) throw new Error("There is no .onnx or .octavo file among these; choose one");
  const parts = entries.filter((entry) => entry !== main && !isModel(entry));
  incomplete = [];
  const externalData = Object.fromEntries(
    parts.flatMap(({ path, file }) => [
      [path, file],
      [fileName(path), file],
    ]),
  );
  let model: Model;
  try {
    model = await Model.load(main.file, { externalData });
  } catch (error) {
    const missing = /external-data file '([^']+)'/.exec((error as Error).message)?.[1];
    if (!missing || externalData[missing]) throw error;
    incomplete = [main, ...parts];
    throw new Error(`‘${main.path}’ keeps weights in the file ‘${missing}’; drop that file too`);
  }
  try {
    const used = [main, ...parts];
    const opened: OpenModel = {
      name: fileName(main.path),
      model,
      facts: await model.inspect(),
      bytes: used.reduce((sum, { file }) => sum + file.size, 0),
      own: false,
      entries: used,
    };
    await showModel(opened, await model.toCompact());
  } catch (error) {
    await model.dispose();
    throw error;
  }
}

/** Whether files wait for others that belong to the same model. */
export const awaitsParts = () => incomplete.length > 0;

export const isPart = ({ path }: Entry) =>
  ["data", "bin", "weights", "pb", "onnx_data"].includes(extension(path)) ||
  /external|weight/i.test(path);

/** Makes feeds for the model that is open, with the preprocessing as it is now. */
export function feedMaker(): (sample: Sample) => Promise<Feeds> {
  const { model, data } = state;
  const preprocess = data?.kind === "synthetic" ? presets.none.values : state.preprocess;
  return (sample) => feedsOf(sample, model!.model.inputMetadata, preprocess);
}

/** The samples that calibrate, and those that judge: others, if there are enough. */
export function split({ samples }: Dataset, calibration: number) {
  const seen = samples.slice(0, calibration);
  const fresh = samples.slice(calibration);
  const enough = fresh.length >= Math.min(20, samples.length / 2);
  const judging = (enough ? fresh : samples).slice(0, 400);
  return { seen, judging, offset: enough ? calibration : 0, fresh: enough };
}

/** An iterable of feeds that can be read again and again. */
export function feedsOfAll(samples: readonly Sample[]): AsyncIterable<Feeds> {
  const make = feedMaker();
  return {
    async *[Symbol.asyncIterator]() {
      for (const sample of samples) yield await make(sample);
    },
  };
}

const phases: Record<ProgressEvent["phase"], string> = {
  load: "Loading",
  calibrate: "Calibrating",
  quantize: "Quantizing",
  evaluate: "Evaluating",
  compare: "Comparing layers",
};

export function stepOf({ phase, done, total, etaMs }: ProgressEvent): Step {
  const counted = total > 1 && phase !== "load" ? ` ${done} of ${total}` : "";
  return {
    text: `${phases[phase]}${counted}`,
    ...(total > 0 ? { share: done / total } : {}),
    ...(etaMs === undefined ? {} : { etaMs }),
  };
}

/** Quantizes what is open by the recipe, and judges the result. */
export async function quantize(recipe: Recipe, task: Task): Promise<void> {
  const { model, data } = state;
  if (!model) throw new Error("There is no model yet; open one first");
  if (!data) throw new Error("There are no data to calibrate with; add some under Data first");
  const { signal, onStep } = task;
  const { seen } = split(data, recipe.samples);
  change({ busy: true });
  const start = performance.now();
  try {
    const small = await quantizeModel(
      model.model,
      toConfigs(recipe),
      feedsOfAll(seen),
      recipe.samples,
      null,
      { signal, onProgress: (event) => onStep(stepOf(event)) },
    );
    performance.measure("quantized", { start });
    try {
      const outcome = await examine(recipe, small, small.report, task);
      performance.measure("judged", { start });
      const last = state.outcome;
      change({ recipe, outcome });
      void last?.model.dispose();
    } catch (error) {
      await small.dispose();
      throw error;
    }
  } finally {
    change({ busy: false });
  }
}

/** Like is compared with like: a small .onnx file with the float one. */
function sizesOf({ name, bytes }: OpenModel, octavo: number, onnx: number): Verdict["size"] {
  return extension(name) === "octavo"
    ? { float: bytes, int8: octavo, format: ".octavo", other: onnx, otherFormat: ".onnx" }
    : { float: bytes, int8: onnx, format: ".onnx", other: octavo, otherFormat: ".octavo" };
}

/** Layers of models that take longer for a run are compared on fewer samples. */
const slowMs = 100;

/** Everything that the page shows of a quantized model. */
export async function examine(
  recipe: Recipe,
  small: Model,
  report: QuantizeReport,
  task: Task,
): Promise<Outcome> {
  try {
    return await compareWithFloat(recipe, small, report, task);
  } catch (error) {
    // The last result stays, and its model answers again.
    const { outcome } = state;
    if (outcome) await lab("open", "int8", { bytes: outcome.compact });
    throw error;
  }
}

async function compareWithFloat(
  recipe: Recipe,
  small: Model,
  report: QuantizeReport,
  { signal, onStep }: Task,
): Promise<Outcome> {
  const [model, data, make] = [state.model!, state.data!, feedMaker()];
  const [compact, onnx] = await Promise.all([small.toCompact(), small.toOnnx()]);
  const { backend, threads } = await lab("open", "int8", { bytes: compact });

  const { seen, judging, offset, fresh } = split(data, recipe.samples);
  async function* tests(): AsyncGenerator<TestSample> {
    for (const [i, sample] of judging.entries()) {
      const { label } = sample;
      const feeds = await make(sample);
      yield { sample: offset + i, feeds, ...(label === undefined ? {} : { label }) };
    }
  }
  const judgement = await judge(tests(), judging.length, {
    signal,
    onProgress: (share) => onStep({ text: "Comparing answers", share }),
  });
  onStep({ text: "Timing both" });
  const latency = await timeBoth(await make(judging[0]!), signal);

  const diagnosis = await diagnose(model.model, small, feedsOfAll(seen), {
    iterations: latency.float.medianMs > slowMs ? 4 : 16,
    signal,
    names: { floatModel: model.name, quantizedModel: "int8", data: data.title },
    onProgress: (event) => onStep(stepOf(event)),
  });
  const { judged, agreement, accuracy, error, worst, classifier } = judgement;
  return {
    recipe,
    model: small,
    compact,
    onnx,
    report,
    diagnosis,
    verdict: {
      classifier,
      data: data.title,
      samples: judged.length,
      seen: fresh ? 0 : Math.min(seen.length, judged.length),
      ...(agreement ? { agreement } : {}),
      ...(accuracy ? { accuracy } : {}),
      ...(error === undefined ? {} : { error }),
      latency,
      memory: { float: await lab("memory", "float"), int8: await lab("memory", "int8") },
      size: sizesOf(model, compact.length, onnx.length),
      worst,
      backend: `${backend}, ${threads === 1 ? "one thread" : `${threads} threads`}`,
      synthetic: data.kind === "synthetic",
      when: new Date().toISOString(),
    },
  };
}
