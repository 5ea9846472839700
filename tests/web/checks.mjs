// What holds for the scenario's results wherever it ran.
import assert from "node:assert/strict";

export function checkTuned(tuned) {
  const { baseline, trials, best, onTrial, lines, journal, events } = tuned;
  assert.equal(baseline.index, 0);
  assert.equal(baseline.accuracy, 1);
  assert.deepEqual(
    trials.map(({ index }) => index),
    [1, 2, 3],
  );
  assert.ok(trials.every(({ error, latencyMs, recipe }) => !error && latencyMs > 0 && recipe));
  // A list of values stands for a recipe each.
  const algorithms = trials.map(({ recipe }) => recipe.static_quant.global.act_algorithm);
  assert.deepEqual(algorithms, ["minmax", "kl", "mse"]);
  assert.ok(tuned.success && trials[best - 1].holds);
  assert.equal(tuned.accuracy, trials[best - 1].accuracy);
  assert.ok(trials[best - 1].sizeBytes < baseline.sizeBytes / 2);
  assert.ok(tuned.pareto.includes(best) || trials[best - 1].sameAs);
  assert.match(tuned.decision, new RegExp(`^Trial ${best} `));
  assert.match(tuned.stopped, /no further recipe/);
  assert.deepEqual(
    onTrial.map(([{ index }]) => index),
    [0, 1, 2, 3],
  );
  assert.match(onTrial[1][1], /^trial 1 of at most 100/);
  assert.equal(lines.join(""), journal);
  assert.equal(lines.length, 5);
  for (const phase of ["load", "calibrate", "quantize", "evaluate"]) {
    assert.ok(
      events.some((event) => event.phase === phase),
      phase,
    );
  }
  assert.equal(events.at(-1).trial, 3);
}

export function checkDiagnosis(diagnosis) {
  assert.equal(diagnosis.samples, 10);
  assert.ok(diagnosis.agreement > 0.8);
  assert.ok(diagnosis.quantizedConstantBytes < diagnosis.floatConstantBytes / 2);
  const [output] = diagnosis.outputs;
  assert.equal(output.tensor, "logits");
  assert.ok(output.sqnrDb > 15 && output.sqnrDb < 60 && output.cosine > 0.98);
  const { bothSqnrDb } = diagnosis.errorSources;
  assert.ok(Math.abs(bothSqnrDb - output.sqnrDb) < 1e-9);
  const inner = diagnosis.tensors.filter(({ quantized }) => quantized);
  assert.ok(inner.length >= 3);
  for (const { low, high, clipped, histogram } of inner) {
    assert.ok(low < high && clipped >= 0 && clipped < 0.1);
    const sum = (counts) => counts.reduce((a, b) => a + b, 0);
    assert.ok(sum(histogram.float) > 0);
    assert.equal(sum(histogram.float), sum(histogram.quantized));
  }
  const conv = diagnosis.ops.find(({ op }) => op === "Conv");
  assert.ok(conv.quantized && conv.ownSqnrDb >= conv.sqnrDb - 3 && conv.weightSqnrDb > 20);
  assert.match(diagnosis.html, /^<!doctype html>/i);
  assert.doesNotMatch(diagnosis.html, /<script|http/);
}
