// The options of all configs as data, for forms.
import { camelCase } from "./config.js";
import { classNames } from "./configs.js";
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
  /** The stage's name in a recipe: "static_quant"; "tuning": not a stage, but TuningConfig. */
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
  const schemas = await host.call<[string, string]>("schemas", []);
  const [recipe, tuning] = schemas.map((text) => JSON.parse(text) as JsonSchema);
  const stages = recipe!.anyOf!.find(({ type }) => type === "object")!.properties!;
  const configs = Object.entries(stages).map(([stage, { anyOf }]) => {
    const nested = anyOf!.find(({ properties }) => properties!["global"])!.properties!;
    const local = nested["local"]!.additionalProperties!.properties!;
    return configSchema(
      stage as keyof typeof classNames,
      nested["global"]!.properties!,
      (name) => name in local,
    );
  });
  const { config_set: _, ...own } = tuning!.properties!;
  return [...configs, configSchema("tuning", own, () => false)];
}

function configSchema(
  stage: keyof typeof classNames,
  options: Record<string, JsonSchema>,
  isLocal: (name: string) => boolean,
): ConfigSchema {
  return {
    name: classNames[stage],
    stage,
    options: Object.entries(options).map(([name, json]) => optionSchema(name, json, isLocal(name))),
  };
}
