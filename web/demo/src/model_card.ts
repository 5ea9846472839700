// What is known of the model that is open.
import type { NodeReport, ValueMetadata } from "octavo";
import { $, fill, h } from "./dom";
import { bytes, count, plural, shape } from "./format";
import { on, state, type OpenModel } from "./state";

const fact = (name: string, ...value: (Node | string)[]) =>
  h("div", { class: "fact" }, h("dt", {}, name), h("dd", {}, ...value));

const value = ({ name, type, shape: dims }: ValueMetadata) =>
  h("span", { class: "tensor" }, h("code", {}, name), ` ${type}, ${shape(dims)}`);

interface OpCount {
  op: string;
  nodes: number;
  quantized: number;
}

function countOps(nodes: readonly NodeReport[]): OpCount[] {
  const counts = new Map<string, OpCount>();
  for (const { op, quantized } of nodes) {
    const entry = counts.get(op) ?? { op, nodes: 0, quantized: 0 };
    entry.nodes++;
    entry.quantized += +quantized;
    counts.set(op, entry);
  }
  return [...counts.values()].toSorted((a, b) => b.nodes - a.nodes);
}

const chip = ({ op, nodes, quantized }: OpCount) => {
  const kind = quantized === nodes ? "yes" : quantized > 0 ? "some" : "no";
  const says = {
    yes: "becomes int8",
    some: `${quantized} of ${nodes} become int8`,
    no: "stays float",
  };
  return h(
    "li",
    { class: `chip ${kind}`, title: says[kind] },
    op,
    h("b", {}, count(nodes)),
    h("span", { class: "visually-hidden" }, says[kind]),
  );
};

/** Operators that stay float, by the reason. */
function floatReasons(nodes: readonly NodeReport[]): [reason: string, names: string[]][] {
  const reasons = new Map<string, string[]>();
  for (const { name, op, quantized, reason } of nodes) {
    if (!quantized) reasons.set(reason, [...(reasons.get(reason) ?? []), name || op]);
  }
  return [...reasons].toSorted((a, b) => b[1].length - a[1].length);
}

export const reasonList = (nodes: readonly NodeReport[]) =>
  h(
    "ul",
    { class: "reasons" },
    ...floatReasons(nodes).map(([reason, names]) =>
      h(
        "li",
        {},
        h("b", {}, `${plural(names.length, "operator")}: `),
        reason || "no reason given",
        h("small", {}, names.slice(0, 4).join(", "), names.length > 4 ? ", …" : ""),
      ),
    ),
  );

function planOf({ facts: { nodes, quantized: already } }: OpenModel): (Node | undefined)[] {
  const quantized = nodes.filter((node) => node.quantized).length;
  const rest = nodes.length - quantized;
  const all = plural(nodes.length, "operator");
  return [
    h(
      "div",
      { class: "ops" },
      h("h4", {}, `${quantized} of ${all} ${already ? "are integers already" : "can be integers"}`),
      h("ul", { class: "chips" }, ...countOps(nodes).map(chip)),
    ),
    rest > 0
      ? h(
          "details",
          {},
          h("summary", {}, `Why ${plural(rest, "operator")} ${already ? "" : "would "}stay float`),
          reasonList(nodes),
        )
      : undefined,
  ];
}

function show() {
  const { model } = state;
  $("model-own").hidden = !model || model.own;
  if (!model) return;
  const { inputMetadata, outputMetadata } = model.model;
  fill(
    $("model-card"),
    h("h3", { class: "file" }, model.name, model.own && h("small", {}, "the project’s own")),
    h(
      "dl",
      { class: "facts" },
      fact(inputMetadata.length === 1 ? "Input" : "Inputs", ...inputMetadata.map(value)),
      fact(outputMetadata.length === 1 ? "Output" : "Outputs", ...outputMetadata.map(value)),
      fact("Parameters", count(model.facts.parameters)),
      fact("File", bytes(model.bytes)),
    ),
    ...planOf(model),
  );
}

export function setUpModelCard() {
  on("model", show);
  show();
}
