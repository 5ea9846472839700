// Times a model in ONNX Runtime in a process of its own; prints what `octavo bench --json` prints.
// Usage: node tests/ort_bench.mjs MODEL THREADS RUNS NAME=FILE.npy...
import { readFileSync } from "node:fs";
import { ort, ortSession, quantile } from "./harness.mjs";
import { readNpy } from "./npy.mjs";

const peakMb = () =>
  Number(/VmHWM:\s*(\d+)/.exec(readFileSync("/proc/self/status", "utf8"))[1]) / 1024;

const [model, threads, runs, ...inputs] = process.argv.slice(2);
const feeds = Object.fromEntries(
  inputs.map((assignment) => {
    const at = assignment.lastIndexOf("=");
    const { type, data, dims } = readNpy(assignment.slice(at + 1));
    return [assignment.slice(0, at), new ort.Tensor(type, data, dims)];
  }),
);
const base_rss_mb = peakMb();
const start = performance.now();
const session = await ortSession(model, Number(threads));
const loaded = performance.now();
await session.run(feeds);
const first = performance.now();
for (let i = 0; i < 5; i++) await session.run(feeds);
const times = [];
for (let i = 0; i < Number(runs); i++) {
  const before = performance.now();
  await session.run(feeds);
  times.push(performance.now() - before);
}
console.log(
  JSON.stringify({
    median_ms: quantile(times, 0.5),
    min_ms: Math.min(...times),
    load_ms: loaded - start,
    first_run_ms: first - loaded,
    base_rss_mb,
    peak_rss_mb: peakMb(),
  }),
);
