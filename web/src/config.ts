import { invalidArgument } from "./errors.js";

export type QuantDtype = "int8" | "uint8" | "bf16" | "fp32";
export type Granularity = "per_tensor" | "per_channel";

/** The fields of Neural Compressor's StaticQuantConfig, in camelCase, with its defaults. */
export interface StaticQuantOptions {
  /** Type of quantized weights; "fp32" leaves the operator float. Default: "int8". */
  weightDtype?: QuantDtype;
  /** Weights' range is symmetric around zero. Default: true. */
  weightSym?: boolean;
  /** One scale for a weight tensor, or one for each output channel. Default: "per_tensor". */
  weightGranularity?: Granularity;
  /** How weights' ranges are chosen. Default: "minmax". */
  weightAlgorithm?: string;
  /** Type of quantized activations; "fp32" leaves the operator float. Default: "int8". */
  actDtype?: QuantDtype;
  /** Activations' range is symmetric around zero. Default: true. */
  actSym?: boolean;
  actGranularity?: "per_tensor";
  /** How activations' ranges are chosen from the calibration data. Default: "minmax". */
  actAlgorithm?: string;
  /** Operator types and node names (exact or glob) to quantize. Default: ["*"], all. */
  whiteList?: readonly string[];
}

const snakeCase = (name: string) => name.replace(/[A-Z]/g, (c) => `_${c.toLowerCase()}`);
const toOptions = (options: StaticQuantOptions) =>
  Object.fromEntries(
    Object.entries(options)
      .filter(([, value]) => value !== undefined)
      .map(([name, value]) => [snakeCase(name), value]),
  );

/** How to quantize: for all operators, and (setLocal) for some. */
export class StaticQuantConfig {
  readonly #options: StaticQuantOptions;
  readonly #local = new Map<string, StaticQuantOptions>();

  constructor(options: StaticQuantOptions = {}) {
    if (typeof options !== "object" || options === null) {
      throw invalidArgument("the options of StaticQuantConfig are an object");
    }
    this.#options = { ...options };
  }

  /**
   * Options for the nodes that `names` match: exact node names, globs (* and ?) or operator types.
   * What they do not name is as in the configuration itself. Later calls win over earlier ones.
   */
  setLocal(names: string | readonly string[], options: StaticQuantOptions | StaticQuantConfig) {
    const local = options instanceof StaticQuantConfig ? options.#options : options;
    for (const name of typeof names === "string" ? [names] : names) {
      this.#local.delete(name);
      this.#local.set(name, { ...local });
    }
    return this;
  }

  /** The configuration as every Octavo tool reads it. */
  toJSON(): object {
    return {
      static_quant: {
        global: toOptions(this.#options),
        local: Object.fromEntries(
          [...this.#local].map(([name, options]) => [name, toOptions(options)]),
        ),
      },
    };
  }
}

/** A stage of a recipe. */
export type QuantConfig = StaticQuantConfig;

/** The stages that are meant, in order. */
export function recipe(config: QuantConfig | readonly QuantConfig[]): readonly QuantConfig[] {
  const list = config instanceof StaticQuantConfig ? [config] : config;
  if (!Array.isArray(list) || !list.every((stage) => stage instanceof StaticQuantConfig)) {
    throw invalidArgument("quantConfig is a config (StaticQuantConfig, ...) or a list of them");
  }
  return list;
}
