// Writes the config classes of the package, web/src/configs.ts, from the core's list of options as
// the WebAssembly module gives it. Usage: node web/generate_configs.mjs MODULE.mjs >configs.ts
import { resolve } from "node:path";
import { pathToFileURL } from "node:url";

const { default: create } = await import(pathToFileURL(resolve(process.argv[2])));
const module = await create();
const [recipe, tuning] = [module.schema(), module.tuningSchema()].map((text) => JSON.parse(text));
const stages = recipe.anyOf.find((form) => form.type === "object").properties;

const camelCase = (name) => name.replace(/_([a-z0-9])/g, (_, c) => c.toUpperCase());
// Neural Compressor's names: StaticQuantConfig, GPTQConfig.
const className = (stage) =>
  stage.length < 5 ? `${stage.toUpperCase()}Config` : camelCase(`_${stage}_config`);

function typeOf(option) {
  if (option.anyOf) return option.anyOf.map(typeOf).join(" | ");
  if (option.const !== undefined) return JSON.stringify(option.const);
  if (option.enum) return option.enum.map((value) => JSON.stringify(value)).join(" | ");
  if (option.type === "array") return `readonly ${typeOf(option.items)}[]`;
  return option.type === "integer" ? "number" : option.type;
}

function comment({ description, default: value, minimum, maximum }) {
  const from = minimum === undefined ? "" : ` from ${minimum}`;
  const to = maximum === undefined ? "" : ` to ${maximum}`;
  const bounds = from || to ? ` A number${from}${to}.` : "";
  return `/** ${camelCase(description)}.${bounds} Default: ${JSON.stringify(value)}. */`;
}

const names = new Set();
/** `type`: of an option's schema. */
function optionsInterface(name, options, type) {
  let text = `export interface ${name} {\n`;
  for (const [option, schema] of Object.entries(options)) {
    names.add(camelCase(option));
    text += `  ${comment(schema)}\n  ${camelCase(option)}?: ${type(schema)};\n`;
  }
  return `${text}}\n`;
}
// In a set of recipes to try, a list of values stands for a recipe each.
const choice = (schema) => (schema.type === "array" ? typeOf(schema) : `OneOf<${typeOf(schema)}>`);

let text = `// Made from the core's list of options by web/generate_configs.mjs; not edited by hand.
import { BaseConfig, type OneOf } from "./config.js";
`;
for (const [stage, { anyOf }] of Object.entries(stages)) {
  const options = anyOf.find((form) => !form.properties.global).properties;
  const name = className(stage);
  const optionsName = name.replace(/Config$/, "Options");
  text += `\n${optionsInterface(optionsName, options, choice)}`;
  text += `export class ${name} extends BaseConfig<${optionsName}> {
  /** @internal */
  override get stage() {
    return ${JSON.stringify(stage)};
  }
}
`;
}
const { config_set: _, ...own } = tuning.properties;
text += `\n${optionsInterface("TuningOptions", own, typeOf)}`;
const classes = Object.keys(stages).map((stage) => [stage, className(stage)]);
text += `
/** One stage of a recipe. */
export type QuantConfig = ${classes.map(([, name]) => name).join(" | ")};

/** @internal By the names of stages. */
export const configClasses = { ${classes.map(([stage, name]) => `${stage}: ${name}`).join(", ")} };
/** @internal Minifiers rename classes. */
export const classNames = ${JSON.stringify({ ...Object.fromEntries(classes), tuning: "TuningConfig" })};
/** @internal All options of all configs. */
export const optionNames = ${JSON.stringify([...names])};
`;
process.stdout.write(text);
