import { invalidArgument } from "./make_error.js";

export const snakeCase = (name: string) => name.replace(/[A-Z]/g, (c) => `_${c.toLowerCase()}`);
export const camelCase = (name: string) =>
  name.replace(/_([a-z0-9])/g, (_, c: string) => c.toUpperCase());

/** @internal JSON of the core's with our names; recipes stay as every Octavo tool reads them. */
export function fromCore(json: unknown): unknown {
  if (Array.isArray(json)) return json.map(fromCore);
  if (typeof json !== "object" || json === null) return json;
  return Object.fromEntries(
    Object.entries(json).map(([name, value]) => [
      camelCase(name),
      name === "recipe" ? value : fromCore(value),
    ]),
  );
}

/** A value; in TuningConfig's configSet also a list of them, which stands for a recipe each. */
export type OneOf<T> = T | readonly T[];

/** @internal The options as the core knows them. */
export const toOptions = (options: object) =>
  Object.fromEntries(
    Object.entries(options)
      .filter(([, value]) => value !== undefined)
      .map(([name, value]) => [snakeCase(name), value]),
  );

/** @internal A copy of what is given to a config. Properties set on it later are errors. */
export function ownOptions<T extends object>(config: object, options: T): T {
  if (typeof options !== "object" || options === null) {
    throw invalidArgument("the options of a config are an object");
  }
  Object.preventExtensions(config);
  return { ...options };
}

/** A stage of a recipe. The classes are in configs.ts, made from the core's list of options. */
export abstract class BaseConfig<Options extends object> {
  readonly #options: Options;
  readonly #local = new Map<string, Options>();

  constructor(options: Options = {} as Options) {
    this.#options = ownOptions(this, options);
  }

  /** @internal The stage's name. */
  abstract get stage(): string;

  /** What was given to the constructor. */
  get options(): Readonly<Options> {
    return this.#options;
  }

  /**
   * Options for the nodes that `names` match: exact node names, globs (* and ?) or operator types.
   * What they do not name is as in the configuration itself. Later calls win over earlier ones.
   */
  setLocal(names: string | readonly string[], options: Options | BaseConfig<Options>): this {
    const local = options instanceof BaseConfig ? options.#options : options;
    for (const name of typeof names === "string" ? [names] : names) {
      this.#local.delete(name);
      this.#local.set(name, { ...local });
    }
    return this;
  }

  /** The configuration as every Octavo tool reads it. */
  toJSON(): object {
    return {
      [this.stage]: {
        global: toOptions(this.#options),
        local: Object.fromEntries(
          [...this.#local].map(([name, options]) => [name, toOptions(options)]),
        ),
      },
    };
  }

  /** @internal The options that were named, by anybody. */
  get named(): string[] {
    return [this.#options, ...this.#local.values()].flatMap((options) => Object.keys(options));
  }
}
