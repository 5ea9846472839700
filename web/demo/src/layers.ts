// The error of each operator; a switch turns one back to float. And the values of its tensor.
import type { OpDiagnosis } from "octavo";
import { $, field, fill, h, select } from "./dom";
import { decibels, percent, plural } from "./format";
import { ProgressLine } from "./progress";
import { canKeepFloat, keepsFloat, withFloat } from "./recipe";
import { on, state, type Outcome } from "./state";
import { quantize } from "./work";

type Order = "worst" | "graph";
let order: Order = "worst";
let selected: string | undefined;
let line: ProgressLine | undefined;

/** Signal over noise in dB as a share of the signal. */
const errorOf = (db: number) => 10 ** (-db / 20);
const dbOf = ({ ownSqnrDb, sqnrDb }: OpDiagnosis) => ownSqnrDb ?? sqnrDb ?? undefined;

function rowsOf({ recipe, diagnosis }: Outcome): OpDiagnosis[] {
  const ops = (diagnosis?.ops ?? []).filter(
    (op) => (op.quantized && dbOf(op) !== undefined) || keepsFloat(recipe, op.node),
  );
  return order === "graph" ? ops : ops.toSorted((a, b) => (dbOf(a) ?? 999) - (dbOf(b) ?? 999));
}

async function toggle(outcome: Outcome, { node }: OpDiagnosis) {
  const recipe = withFloat(outcome.recipe, node, !keepsFloat(outcome.recipe, node));
  await line?.run((task) => quantize(recipe, task));
  document
    .querySelector<HTMLElement>(`#layers-card [data-node="${CSS.escape(node)}"] [role=switch]`)
    ?.focus();
}

/** `worst`: the largest error, whose bar fills the track. */
function row(outcome: Outcome, op: OpDiagnosis, worst: number) {
  const db = dbOf(op);
  const kept = keepsFloat(outcome.recipe, op.node);
  const bar = h("span", { class: "bar-fill" });
  bar.style.inlineSize = kept || db === undefined ? "0" : `${(100 * errorOf(db)) / worst}%`;
  const said = kept ? "float" : db === undefined ? "–" : percent(errorOf(db), 2);
  const chooseButton = h(
    "button",
    {
      type: "button",
      class: "layer",
      "aria-pressed": String(op.tensor === selected),
      title: db === undefined ? op.node : `${op.node}: ${decibels(db)} by itself`,
      "data-tensor": op.tensor,
      onclick: () => choose(outcome, op.tensor),
    },
    h("span", { class: "name" }, op.node || op.tensor),
    h("span", { class: "soft op" }, op.op),
    h("span", { class: "bar-track", "aria-hidden": "true" }, bar),
    h("span", { class: "value" }, said),
  );
  const toggleButton = h(
    "button",
    {
      type: "button",
      role: "switch",
      "aria-checked": String(!kept),
      "aria-label": `${op.node} as integers`,
      class: "switch",
      disabled: state.busy || !canKeepFloat(outcome.recipe),
      onclick: () => void toggle(outcome, op),
    },
    kept ? "float" : "int8",
  );
  return h("li", { "data-node": op.node }, chooseButton, toggleButton);
}

function showTensor({ diagnosis }: Outcome) {
  const place = document.getElementById("tensor-chart");
  const tensor = diagnosis?.tensors.find(({ tensor }) => tensor === selected);
  if (!place || !tensor) return;
  $<HTMLSelectElement>("tensor-name").value = tensor.tensor;
  const { low, high, clipped, dtype, sqnrDb, quantized } = tensor;
  const number = (value: number) => +value.toPrecision(3);
  $("tensor-note").textContent = [
    quantized ? dtype : "stays float",
    low !== undefined && high !== undefined
      ? `integers reach ${number(low)} to ${number(high)}`
      : "",
    clipped ? `${percent(clipped, 2)} clipped` : quantized ? "nothing clipped" : "",
    `${decibels(sqnrDb)} in the whole run`,
  ]
    .filter(Boolean)
    .join(", ");
  void import("./chart").then(({ histogram }) => histogram(place, tensor));
}

/** Shows another tensor; marks its operator in the list. */
function choose(outcome: Outcome, tensor: string) {
  selected = tensor;
  showTensor(outcome);
  for (const button of $("layers-card").querySelectorAll<HTMLElement>(".layer")) {
    button.setAttribute("aria-pressed", String(button.dataset["tensor"] === tensor));
  }
}

function tensorSelect(outcome: Outcome) {
  const names = outcome.diagnosis!.tensors.map(({ tensor }) => [tensor, tensor] as const);
  const control = select(names, selected ?? "", (tensor) => choose(outcome, tensor));
  control.id = "tensor-name";
  return field("Values of", control);
}

function show() {
  const card = $("layers-card");
  const { outcome } = state;
  const list = card.querySelector(".layer-list");
  const scrolled = list?.scrollTop ?? 0;
  const rows = outcome ? rowsOf(outcome) : [];
  if (!outcome?.diagnosis || rows.length === 0) {
    const text = outcome
      ? "No operator computes on integers by this recipe: there is no error of a single one to show."
      : "Quantize first: then every operator’s error is here.";
    fill($("layers-view"), h("p", { class: "empty" }, text));
    return;
  }
  if (!rows.some(({ tensor }) => tensor === selected)) selected = rows[0]?.tensor;
  const worst = Math.max(1e-9, ...rows.map((op) => errorOf(dbOf(op) ?? 200)));
  const sort = (value: Order, label: string) =>
    h(
      "button",
      {
        type: "button",
        class: "quiet",
        "aria-pressed": String(order === value),
        onclick: () => {
          order = value;
          show();
        },
      },
      label,
    );
  const { errorSources, samples } = outcome.diagnosis;
  const { weightsSqnrDb, activationsSqnrDb } = errorSources;
  fill(
    $("layers-view"),
    h(
      "p",
      { class: "soft" },
      `Measured on ${plural(samples, "sample")}. Of the output’s error, `,
      weightsSqnrDb < activationsSqnrDb
        ? `rounded weights cause more (${percent(errorOf(weightsSqnrDb), 2)}) than activations (${percent(errorOf(activationsSqnrDb), 2)}).`
        : `rounded activations cause more (${percent(errorOf(activationsSqnrDb), 2)}) than weights (${percent(errorOf(weightsSqnrDb), 2)}).`,
    ),
    h(
      "div",
      { class: "row order", role: "group", "aria-label": "Order" },
      sort("worst", "Worst first"),
      sort("graph", "In the model’s order"),
    ),
    h(
      "div",
      { class: "layer-columns" },
      h(
        "ul",
        { class: "layer-list", tabindex: 0, "aria-label": "Operators" },
        ...rows.map((op) => row(outcome, op, worst)),
      ),
      h(
        "figure",
        { class: "tensor" },
        h("figcaption", {}, tensorSelect(outcome), h("p", { class: "soft", id: "tensor-note" })),
        h("div", {
          id: "tensor-chart",
          class: "chart",
          role: "img",
          "aria-labelledby": "tensor-note",
        }),
        h(
          "p",
          { class: "key" },
          h("span", { class: "float" }, "float"),
          h("span", { class: "int8" }, "int8"),
          h("span", { class: "cut" }, "where the integers end"),
        ),
      ),
    ),
  );
  card.querySelector(".layer-list")!.scrollTop = scrolled;
  showTensor(outcome);
}

export function setUpLayers() {
  const progress = h("div", { class: "progress" });
  const wrong = h("p", { class: "problem", role: "alert", hidden: true });
  fill($("layers-card"), h("div", { id: "layers-view" }), progress, wrong);
  line = new ProgressLine(progress, wrong);
  on("outcome", show);
  on("busy", () => {
    for (const button of $("layers-card").querySelectorAll<HTMLButtonElement>(".switch")) {
      button.disabled = state.busy || !state.outcome || !canKeepFloat(state.outcome.recipe);
    }
  });
  show();
}
