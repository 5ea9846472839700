// A recipe as the form edits it, as the package takes it, and as files and trials have it.
import * as octavo from "octavo";
import type { ConfigSchema, QuantConfig } from "octavo";

type Options = Record<string, unknown>;
export interface Stage {
  /** The class: "StaticQuantConfig". */
  name: string;
  /** What differs from the defaults. */
  options: Options;
  /** Options of single operators, by name, glob or type. */
  local: Record<string, Options>;
}
export interface Recipe {
  stages: Stage[];
  /** Calibration samples used at most. */
  samples: number;
}

type ConfigClass = new (options: object) => {
  setLocal(pattern: string, options: object): unknown;
};

/** The package's configs. */
export function toConfigs({ stages }: Recipe): QuantConfig[] {
  return stages.map(({ name, options, local }) => {
    const config = new (octavo as unknown as Record<string, ConfigClass>)[name]!(options);
    for (const [pattern, some] of Object.entries(local)) config.setLocal(pattern, some);
    return config as unknown as QuantConfig;
  });
}

/** As every Octavo tool reads it: a file for --config. */
export const toJson = (recipe: Recipe): object[] =>
  toConfigs(recipe).map((config) => config.toJSON());

const camelCase = (name: string) => name.replace(/_([a-z0-9])/g, (_, c: string) => c.toUpperCase());
const camelKeys = (options: object) =>
  Object.fromEntries(Object.entries(options).map(([name, value]) => [camelCase(name), value]));

/** The options that differ from the defaults. */
const changed = (options: object, schema: ConfigSchema): Options =>
  Object.fromEntries(
    Object.entries(camelKeys(options)).filter(
      ([name, value]) =>
        String(value) !== String(schema.options.find((option) => option.name === name)?.default),
    ),
  );

/** The stages of a recipe's JSON. */
export function fromJson(json: unknown, schema: readonly ConfigSchema[]): Stage[] {
  const list = Array.isArray(json) ? json : [json];
  return list.flatMap((stages) =>
    Object.entries(stages as Record<string, { global?: object; local?: object }>).map(
      ([stage, body]) => {
        const config = schema.find((config) => config.stage === stage);
        if (!config || typeof body !== "object") {
          throw new Error(`‘${stage}’ is not a stage of a recipe; take a file that Octavo wrote`);
        }
        const nested = body.global !== undefined || body.local !== undefined;
        return {
          name: config.name,
          options: changed(nested ? (body.global ?? {}) : body, config),
          local: Object.fromEntries(
            Object.entries(body.local ?? {}).map(([pattern, some]) => [
              pattern,
              camelKeys(some as object),
            ]),
          ),
        };
      },
    ),
  );
}

const float = { weightDtype: "fp32", actDtype: "fp32" };

/** The stage that decides which operators are quantized. */
const quantizing = ({ stages }: Recipe) => stages.find(({ name }) => name === "StaticQuantConfig");

export const canKeepFloat = (recipe: Recipe) => quantizing(recipe) !== undefined;

/** Whether the recipe leaves this operator float. */
export const keepsFloat = (recipe: Recipe, node: string) =>
  quantizing(recipe)?.local[node]?.["actDtype"] === "fp32";

/** The recipe with this operator left float, or quantized again. */
export function withFloat(recipe: Recipe, node: string, keep: boolean): Recipe {
  const target = quantizing(recipe);
  const stages = recipe.stages.map((stage) => {
    if (stage !== target) return stage;
    const { [node]: _, ...others } = stage.local;
    return { ...stage, local: keep ? { ...others, [node]: float } : others };
  });
  return { ...recipe, stages };
}
