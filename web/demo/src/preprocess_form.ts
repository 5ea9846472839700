// How images become numbers, and what the network then sees.
import type { DataKind } from "./dataset";
import { $, field, fill, h, select } from "./dom";
import { feedsOf, imageInput, type Sample } from "./feeds";
import { shape } from "./format";
import { paintPlanes, picture, planesOf } from "./picture";
import { presetOf, presets, type Preprocess, type PresetName } from "./preprocess";
import { problem } from "./progress";
import { change, on, state } from "./state";
import { rangeOf } from "./statistics";
import type { NdArray } from "./npy";

const numbers = (text: string) =>
  text
    .split(/[\s,;]+/)
    .filter(Boolean)
    .map(Number);

function numberList(values: readonly number[], set: (values: number[]) => void, positive = false) {
  const input = h("input", { type: "text", inputmode: "decimal", value: values.join(", ") });
  input.addEventListener("change", () => {
    const list = numbers(input.value);
    const good =
      (list.length === 1 || list.length === 3) &&
      list.every((value) => Number.isFinite(value) && (!positive || value !== 0));
    input.setCustomValidity(good ? "" : "One number, or three with commas between them");
    if (input.reportValidity()) set(list);
  });
  return input;
}

const edit = (changes: Partial<Preprocess>) =>
  change({ preprocess: { ...state.preprocess, ...changes } });

function form(values: Preprocess) {
  const preset = presetOf(values);
  const choices = Object.entries(presets).map(([name, { label }]) => [name, label] as const);
  const input = state.model && imageInput(state.model.model.inputMetadata, values);
  const open = state.model?.model.inputMetadata[0]?.shape?.some(
    (dim, i) => i > 0 && typeof dim !== "number",
  );
  const grey = input?.channels === 1;
  const scale = h("input", {
    type: "text",
    inputmode: "decimal",
    value: +values.scale.toPrecision(6),
  });
  scale.addEventListener("change", () => {
    const value = Number(scale.value);
    scale.setCustomValidity(Number.isFinite(value) && value !== 0 ? "" : "A number other than 0");
    if (scale.reportValidity()) edit({ scale: value });
  });
  return h(
    "div",
    { class: "fields" },
    field(
      "Values",
      select(
        [...choices, ...(preset ? [] : ([["custom", "As set below"]] as const))],
        preset ?? "custom",
        (name) => {
          const { color, scale, mean, std } = presets[name as PresetName].values;
          edit({ color, scale, mean, std });
        },
      ),
    ),
    field(
      "Size",
      select(
        [
          ["auto", "Fill, cut out the middle"],
          ["stretch", "Stretch"],
          ["letterbox", "Fit, with a border"],
          ["none", "Must match"],
        ],
        values.resize,
        (resize) => edit({ resize: resize as Preprocess["resize"] }),
      ),
    ),
    !grey &&
      field(
        "Colours",
        select(
          [
            ["rgb", "Red, green, blue"],
            ["bgr", "Blue, green, red"],
          ],
          values.color,
          (color) => edit({ color: color as Preprocess["color"] }),
        ),
      ),
    field(
      "Layout",
      select(
        [
          ["auto", `As the model says${input ? (input.planes ? ": NCHW" : ": NHWC") : ""}`],
          ["nchw", "Channels first (NCHW)"],
          ["nhwc", "Channels last (NHWC)"],
        ],
        values.layout,
        (layout) => edit({ layout: layout as Preprocess["layout"] }),
      ),
    ),
    field("Scale", scale),
    field(
      "Mean",
      numberList(values.mean, (mean) => edit({ mean })),
    ),
    field(
      "Deviation",
      numberList(values.std, (std) => edit({ std }), true),
    ),
    open &&
      field(
        "Height, width",
        numberListOfTwo(values.size, (size) => edit({ size })),
      ),
  );
}

function numberListOfTwo(
  values: readonly [number, number],
  set: (values: [number, number]) => void,
) {
  const input = h("input", { type: "text", inputmode: "numeric", value: values.join(", ") });
  input.addEventListener("change", () => {
    const [a, b] = numbers(input.value);
    const good = [a, b].every((v) => Number.isInteger(v) && v! > 0 && v! <= 4096);
    input.setCustomValidity(good ? "" : "Two whole numbers, such as 224, 224");
    if (input.reportValidity()) set([a!, b!]);
  });
  return input;
}

interface Preview {
  figure: HTMLElement;
  note: HTMLElement;
}
let shown: Preview | undefined;
let shownKind: DataKind | undefined;

/** The tensor that the first sample becomes, painted, with its range. */
async function preview(sample: Sample, { figure, note }: Preview) {
  try {
    const feeds = await feedsOf(sample, state.model!.model.inputMetadata, state.preprocess);
    const [name, { type, dims, data }] = Object.entries(feeds)[0]!;
    const values = Array.from(data as ArrayLike<number>, Number);
    const array = { type, dims, data } as unknown as NdArray;
    const planes = planesOf(
      dims[0] !== 1 && dims.length === 4 ? { ...array, dims: dims.slice(1) } : array,
    );
    const [low, high] = rangeOf(values);
    const sum = values.reduce((a, b) => a + b, 0);
    const canvas = planes ? paintPlanes(planes) : h("span", { class: "tile" }, shape(dims));
    canvas.setAttribute("role", "img");
    canvas.setAttribute("aria-label", "What the network sees");
    fill(figure, canvas);
    const text = (value: number) => +value.toPrecision(3);
    note.textContent = `${name}: ${type}, ${shape(dims)}, ${text(low)} to ${text(high)}, mean ${text(sum / values.length)}`;
    problem($("data-problem"));
  } catch (error) {
    problem($("data-problem"), error);
  }
}

function show() {
  const card = $("preprocess-card");
  const { data, model, preprocess } = state;
  const sample = data?.samples[0];
  card.hidden = !sample || !model || data.kind === "synthetic";
  if (!sample || card.hidden) return;
  shown = { figure: h("div", { class: "seen-by" }), note: h("p", { class: "soft range" }) };
  const focused = [...card.querySelectorAll<HTMLElement>("select, input")].indexOf(
    document.activeElement as HTMLElement,
  );
  const details = shownKind === data.kind ? card.querySelector("details") : null;
  const open = details?.open ?? data.kind !== "digits";
  shownKind = data.kind;
  fill(
    card,
    h(
      "details",
      { open },
      h("summary", {}, "From a sample to the network’s input"),
      h(
        "div",
        { class: "preprocess" },
        form(preprocess),
        h(
          "div",
          { class: "preview" },
          h("figure", {}, h("div", {}, picture(sample, 120)), h("figcaption", {}, "the sample")),
          h("figure", {}, shown.figure, h("figcaption", {}, "what the network sees")),
          shown.note,
        ),
      ),
    ),
  );
  if (focused >= 0) [...card.querySelectorAll<HTMLElement>("select, input")][focused]?.focus();
  void preview(sample, shown);
}

export function setUpPreprocessForm() {
  on(["data", "preprocess", "model"], show);
  show();
}
