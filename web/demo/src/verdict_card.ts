// What quantization gained and cost, in a sentence, in a table, and in pictures.
import { $, fill, h } from "./dom";
import { bytes, count, ms, percent, plural, times } from "./format";
import { barRow, className } from "./answers";
import { reasonList } from "./model_card";
import { picture } from "./picture";
import { on, state, type Outcome } from "./state";
import { wilson, type Share } from "./statistics";
import { differs, headline, type Judged, type Pair, type Verdict } from "./verdict";

/** One measure of both models, with bars on a common scale. */
function measure(
  name: string,
  values: Pair<string>,
  sizes: Pair<number>,
  change: string,
  good: boolean | undefined,
  note?: string,
) {
  const most = Math.max(sizes.float, sizes.int8) || 1;
  const cell = (of: keyof Pair<string>) => {
    const bar = h("span", { class: "bar-fill" });
    bar.style.inlineSize = `${(100 * sizes[of]) / most}%`;
    return h(
      "td",
      { class: of, role: "cell" },
      h("span", { class: "number" }, values[of]),
      h("span", { class: "bar-track", "aria-hidden": "true" }, bar),
    );
  };
  const mood = good === undefined ? "" : good ? "good" : "bad";
  return h(
    "tr",
    { role: "row" },
    h("th", { scope: "row", role: "rowheader" }, name, note && h("small", {}, note)),
    cell("float"),
    cell("int8"),
    h("td", { class: `change ${mood}`, role: "cell" }, change),
  );
}

function ratio(before: number, after: number, better: string, worse: string) {
  const r = before / after;
  if (r > 0.97 && r < 1.03) return { change: "the same", good: undefined };
  return r >= 1
    ? { change: `${times(r)} ${better}`, good: true }
    : { change: `${times(1 / r)} ${worse}`, good: false };
}

const interval = (share: Share) => {
  const [low, high] = wilson(share);
  return `${percent(low)} to ${percent(high)}`;
};

export function rowsOf({ size, latency, memory, accuracy }: Verdict) {
  const rows: HTMLElement[] = [];
  const smaller = ratio(size.float, size.int8, "smaller", "larger");
  rows.push(
    measure(
      "Size",
      { float: bytes(size.float), int8: bytes(size.int8) },
      size,
      smaller.change,
      smaller.good,
      `${size.format}; as ${size.otherFormat} ${bytes(size.other)}`,
    ),
  );
  const { float, int8 } = latency;
  const speed = ratio(float.medianMs, int8.medianMs, "faster", "slower");
  rows.push(
    measure(
      "Latency",
      { float: ms(float.medianMs), int8: ms(int8.medianMs) },
      { float: float.medianMs, int8: int8.medianMs },
      speed.change,
      speed.good,
      `median of ${count(int8.samples)} in turns; 95th percentile ${ms(float.p95Ms)} and ${ms(int8.p95Ms)}`,
    ),
  );
  const less = ratio(memory.float, memory.int8, "less", "more");
  rows.push(
    measure(
      "Peak memory",
      { float: bytes(memory.float), int8: bytes(memory.int8) },
      memory,
      less.change,
      less.good,
      "constants and activations of one run",
    ),
  );
  if (accuracy) {
    const { float, int8 } = accuracy;
    const change = int8.right - float.right;
    rows.push(
      measure(
        "Accuracy",
        { float: percent(float.right / float.total), int8: percent(int8.right / int8.total) },
        { float: float.right, int8: int8.right },
        change === 0
          ? "the same"
          : `${change > 0 ? "+" : "−"}${Math.abs(change)} of ${float.total}`,
        change === 0 ? undefined : change > 0,
        `95 % intervals: ${interval(float)}; ${interval(int8)}`,
      ),
    );
  }
  return rows;
}

/** One figure that has no float counterpart. */
const single = (name: string, value: string, note: string) =>
  h(
    "tr",
    { role: "row" },
    h("th", { scope: "row", role: "rowheader" }, name, h("small", {}, note)),
    h("td", { class: "whole", colspan: 3, role: "cell" }, value),
  );

function show() {
  const card = $("verdict-card");
  const { outcome } = state;
  if (!outcome) {
    fill(card, h("p", { class: "empty" }, "Nothing is quantized yet."));
    $("disagreements").hidden = true;
    return;
  }
  const { verdict, report } = outcome;
  const { text, mood } = headline(verdict);
  const { agreement, error, samples, seen } = verdict;
  const quantized = report.nodes.filter((node) => node.quantized).length;
  const stayed = report.nodes.length - quantized;
  fill(
    card,
    h("p", { class: `headline ${mood}`, id: "headline" }, text),
    h(
      "div",
      { class: "scroll", tabindex: 0, role: "region", "aria-label": "Figures of both models" },
      h(
        "table",
        { class: "measures", role: "table" },
        h(
          "thead",
          {},
          h(
            "tr",
            {},
            h("td", {}),
            h("th", { scope: "col", class: "float" }, "Float"),
            h("th", { scope: "col", class: "int8" }, "Int8"),
            h("th", { scope: "col" }, "Change"),
          ),
        ),
        h(
          "tbody",
          {},
          ...rowsOf(verdict),
          agreement &&
            single(
              "Same answer",
              `${percent(agreement.right / agreement.total)} (${agreement.right} of ${agreement.total})`,
              `95 % interval ${interval(agreement)}`,
            ),
          error !== undefined &&
            single("Difference", percent(error), "of outputs, relative to the float model’s"),
        ),
      ),
    ),
    h(
      "p",
      { class: "soft" },
      `On ${plural(samples, "sample")}${seen ? ", which calibration had seen too" : " that calibration had not seen"}; ${verdict.backend}.`,
    ),
    ...report.warnings.map((warning) => h("p", { class: "warning" }, warning)),
    stayed > 0 &&
      h(
        "details",
        {},
        h(
          "summary",
          {},
          `${quantized} of ${report.nodes.length} operators are integers; why ${stayed} ${stayed === 1 ? "is" : "are"} not`,
        ),
        reasonList(report.nodes),
      ),
  );
  showDisagreements(outcome);
}

function judgedCard(judged: Judged, data: string) {
  const { sample, label, top, distance } = judged;
  // Other data may have been given since.
  const one = state.data?.title === data ? state.data.samples[sample] : undefined;
  const sides = (["float", "int8"] as const).map((of) =>
    h(
      "ol",
      { class: `bars ${of}`, "aria-label": of === "float" ? "Float" : "Int8" },
      ...(top?.[of] ?? [])
        .slice(0, 2)
        .map(([index, p], i) => barRow(className(index), p, percent(p, 0), i === 0)),
    ),
  );
  return h(
    "li",
    { class: differs(judged) ? "other" : "" },
    one ? picture(one, 64) : h("span", { class: "tile" }, `${sample + 1}`),
    h(
      "div",
      {},
      h(
        "p",
        {},
        differs(judged) ? h("b", {}, "Another answer") : `${percent(distance)} apart`,
        label !== undefined && h("span", { class: "soft" }, ` labelled ${className(label)}`),
      ),
      ...(top ? sides : []),
    ),
  );
}

function showDisagreements({ verdict }: Outcome) {
  const place = $("disagreements");
  place.hidden = verdict.worst.length === 0;
  fill(
    place,
    h("h3", {}, "Where they disagree most"),
    h(
      "ul",
      { class: "judged" },
      ...verdict.worst.slice(0, 6).map((judged) => judgedCard(judged, verdict.data)),
    ),
  );
}

export function setUpVerdictCard() {
  on(["outcome", "data"], show);
  show();
}
