// The npm package in Chromium, from a static server: with and without cross-origin isolation, under
// a strict content security policy, in a worker and in the page's own thread.
import assert from "node:assert/strict";
import { after, test } from "node:test";
import { fileURLToPath } from "node:url";
import { checkDiagnosis, checkTuned } from "./checks.mjs";
import { calibration, dist, model, nativeLogits, samples } from "./package.mjs";
import { closeBrowser, withPage } from "./page.mjs";

after(closeBrowser);

const routes = {
  "/octavo/": dist,
  "/tests/": fileURLToPath(new URL(".", import.meta.url)),
  "/model.onnx": model,
  "/samples": Buffer.from(samples.buffer),
};

// Runs in the page.
async function run({ calibration, options }) {
  const [octavo, runtime, { scenario }, samples] = await Promise.all([
    import("/octavo/index.js"),
    import("/octavo/runtime.js"),
    import("/tests/scenario.mjs"),
    fetch("/samples").then((response) => response.arrayBuffer()),
  ]);
  const done = await scenario(octavo, runtime, {
    model: new URL("/model.onnx", location.href),
    samples: new Float32Array(samples),
    calibration,
    options,
  });
  return {
    isolated: crossOriginIsolated,
    cores: navigator.hardwareConcurrency,
    backend: done.backend,
    onnx: [...done.onnx],
    outputs: done.outputs.map((output) => [...output]),
    tuned: done.tuned,
    diagnosis: done.diagnosis,
  };
}

for (const isolated of [false, true]) {
  for (const options of [{}, { worker: false }, { variant: "simd", threads: 2 }]) {
    test(`${isolated ? "isolated" : "plain"} page, ${JSON.stringify(options)}`, () =>
      withPage(
        routes,
        async (page, complaints) => {
          const result = await page.evaluate(run, { calibration, options });
          assert.equal(result.isolated, isolated);
          const { backend } = result;
          assert.equal(backend.worker, options.worker !== false);
          assert.equal(backend.variant, options.variant ?? "relaxed");
          // Threads need shared memory, and a thread of their own that may wait.
          const threads = options.threads ?? Math.min(result.cores, 4);
          const shares = isolated && options.worker !== false;
          assert.equal(backend.threads, shares ? threads : 1, backend.reason);
          const expected = await nativeLogits(Buffer.from(result.onnx), "q.onnx");
          for (const output of result.outputs) {
            assert.deepEqual(Float32Array.from(output), expected);
          }
          checkTuned(result.tuned);
          checkDiagnosis(result.diagnosis);
          assert.deepEqual(complaints, []);
        },
        { isolated },
      ));
  }
}
