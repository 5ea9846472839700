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
  for (const owned of [...sessions, small, float]) await owned.dispose();
  return { onnx, compact, outputs, report, events, backend, detached: samples.length === 0 };
}
