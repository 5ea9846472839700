// What every surface of the package must be able to do, in Node and in a browser alike: quantizes
// the digit model on the given samples and runs the result, as ONNX and as a compact file.
// `samples` is one array of floats, 28 x 28 each; the first `calibration` of them calibrate.
export async function scenario(octavo, runtime, { model, samples, calibration, options }) {
  const pixels = 28 * 28;
  const count = samples.length / pixels;
  const sample = (i) => samples.subarray(i * pixels, (i + 1) * pixels);
  const feeds = (data, n) => ({ input: { type: "float32", dims: [n, 1, 28, 28], data } });
  async function* loader() {
    for (let i = 0; i < calibration; i++) yield feeds(sample(i), 1);
  }
  const events = [];
  const float = await octavo.Model.load(model, options);
  const config = new octavo.StaticQuantConfig({ weightGranularity: "per_channel" });
  const small = await octavo.quantizeModel(float, config, loader(), calibration, null, {
    ...options,
    onProgress: (event) => events.push(event),
  });
  const onnx = await small.toOnnx();
  const compact = await small.toCompact();
  const sessions = [
    await octavo.InferenceSession.create(small, options),
    await octavo.InferenceSession.create(onnx, options),
    await runtime.InferenceSession.create(compact, options),
  ];
  const all = feeds(samples, count);
  const outputs = [];
  for (const session of sessions) outputs.push((await session.run(all)).logits.data);
  const report = small.report;
  const backend = sessions[0].backend;
  const [tuned, diagnosis] = [await tune(octavo, float, feeds, samples, options), await diagnose()];
  for (const owned of [...sessions, small, float]) await owned.dispose();
  const detached = samples.length === 0;
  return { onnx, compact, outputs, report, events, backend, detached, tuned, diagnosis };

  async function diagnose() {
    return octavo.diagnose(float, small, loader(), { ...options, iterations: 10 });
  }
}

/** The class of each row of logits. */
const classes = (logits) =>
  Array.from({ length: logits.length / 10 }, (_, i) => {
    const row = Array.from(logits.slice(10 * i, 10 * i + 10));
    return row.indexOf(Math.max(...row));
  });

/** The accuracy is the agreement with the float model. */
export async function tune(octavo, model, feeds, samples, options) {
  const count = samples.length / 784;
  const session = await octavo.InferenceSession.create(model, options);
  const wanted = classes((await session.run(feeds(samples, count))).logits.data);
  await session.dispose();
  const agreement = async (tried, labels) => {
    const found = classes((await tried.run(feeds(samples, count))).logits.data);
    await new Promise((resolve) => setTimeout(resolve));
    return found.filter((label, i) => label === labels[i]).length / labels.length;
  };
  const config = new octavo.TuningConfig({
    configSet: [
      new octavo.StaticQuantConfig({
        weightGranularity: "per_tensor",
        actAlgorithm: ["minmax", "kl"],
      }),
      [new octavo.StaticQuantConfig({ weightGranularity: "per_channel" })],
    ],
    tolerableLoss: 0.02,
    stopAtFirst: false,
  });
  const data = Array.from({ length: 8 }, (_, i) => feeds(samples.slice(784 * i, 784 * (i + 1)), 1));
  const trials = [];
  const lines = [];
  const events = [];
  const result = await octavo.autotune(model, config, agreement, [wanted], data, 8, null, {
    ...options,
    onTrial: (trial, message) => trials.push([trial, message]),
    onJournal: (line) => lines.push(line),
    onProgress: (event) => events.push(event),
  });
  const again = await octavo.InferenceSession.create(result.model, options);
  const accuracy = await agreement(again, wanted);
  await Promise.all([again.dispose(), result.model.dispose()]);
  return { ...result, model: undefined, onTrial: trials, lines, events, accuracy };
}
