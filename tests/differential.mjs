// Compares Octavo's results with ONNX Runtime's, on the same inputs:
//  - float models: the largest difference of an output, relative to its largest magnitude;
//  - quantized models exported as QDQ: top-1 agreement and SQNR, Octavo running its integer kernels
//    on the very file that ONNX Runtime gets.
//
// Usage: node tests/differential.mjs [MODEL ...]      names as in the tables below
import { readFileSync } from "node:fs";
import { join } from "node:path";
import {
  argmax,
  misused,
  octavo,
  ort,
  ortSession,
  root,
  shared,
  sharedFile,
  sqnr,
  tool,
  withFolder,
} from "./harness.mjs";
import { readNpy, writeNpy } from "./npy.mjs";
import { randomInputs, sharedModels } from "./shared_models.mjs";

// Sizes that the table leaves at 1 are larger here, so that batches are tested too.
const floatModels = {
  digits: { path: join(root, "tools/digits/digits.onnx"), dims: { N: 3 }, scale: 255 },
  ...sharedModels,
  resnet20: { ...sharedModels.resnet20, dims: { N: 2 } },
  ppocr_cls: { dims: { ...sharedModels.ppocr_cls.dims, "p2o.DynamicDimension.0": 2 } },
  silero_vad: { ...sharedModels.silero_vad, dims: { batch: 2, sequence: 576 } },
};

async function runOrt(session, inputs) {
  const feeds = Object.fromEntries(
    Object.entries(inputs).map(([name, t]) => [name, new ort.Tensor(t.type, t.data, t.dims)]),
  );
  return session.run(feeds);
}

function runOctavo(model, inputs, outputNames, folder) {
  const args = Object.entries(inputs).flatMap(([name, tensor], i) => {
    const path = join(folder, `input${i}.npy`);
    writeNpy(path, tensor);
    return ["--input", `${name}=${path}`];
  });
  octavo("run", model, ...args, "--output-dir", folder);
  return Object.fromEntries(
    outputNames.map((name) => [name, readNpy(join(folder, `${name}.npy`))]),
  );
}

/** max |a - b| / max |a|; throws if the shapes differ. NaN counts as infinitely far. */
function relativeError(name, expected, actual) {
  if (expected.dims.join() !== actual.dims.join()) {
    throw new Error(`output ${name} has shape ${actual.dims}, ONNX Runtime's ${expected.dims}`);
  }
  let largest = 0;
  let error = 0;
  for (let i = 0; i < expected.data.length; i++) {
    largest = Math.max(largest, Math.abs(Number(expected.data[i])));
    const difference = Math.abs(Number(expected.data[i]) - Number(actual.data[i]));
    error = Number.isNaN(difference) ? Infinity : Math.max(error, difference);
  }
  return error === 0 ? 0 : error / largest;
}

async function testFloat(name, spec) {
  const path = spec.path ?? sharedFile("models", `${name}.onnx`);
  if (!path) return undefined;
  const tolerance = spec.tolerance ?? 1e-4;
  return withFolder(async (folder) => {
    const session = await ortSession(path);
    const inputs = randomInputs(session.inputMetadata, spec, 17);
    const expected = await runOrt(session, inputs);
    const actual = runOctavo(path, inputs, session.outputNames, folder);
    let worst = 0;
    for (const output of session.outputNames) {
      worst = Math.max(worst, relativeError(output, expected[output], actual[output]));
    }
    return { ok: worst <= tolerance, figure: `relative error ${worst.toExponential(1)}` };
  });
}

// Ways of quantizing the digit model, each of which both sides must understand alike.
const quantizations = {
  symmetric: [],
  "per tensor": ["--weight-granularity", "per_tensor"],
  "asymmetric uint8": ["--act-sym", "false", "--act-dtype", "uint8"],
  "asymmetric int8": ["--act-sym", "false", "--act-dtype", "int8"],
  "16-bit activations": ["--act-dtype", "int16"],
  "asymmetric 16-bit activations": ["--act-dtype", "uint16", "--act-sym", "false"],
  "16-bit weights": ["--act-dtype", "uint16", "--weight-dtype", "int16"],
  "4-bit weights": ["--weight-dtype", "int4"],
  "uint8 weights": ["--weight-dtype", "uint8", "--weight-sym", "false", "--act-sym", "false"],
};

// Weight-only models of ONNX Runtime's own form, in which both sides compute in floats.
const weightOnly = {
  "int4 groups": ["--stages", "rtn"],
  "int4 outputs, zero points": ["--stages", "hqq", "--weight-group-size", "-1"],
  "int8 groups": ["--stages", "rtn", "--weight-bits", "8", "--weight-group-size", "16"],
};

async function testWeightOnly(flags) {
  const shared = sharedFile("models", "nsnet2.onnx");
  const model = shared ?? join(root, "tools/digits/digits.onnx");
  const spec = shared ? sharedModels.nsnet2 : { scale: 255 };
  return withFolder(async (folder) => {
    const path = join(folder, "q.onnx");
    octavo("quantize", model, ...flags, "--quant-format", "matmulnbits", "--no-check", "-o", path);
    if (!readFileSync(path).includes("MatMulNBits")) throw new Error("no MatMulNBits in the file");
    const session = await ortSession(path);
    const inputs = randomInputs(session.inputMetadata, spec, 17);
    const expected = await runOrt(session, inputs);
    const actual = runOctavo(path, inputs, session.outputNames, folder);
    const [output] = session.outputNames;
    const worst = relativeError(output, expected[output], actual[output]);
    return { ok: worst <= 1e-4, figure: `relative error ${worst.toExponential(1)}` };
  });
}

async function testQuantized(flags) {
  const model = join(root, "tools/digits/digits.onnx");
  const samples = 500;
  return withFolder(async (folder) => {
    const file = (name) => join(folder, name);
    tool("octavo_digits", "--count", 100, "--seed", 3, "--out", file("calib.npy"));
    tool("octavo_digits", "--count", samples, "--seed", 4, "--out", file("test.npy"));
    const preprocess = ["--preprocess", "none"];
    octavo(
      "quantize",
      model,
      "--data",
      file("calib.npy"),
      ...preprocess,
      ...flags,
      "-o",
      file("q.onnx"),
    );

    const images = readNpy(file("test.npy"));
    const input = {
      type: "float32",
      dims: [samples, 1, 28, 28],
      data: Float32Array.from(images.data),
    };
    const session = await ortSession(file("q.onnx"));
    const expected = (await runOrt(session, { input })).logits;
    const actual = runOctavo(file("q.onnx"), { input }, ["logits"], folder).logits;
    relativeError("logits", expected, actual);
    let agree = 0;
    for (let i = 0; i < samples; i++) {
      agree +=
        argmax(expected.data, i * 10, i * 10 + 10) === argmax(actual.data, i * 10, i * 10 + 10);
    }
    const ratio = sqnr(expected.data, actual.data);
    return {
      ok: agree >= 0.99 * samples && ratio >= 30,
      figure: `top-1 agreement ${((100 * agree) / samples).toFixed(1)} %, SQNR ${ratio.toFixed(1)} dB`,
    };
  });
}

const cases = [
  ...Object.entries(floatModels).map(([name, spec]) => [name, () => testFloat(name, spec)]),
  ...Object.entries(quantizations).map(([name, flags]) => [
    `digits QDQ ${name}`,
    () => testQuantized(flags),
  ]),
  ...Object.entries(weightOnly).map(([name, flags]) => [
    `MatMulNBits ${name}`,
    () => testWeightOnly(flags),
  ]),
];
const wanted = process.argv.slice(2);
const unknown = wanted.find((start) => !cases.some(([name]) => name.startsWith(start)));
if (unknown !== undefined) misused(`no comparison's name begins with '${unknown}'`);
let passed = 0;
let failed = 0;
let skipped = 0;
for (const [name, run] of cases) {
  if (wanted.length > 0 && !wanted.some((w) => name.startsWith(w))) continue;
  let result;
  try {
    result = await run();
  } catch (error) {
    result = { ok: false, figure: error.message };
  }
  if (!result) {
    skipped++;
    console.log(`SKIP  ${name}`);
    continue;
  }
  if (result.ok) passed++;
  else failed++;
  console.log(`${result.ok ? "ok  " : "FAIL"}  ${name.padEnd(24)} ${result.figure}`);
}
if (skipped > 0) {
  console.log(`\nSKIPPED ${skipped} models: ${shared} is not there (set OCTAVO_SHARED).`);
}
console.log(`differential: ${passed} passed, ${failed} failed`);
process.exit(failed > 0 ? 1 : 0);
