// What tools/bench runs; see there.
import { existsSync, mkdirSync, writeFileSync } from "node:fs";
import { availableParallelism } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { execute, ortSession, program, quantile, readFlags, root, sharedFile } from "./harness.mjs";
import { writeNpy } from "./npy.mjs";
import { quantizeShared, randomInputs, sharedModels } from "./shared_models.mjs";

// Flags that make the file of a data type; f32 is the model as it is.
const dtypes = {
  f32: undefined,
  bf16: ["--dtype", "bf16", "--weight-dtype", "fp32", "--act-dtype", "fp32"],
  int8: [],
};
const backends = ["portable", "default", "itex"];
const cores = availableParallelism();

const options = readFlags({
  models: Object.keys(sharedModels),
  dtypes: Object.keys(dtypes),
  threads: [...new Set([1, cores])],
  backends,
  rounds: 5,
  seconds: 0.2,
  json: join(root, "build/bench/results.json"),
  keep: false,
});
const folder = join(root, "build/bench");
for (const made of [folder, dirname(options.json)]) mkdirSync(made, { recursive: true });

const ortScript = join(dirname(fileURLToPath(import.meta.url)), "ort_bench.mjs");

/** Runs a program on `threads` cores, the last ones: the first serves the system's interrupts. */
function pinned(threads, command, ...args) {
  const set = threads < cores ? `${cores - threads}-${cores - 1}` : `0-${cores - 1}`;
  return JSON.parse(execute("taskset", "-c", set, command, ...args));
}

/** The files of a model in a data type, made if need be. */
async function makeFiles(name, dtype, metadata) {
  const float = sharedFile("models", `${name}.onnx`);
  const made = (extension) => join(folder, `${name}_${dtype}.${extension}`);
  const flags = dtypes[dtype] ?? ["--weight-dtype", "fp32", "--act-dtype", "fp32"];
  const files = { float, onnx: dtypes[dtype] ? made("onnx") : float, compact: made("octavo") };
  for (const file of [files.onnx, files.compact]) {
    if (file === float || (options.keep && existsSync(file))) continue;
    await quantizeShared(name, file, [...flags, "--no-check"], metadata);
  }
  return files;
}

/** Functions that take a number of runs and time one short process. */
function contestants(files, dtype, threads, feeds) {
  const inputs = feeds.flatMap((feed) => ["--input", feed]);
  const octavo = (backend, file) => (runs) => {
    const flags = ["--backend", backend, "--threads", threads, "--runs", runs, ...inputs];
    return pinned(threads, program("octavo"), "bench", file, ...flags, "--json");
  };
  // ONNX Runtime's CPU provider computes no bf16: there its float file is the peer.
  const peer = dtype === "bf16" ? files.float : files.onnx;
  const ort = (runs) => pinned(threads, process.execPath, ortScript, peer, threads, runs, ...feeds);
  return {
    ort,
    ...Object.fromEntries(options.backends.map((name) => [name, octavo(name, files.onnx)])),
    compact: octavo("default", files.compact), // for the time to the first result
  };
}

/** Medians of the rounds' figures, and the least of their minima. */
function summarize(turns) {
  const median = (field) => quantile(turns.map(field), 0.5);
  return {
    median_ms: median((t) => t.median_ms),
    min_ms: Math.min(...turns.map((t) => t.min_ms)),
    start_ms: Math.min(...turns.map((t) => t.load_ms + t.first_run_ms)),
    memory_mb: median((t) => t.peak_rss_mb - t.base_rss_mb),
  };
}

/** In turns, a short process for each: all of them see the machine's better and worse moments. */
function measure(all) {
  const contests = [];
  const figures = {};
  for (const [name, run] of Object.entries(all)) {
    try {
      const runs = Math.ceil((1000 * options.seconds) / run(3).min_ms);
      contests.push({ name, run, runs: Math.min(2000, Math.max(5, runs)), turns: [] });
    } catch (error) {
      figures[name] = { error: error.message };
    }
  }
  for (let round = 0; round < options.rounds; round++) {
    for (const { run, runs, turns } of contests) turns.push(run(runs));
  }
  for (const { name, turns } of contests) figures[name] = summarize(turns);
  return figures;
}

const names = options.backends;
const ms = (value) => (value === undefined ? "-" : value.toPrecision(3)).padStart(8);
const ratio = (value) => (Number.isNaN(value) ? "-" : value.toFixed(2)).padStart(6);
const geometricMean = (values) =>
  Math.exp(values.reduce((sum, value) => sum + Math.log(value), 0) / values.length);
const ratioOf = ({ figures }, name, field) => figures.ort[field] / figures[name][field];

const heading = [
  "model".padEnd(15),
  "dtype threads",
  ...["ORT", ...names].map((name) => `${name} ms`.padStart(17)),
  ...names.map((name) => `ORT/${name}`.padStart(13)),
  "start ms: ORT compact".padStart(23),
  "memory MB: ORT compact".padStart(23),
];
console.log(`medians and minima in ms; ratios of medians and of minima; ${cores} cores\n`);
console.log(heading.join(" "));
const results = [];
for (const name of options.models) {
  const float = sharedFile("models", `${name}.onnx`);
  if (!float) {
    console.log(`${name.padEnd(15)} SKIPPED: not in OCTAVO_SHARED`);
    continue;
  }
  const metadata = (await ortSession(float)).inputMetadata;
  const inputs = randomInputs(metadata, sharedModels[name], 17);
  const feeds = Object.entries(inputs).map(([input, tensor], i) => {
    const path = join(folder, `${name}_input${i}.npy`);
    writeNpy(path, tensor);
    return `${input}=${path}`;
  });
  for (const dtype of options.dtypes) {
    for (const threads of options.threads) {
      const label = [name.padEnd(15), dtype.padEnd(5), String(threads).padStart(7)].join(" ");
      try {
        const files = await makeFiles(name, dtype, metadata);
        const result = { model: name, dtype, threads };
        result.figures = measure(contestants(files, dtype, threads, feeds));
        result.ratios = Object.fromEntries(
          names.map((n) => [
            n,
            { median: ratioOf(result, n, "median_ms"), min: ratioOf(result, n, "min_ms") },
          ]),
        );
        results.push(result);
        writeFileSync(options.json, JSON.stringify(results, null, 2) + "\n");
        const { ort, compact } = result.figures;
        const row = [
          ...["ort", ...names].map((n) => {
            const { median_ms, min_ms } = result.figures[n];
            return `${ms(median_ms)} ${ms(min_ms)}`;
          }),
          ...names.map((n) => Object.values(result.ratios[n]).map(ratio).join(" ")),
          `${ms(ort.start_ms)} ${ms(compact.start_ms)}`.padStart(23),
          `${ms(ort.memory_mb)} ${ms(compact.memory_mb)}`.padStart(23),
        ];
        console.log([label, ...row].join(" "));
        for (const [n, { error }] of Object.entries(result.figures)) {
          if (error) console.log(`  ${n}: ${error}`);
        }
      } catch (error) {
        console.log(`${label} SKIPPED: ${error.message}`);
      }
    }
  }
}

console.log("\ngeometric means of the ratios (by medians, by minima) and the least by medians");
for (const dtype of options.dtypes) {
  for (const threads of options.threads) {
    const means = names.flatMap((n) => {
      const rows = results.filter(
        (r) => r.dtype === dtype && r.threads === threads && r.figures[n].median_ms,
      );
      if (rows.length === 0) return [];
      const medians = rows.map((r) => r.ratios[n].median);
      const minima = rows.map((r) => r.ratios[n].min);
      const figures = [geometricMean(medians), geometricMean(minima), Math.min(...medians)];
      return `${n} ${figures.map((f) => f.toFixed(2)).join(" ")} (${rows.length} models)`;
    });
    if (means.length === 0) continue;
    console.log(`${dtype} ${threads} thread(s): ${means.join("; ")}`);
  }
}
