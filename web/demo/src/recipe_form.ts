// The recipe: its stages, their options, and what was turned back to float.
import { $, field, fill, h, select } from "./dom";
import { label, optionsForm } from "./options_form";
import type { Recipe, Stage } from "./recipe";
import { change, on, state } from "./state";

const mainOptions = [
  "weightGranularity",
  "actAlgorithm",
  "weightAlgorithm",
  "equalization",
  "dtype",
  "weightBits",
  "weightGroupSize",
  "alpha",
];

/** "StaticQuantConfig" becomes "Static quant". */
const stageLabel = (name: string) =>
  /^[A-Z]+Config$/.test(name)
    ? name.replace("Config", "")
    : label(name.replace("Config", "")).trim();

/** The stages that the form shows. */
let shown: readonly Stage[] | undefined;

const edit = (changes: Partial<Recipe>) => change({ recipe: { ...state.recipe, ...changes } });
const replace = (index: number, stage: Stage) => state.recipe.stages.with(index, stage);

/** A change that the form itself shows already: it stays as it is, with what has the focus. */
function editQuietly(stages: Stage[]) {
  shown = stages;
  edit({ stages });
}

function stageForm(stage: Stage, index: number) {
  const { stages } = state.recipe;
  const schema = state.schema.find(({ name }) => name === stage.name);
  if (!schema) return h("p", { class: "soft" }, "Loading the options …");
  const stageChoices = state.schema
    .filter(({ stage }) => stage !== "tuning")
    .map(({ name }) => [name, stageLabel(name)] as const);
  const several = stages.length > 1;
  const algorithm = field(
    "Algorithm",
    select(stageChoices, stage.name, (name) =>
      edit({ stages: replace(index, { name, options: {}, local: {} }) }),
    ),
    several ? undefined : "What is done to the network",
  );
  return h(
    "fieldset",
    {},
    h("legend", { class: several ? "" : "visually-hidden" }, `Stage ${index + 1}`),
    optionsForm(
      schema,
      stage.options,
      mainOptions,
      (options) => editQuietly(replace(index, { ...state.recipe.stages[index]!, options })),
      [algorithm, ...(index === stages.length - 1 ? [samplesField()] : [])],
    ),
    keptFloat(stage, index),
    several &&
      h(
        "button",
        {
          type: "button",
          class: "quiet",
          onclick: () => edit({ stages: state.recipe.stages.toSpliced(index, 1) }),
        },
        "Remove this stage",
      ),
  );
}

function samplesField() {
  const amount = h("input", { type: "number", min: 1, max: 100000, value: state.recipe.samples });
  // At once, not when the field is left for the button below: that would move under the pointer.
  amount.addEventListener("input", () => {
    if (amount.validity.valid && amount.value) edit({ samples: amount.valueAsNumber });
  });
  amount.addEventListener("change", () => amount.reportValidity());
  return field("Calibration samples", amount, "Read at most; the others judge the result");
}

/** Options of single operators; each can be taken back. */
function keptFloat(stage: Stage, index: number) {
  const names = Object.keys(stage.local);
  if (names.length === 0) return undefined;
  const remove = (name: string) => {
    const { [name]: _, ...local } = state.recipe.stages[index]!.local;
    edit({ stages: replace(index, { ...state.recipe.stages[index]!, local }) });
  };
  const text = (name: string) => {
    const options = Object.values(stage.local[name]!);
    return options.every((value) => value === "fp32") ? "float" : options.join(", ");
  };
  const chip = (name: string) =>
    h(
      "li",
      { class: "chip" },
      `${name}: ${text(name)}`,
      h(
        "button",
        {
          type: "button",
          class: "quiet",
          "aria-label": `Take back ${name}`,
          onclick: () => remove(name),
        },
        "×",
      ),
    );
  return h(
    "div",
    { class: "kept" },
    h("h3", {}, "By operator"),
    h("ul", { class: "chips" }, ...names.map(chip)),
  );
}

function show() {
  const { stages } = state.recipe;
  if (stages === shown) return;
  shown = state.schema.length > 0 ? stages : undefined;
  const smooth = { name: "SmoothQuantConfig", options: {}, local: {} };
  fill(
    $("recipe"),
    ...stages.map(stageForm),
    state.schema.length > 0 &&
      h(
        "button",
        {
          type: "button",
          class: "quiet",
          onclick: () => edit({ stages: [smooth, ...state.recipe.stages] }),
        },
        "Add a stage before",
      ),
  );
}

export function setUpRecipeForm() {
  on(["schema", "recipe"], show);
  show();
}
