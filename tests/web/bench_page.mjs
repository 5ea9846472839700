// The part of tools/bench web that runs in a page.

async function fetchBytes(url) {
  return new Uint8Array(await (await fetch(url)).arrayBuffer());
}

/** Feeds by name. `raw`: typed arrays' contents as arrays of numbers. */
function feedsOf(inputs, make) {
  return Object.fromEntries(
    Object.entries(inputs).map(([name, { type, dims, data }]) => {
      const array = type === "int64" ? BigInt64Array.from(data, BigInt) : Float32Array.from(data);
      return [name, make(type, array, dims)];
    }),
  );
}

// Each opens a model and gives a function that runs it once.
const open = {
  async octavo({ url, variant, threads, worker }, inputs) {
    const { InferenceSession, backendInfo } = await import("/octavo/index.js");
    const options = { worker, variant, threads };
    const chosen = backendInfo(options).variant;
    if (variant && chosen !== variant) throw new Error(`this browser has no variant '${variant}'`);
    const session = await InferenceSession.create(await fetchBytes(url), options);
    const feeds = feedsOf(inputs, (type, data, dims) => ({ type, data, dims }));
    return () => session.run(feeds);
  },
  async "onnxruntime-web"({ url, threads }, inputs) {
    const ort = await import("/onnxruntime-web/dist/ort.wasm.min.mjs");
    ort.env.wasm.numThreads = threads;
    ort.env.wasm.wasmPaths = `${location.origin}/onnxruntime-web/dist/`;
    ort.env.logLevel = "error";
    const session = await ort.InferenceSession.create(await fetchBytes(url), {
      executionProviders: ["wasm"],
      graphOptimizationLevel: "all",
    });
    const feeds = feedsOf(inputs, (type, data, dims) => new ort.Tensor(type, data, dims));
    return () => session.run(feeds);
  },
  async litertjs({ url, threads }) {
    const { loadLiteRt, loadAndCompile, Tensor } = await import("/@litertjs/core/dist/index.js");
    await loadLiteRt("/@litertjs/core/wasm/", threads > 1 ? { threads: true } : {});
    const model = await loadAndCompile(url, {
      accelerator: "wasm",
      cpuOptions: { numThreads: threads },
    });
    const arrays = { float32: Float32Array, int8: Int8Array, uint8: Uint8Array };
    const inputs = model.getInputDetails().map(({ dtype, shape }) => {
      const array = new arrays[dtype](shape.reduce((product, dim) => product * dim, 1));
      for (let i = 0; i < array.length; i++) {
        array[i] = dtype === "float32" ? Math.sin(i) : (i * 7) % 127;
      }
      return new Tensor(array, [...shape]);
    });
    return async () => (await model.run(inputs)).forEach((output) => output.delete());
  },
};

const quantile = (values, q) => values.sort((a, b) => a - b)[Math.round(q * (values.length - 1))];

const entries = []; // the page's contestants

/**
 * Opens contestants {peer, url, variant, threads, worker} on one model and runs each until it is
 * warm. `turnMs`: about how long a turn of one takes.
 */
export async function prepare(contestants, inputs, turnMs) {
  for (const contestant of contestants) {
    const entry = { samples: [] };
    entries.push(entry);
    try {
      const start = performance.now();
      entry.run = await open[contestant.peer](contestant, inputs);
      entry.load = performance.now() - start;
      // Until the engine's optimizing compiler has replaced what its fast one wrote.
      const warm = performance.now();
      do await entry.run();
      while (performance.now() - warm < 2 * turnMs);
      const begin = performance.now();
      for (let i = 0; i < 5; i++) await entry.run();
      const once = (performance.now() - begin) / 5;
      // A sample is long enough for the clock, whose steps are 5 us.
      entry.batch = Math.ceil(0.5 / once);
      entry.count = Math.max(3, Math.round(turnMs / (once * entry.batch)));
    } catch (error) {
      entry.error = String(error?.message ?? error);
    }
  }
}

/** One contestant's turn. */
export async function turn(index) {
  const { run, samples, batch, count, error } = entries[index];
  if (error) return;
  for (let i = 0; i < count; i++) {
    const start = performance.now();
    for (let k = 0; k < batch; k++) await run();
    samples.push((performance.now() - start) / batch);
  }
}

/** {load_ms, median_ms, min_ms} or {error} of each contestant. */
export function results() {
  return entries.map(({ samples, load, error }) =>
    error
      ? { error }
      : { load_ms: load, median_ms: quantile(samples, 0.5), min_ms: quantile(samples, 0) },
  );
}
