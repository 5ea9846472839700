// The npm package in Node: same bytes as the native portable backend, errors, disposal, abortion.
import assert from "node:assert/strict";
import { test } from "node:test";
import * as octavo from "../../web/dist/index.js";
import * as runtime from "../../web/dist/runtime.js";
import { calibration, model, nativeLogits, samples } from "./package.mjs";
import { scenario } from "./scenario.mjs";

const image = (data = samples.slice(0, 784)) => ({
  input: { type: "float32", dims: [1, 1, 28, 28], data },
});
const config = () => new octavo.StaticQuantConfig();

for (const [worker, threads] of [
  [true, 1],
  [true, 3],
  [false, 1],
  [false, 2],
]) {
  const options = { worker, threads };
  const place = worker ? "in a worker" : "in the calling thread";
  const where = `${place}, ${threads} thread${threads > 1 ? "s" : ""}`;

  test(`the native portable backend's bytes ${where}`, async () => {
    const result = await scenario(octavo, runtime, { model, samples, calibration, options });
    const expected = await nativeLogits(result.onnx, "q.onnx");
    for (const output of result.outputs) assert.deepEqual(output, expected);
    assert.deepEqual(await nativeLogits(result.compact, "q.octavo"), expected);
    assert.ok(result.compact.length < model.length / 1.8);
    assert.equal(result.report.samples, calibration);
    assert.ok(result.report.nodes.filter((node) => node.quantized).length >= 5);
    assert.deepEqual(
      result.events.filter((event) => event.etaMs === 0).map((event) => event.phase),
      ["load", "calibrate", "quantize"],
    );
    assert.equal(result.backend.worker, worker);
    assert.equal(result.backend.threads, threads);
    assert.equal(result.detached, false);
  });

  test(`errors are typed and name what is wrong ${where}`, async () => {
    await assert.rejects(octavo.Model.load(new Uint8Array(9), options), {
      name: "InvalidModelError",
      code: "invalid_model",
    });
    const session = await octavo.InferenceSession.create(model, options);
    await assert.rejects(session.run({ image: image().input }), { tensor: "image" });
    await assert.rejects(session.run({}), octavo.InvalidArgumentError);
    const wrong = { type: "float32", dims: [1, 784], data: samples.slice(0, 784) };
    await assert.rejects(session.run({ input: wrong }), octavo.ShapeMismatchError);
    await assert.rejects(session.run({ input: { ...wrong, dims: [2, 784] } }), /784|3136/);
    await assert.rejects(session.run({ input: [1, 2] }), /not a tensor/);
    const nan = [image(samples.slice(0, 784).fill(NaN))];
    await assert.rejects(octavo.quantizeModel(model, config(), nan, 1, null, options), {
      name: "InvalidDataError",
      tensor: "input",
    });
    const typo = new octavo.StaticQuantConfig({ weightDtyp: "int8" });
    await assert.rejects(
      octavo.quantizeModel(model, typo, [image()], 1, null, options),
      /did you mean 'weight_dtype'/,
    );
    await assert.rejects(octavo.quantizeModel(model, config()), /calibration data/);
    await assert.rejects(
      octavo.quantizeModel(model, config(), [], 1, null, options),
      /calibration data is empty/,
    );
    const onlyCompact = runtime.InferenceSession.create(model, options);
    await assert.rejects(onlyCompact, /reads nothing else/);
    await session.dispose();
  });

  test(`use after disposal throws; disposing twice does not ${where}`, async () => {
    const session = await octavo.InferenceSession.create(model, options);
    const running = session.run(image());
    await Promise.all([session.dispose(), session.dispose()]);
    assert.equal((await running).logits.dims[1], 10);
    await assert.rejects(session.run(image()), octavo.DisposedError);
  });

  test(`abortion during calibration ${where}`, async () => {
    const controller = new AbortController();
    let abortedAt;
    function* endless() {
      for (let i = 0; ; i++) {
        if (i === 5) {
          setTimeout(() => {
            abortedAt = performance.now();
            controller.abort();
          });
        }
        yield image();
      }
    }
    const run = octavo.quantizeModel(model, config(), endless(), 1e9, null, {
      ...options,
      signal: controller.signal,
    });
    await assert.rejects(run, { name: "AbortError" });
    assert.ok(performance.now() - abortedAt < 100);
    // The engine goes on.
    const session = await octavo.InferenceSession.create(model, options);
    assert.equal((await session.run(image())).logits.data.length, 10);
    await session.dispose();
  });
}

test("aborted before it begins", async () => {
  const signal = AbortSignal.abort();
  await assert.rejects(octavo.Model.load(model, { signal }), { name: "AbortError" });
});

test("the caller's arrays stay his, unless he hands them over", async () => {
  const session = await octavo.InferenceSession.create(model);
  const data = samples.slice(0, 784);
  const { logits } = await session.run(image(data));
  assert.equal(data.length, 784);
  const again = await session.run(image(data), { transfer: true });
  assert.equal(data.length, 0);
  assert.deepEqual(again.logits, logits);
  await session.dispose();
});

test("calibFunc drives the calibration; setLocal keeps a layer float", async () => {
  const local = config().setLocal("Gemm", { actDtype: "fp32", weightDtype: "fp32" });
  const observeTwo = async (observe) => {
    await observe(image());
    await observe(image(samples.slice(784, 1568)));
  };
  const small = await octavo.quantizeModel(model, [local], null, 100, observeTwo);
  assert.equal(small.report.samples, 2);
  const gemms = small.report.nodes.filter((node) => node.op === "Gemm");
  assert.ok(gemms.length > 0 && gemms.every((node) => !node.quantized && node.reason));
  await small.dispose();
});

test("models come from blobs, paths and addresses", async () => {
  const path = new URL("../../tools/digits/digits.onnx", import.meta.url);
  for (const source of [
    new Blob([model]),
    path,
    path.pathname,
    model.buffer.slice(model.byteOffset, model.byteOffset + model.length),
  ]) {
    const loaded = await octavo.Model.load(source);
    assert.deepEqual(loaded.inputNames, ["input"]);
    assert.deepEqual(loaded.inputMetadata[0].shape.slice(1), [1, 28, 28]);
    await loaded.dispose();
  }
  await assert.rejects(octavo.Model.load("no/such/file.onnx"), octavo.LoadError);
});

test("tensors", () => {
  assert.deepEqual(new octavo.Tensor("int64", [1, 2], [2]).data, new BigInt64Array([1n, 2n]));
  assert.throws(() => new octavo.Tensor("float32", [1, 2, 3], [2]), octavo.InvalidArgumentError);
  assert.throws(() => new octavo.Tensor("float31", [1]), /float31/);
});

test("the variant is what the engine can run, and said", () => {
  const { variant, reason, threads } = octavo.backendInfo();
  assert.ok(["simd", "relaxed"].includes(variant) && reason && threads >= 1 && threads <= 4);
  assert.equal(octavo.backendInfo({ variant: "simd" }).variant, "simd");
  assert.throws(() => octavo.backendInfo({ variant: "mmx" }), octavo.InvalidArgumentError);
  assert.throws(() => octavo.backendInfo({ threads: 0.5 }), /whole number/);
});

test("1,000 sessions made, run and disposed of leave the heap as it was", async () => {
  const cycle = async () => {
    const session = await octavo.InferenceSession.create(model, { worker: false });
    await session.run(image());
    await session.dispose();
  };
  for (let i = 0; i < 100; i++) await cycle();
  const before = process.memoryUsage().external;
  for (let i = 0; i < 1000; i++) await cycle();
  // WebAssembly's memory never shrinks: what had leaked would show.
  assert.ok(process.memoryUsage().external - before < 4 << 20);
});
