// Judges a quantized model against its float original: answers, accuracy, latency, size.
import type { Feeds } from "octavo";
import { percent, times } from "./format";
import { lab, race, type Timing } from "./lab";
import type { Output } from "./lab.worker";
import { argmax, probabilities, relativeError, totalVariation, type Share } from "./statistics";

export interface Pair<T> {
  float: T;
  int8: T;
}

/** The likeliest answers, best first: class and probability. */
type TopClasses = readonly (readonly [index: number, probability: number])[];

/** One sample through both models. */
export interface Judged {
  /** Its place in the data set. */
  sample: number;
  label?: number;
  /** Of classifiers. */
  top?: Pair<TopClasses>;
  /** How far apart the answers are, 0 to 1: total variation of classes, else relative error. */
  distance: number;
}

export interface Verdict {
  classifier: boolean;
  /** Title of the data. */
  data: string;
  /** Samples that both models answered, and how many of them calibration had seen. */
  samples: number;
  seen: number;
  agreement?: Share;
  /** Of classifiers with labelled data. */
  accuracy?: Pair<Share>;
  /** Mean of relative errors, of other models. */
  error?: number;
  latency: Pair<Timing>;
  /** Bytes of the files: both in the float file's format, and the quantized model in the other. */
  size: Pair<number> & { format: string; other: number; otherFormat: string };
  /** Bytes that a run needs: constants and activations. */
  memory: Pair<number>;
  worst: Judged[];
  /** "relaxed SIMD, 4 threads" */
  backend: string;
  synthetic: boolean;
  when: string;
}

/** Scores of classes: one row of more than one number, and not an input made again. */
export function isClassifier({ dims }: Output, feeds: Feeds): boolean {
  const sizes = dims.filter((dim) => dim !== 1);
  const row = batchOf(feeds) > 1 ? sizes.slice(1) : sizes;
  const again = Object.values(feeds).some((input) => input.dims.join() === dims.join());
  return row.length === 1 && row[0]! > 1 && row[0]! <= 100_000 && !again;
}

export function topOf(p: readonly number[], k = 5): TopClasses {
  return p
    .map((value, index) => [index, value] as const)
    .sort((a, b) => b[1] - a[1])
    .slice(0, k);
}

export interface TestSample {
  sample: number;
  label?: number;
  feeds: Feeds;
}

/** How much of the data's answers is kept for show. */
const worstKept = 12;

interface Judgement {
  classifier: boolean;
  judged: Judged[];
  agreement?: Share;
  accuracy?: Pair<Share>;
  error?: number;
  worst: Judged[];
}

/** The first sample's row of an output; models with a fixed batch answer the same one often. */
const firstRow = (data: ArrayLike<number>, batch: number) =>
  batch > 1 ? Array.from(data).slice(0, data.length / batch) : data;

export const batchOf = (feeds: Feeds) => {
  const dims = Object.values(feeds)[0]?.dims ?? [];
  return dims.length >= 2 ? dims[0]! : 1;
};

/** Judging ends after so long, if there are enough answers by then. */
const patienceMs = 30_000;
const enough = 20;

/** Asks both models, sample by sample. */
export async function judge(
  samples: AsyncIterable<TestSample>,
  total: number,
  { signal, onProgress }: { signal?: AbortSignal; onProgress?: (done: number) => void } = {},
): Promise<Judgement> {
  const judged: Judged[] = [];
  let classifier = true;
  const right = { float: 0, int8: 0 };
  let [same, withLabel, done] = [0, 0, 0];
  const start = performance.now();
  for await (const { sample, label, feeds } of samples) {
    signal?.throwIfAborted();
    const batch = batchOf(feeds);
    const outputs = [
      await lab("answer", "float", feeds),
      await lab("answer", "int8", feeds),
    ] as const;
    const rows = outputs.map(({ data }) => firstRow(data, batch));
    const [a, b] = rows as [ArrayLike<number>, ArrayLike<number>];
    classifier &&= isClassifier(outputs[0], feeds);
    if (classifier) {
      const [p, q] = [probabilities(a), probabilities(b)];
      const best = { float: argmax(p), int8: argmax(q) };
      same += +(best.float === best.int8);
      if (label !== undefined) {
        withLabel++;
        right.float += +(best.float === label);
        right.int8 += +(best.int8 === label);
      }
      judged.push({
        sample,
        ...(label === undefined ? {} : { label }),
        top: { float: topOf(p), int8: topOf(q) },
        distance: totalVariation(p, q),
      });
    } else {
      judged.push({ sample, distance: relativeError(a, b) });
    }
    onProgress?.(++done / total);
    if (done >= enough && performance.now() - start > patienceMs) break;
  }
  const errors = judged.map(({ distance }) => distance);
  const mean = errors.reduce((a, b) => a + b, 0) / Math.max(1, errors.length);
  return {
    classifier,
    judged,
    ...(classifier ? { agreement: { right: same, total: judged.length } } : { error: mean }),
    ...(classifier && withLabel > 0
      ? {
          accuracy: {
            float: { right: right.float, total: withLabel },
            int8: { right: right.int8, total: withLabel },
          },
        }
      : {}),
    worst: judged
      .toSorted((a, b) => differs(b) - differs(a) || b.distance - a.distance)
      .slice(0, worstKept),
  };
}

/** Other answers come first, however sure the models are. */
export const differs = ({ top }: Judged) => +(top?.float[0]?.[0] !== top?.int8[0]?.[0]);

/** Both models' time for one run, in turns. */
export async function timeBoth(feeds: Feeds, signal?: AbortSignal): Promise<Pair<Timing>> {
  const timings = await race(["float", "int8"], feeds, signal ? { signal } : {});
  return { float: timings.get("float")!, int8: timings.get("int8")! };
}

interface Headline {
  text: string;
  mood: "good" | "mixed" | "bad";
}

/** The verdict in a sentence or two; plain where it is bad. */
export function headline(verdict: Verdict): Headline {
  const { size, latency, accuracy, agreement, error, synthetic } = verdict;
  const smaller = size.float / size.int8;
  const faster = latency.float.medianMs / latency.int8.medianMs;
  const parts: string[] = [];
  parts.push(
    smaller >= 1.05
      ? `${times(smaller)} smaller`
      : smaller > 0.95
        ? "No smaller"
        : `${times(1 / smaller)} larger`,
  );
  parts.push(
    faster >= 1.05
      ? `${times(faster)} faster here`
      : faster > 0.95
        ? "as fast here"
        : `${times(1 / faster)} slower here`,
  );
  let cost: string | undefined;
  let lost = false;
  if (synthetic) {
    cost = "What it costs in accuracy, noise cannot tell";
  } else if (accuracy) {
    const { float, int8 } = accuracy;
    const change = int8.right - float.right;
    const of = `of ${float.total}`;
    lost = -change / float.total > 0.01;
    cost =
      change === 0
        ? `As many right answers as before (${float.right} ${of})`
        : change > 0
          ? `${change} more right ${change === 1 ? "answer" : "answers"} ${of}`
          : `${-change} fewer right ${change === -1 ? "answer" : "answers"} ${of}`;
  } else if (agreement) {
    const other = agreement.total - agreement.right;
    lost = other / agreement.total > 0.02;
    cost =
      other === 0
        ? `The same answer to all ${agreement.total} samples`
        : `Another answer to ${other} of ${agreement.total} samples`;
  } else if (error !== undefined) {
    lost = error > 0.1;
    cost = `Outputs differ by ${percent(error)} on average`;
  }
  const slow = smaller < 1.05 || faster < 0.95;
  return {
    text: `${parts.join(", ")}. ${cost ? `${cost}.` : ""}`.trim(),
    mood: slow || (lost && faster < 1.05) ? "bad" : lost || synthetic ? "mixed" : "good",
  };
}
