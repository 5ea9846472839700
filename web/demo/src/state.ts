// What the page knows, and who wants to hear of changes.
import type { ConfigSchema, Diagnosis, Model, QuantizeReport, TrialRecord } from "octavo";
import type { Dataset } from "./dataset";
import type { Entry } from "./files";
import { presets, type Preprocess } from "./preprocess";
import type { Recipe } from "./recipe";
import type { Verdict } from "./verdict";

export interface OpenModel {
  name: string;
  model: Model;
  /** Bytes of all its files. */
  bytes: number;
  /** The project's digit model. */
  own: boolean;
  /** Made again from these after a reload; none: the project's own. */
  entries: Entry[];
  /** Its size, and what static quantization would make of each operator. */
  facts: Awaited<ReturnType<Model["inspect"]>>;
}

/** A quantized model and all that was found out about it. */
export interface Outcome {
  recipe: Recipe;
  model: Model;
  compact: Uint8Array;
  onnx: Uint8Array;
  report: QuantizeReport;
  verdict: Verdict;
  diagnosis?: Diagnosis;
}

export interface Trials {
  records: TrialRecord[];
  pareto: number[];
  best?: number;
  decision?: string;
}

interface State {
  schema: ConfigSchema[];
  model?: OpenModel | undefined;
  data?: Dataset | undefined;
  /** Names of the model's answers. */
  classes?: readonly string[] | undefined;
  preprocess: Preprocess;
  recipe: Recipe;
  outcome?: Outcome | undefined;
  trials?: Trials | undefined;
  /** A quantization or tuning run is under way. */
  busy: boolean;
}

export const state: State = {
  schema: [],
  preprocess: presets.none.values,
  recipe: {
    stages: [
      { name: "StaticQuantConfig", options: { weightGranularity: "per_channel" }, local: {} },
    ],
    samples: 100,
  },
  busy: false,
};

type Topic = "schema" | "model" | "data" | "preprocess" | "recipe" | "outcome" | "trials" | "busy";
const listeners = new Map<Topic, (() => void)[]>();

/** Calls back after a change, and the views with it. */
export function on(topics: Topic | readonly Topic[], listener: () => void) {
  for (const topic of typeof topics === "string" ? [topics] : topics) {
    listeners.set(topic, [...(listeners.get(topic) ?? []), listener]);
  }
}

/** Changes what is known, and tells. */
export function change(changes: Partial<State>) {
  Object.assign(state, changes);
  const told = new Set<() => void>();
  for (const topic of Object.keys(changes) as Topic[]) {
    for (const listener of listeners.get(topic) ?? []) told.add(listener);
  }
  for (const listener of told) listener();
}
