// Autotune: trials as they finish, the best by accuracy and latency, and any of them to load.
import {
  autotune,
  TuningConfig,
  type Feeds,
  type InferenceSession,
  type TrialRecord,
} from "octavo";
import { labelled } from "./dataset";
import { $, fill, h } from "./dom";
import { bytes, ms, percent } from "./format";
import { optionsForm } from "./options_form";
import { ProgressLine } from "./progress";
import { fromJson, type Recipe } from "./recipe";
import { change, on, state, type Trials } from "./state";
import { argmax, quantile, relativeError, thinned } from "./statistics";
import { isClassifier } from "./verdict";
import { examine, feedMaker, feedsOfAll, quantize, split, stepOf, type Task } from "./work";

const mainOptions = ["tolerableLoss", "maxTrials", "objective", "strategy"];
/** Samples that judge a trial, and bytes of them, at most: they are kept in memory. */
const judges = 200;
const largest = 200e6;
/** Values of an output that are compared, where it is not a row of classes. */
const compared = 4096;

let options: Record<string, unknown> = { maxTrials: 12, stopAtFirst: false };
let stop: AbortController | undefined;
let line: ProgressLine | undefined;

interface Question {
  feeds: Feeds;
  label: number | undefined;
}

/**
 * Share of right answers; without labels, of the float model's answers that stay; of other models,
 * how near the outputs stay. The float model is asked first.
 */
function evaluation(questions: readonly Question[]) {
  let float: ArrayLike<number>[] | undefined;
  return async (session: InferenceSession) => {
    const outputs: ArrayLike<number>[] = [];
    let [right, classifier] = [0, true];
    for (const [i, { feeds, label }] of questions.entries()) {
      const { data, dims } = (await session.run(feeds))[session.outputNames[0]!]!;
      const values = data as unknown as ArrayLike<number>;
      classifier &&= isClassifier({ data: values, dims }, feeds);
      outputs.push(classifier ? values : thinned(values, compared));
      const wanted = label ?? (float ? argmax(float[i]!) : argmax(values));
      right += +(argmax(values) === wanted);
    }
    float ??= outputs;
    const latencyMs = await latencyOf(session, questions[0]!.feeds);
    if (classifier) return { accuracy: right / questions.length, latencyMs };
    const errors = outputs.map((values, i) => relativeError(float![i]!, values));
    return { accuracy: 1 - errors.reduce((a, b) => a + b, 0) / errors.length, latencyMs };
  };
}

/**
 * Milliseconds of one run: the median of stretches. The runs of a stretch wait in the worker's
 * queue, so that it never waits for the page.
 */
async function latencyOf(session: InferenceSession, feeds: Feeds): Promise<number> {
  const start = performance.now();
  await session.run(feeds);
  const runs = Math.max(1, Math.min(64, Math.ceil(10 / (performance.now() - start))));
  const stretches: number[] = [];
  for (let i = 0; i < 9; i++) {
    const begin = performance.now();
    await Promise.all(Array.from({ length: runs }, () => session.run(feeds)));
    stretches.push((performance.now() - begin) / runs);
  }
  return quantile(stretches, 0.5);
}

async function tune({ signal, onStep }: Task) {
  const { model, data } = state;
  if (!model) throw new Error("There is no model yet; open one first");
  if (!data) throw new Error("There are no data to tune with; add some under Data first");
  const recipe = state.recipe;
  const { seen, judging } = split(data, recipe.samples);
  stop = new AbortController();
  const stopSignal = stop.signal;
  change({ busy: true, trials: { records: [], pareto: [] } });
  try {
    onStep({ text: "Reading the samples" });
    const known = labelled(data) > 0;
    const questions: Question[] = [];
    const make = feedMaker();
    let size = 0;
    for (const sample of judging.slice(0, judges)) {
      if (known && sample.label === undefined) continue;
      const feeds = await make(sample);
      for (const { data } of Object.values(feeds)) size += (data as Float32Array).byteLength ?? 0;
      if (size > largest) break;
      questions.push({ feeds, label: sample.label });
    }
    const result = await autotune(
      model.model,
      new TuningConfig(options),
      evaluation(questions),
      null,
      feedsOfAll(seen),
      recipe.samples,
      null,
      {
        signal,
        stopSignal,
        onProgress: (event) => {
          const step = stepOf(event);
          const trial = event.trial ? `Trial ${event.trial}: ` : "Float model: ";
          onStep({ ...step, text: trial + step.text.toLowerCase() });
        },
        onTrial: (trial) => {
          const records = [...state.trials!.records, trial];
          change({ trials: { records, pareto: front(records) } });
        },
      },
    );
    const { trials, baseline, pareto, best, decision } = result;
    change({ trials: { records: [baseline, ...trials], pareto, best, decision } });
    const winner = { ...recipe, stages: fromJson(trials[best - 1]!.recipe, state.schema) };
    onStep({ text: "Judging the best" });
    const outcome = await examine(winner, result.model, result.model.report, { signal, onStep });
    const last = state.outcome;
    change({ recipe: winner, outcome });
    void last?.model.dispose();
  } finally {
    stop = undefined;
    change({ busy: false });
  }
}

/** Trials that no other beats in both, while the tuner has not said yet. */
function front(records: readonly TrialRecord[]): number[] {
  const done = records.filter((r) => r.accuracy !== undefined && r.latencyMs != null);
  const beats = (a: TrialRecord, b: TrialRecord) =>
    a.accuracy! >= b.accuracy! &&
    a.latencyMs! <= b.latencyMs! &&
    (a.accuracy! > b.accuracy! || a.latencyMs! < b.latencyMs!);
  return done.filter((b) => !done.some((a) => beats(a, b))).map(({ index }) => index);
}

/** Makes a trial's model again, and shows it as the result. */
function load(record: TrialRecord) {
  const recipe: Recipe = {
    ...state.recipe,
    stages: fromJson(record.recipe, state.schema),
  };
  void line?.run((task) => quantize(recipe, task), `Trial ${record.index} is the result now`);
}

function trialRow(record: TrialRecord, { best, pareto }: Trials) {
  const { index, accuracy, latencyMs, sizeBytes, description, error, recipe } = record;
  const cells = error
    ? [h("td", { colspan: 3, class: "soft" }, error)]
    : [
        h("td", { class: "n" }, accuracy === undefined ? "–" : percent(accuracy)),
        h("td", { class: "n" }, latencyMs == null ? "–" : ms(latencyMs)),
        h("td", { class: "n" }, sizeBytes === undefined ? "–" : bytes(sizeBytes)),
      ];
  const says = index === best ? "best" : pareto.includes(index) ? "on the front" : "";
  return h(
    "tr",
    { class: index === best ? "winner" : "" },
    h("th", { scope: "row" }, String(index)),
    h(
      "td",
      { class: "t" },
      index === 0 ? "float model" : description,
      says && h("small", {}, says),
    ),
    ...cells,
    h(
      "td",
      {},
      recipe &&
        !error &&
        h(
          "button",
          {
            type: "button",
            class: "quiet",
            disabled: state.busy,
            "aria-label": `Load trial ${index}`,
            onclick: () => load(record),
          },
          "Load",
        ),
    ),
  );
}

function showTrials() {
  const place = $("tune-results");
  const { trials } = state;
  place.hidden = !trials || trials.records.length === 0;
  if (!trials || place.hidden) return;
  const chart = place.querySelector<HTMLElement>(".chart") ?? h("div", { class: "chart" });
  const points = trials.records.flatMap(({ index, accuracy, latencyMs, holds }) =>
    accuracy === undefined || latencyMs == null
      ? []
      : [
          {
            index,
            accuracy,
            latencyMs,
            front: trials.pareto.includes(index),
            best: index === trials.best,
            holds: holds ?? index === 0,
          },
        ],
  );
  chart.setAttribute("role", "img");
  chart.setAttribute(
    "aria-label",
    "Trials by latency and accuracy; the table has the same figures",
  );
  const heads = ["", "Recipe", "Accuracy", "Latency", "Constants", ""];
  fill(
    place,
    trials.decision && h("p", { class: "decision", id: "decision" }, trials.decision),
    h(
      "figure",
      {},
      chart,
      h(
        "p",
        { class: "key" },
        h("span", { class: "float" }, "float"),
        h("span", { class: "int8" }, "holds the accuracy"),
        h("span", { class: "lost" }, "loses too much"),
        h("span", { class: "good" }, "best"),
      ),
    ),
    h(
      "div",
      { class: "scroll", tabindex: 0, role: "region", "aria-label": "Trials" },
      h(
        "table",
        { class: "trials" },
        h(
          "thead",
          {},
          h(
            "tr",
            {},
            ...heads.map((head) => (head ? h("th", { scope: "col" }, head) : h("td", {}))),
          ),
        ),
        h("tbody", {}, ...trials.records.map((record) => trialRow(record, trials))),
      ),
    ),
  );
  const byIndex = new Map(trials.records.map((record) => [record.index, record]));
  void import("./chart").then(({ trialPlot }) => {
    if (points.length === 0) return;
    trialPlot(chart, points, (index) => {
      const record = byIndex.get(index);
      if (record?.recipe && !state.busy) load(record);
    });
  });
}

function showForm() {
  const schema = state.schema.find(({ stage }) => stage === "tuning");
  fill(
    $("tune-form"),
    schema
      ? optionsForm(schema, options, mainOptions, (values) => (options = values))
      : h("p", { class: "soft" }, "Loading the options …"),
  );
}

export function setUpTuning() {
  line = new ProgressLine($("tune-progress"), $("tune-problem"));
  const button = $<HTMLButtonElement>("tune-run");
  const keep = h("button", { type: "button", hidden: true }, "Stop, keep the best");
  button.after(keep);
  keep.addEventListener("click", () => stop?.abort());
  button.addEventListener("click", async () => {
    keep.hidden = false;
    await line!.run(tune);
    keep.hidden = true;
  });
  on("busy", () => (button.disabled = state.busy));
  on(["trials", "busy"], showTrials);
  on("schema", showForm);
  showForm();
}
