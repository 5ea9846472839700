// The npm package in Node: same bytes as the native portable backend, errors, disposal, abortion.
import assert from "node:assert/strict";
import { test } from "node:test";
import * as octavo from "../../web/dist/index.js";
import * as runtime from "../../web/dist/runtime.js";
import { calibration, model, nativeLogits, samples } from "./package.mjs";
import { checkDiagnosis, checkTuned } from "./checks.mjs";
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
    checkTuned(result.tuned);
    checkDiagnosis(result.diagnosis);
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
      /no option 'weightDtyp'; did you mean 'weightDtype'/,
    );
    for (const late of [config(), new octavo.TuningConfig()]) {
      assert.throws(() => (late.actAlgorithm = "kl"), /actAlgorithm/);
    }
    await assert.rejects(octavo.quantizeModel(model, config()), /calibration data/);
    await assert.rejects(
      octavo.quantizeModel(model, config(), [], 1, null, options),
      /calibration data is empty/,
    );
    const onlyCompact = runtime.InferenceSession.create(model, options);
    await assert.rejects(onlyCompact, /reads nothing else/);
    await session.dispose();
  });

  test(`quantized files are made again, byte for byte ${where}`, async () => {
    const feeds = Array.from({ length: 6 }, (_, i) => image(samples.slice(784 * i, 784 * (i + 1))));
    const small = await octavo.quantizeModel(model, config(), feeds, 6, null, options);
    const compact = await small.toCompact();
    for (const file of [await small.toOnnx(), compact]) {
      const found = await octavo.verify(file, model, [...feeds, ...feeds], options);
      assert.deepEqual([found.same, found.difference, found.samples], [true, "", 6]);
      assert.ok(found.recipe.static_quant);
    }
    const why = async (float, data) =>
      (await octavo.verify(compact, float, data, options)).difference;
    assert.match(await why(model, feeds.slice(1)), /6 samples; here there are 5/);
    assert.match(await why(model, feeds.toReversed()), /other data/);
    assert.match(await why(small, feeds), /another float model/);
    await assert.rejects(octavo.verify(model, model, feeds, options), /where it comes from/);
    await assert.rejects(octavo.verify(compact, model, null, options), /calibration data/);
    await small.dispose();
  });

  test(`use after disposal throws; disposing twice does not ${where}`, async () => {
    const session = await octavo.InferenceSession.create(model, options);
    assert.equal(session.memoryBytes, undefined);
    const running = session.run(image());
    await Promise.all([session.dispose(), session.dispose()]);
    assert.equal((await running).logits.dims[1], 10);
    assert.ok(session.memoryBytes > 20_000, "constants and activations");
    await assert.rejects(session.run(image()), octavo.DisposedError);
  });

  test(`steps of learned rounding ${where}`, async () => {
    const learned = (iters) =>
      new octavo.StaticQuantConfig({ rounding: "adaround", roundingIters: iters });
    const samples = Array.from({ length: 4 }, () => image());
    const events = [];
    const small = await octavo.quantizeModel(model, learned(5000), samples, 4, null, {
      ...options,
      onProgress: (event) => events.push(event),
    });
    await small.dispose();
    const steps = events.filter(({ phase, total }) => phase === "quantize" && total >= 5000);
    assert.ok(steps.length > 1, "told of some of them");
    assert.ok(steps.every(({ done }, i) => i === 0 || done >= steps[i - 1].done));

    // In the middle of a step that takes long.
    const controller = new AbortController();
    let last = 0;
    const endless = octavo.quantizeModel(model, learned(1e5), samples, 4, null, {
      ...options,
      signal: controller.signal,
      onProgress: ({ phase, total, done }) => {
        if (phase !== "quantize" || total < 1e5) return;
        last = done;
        controller.abort();
      },
    });
    await assert.rejects(endless, { name: "AbortError" });
    assert.ok(last > 0);
    // The engine goes on at once.
    const session = await octavo.InferenceSession.create(model, options);
    assert.equal((await session.run(image())).logits.data.length, 10);
    await session.dispose();
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

const tuning = (options) =>
  new octavo.TuningConfig({ strategy: "basic", tolerableLoss: -1, ...options });
const twoImages = [image(), image(samples.slice(784, 1568))];
const score = async (session) => (await session.run(image())).logits.data.length;

for (const worker of [true, false]) {
  const where = worker ? "in a worker" : "in the calling thread";

  test(`a stopped autotune gives the best so far, and its journal is resumed ${where}`, async () => {
    const stop = new AbortController();
    const options = { worker, stopSignal: stop.signal };
    let evaluations = 0;
    const evaluate = (session) => {
      evaluations++;
      return score(session);
    };
    const result = await octavo.autotune(model, tuning(), evaluate, [], twoImages, 2, null, {
      ...options,
      onTrial: ({ index }) => index === 3 && stop.abort(),
    });
    assert.equal(result.success, false);
    assert.equal(result.trials.length, 3);
    assert.match(result.stopped, /stopped/);
    assert.ok(result.best >= 1 && result.model.report.nodes.length > 0);
    const before = evaluations;
    const more = await octavo.autotune(
      model,
      tuning({ maxTrials: 4 }),
      evaluate,
      [],
      twoImages,
      2,
      null,
      { worker, resume: result.journal },
    );
    assert.equal(more.trials.length, 4);
    assert.deepEqual(
      more.trials.map(({ resumed }) => resumed),
      [true, true, true, false],
    );
    assert.ok(evaluations - before <= 1, "neither the float model nor the first trials again");
    assert.ok(more.journal.startsWith(result.journal));
    await Promise.all([result.model.dispose(), more.model.dispose()]);
  });

  test(`an aborted autotune rejects ${where}`, async () => {
    for (const abortIn of ["evaluation", "trial"]) {
      const controller = new AbortController();
      const never = () => new Promise(() => setTimeout(() => controller.abort()));
      const run = octavo.autotune(
        model,
        tuning(),
        abortIn === "evaluation" ? never : score,
        [],
        twoImages,
        2,
        null,
        {
          worker,
          signal: controller.signal,
          onTrial: ({ index }) => index === 1 && controller.abort(),
        },
      );
      await assert.rejects(run, { name: "AbortError" });
    }
  });
}

test("errors of evaluations: the float model's ends autotune, a trial's is recorded", async () => {
  const fails = () => {
    throw new TypeError("no labels");
  };
  const call = (evalFn, config = tuning({ maxTrials: 2 })) =>
    octavo.autotune(model, config, evalFn, [], twoImages, 2);
  await assert.rejects(call(fails), { name: "TypeError", message: "no labels" });
  await assert.rejects(
    call(() => "0.9"),
    /evalFn gives a number/,
  );
  let calls = 0;
  await assert.rejects(
    call((session) => (calls++ === 0 ? score(session) : fails())),
    { name: "NotFoundError", message: /no labels/ },
  );
  assert.equal(calls, 3);
  const typo = new octavo.TuningConfig({ maxTrial: 3 });
  await assert.rejects(call(score, typo), /no option 'maxTrial'; did you mean 'maxTrials'/);
  await assert.rejects(call(score, config()), /tuneConfig is a TuningConfig/);
});

test("the recipe of a trial, as configs again", async () => {
  const recipe = [
    new octavo.SmoothQuantConfig({ alpha: "auto" }),
    config().setLocal("Gemm", { actDtype: "fp32" }),
  ];
  const again = octavo.parseRecipe(JSON.stringify(recipe));
  assert.deepEqual(JSON.parse(JSON.stringify(again)), JSON.parse(JSON.stringify(recipe)));
  assert.ok(again[0] instanceof octavo.SmoothQuantConfig);
  assert.throws(() => octavo.parseRecipe({ static_qant: {} }), /no stage 'static_qant'/);
});

test("what a model consists of, before and after", async () => {
  const float = await octavo.Model.load(model);
  const before = await float.inspect();
  assert.ok(!before.quantized && before.parameters > 1000);
  assert.equal(before.constantBytes, 4 * before.parameters);
  assert.ok(before.nodes.some(({ op, quantized }) => op === "Conv" && quantized));
  const local = config().setLocal("Gemm", { actDtype: "fp32", weightDtype: "fp32" });
  const small = await octavo.quantizeModel(float, local, twoImages);
  const after = await small.inspect();
  assert.ok(after.quantized && after.constantBytes < before.constantBytes);
  const conv = after.nodes.find(({ op }) => op === "Conv");
  assert.match(conv.weights, /^i8/);
  assert.ok(after.nodes.some(({ op, quantized }) => op === "Gemm" && !quantized));
  await Promise.all([float.dispose(), small.dispose()]);
});

test("a model with unknown operators: all of them at once", async () => {
  // ONNX by hand: fields of protobuf messages as [number, bytes, text or integer].
  const message = (...fields) =>
    Buffer.concat(
      fields.map(([number, value]) => {
        if (typeof value === "number") return Buffer.from([number << 3, value]);
        const bytes = Buffer.from(value);
        return Buffer.concat([Buffer.from([(number << 3) | 2, bytes.length]), bytes]);
      }),
    );
  const node = (op, input, output) => message([1, input], [2, output], [4, op]);
  const value = (name) => message([1, name], [2, message([1, message([1, 1])])]);
  const graph = message(
    [1, node("Frobnicate", "x", "a")],
    [1, node("Relu", "a", "b")],
    [1, node("Defenestrate", "b", "y")],
    [2, "g"],
    [11, value("x")],
    [12, value("y")],
  );
  const strange = message([1, 8], [8, message([1, ""], [2, 17])], [7, graph]);
  await assert.rejects(octavo.Model.load(strange), (error) => {
    assert.ok(error instanceof octavo.UnsupportedOpError);
    assert.equal(error.name, "UnsupportedOpError");
    assert.deepEqual(error.operators.sort(), ["Defenestrate", "Frobnicate"]);
    return true;
  });
});

test("the options of every config as data, and as classes", async () => {
  const configs = await octavo.schema();
  assert.equal(configs[0].name, "StaticQuantConfig");
  assert.deepEqual(configs.at(-1).name, "TuningConfig");
  for (const { name, stage, options } of configs) {
    const defaults = Object.fromEntries(options.map((option) => [option.name, option.default]));
    const json = new octavo[name](defaults).toJSON();
    const keys = stage === "tuning" ? options.length : 1;
    assert.equal(Object.keys(json).length, keys, name);
    assert.ok(stage === "tuning" || stage in json);
    for (const option of options) {
      assert.ok(option.help && option.type && option.default !== undefined, option.name);
      if (option.choices) assert.ok(option.choices.includes(option.default), option.name);
    }
  }
  const { options } = configs[0];
  const weightDtype = options.find(({ name }) => name === "weightDtype");
  assert.ok(weightDtype.choices.includes("int8") && weightDtype.local);
  assert.equal(options.find(({ name }) => name === "whiteList").local, false);
});

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

test("runs that wait for each other keep their own feeds", async () => {
  const session = await octavo.InferenceSession.create(model);
  const inputs = Array.from({ length: 6 }, (_, i) => samples.slice(784 * i, 784 * (i + 1)));
  const runs = inputs.map((data) => session.run(image(data)));
  const together = (await Promise.all(runs)).map(({ logits }) => Array.from(logits.data));
  for (const [i, data] of inputs.entries()) {
    assert.deepEqual(Array.from((await session.run(image(data))).logits.data), together[i]);
  }
  assert.ok(new Set(together.map(String)).size > 1);
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
