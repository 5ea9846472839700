// Runs a model with the visitor's own copy of onnxruntime-web; nothing of it is in this page.
import type { Feeds } from "octavo";
import type { Runner } from "./lab.worker";

/** Addresses of blobs: the files of onnxruntime-web's folder dist. */
export interface RuntimeFiles {
  /** ort.wasm.min.mjs, or another of its entry points. */
  entry: string;
  /** ort-wasm-simd-threaded.mjs; entry points with "bundle" in their name have it inside. */
  glue?: string;
  /** ort-wasm-simd-threaded.wasm */
  wasm: string;
}

/** The part of its interface that is used here. */
interface OnnxRuntime {
  env: {
    wasm: { numThreads: number; wasmPaths: { mjs?: string; wasm: string } };
    logLevel: string;
  };
  Tensor: new (type: string, data: unknown, dims: readonly number[]) => unknown;
  InferenceSession: {
    create(
      model: Uint8Array,
      options: object,
    ): Promise<{
      outputNames: string[];
      run(
        feeds: Record<string, unknown>,
      ): Promise<Record<string, { dims: number[]; data: ArrayLike<number> }>>;
      release(): Promise<void>;
    }>;
  };
}

/** Sorts out which of the given files is which. Undefined if one is missing. */
export function runtimeFiles(files: readonly File[]): RuntimeFiles | undefined {
  const url = (pattern: RegExp) => {
    const file = files.find(({ name }) => pattern.test(name));
    // A module is only accepted with a JavaScript type, whatever the system made of its name.
    const type = file?.name.endsWith(".wasm") ? "application/wasm" : "text/javascript";
    return file && URL.createObjectURL(new Blob([file], { type }));
  };
  const entry = url(/^ort\.(wasm\.)?(bundle\.)?(min\.)?m?js$/);
  const wasm = url(/^ort-wasm-simd-threaded\.wasm$/);
  const glue = url(/^ort-wasm-simd-threaded\.mjs$/);
  return entry && wasm ? { entry, wasm, ...(glue ? { glue } : {}) } : undefined;
}

export async function openOnnxRuntime(bytes: Uint8Array, files: RuntimeFiles): Promise<Runner> {
  const module = (await import(/* @vite-ignore */ files.entry)) as OnnxRuntime & {
    default?: OnnxRuntime;
  };
  const ort = module.InferenceSession ? module : module.default!;
  ort.env.wasm.numThreads = 1;
  ort.env.wasm.wasmPaths = { wasm: files.wasm, ...(files.glue ? { mjs: files.glue } : {}) };
  ort.env.logLevel = "error";
  const session = await ort.InferenceSession.create(bytes, {
    executionProviders: ["wasm"],
    graphOptimizationLevel: "all",
  });
  const name = session.outputNames[0]!;
  return {
    async run(feeds: Feeds) {
      const tensors = Object.entries(feeds).map(([input, { type, data, dims }]) => [
        input,
        new ort.Tensor(type, data, dims),
      ]);
      const { dims, data } = (await session.run(Object.fromEntries(tensors)))[name]!;
      return { dims, data };
    },
    close: () => session.release(),
    backend: "onnxruntime-web",
    threads: 1,
  };
}
