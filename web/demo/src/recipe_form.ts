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

const edit = (changes: Partial<Recipe>) => change({ recipe: { ...state.recipe, ...changes } });

function stageForm(stage: Stage, index: number) {
  const { stages } = state.recipe;
  const schema = state.schema.find(({ name }) => name === stage.name);
  if (!schema) return h("p", { class: "soft" }, "Loading the options …");
  const replace = (next: Stage[]) => edit({ stages: next });
  const update = (options: Record<string, unknown>) => {
    // Told quietly: the form that is being used stays as it is.
    stage.options = options;
    change({ outcome: state.outcome });
  };
  const stageChoices = state.schema
    .filter(({ stage }) => stage !== "tuning")
    .map(({ name }) => [name, stageLabel(name)] as const);
  return h(
    "fieldset",
    {},
    h("legend", {}, stages.length > 1 ? `Stage ${index + 1}` : "Method"),
    h(
      "div",
      { class: "row" },
      field(
        "Algorithm",
        select(stageChoices, stage.name, (name) =>
          replace(stages.map((s) => (s === stage ? { name, options: {}, local: {} } : s))),
        ),
      ),
      stages.length > 1 &&
        h(
          "button",
          {
            type: "button",
            class: "quiet",
            onclick: () => replace(stages.filter((s) => s !== stage)),
          },
          "Remove",
        ),
    ),
    optionsForm(schema, stage.options, mainOptions, update),
    keptFloat(stage),
  );
}

/** Options of single operators; each can be taken back. */
function keptFloat(stage: Stage) {
  const names = Object.keys(stage.local);
  if (names.length === 0) return undefined;
  const remove = (name: string) => {
    const { [name]: _, ...local } = stage.local;
    edit({ stages: state.recipe.stages.map((s) => (s === stage ? { ...stage, local } : s)) });
  };
  const text = (name: string) => {
    const options = Object.values(stage.local[name]!);
    return options.every((value) => value === "fp32") ? "float" : options.join(", ");
  };
  return h(
    "div",
    { class: "kept" },
    h("h4", {}, "By operator"),
    h(
      "ul",
      { class: "chips" },
      ...names.map((name) =>
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
        ),
      ),
    ),
  );
}

function show() {
  const { stages, samples } = state.recipe;
  const amount = h("input", { type: "number", min: 1, max: 100000, value: samples });
  amount.addEventListener("change", () => {
    if (amount.reportValidity()) edit({ samples: amount.valueAsNumber });
  });
  fill(
    $("recipe"),
    ...stages.map(stageForm),
    h(
      "div",
      { class: "row ends" },
      field("Calibration samples", amount),
      state.schema.length > 0 &&
        h(
          "button",
          {
            type: "button",
            class: "quiet",
            onclick: () =>
              edit({ stages: [{ name: "SmoothQuantConfig", options: {}, local: {} }, ...stages] }),
          },
          "Add a stage before",
        ),
    ),
  );
}

export function setUpRecipeForm() {
  on(["schema", "recipe"], show);
  show();
}
