// Recipes: lists of configs, and the JSON that every Octavo tool reads.
import { BaseConfig, camelCase, ownOptions, snakeCase, toOptions } from "./config.js";
import { configClasses, optionNames, type QuantConfig, type TuningOptions } from "./configs.js";
import { OctavoError } from "./errors.js";
import { invalidArgument, makeError } from "./make_error.js";

type Recipe = QuantConfig | readonly QuantConfig[];

/** The stages that are meant, in order. */
export function stagesOf(config: Recipe, what = "quantConfig"): readonly QuantConfig[] {
  const list = config instanceof BaseConfig ? [config] : config;
  if (!Array.isArray(list) || !list.every((stage) => stage instanceof BaseConfig)) {
    throw invalidArgument(`${what} is a config (StaticQuantConfig, ...) or a list of them`);
  }
  return list;
}

/** What autotune searches for, among what, and when it stops. */
export class TuningConfig {
  readonly #options: TuningOptions;
  readonly #set: readonly (readonly QuantConfig[])[];

  constructor(options: TuningOptions & { configSet?: readonly Recipe[] } = {}) {
    const { configSet = [], ...rest } = ownOptions(this, options);
    if (!Array.isArray(configSet)) throw invalidArgument("configSet is a list of recipes");
    this.#options = rest;
    this.#set = configSet.map((recipe: Recipe) => stagesOf(recipe, "each recipe of configSet"));
  }

  /** What was given to the constructor. */
  get options(): Readonly<TuningOptions> {
    return this.#options;
  }
  /** The configuration as every Octavo tool reads it. */
  toJSON(): object {
    const set = this.#set.length > 0 ? { config_set: this.#set } : {};
    return { ...toOptions(this.#options), ...set };
  }
  /** @internal The options that were named. */
  get named(): string[] {
    return [...Object.keys(this.#options), ...this.#set.flat().flatMap(({ named }) => named)];
  }
}

const fromOptions = (options: object) =>
  Object.fromEntries(Object.entries(options).map(([name, value]) => [camelCase(name), value]));

/** The configs that a recipe's JSON stands for: of a file, or of a trial of autotune's. */
export function parseRecipe(recipe: string | object): QuantConfig[] {
  const json: unknown = typeof recipe === "string" ? JSON.parse(recipe) : recipe;
  const stages = (Array.isArray(json) ? json : [json]).flatMap((item) =>
    Object.entries((item ?? {}) as Record<string, Record<string, object>>),
  );
  return stages.map(([stage, body]) => {
    const made = configClasses[stage as keyof typeof configClasses];
    if (!made || typeof body !== "object") {
      const names = Object.keys(configClasses).join(", ");
      throw invalidArgument(`there is no stage '${stage}' for recipes; the stages are ${names}`);
    }
    const { global, local = {} } = "global" in body || "local" in body ? body : { global: body };
    const config = new made(fromOptions(global ?? {}));
    for (const [name, options] of Object.entries(local)) {
      (config as BaseConfig<object>).setLocal(name, fromOptions(options as object));
    }
    return config;
  });
}

/** The core's error with options called by their names here. */
export function withOurNames(error: unknown, configs: readonly { named: string[] }[]) {
  if (!(error instanceof OctavoError)) return error;
  const all = [...optionNames, ...configs.flatMap(({ named }) => named)];
  const names = new Map(all.map((name) => [snakeCase(name), name]));
  const { code, node, tensor } = error;
  const message = error.message.replace(/\w+/g, (word) => names.get(word) ?? word);
  const place = { ...(node ? { node } : {}), ...(tensor ? { tensor } : {}) };
  return makeError({ code, message, ...place });
}
