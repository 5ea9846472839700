// How pixels become what a network reads. The same fields, presets and meaning as the command
// line's --preprocess, so that a recipe made here can be repeated there.

export interface Preprocess {
  /** auto: short side to 256/224 of the model's size, then its middle; stretch: to exactly that size. */
  resize: "auto" | "stretch" | "letterbox" | "none";
  color: "rgb" | "bgr";
  /** y = (x * scale - mean) / std; mean and std one number, or one for each channel. */
  scale: number;
  mean: readonly number[];
  std: readonly number[];
  layout: "auto" | "nchw" | "nhwc";
  /** Value of a letterbox's border, 0 to 255. */
  pad: number;
  /** For models that leave it open: height and width in pixels. */
  size: readonly [height: number, width: number];
}

const plain: Preprocess = {
  resize: "auto",
  color: "rgb",
  scale: 1,
  mean: [0],
  std: [1],
  layout: "auto",
  pad: 114,
  size: [224, 224],
};

export const presets = {
  none: { label: "As they are (0 to 255)", values: plain },
  unit: { label: "0 to 1", values: { ...plain, scale: 1 / 255 } },
  torch: {
    label: "ImageNet mean and deviation (PyTorch)",
    values: { ...plain, scale: 1 / 255, mean: [0.485, 0.456, 0.406], std: [0.229, 0.224, 0.225] },
  },
  tf: { label: "−1 to 1 (TensorFlow)", values: { ...plain, scale: 1 / 127.5, mean: [1] } },
  caffe: {
    label: "BGR minus mean (Caffe)",
    values: { ...plain, color: "bgr", mean: [103.939, 116.779, 123.68] },
  },
  ink: {
    label: "Dark ink on paper, inverted (0 to 255)",
    values: { ...plain, scale: -1, mean: [-255] },
  },
} satisfies Record<string, { label: string; values: Preprocess }>;

export type PresetName = keyof typeof presets;

const same = (a: Preprocess, b: Preprocess) =>
  a.color === b.color &&
  Math.abs(a.scale - b.scale) < 1e-9 &&
  a.mean.join() === b.mean.join() &&
  a.std.join() === b.std.join();

/** The preset whose numbers these are. */
export const presetOf = (values: Preprocess): PresetName | undefined =>
  (Object.keys(presets) as PresetName[]).find((name) => same(values, presets[name].values));

/** A first guess: photographs of three channels are mostly normalized, one channel goes from 0 to 1. */
export const guess = (channels: number | undefined): Preprocess =>
  presets[channels === 3 ? "torch" : "unit"].values;

const one = (values: readonly number[]) => (values.length === 1 ? values[0] : values);

/** As the command line and the C++ library read it. */
export function toJson(values: Preprocess): object {
  const { resize, color, scale, mean, std, layout, pad, size } = values;
  return {
    resize: resize === "stretch" ? size : resize,
    ...(layout === "auto" ? {} : { layout }),
    color,
    scale,
    mean: one(mean),
    std: one(std),
    ...(resize === "letterbox" ? { pad } : {}),
  };
}

/** Whether values stay what they are. */
export const isIdentity = ({ scale, mean, std }: Preprocess) =>
  scale === 1 && mean.every((m) => m === 0) && std.every((s) => s === 1);

interface Region {
  /** The part of the image that is taken. */
  source: readonly [x: number, y: number, width: number, height: number];
  /** Where in the network's picture it goes. */
  target: readonly [x: number, y: number, width: number, height: number];
}

/** Which part of an image is seen, and where. Undefined: the sizes must match and do not. */
export function place(
  image: { width: number; height: number },
  width: number,
  height: number,
  resize: Preprocess["resize"],
): Region | undefined {
  const whole = [0, 0, image.width, image.height] as const;
  const all = [0, 0, width, height] as const;
  if (image.width === width && image.height === height) return { source: whole, target: all };
  if (resize === "none") return undefined;
  if (resize === "stretch") return { source: whole, target: all };
  if (resize === "letterbox") {
    const scale = Math.min(width / image.width, height / image.height);
    const [w, h] = [image.width * scale, image.height * scale];
    return { source: whole, target: [(width - w) / 2, (height - h) / 2, w, h] };
  }
  const scale = Math.max(width / image.width, height / image.height) * (256 / 224);
  const [w, h] = [width / scale, height / scale];
  return { source: [(image.width - w) / 2, (image.height - h) / 2, w, h], target: all };
}

/**
 * RGBA bytes as floats for the network: `channels` planes (1: luminance) in NCHW, or interleaved in
 * NHWC order.
 */
export function normalize(
  rgba: Uint8ClampedArray,
  channels: number,
  planes: boolean,
  { color, scale, mean, std }: Preprocess,
): Float32Array {
  const pixels = rgba.length / 4;
  const out = new Float32Array(pixels * channels);
  for (let c = 0; c < channels; c++) {
    const from = color === "bgr" ? 2 - c : c;
    const m = mean[Math.min(c, mean.length - 1)]!;
    const s = std[Math.min(c, std.length - 1)]!;
    for (let p = 0; p < pixels; p++) {
      const at = 4 * p;
      const x =
        channels === 1
          ? 0.299 * rgba[at]! + 0.587 * rgba[at + 1]! + 0.114 * rgba[at + 2]!
          : rgba[at + from]!;
      out[planes ? c * pixels + p : p * channels + c] = (x * scale - m) / s;
    }
  }
  return out;
}
