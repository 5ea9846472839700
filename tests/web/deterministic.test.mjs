// With `deterministic`, a model that is quantized here is the file that the command line makes, byte
// for byte; and the integer outputs of one file are the native portable backend's.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import * as octavo from "../../web/dist/index.js";
import { octavo as cli, random, root, sharedFile, withFolder } from "../harness.mjs";
import { readNpy, writeNpy } from "../npy.mjs";

const count = 5;

function samplesFor(dims, seed) {
  const next = random(seed);
  const size = count * dims.reduce((a, b) => a * b, 1);
  // Sums of uniform numbers, which look like pixels after normalization.
  return Float32Array.from({ length: size }, () => 2 * (next() + next() + next()) - 3);
}

const digits = join(root, "tools/digits/digits.onnx");
const models = [
  ["digits", digits],
  // Integers of 16 bits compute in float, in another order here and there.
  ["digits, 16x8", digits, { actDtype: "int16", actSym: true }],
  ["digits, 16x16", digits, { actDtype: "uint16", weightDtype: "int16" }],
  ...["mobilenetv2", "squeezenet1.1", "kws", "resnet8"].map((name) => [
    name,
    sharedFile("models", `${name}.onnx`),
  ]),
];

/** Their last operators, Softmax or a pool, stay float. */
const floatEnds = ["kws", "resnet8", "squeezenet1.1"];

const flag = (name) => `--${name.replace(/[A-Z]/g, (c) => `-${c.toLowerCase()}`)}`;

for (const [name, path, types = {}] of models) {
  test(name, { skip: !path && "needs the shared models" }, () =>
    withFolder(async (folder) => {
      const file = (base) => join(folder, base);
      const float = await octavo.Model.load(path);
      const [input] = float.inputMetadata;
      const dims = input.shape.slice(1);
      const data = samplesFor(dims, 7);
      writeNpy(file("data.npy"), { type: "float32", dims: [count, ...dims], data });
      const feeds = Array.from({ length: count }, (_, i) => {
        const size = data.length / count;
        const sample = data.subarray(i * size, (i + 1) * size);
        return { [input.name]: { type: "float32", dims: [1, ...dims], data: sample } };
      });

      const config = { weightGranularity: "per_channel", ...types };
      const native = (output) => {
        const options = Object.entries(config).flatMap(([key, value]) => [flag(key), `${value}`]);
        const how = ["--no-check", "--deterministic", ...options];
        cli("quantize", path, "--data", file("data.npy"), "-o", file(output), ...how);
        return readFileSync(file(output));
      };
      const small = await octavo.quantizeModel(
        float,
        new octavo.StaticQuantConfig(config),
        feeds,
        count,
        null,
        { deterministic: true },
      );
      const onnx = Buffer.from(await small.toOnnx());
      assert.ok(onnx.equals(native("q.onnx")), "ONNX");
      assert.ok(Buffer.from(await small.toCompact()).equals(native("q.octavo")), ".octavo");

      const { nodes } = await small.inspect();
      const endsInIntegers = nodes.at(-1).quantized;
      assert.equal(endsInIntegers, !floatEnds.includes(name));
      const session = await octavo.InferenceSession.create(onnx);
      for (const [i, feed] of feeds.entries()) {
        const { dims, data } = feed[input.name];
        writeNpy(file(`x${i}.npy`), { type: "float32", dims, data });
        const paths = ["--input", `${input.name}=${file(`x${i}.npy`)}`, "--output-dir", folder];
        cli("run", file("q.onnx"), ...paths, "--backend", "portable");
        const outputs = await session.run(feed);
        for (const output of session.outputNames) {
          const expected = readNpy(file(`${output}.npy`)).data;
          if (endsInIntegers && !types.actDtype) {
            assert.deepEqual(outputs[output].data, expected, output);
          } else {
            // A float function of the same integers: other vectors, another order of summation. Of
            // 16 bits a few come out as their neighbours, and what reads them follows.
            const error = (x, i) => Math.abs(x - expected[i]) / (1 + Math.abs(expected[i]));
            const worst = Math.max(...outputs[output].data.map(error));
            assert.ok(worst < (types.actDtype ? 4 / 32767 : 1e-6), `${output}: ${worst}`);
          }
        }
      }
      await Promise.all([session.dispose(), small.dispose(), float.dispose()]);
    }),
  );
}
