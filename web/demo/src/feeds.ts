// Makes what a model's inputs want of a sample.
import type { Feeds, TensorLike, ValueMetadata } from "octavo";
import { contextOf } from "./dom";
import { shape } from "./format";
import type { NdArray } from "./npy";
import { isIdentity, normalize, place, type Preprocess } from "./preprocess";

/** One sample: an image, or an array for each input ("" for the only one). */
export interface Sample {
  name: string;
  label?: number;
  image?: Blob;
  arrays?: Record<string, NdArray>;
}

/** Where the channels, height and width of an image input are. */
interface ImageInput {
  name: string;
  batch: number;
  channels: number;
  height: number;
  width: number;
  planes: boolean;
  integers: boolean;
}

const sizeOf = (dim: number | string | null | undefined) =>
  typeof dim === "number" && dim > 0 ? dim : undefined;

/** How the model takes images; undefined: it does not. */
export function imageInput(
  inputs: readonly ValueMetadata[],
  { layout, size }: Pick<Preprocess, "layout" | "size">,
): ImageInput | undefined {
  const [input] = inputs;
  const dims = input?.shape;
  if (!input || !dims || inputs.length !== 1 || (dims.length !== 4 && dims.length !== 3)) {
    return undefined;
  }
  const [n, a, b, c] = dims.length === 4 ? dims : [1, ...dims];
  const isChannels = (dim: number | string | null | undefined) => dim === 1 || dim === 3;
  const planes = layout === "nchw" || (layout === "auto" && (isChannels(a) || !isChannels(c)));
  const [channels, height, width] = planes ? [a, b, c] : [c, a, b];
  return {
    name: input.name,
    batch: dims.length === 4 ? (sizeOf(n) ?? 1) : 0,
    channels: sizeOf(channels) ?? 3,
    height: sizeOf(height) ?? size[0],
    width: sizeOf(width) ?? size[1],
    planes,
    integers: input.type === "uint8",
  };
}

let scratch: OffscreenCanvas | undefined;

/** The pixels that the network will see of an image, before they are normalized. */
async function pixelsOf(
  image: Blob,
  { width, height }: { width: number; height: number },
  { resize, pad }: Preprocess,
  name: string,
): Promise<Uint8ClampedArray> {
  const bitmap = await createImageBitmap(image).catch(() => {
    throw new Error(`‘${name}’ is not an image that this browser can read; leave it out`);
  });
  try {
    const region = place(bitmap, width, height, resize);
    if (!region) {
      throw new Error(
        `‘${name}’ is ${bitmap.width} × ${bitmap.height}, the model takes ${width} × ${height}; choose another way of resizing`,
      );
    }
    scratch ??= new OffscreenCanvas(width, height);
    scratch.width = width;
    scratch.height = height;
    const context = contextOf(scratch as unknown as HTMLCanvasElement);
    context.imageSmoothingQuality = "high";
    context.fillStyle = `rgb(${pad} ${pad} ${pad})`;
    context.fillRect(0, 0, width, height);
    context.drawImage(bitmap, ...region.source, ...region.target);
    return context.getImageData(0, 0, width, height).data;
  } finally {
    bitmap.close();
  }
}

async function fromImage(
  sample: Sample,
  input: ImageInput,
  preprocess: Preprocess,
): Promise<TensorLike> {
  const pixels = await pixelsOf(sample.image!, input, preprocess, sample.name);
  const { batch, channels, height, width, planes } = input;
  const one = normalize(pixels, channels, planes, preprocess);
  const dims = planes ? [channels, height, width] : [height, width, channels];
  const data = repeat(one, Math.max(1, batch));
  return input.integers
    ? { type: "uint8", dims: withBatch(batch, dims), data: Uint8Array.from(data) }
    : { type: "float32", dims: withBatch(batch, dims), data };
}

const withBatch = (batch: number, dims: number[]) => (batch ? [batch, ...dims] : dims);

/** A model with a fixed batch gets the same sample that often. */
function repeat(one: Float32Array, batch: number): Float32Array {
  if (batch === 1) return one;
  const all = new Float32Array(one.length * batch);
  for (let i = 0; i < batch; i++) all.set(one, i * one.length);
  return all;
}

const product = (dims: readonly number[]) => dims.reduce((a, b) => a * b, 1);

/** Sizes for an input's symbolic and unknown dimensions, so that `elements` fit. */
function dimsFor(input: ValueMetadata, array: NdArray, name: string): number[] {
  const wanted = input.shape;
  if (!wanted) return [...array.dims];
  const elements = product(array.dims);
  const dims = wanted.map((dim, axis) => sizeOf(dim) ?? (axis === 0 ? 1 : undefined));
  const open = dims.flatMap((dim, axis) => (dim === undefined ? [axis] : []));
  // What the model leaves open is taken from the array, from its last axis backwards.
  for (const axis of open) {
    dims[axis] = array.dims.at(axis - wanted.length) ?? 1;
  }
  const known = dims as number[];
  if (product(known) !== elements) {
    throw new Error(
      `‘${name}’ has the shape ${shape(array.dims)}, but the input ‘${input.name}’ takes ${shape(input.shape)}; save the samples along the first axis`,
    );
  }
  return known;
}

/** height x width x channels bytes for a model that takes channels first. */
function channelsFirst(array: NdArray, dims: readonly number[]): NdArray {
  const [h, w, c] = array.dims;
  const [channels, height, width] = dims.slice(-3);
  const wrongWay = c === channels && h === height && w === width && c !== 1;
  if (array.type !== "uint8" || array.dims.length !== 3 || dims.length < 3 || !wrongWay) {
    return array;
  }
  const data = new Uint8Array(array.data.length);
  for (let p = 0; p < h! * w!; p++) {
    for (let k = 0; k < c!; k++) data[k * h! * w! + p] = Number(array.data[p * c! + k]);
  }
  return { type: "uint8", dims: [c!, h!, w!], data };
}

function fromArray(
  source: NdArray,
  input: ValueMetadata,
  preprocess: Preprocess,
  name: string,
): TensorLike {
  const fixed = input.shape?.map((dim) => sizeOf(dim) ?? 0) ?? [];
  const array = channelsFirst(source, fixed);
  const dims = dimsFor(input, array, name);
  if (array.type === input.type && (array.type !== "float32" || isIdentity(preprocess))) {
    return { type: array.type, dims, data: array.data };
  }
  if (input.type !== "float32") {
    const data = Array.from(array.data as ArrayLike<number>, Number);
    return { type: input.type, dims, data };
  }
  const { scale, mean, std } = preprocess;
  const channels = dims.length >= 3 ? dims[dims.length - 3]! : 1;
  const plane = product(dims.slice(-2));
  const data = new Float32Array(array.data.length);
  for (let i = 0; i < data.length; i++) {
    const c = mean.length > 1 || std.length > 1 ? Math.floor(i / plane) % channels : 0;
    const m = mean[Math.min(c, mean.length - 1)]!;
    const s = std[Math.min(c, std.length - 1)]!;
    data[i] = (Number(array.data[i]) * scale - m) / s;
  }
  return { type: "float32", dims, data };
}

/** The feeds of one sample. */
export async function feedsOf(
  sample: Sample,
  inputs: readonly ValueMetadata[],
  preprocess: Preprocess,
): Promise<Feeds> {
  if (sample.image) {
    const input = imageInput(inputs, preprocess);
    if (!input) {
      throw new Error(
        inputs.length > 1
          ? `The model has ${inputs.length} inputs; give it an .npz file with an array for each of them`
          : `The model's input ‘${inputs[0]?.name}’ takes ${shape(inputs[0]?.shape)}, not images; give it .npy or .npz files`,
      );
    }
    return { [input.name]: await fromImage(sample, input, preprocess) };
  }
  const arrays = sample.arrays!;
  return Object.fromEntries(
    inputs.map((input) => {
      const array =
        arrays[input.name] ?? (inputs.length === 1 ? Object.values(arrays)[0] : undefined);
      if (!array) {
        throw new Error(
          `The data have no array ‘${input.name}’, which the model reads; name the .npz file's arrays as the inputs`,
        );
      }
      return [input.name, fromArray(array, input, preprocess, sample.name)];
    }),
  );
}
