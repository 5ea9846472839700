// What tools/eval_shared runs; see there.
import { mkdirSync, statSync } from "node:fs";
import { join } from "node:path";
import {
  argmax,
  misused,
  octavo,
  octavoJson,
  ort,
  ortSession,
  root,
  sharedFile,
} from "./harness.mjs";
import { readNpy } from "./npy.mjs";
import { quantizeShared, sharedModels } from "./shared_models.mjs";

/** Top-1 in percent of a file in ONNX Runtime, on inputs that octavo eval has saved. */
async function ortTop1(model, folder) {
  const session = await ortSession(model);
  const [meta] = session.inputMetadata;
  const inputs = readNpy(join(folder, "input0.npy"));
  const labels = readNpy(join(folder, "labels.npy")).data;
  const elements = inputs.data.length / labels.length;
  const dims = [1, ...inputs.dims.slice(1)];
  let hits = 0;
  for (let i = 0; i < labels.length; i++) {
    const data = inputs.data.subarray(i * elements, (i + 1) * elements);
    const outputs = await session.run({ [meta.name]: new ort.Tensor("float32", data, dims) });
    hits += argmax(outputs[session.outputNames[0]].data) === Number(labels[i]);
  }
  return (100 * hits) / labels.length;
}

const bar = process.argv.indexOf("--");
const flags = bar < 0 ? [] : process.argv.slice(bar + 1);
const wanted = process.argv.slice(2, bar < 0 ? undefined : bar);
const unknown = wanted.find((name) => !sharedModels[name]?.tests);
if (unknown !== undefined) misused(`there is no model '${unknown}' with labelled data`);
const out = join(root, "build/eval");
mkdirSync(out, { recursive: true });

const columns = [
  "float",
  "int8",
  "loss",
  "ORT float",
  "ORT int8",
  "agree %",
  "SQNR dB",
  "size",
  "float ms",
  "int8 ms",
  "x",
];
console.log(`quantize ${flags.join(" ")}`);
console.log(["model".padEnd(40), ...columns.map((c) => c.padStart(9))].join(" "));
for (const [name, { tests, preprocess, limit }] of Object.entries(sharedModels)) {
  if (!tests) continue; // no labels
  if (wanted.length > 0 && !wanted.includes(name)) continue;
  const model = sharedFile("models", `${name}.onnx`);
  if (!model) {
    console.log(`${name.padEnd(40)} SKIPPED: not in OCTAVO_SHARED`);
    continue;
  }
  const small = join(out, `${name}_int8.onnx`);
  const prepare = ["--preprocess", preprocess];
  await quantizeShared(name, small, flags);
  const time = (path) => octavoJson("bench", path, "--threads", 1, "--runs", 30).median_ms;
  const [floatMs, int8Ms] = [time(model), time(small)];
  for (const test of tests) {
    const saved = join(out, "inputs");
    const data = [
      "--data",
      sharedFile("data", test),
      ...prepare,
      ...(limit ? ["--limit", limit] : []),
    ];
    const float = octavoJson("eval", model, ...data, "--save-inputs", saved).value * 100;
    const int8 = octavoJson("eval", small, ...data).value * 100;
    const comparison = octavoJson("compare", model, small, ...data);
    const row = [
      float.toFixed(2),
      int8.toFixed(2),
      (float - int8).toFixed(2),
      (await ortTop1(model, saved)).toFixed(2),
      (await ortTop1(small, saved)).toFixed(2),
      (100 * comparison.agreement).toFixed(2),
      comparison.outputs[0].sqnr_db.toFixed(1),
      (statSync(small).size / statSync(model).size).toFixed(3),
      floatMs.toFixed(3),
      int8Ms.toFixed(3),
      (floatMs / int8Ms).toFixed(2),
    ];
    console.log([`${name} ${test}`.padEnd(40), ...row.map((c) => c.padStart(9))].join(" "));
  }
}
