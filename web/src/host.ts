// Where an engine runs: in this thread or in a worker, behind the same asynchronous call.
import { Engine, type EngineMethod, type Glue } from "./engine.js";
import {
  InternalError,
  OctavoError,
  invalidArgument,
  makeError,
  type ErrorDetail,
} from "./errors.js";
import {
  chooseVariant,
  compile,
  isNode,
  nodeModule,
  type BackendInfo,
  type Variant,
  type WasmSource,
} from "./load.js";

export interface EngineOptions {
  /** false: work in the calling thread, which cannot do anything else meanwhile. Default: true. */
  worker?: boolean;
  /** Default: the fastest that the engine can run. */
  variant?: Variant;
  /** Default: the file beside the package's JavaScript. */
  wasm?: WasmSource;
  /** Default: the file beside the package's JavaScript. */
  workerUrl?: string | URL;
}

/** The files of one entry point of the package. */
export interface Files {
  glue: () => Promise<Glue>;
  wasm: Record<Variant, () => URL>;
  /** A worker of the browser's; Node's are made from `workerUrl`. */
  worker: () => Worker;
  workerUrl: () => URL;
}

export interface Host {
  readonly info: BackendInfo;
  /** The host's engine has stopped and takes no more calls. */
  readonly stopped: boolean;
  call<T>(method: EngineMethod, args: unknown[], transfer?: Transferable[]): Promise<T>;
}

/** Sent by the page to its worker, and the answer. */
export type Request =
  | { id: number; wasm: WebAssembly.Module }
  | { id: number; method: EngineMethod; args: unknown[] };
export interface Answer {
  id: number;
  result?: unknown;
  error?: ErrorDetail;
  stopped?: boolean;
}

class LocalHost implements Host {
  constructor(
    private readonly engine: Engine,
    readonly info: BackendInfo,
  ) {}
  get stopped() {
    return this.engine.stopped;
  }
  async call<T>(method: EngineMethod, args: unknown[]): Promise<T> {
    return this.engine.call(method, args) as T;
  }
}

interface Port {
  post(message: Request, transfer: Transferable[]): void;
  listen(onAnswer: (answer: Answer) => void, onFailure: (message: string) => void): void;
  /** Node: whether the worker keeps the process alive. */
  hold(busy: boolean): void;
}

class WorkerHost implements Host {
  stopped = false;
  #pending = new Map<number, { resolve(value: unknown): void; reject(error: unknown): void }>();
  #lastId = 0;

  constructor(
    private readonly port: Port,
    readonly info: BackendInfo,
  ) {
    port.hold(false);
    port.listen(
      ({ id, result, error, stopped }) => {
        const call = this.#pending.get(id);
        this.#settle(id);
        this.stopped ||= stopped === true;
        if (error) call?.reject(makeError(error));
        else call?.resolve(result);
      },
      (message) => {
        this.stopped = true;
        const error = new InternalError({
          code: "internal",
          message: `the worker failed: ${message}`,
        });
        for (const [id, call] of this.#pending) {
          this.#settle(id);
          call.reject(error);
        }
      },
    );
  }

  #settle(id: number) {
    this.#pending.delete(id);
    if (this.#pending.size === 0) this.port.hold(false);
  }

  #send(request: (id: number) => Request, transfer: Transferable[]): Promise<unknown> {
    return new Promise((resolve, reject) => {
      const id = ++this.#lastId;
      this.#pending.set(id, { resolve, reject });
      this.port.hold(true);
      try {
        this.port.post(request(id), transfer);
      } catch (error) {
        this.#settle(id);
        reject(error);
      }
    });
  }

  start(wasm: WebAssembly.Module) {
    return this.#send((id) => ({ id, wasm }), []);
  }
  call<T>(method: EngineMethod, args: unknown[], transfer: Transferable[] = []): Promise<T> {
    return this.#send((id) => ({ id, method, args }), transfer) as Promise<T>;
  }
}

async function openPort(files: Files, url?: string | URL): Promise<Port> {
  if (isNode) {
    const { Worker } = await nodeModule<typeof import("node:worker_threads")>("worker_threads");
    const worker = new Worker(new URL(url ?? files.workerUrl()));
    return {
      post: (message, transfer) => worker.postMessage(message, transfer as never),
      listen(onAnswer, onFailure) {
        worker.on("message", onAnswer);
        worker.on("error", (error) => onFailure((error as Error).message));
        worker.on("exit", () => onFailure("it ended"));
      },
      hold: (busy) => (busy ? worker.ref() : worker.unref()),
    };
  }
  const worker = url ? new Worker(url, { type: "module" }) : files.worker();
  return {
    post: (message, transfer) => worker.postMessage(message, transfer),
    listen(onAnswer, onFailure) {
      worker.onmessage = ({ data }) => onAnswer(data);
      worker.onerror = (event) => onFailure(event.message || "its script could not be loaded");
      worker.onmessageerror = () => onFailure("a message could not be read");
    },
    hold: () => undefined,
  };
}

export function describeBackend(options: EngineOptions = {}): BackendInfo {
  const worker = options.worker !== false && (isNode || typeof Worker !== "undefined");
  return { ...chooseVariant(options.variant), threads: 1, worker };
}

async function openHost(files: Files, options: EngineOptions): Promise<Host> {
  const info = describeBackend(options);
  const wasm = await compile(options.wasm ?? files.wasm[info.variant]());
  if (!info.worker) return new LocalHost(await Engine.create(await files.glue(), wasm), info);
  const host = new WorkerHost(await openPort(files, options.workerUrl), info);
  await host.start(wasm);
  return host;
}

/** Hosts are shared: one for each distinct set of options, made when it is first needed. */
export class Hosts {
  #open: { key: unknown[]; host: Promise<Host> }[] = [];
  constructor(private readonly files: Files) {}

  async get(options: EngineOptions = {}): Promise<Host> {
    if (typeof options !== "object") throw invalidArgument("options are an object");
    const { variant, worker } = describeBackend(options);
    const key = [variant, worker, keyOf(options.wasm), keyOf(options.workerUrl)];
    const same = this.#open.find((entry) => entry.key.every((part, i) => part === key[i]));
    if (same) {
      const host = await same.host;
      if (!host.stopped) return host;
    }
    const entry = { key, host: openHost(this.files, options) };
    this.#open = this.#open.filter((other) => other !== same);
    this.#open.push(entry);
    try {
      return await entry.host;
    } catch (error) {
      this.#open = this.#open.filter((other) => other !== entry);
      throw error;
    }
  }
}

const keyOf = (value: unknown) => (value instanceof URL ? value.href : value);

export function toDetail(error: unknown): ErrorDetail {
  if (error instanceof OctavoError) {
    const { code, message, node, tensor } = error;
    return { code, message, ...(node ? { node } : {}), ...(tensor ? { tensor } : {}) };
  }
  return { code: "internal", message: error instanceof Error ? error.message : String(error) };
}
