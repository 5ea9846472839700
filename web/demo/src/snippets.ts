// Lines that make the same model again, elsewhere.
import { toJson as recipeJson, type Recipe } from "./recipe";
import { isIdentity, presetOf, toJson as preprocessJson, type Preprocess } from "./preprocess";
import { baseName } from "./format";

export interface Made {
  /** The float model's file name. */
  model: string;
  recipe: Recipe;
  /** Undefined: the data are arrays, taken as they are. */
  preprocess?: Preprocess;
}
export interface Snippet {
  label: string;
  code: string;
}

const named = (preprocess: Preprocess) => {
  const preset = presetOf(preprocess);
  return preset && preset !== "ink" && preprocess.resize === "auto" && preprocess.layout === "auto"
    ? preset
    : JSON.stringify(preprocessJson(preprocess));
};

const literal = (value: unknown) =>
  JSON.stringify(value, null, 1)
    .replace(/\n\s*/g, " ")
    .replace(/"([A-Za-z_]\w*)":/g, "$1:");

const quote = (text: string) => `'${text.replaceAll("'", `'\\''`)}'`;
const plain = (text: string) => (/^[\w.@%+=:,/-]+$/.test(text) ? text : quote(text));

function javascript({ model, recipe }: Made): string {
  const names = [...new Set(recipe.stages.map(({ name }) => name))];
  const configs = recipe.stages.map(({ name, options, local }) => {
    const made = `new ${name}(${Object.keys(options).length > 0 ? literal(options) : ""})`;
    const locals = Object.entries(local).map(
      ([pattern, some]) => `\n  .setLocal(${JSON.stringify(pattern)}, ${literal(some)})`,
    );
    return made + locals.join("");
  });
  const config = configs.length === 1 ? configs[0] : `[\n  ${configs.join(",\n  ")},\n]`;
  return `import { quantizeModel, ${names.join(", ")} } from "octavo";

const config = ${config};
// samples: an iterable of { input: { type: "float32", dims, data } }
const small = await quantizeModel(${JSON.stringify(model)}, config, samples, ${recipe.samples});
const bytes = await small.toCompact(); // or toOnnx()
`;
}

function cplusplus({ model, recipe, preprocess }: Made): string {
  const json = JSON.stringify(recipeJson(recipe), null, 2);
  const options = preprocess
    ? `OCTAVO_ASSIGN(const auto preprocess, parse_preprocess(R"(${named(preprocess)})"));\n  `
    : "";
  const given = preprocess ? "{.preprocess = preprocess}" : "{}";
  return `#include "native/dataset.h"
#include "native/files.h"
using namespace octavo;

Status shrink() {
  OCTAVO_ASSIGN(const MappedFile file, map_file("${model}"));
  OCTAVO_ASSIGN(const Model model, Model::load(file.bytes));
  ${options}OCTAVO_ASSIGN(const auto data, Dataset::open("calibration", model.graph(), ${given}));
  OCTAVO_ASSIGN(const Recipe recipe, Recipe::from_json(R"(${json})"));
  OCTAVO_ASSIGN(const QuantizedModel small, quantize_model(model, recipe, data.get(), ${recipe.samples}));
  OCTAVO_ASSIGN(const Bytes bytes, small.model.to_compact());
  return write_file("${baseName(model)}_int8.octavo", bytes);
}
`;
}

function commandLine({ model, recipe, preprocess }: Made): string {
  const stem = plain(baseName(model));
  const parts = [
    `octavo quantize ${plain(model)} --data calibration/`,
    ...(preprocess && !(isIdentity(preprocess) && preprocess.resize === "none")
      ? [`--preprocess ${plain(named(preprocess))}`]
      : []),
    `--config ${stem}_recipe.json --calib-iteration ${recipe.samples}`,
    `-o ${stem}_int8.octavo`,
  ];
  return `${parts.join(" \\\n  ")}\n`;
}

export const snippets = (made: Made): Snippet[] => [
  { label: "JavaScript", code: javascript(made) },
  { label: "C++", code: cplusplus(made) },
  { label: "Command line", code: commandLine(made) },
];
