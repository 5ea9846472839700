import type { WireObject } from "./engine.js";
import type { EngineOptions, Host } from "./host.js";
import type { BackendInfo, Source } from "./load.js";
import { callWith } from "./loan.js";
import { abortable, Owned } from "./owned.js";
import { fromWire, toWire, type Feeds, type Tensor, type WireTensor } from "./tensor.js";

export interface SessionOptions extends EngineOptions {
  signal?: AbortSignal;
}
export interface RunOptions {
  signal?: AbortSignal;
  /** Hand the feeds' buffers over to the worker instead of copying: they are empty afterwards. */
  transfer?: boolean;
}
export type Outputs = Record<string, Tensor>;

/** A model that is ready to run, as ONNX Runtime's class of the same name. */
export abstract class Session extends Owned {
  /** What runs the model. */
  readonly backend: BackendInfo;
  #memoryBytes: number | undefined;

  /** @internal */
  constructor(host: Host, object: WireObject) {
    super(host, object);
    this.backend = host.info;
  }

  /** Bytes of the constants and of the activations of one run; undefined before the first. */
  get memoryBytes(): number | undefined {
    return this.#memoryBytes;
  }

  /**
   * Runs the model: tensors by the names of its inputs in, tensors by the names of its outputs out.
   * Aborting ends the wait, not the computation.
   */
  async run(feeds: Feeds, options: RunOptions = {}): Promise<Outputs> {
    const { host, id } = this.owned;
    const done = callWith<WireTensor[]>(host, "run", id, toWire(feeds), options.transfer);
    const memory = this.#memoryBytes ?? host.call<number>("memoryBytes", [id]);
    const outputs = fromWire(await abortable(done, options.signal));
    this.#memoryBytes = await memory;
    return outputs;
  }
}
