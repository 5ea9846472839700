// Where an engine runs: in this thread or in a worker, behind the same asynchronous call.
import { Engine, type EngineMethod, type Loader } from "./engine.js";
import { InternalError, OctavoError, type ErrorDetail } from "./errors.js";
import { invalidArgument, makeError } from "./make_error.js";
import {
  chooseThreads,
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
  /**
   * How many threads share the work. Default: one for each processor, four at most; one where the
   * page is not cross-origin isolated. The results are the same.
   */
  threads?: number;
  /** Default: the file beside the package's JavaScript. */
  wasm?: WasmSource;
  /** Default: the file beside the package's JavaScript. */
  workerUrl?: string | URL;
}

/** The files of one module: with threads or without. */
interface ModuleFiles {
  loader: () => Promise<Loader>;
  wasm: Record<Variant, () => URL>;
  /** A worker of the browser's; Node's are made from `workerUrl`. */
  worker: () => Worker;
  workerUrl: () => URL;
}
/** The files of one entry point of the package. */
export interface Files {
  single: ModuleFiles;
  threads: ModuleFiles;
}

/** Whoever wants to know how far a call is. */
export interface Steps {
  told(done: number, total: number): void;
  /** Ends the call in the middle, in a worker where memory can be shared. */
  signal?: AbortSignal | undefined;
}

export interface Host {
  readonly info: BackendInfo;
  /** The host's engine has stopped and takes no more calls. */
  readonly stopped: boolean;
  /** Of a worker: memory that tensors were sent in, for others. */
  readonly free?: SharedArrayBuffer[];
  call<T>(
    method: EngineMethod,
    args: unknown[],
    transfer?: Transferable[],
    steps?: Steps,
  ): Promise<T>;
}

/** Sent by the page to its worker, and the answer. */
export type Request =
  | { id: number; wasm: WebAssembly.Module; threads: number }
  | {
      id: number;
      method: EngineMethod;
      args: unknown[];
      /** Its steps are wanted. */
      steps: boolean;
      /** Shared; not 0: the call is no longer wanted. */
      cancel?: Int32Array | undefined;
    };
export interface Answer {
  id: number;
  result?: unknown;
  /** The call goes on: done, total. */
  step?: [number, number];
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
  async call<T>(
    method: EngineMethod,
    args: unknown[],
    _transfer: Transferable[] = [],
    steps?: Steps,
  ): Promise<T> {
    return this.engine.call(method, args, (done, total) => {
      steps?.told(done, total);
      return !steps?.signal?.aborted;
    }) as T;
  }
}

interface Port {
  post(message: Request, transfer: Transferable[]): void;
  listen(onAnswer: (answer: Answer) => void, onFailure: (message: string) => void): void;
  /** Node: whether the worker keeps the process alive. */
  hold(busy: boolean): void;
  end(): void;
}

class WorkerHost implements Host {
  stopped = false;
  #pending = new Map<
    number,
    { resolve(value: unknown): void; reject(error: unknown): void; steps?: Steps | undefined }
  >();
  #lastId = 0;
  readonly free: SharedArrayBuffer[] = [];

  constructor(
    private readonly port: Port,
    readonly info: BackendInfo,
  ) {
    port.hold(false);
    port.listen(
      ({ id, result, step, error, stopped }) => {
        const call = this.#pending.get(id);
        if (step) {
          if (!call?.steps?.signal?.aborted) call?.steps?.told(...step);
          return;
        }
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

  #send(
    request: (id: number) => Request,
    transfer: Transferable[],
    steps?: Steps,
  ): Promise<unknown> {
    return new Promise((resolve, reject) => {
      const id = ++this.#lastId;
      this.#pending.set(id, { resolve, reject, steps });
      this.port.hold(true);
      try {
        this.port.post(request(id), transfer);
      } catch (error) {
        this.#settle(id);
        reject(error);
      }
    });
  }

  start(wasm: WebAssembly.Module, threads: number) {
    return this.#send((id) => ({ id, wasm, threads }), []);
  }
  end() {
    this.stopped = true;
    this.port.end();
  }
  call<T>(
    method: EngineMethod,
    args: unknown[],
    transfer: Transferable[] = [],
    steps?: Steps,
  ): Promise<T> {
    // A worker at work takes no messages.
    const shares = steps?.signal && typeof SharedArrayBuffer !== "undefined";
    const cancel = shares ? new Int32Array(new SharedArrayBuffer(4)) : undefined;
    const onAbort = () => void Atomics.store(cancel!, 0, 1);
    if (cancel) steps!.signal!.addEventListener("abort", onAbort, { once: true });
    const request = (id: number) => ({ id, method, args, steps: steps !== undefined, cancel });
    return this.#send(request, transfer, steps).finally(() =>
      steps?.signal?.removeEventListener("abort", onAbort),
    ) as Promise<T>;
  }
}

async function openPort(files: ModuleFiles, url?: string | URL): Promise<Port> {
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
      end: () => void worker.terminate(),
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
    end: () => worker.terminate(),
  };
}

export function describeBackend(options: EngineOptions = {}): BackendInfo {
  const worker = options.worker !== false && (isNode || typeof Worker !== "undefined");
  const { variant, reason } = chooseVariant(options.variant);
  const { threads, reason: why } = chooseThreads(options.threads, worker);
  return { variant, threads, worker, reason: `${reason}; ${why}` };
}

/** How long the workers of a module with threads may take to start. */
const startMs = 10_000;

async function openHost(files: Files, options: EngineOptions): Promise<Host> {
  const info = describeBackend(options);
  if (info.threads === 1) return openModule(files.single, options, info);
  let late: ReturnType<typeof setTimeout> | undefined;
  try {
    const opening = openModule(files.threads, options, info);
    const timeout = new Promise<never>((_, reject) => {
      late = setTimeout(() => reject(new Error("the workers did not start")), startMs);
    });
    return await Promise.race([opening, timeout]);
  } catch (error) {
    // Some systems promise shared memory and then refuse it. With a module of the caller's own
    // there is no other one to try.
    if (options.wasm) throw error;
    const reason = `${info.reason}, but one runs: ${(error as Error).message}`;
    return openModule(files.single, options, { ...info, threads: 1, reason });
  } finally {
    clearTimeout(late);
  }
}

async function openModule(
  files: ModuleFiles,
  options: EngineOptions,
  info: BackendInfo,
): Promise<Host> {
  const { threads } = info;
  const wasm = await compile(options.wasm ?? files.wasm[info.variant]());
  if (!info.worker) {
    return new LocalHost(await Engine.create(await files.loader(), wasm, threads), info);
  }
  const host = new WorkerHost(await openPort(files, options.workerUrl), info);
  try {
    await host.start(wasm, threads);
  } catch (error) {
    host.end();
    throw error;
  }
  return host;
}

/** Hosts are shared: one for each distinct set of options, made when it is first needed. */
export class Hosts {
  #open: { key: unknown[]; host: Promise<Host> }[] = [];
  constructor(private readonly files: Files) {}

  async get(options: EngineOptions = {}): Promise<Host> {
    if (typeof options !== "object") throw invalidArgument("options are an object");
    const { variant, threads, worker } = describeBackend(options);
    const key = [variant, threads, worker, keyOf(options.wasm), keyOf(options.workerUrl)];
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
