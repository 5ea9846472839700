// The options of all configs as data, for forms.
import { camelCase } from "./config.js";
import type { EngineOptions } from "./host.js";
import { coreHost } from "./model.js";

export interface OptionSchema {
  /** "weightDtype" */
  name: string;
  type: "string" | "boolean" | "integer" | "number" | "strings";
  default: unknown;
  help: string;
  /** The values that a string may have. */
  choices?: string[];
  /** Bounds of a number. */
  min?: number;
  max?: number;
  /** Whether "auto" may stand for a number. */
  auto: boolean;
  /** Whether setLocal takes it. */
  local: boolean;
}
export interface ConfigSchema {
  /** The class: "StaticQuantConfig". */
  name: string;
  /** The stage's name in a recipe: "static_quant". */
  stage: string;
  options: OptionSchema[];
}

interface JsonSchema {
  type?: string;
  enum?: string[];
  anyOf?: JsonSchema[];
  default?: unknown;
  description?: string;
  minimum?: number;
  maximum?: number;
  properties?: Record<string, JsonSchema>;
  additionalProperties?: JsonSchema;
}

function optionSchema(name: string, json: JsonSchema, local: boolean): OptionSchema {
  const value = json.anyOf?.find(({ type }) => type) ?? json;
  return {
    name: camelCase(name),
    type: (value.type === "array" ? "strings" : value.type) as OptionSchema["type"],
    default: json.default,
    help: json.description ?? "",
    ...(value.enum ? { choices: value.enum } : {}),
    ...(value.minimum !== undefined ? { min: value.minimum } : {}),
    ...(value.maximum !== undefined ? { max: value.maximum } : {}),
    auto: json.anyOf !== undefined,
    local,
  };
}

/** Every config class with its options: names, types, defaults, choices, bounds and help. */
export async function schema(options: EngineOptions = {}): Promise<ConfigSchema[]> {
  const host = await coreHost(options);
  const recipe = JSON.parse(await host.call<string>("schema", [])) as JsonSchema;
  const stages = recipe.anyOf!.find(({ type }) => type === "object")!.properties!;
  return Object.entries(stages).map(([stage, { anyOf }]) => {
    const nested = anyOf!.find(({ properties }) => properties!["global"])!.properties!;
    const local = nested["local"]!.additionalProperties!.properties!;
    return {
      name: camelCase(`_${stage}_config`),
      stage,
      options: Object.entries(nested["global"]!.properties!).map(([name, json]) =>
        optionSchema(name, json, name in local),
      ),
    };
  });
}
