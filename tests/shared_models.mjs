// The models of the shared folder: what their inputs look like, and the data they are calibrated
// and judged with.
import { join } from "node:path";
import { octavo, random, sharedFile, withFolder } from "./harness.mjs";
import { writeNpz } from "./npy.mjs";

// dims: sizes of symbolic dimensions; scale: random inputs are uniform in [0, scale), otherwise
// normal; inputs: tensors where the defaults do not do; calib, tests: under data/, read with
// `preprocess` (without calib, random inputs calibrate); limit: samples of the test data used.
export const sharedModels = {
  mobilenetv2: { calib: "imagenet/calib", tests: ["imagenet/test"], preprocess: "torch" },
  "squeezenet1.1": { calib: "imagenet/calib", tests: ["imagenet/test"], preprocess: "torch" },
  resnet20: {
    dims: { N: 1 },
    calib: "cifar10/calib.npy",
    tests: ["cifar10/clean.npy", "cifar10/test.npy"],
    preprocess: "torch",
  },
  resnet8: {
    scale: 255,
    calib: "cifar10/calib.npy",
    tests: ["cifar10/clean.npy", "cifar10/test.npy"],
    preprocess: "none",
  },
  vww96: { scale: 1, calib: "vww/calib.npy", tests: ["vww/test.npy"], preprocess: "unit" },
  kws: { calib: "kws/calib.npy", tests: ["kws/test.npy"], preprocess: "none" },
  mnist: {
    scale: 255,
    calib: "mnist/t10k-images-idx3-ubyte",
    tests: ["mnist/t10k-images-idx3-ubyte"],
    preprocess: "none",
    limit: 2000,
  },
  ad: {},
  ultraface: {
    calib: "imagenet/calib",
    preprocess: '{"resize": [240, 320], "mean": 127, "std": 128}',
  },
  yolox_nano: {
    scale: 255,
    calib: "imagenet/calib",
    preprocess: '{"resize": "letterbox", "pad": 114, "color": "bgr"}',
  },
  ppocr_cls: {
    dims: {
      "p2o.DynamicDimension.0": 1,
      "p2o.DynamicDimension.1": 48,
      "p2o.DynamicDimension.2": 192,
    },
  },
  deeplabv3: { calib: "imagenet/calib", preprocess: '{"preset": "tf", "resize": [513, 513]}' },
  nsnet2: { dims: { frames: 20 }, tolerance: 1e-3 },
  silero_vad: {
    dims: { batch: 1, sequence: 576 },
    tolerance: 1e-3,
    inputs: { sr: { type: "int64", dims: [], data: BigInt64Array.of(16000n) } },
  },
};

/** Random inputs for a model with this metadata ({name, type, shape} an input), by name. */
export function randomInputs(metadata, { dims = {}, scale, inputs = {} }, seed) {
  const next = random(seed);
  const normal = () => next() + next() + next() + next() - 2;
  return Object.fromEntries(
    metadata.map(({ name, type, shape }) => {
      if (inputs[name]) return [name, inputs[name]];
      if (type !== "float32") throw new Error(`input ${name}: add its values to the table`);
      const sizes = shape.map((d) => (typeof d === "number" ? d : dims[d]));
      if (sizes.includes(undefined)) throw new Error(`input ${name}: add ${shape} to the table`);
      const data = new Float32Array(sizes.reduce((a, b) => a * b, 1));
      for (let i = 0; i < data.length; i++) data[i] = scale ? next() * scale : normal();
      return [name, { type, dims: sizes, data }];
    }),
  );
}

/** Eight random samples as an .npz file; a leading batch axis of 1 counts the samples. */
function writeRandomSamples(path, metadata, spec) {
  const samples = Array.from({ length: 8 }, (_, i) => randomInputs(metadata, spec, 100 + i));
  const arrays = metadata.map(({ name }) => {
    const { type, dims, data } = samples[0][name];
    const all = new data.constructor(data.length * samples.length);
    samples.forEach((sample, i) => all.set(sample[name].data, i * data.length));
    return [
      name,
      { type, dims: [samples.length, ...(dims[0] === 1 ? dims.slice(1) : dims)], data: all },
    ];
  });
  writeNpz(path, Object.fromEntries(arrays));
}

/** Quantizes a model of the table with its calibration data. `metadata`: of its inputs. */
export async function quantizeShared(name, out, flags, metadata) {
  const spec = sharedModels[name];
  const run = (data, ...more) =>
    octavo(
      "quantize",
      sharedFile("models", `${name}.onnx`),
      "--data",
      data,
      ...more,
      ...flags,
      "-o",
      out,
    );
  if (spec.calib) return run(sharedFile("data", spec.calib), "--preprocess", spec.preprocess);
  return withFolder((folder) => {
    const samples = join(folder, "samples.npz");
    writeRandomSamples(samples, metadata, spec);
    return run(samples);
  });
}
