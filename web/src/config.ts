import { invalidArgument } from "./errors.js";

export const snakeCase = (name: string) => name.replace(/[A-Z]/g, (c) => `_${c.toLowerCase()}`);
export const camelCase = (name: string) =>
  name.replace(/_([a-z0-9])/g, (_, c: string) => c.toUpperCase());

const toOptions = (options: object) =>
  Object.fromEntries(
    Object.entries(options)
      .filter(([, value]) => value !== undefined)
      .map(([name, value]) => [snakeCase(name), value]),
  );

/** A stage of a recipe. The classes are in configs.ts, made from the core's list of options. */
export abstract class BaseConfig<Options extends object> {
  readonly #options: Options;
  readonly #local = new Map<string, Options>();

  constructor(options: Options = {} as Options) {
    if (typeof options !== "object" || options === null) {
      throw invalidArgument("the options of a config are an object");
    }
    this.#options = { ...options };
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
