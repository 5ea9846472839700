// Samples as pictures.
import { canvas2d, h } from "./dom";
import type { Sample } from "./feeds";
import type { NdArray } from "./npy";
import { rangeOf } from "./statistics";

const urls = new WeakMap<Blob, string>();
/** One address for a blob, as long as the page lives: the same samples are shown in many places. */
function urlOf(blob: Blob): string {
  let url = urls.get(blob);
  if (!url) urls.set(blob, (url = URL.createObjectURL(blob)));
  return url;
}

interface Planes {
  channels: number;
  height: number;
  width: number;
  at: (channel: number, pixel: number) => number;
}

/** An array as an image, if its shape is one's: H x W, C x H x W or H x W x C, perhaps after 1. */
export function planesOf({ dims, data }: NdArray): Planes | undefined {
  const sizes = dims.length > 3 && dims[0] === 1 ? dims.slice(1) : dims;
  const [a = 0, b = 0, c = 0] = sizes;
  const value = (i: number) => Number(data[i]);
  if (sizes.length === 2 && a > 3 && b > 3) {
    return { channels: 1, height: a, width: b, at: (_, p) => value(p) };
  }
  if (sizes.length !== 3) return undefined;
  if (a === 1 || a === 3) {
    return { channels: a, height: b, width: c, at: (k, p) => value(k * b * c + p) };
  }
  if (c === 1 || c === 3) {
    return { channels: c, height: a, width: b, at: (k, p) => value(p * c + k) };
  }
  return undefined;
}

/** Values stretched from the smallest (black) to the largest (white). `ink`: the other way round. */
export function paintPlanes(planes: Planes, ink = false): HTMLCanvasElement {
  const { channels, height, width, at } = planes;
  const pixels = height * width;
  const values = Float32Array.from({ length: channels * pixels }, (_, i) =>
    at(Math.floor(i / pixels), i % pixels),
  );
  const [low, high] = rangeOf(values);
  const scale = high > low ? 255 / (high - low) : 0;
  const image = new ImageData(width, height);
  for (let p = 0; p < pixels; p++) {
    for (let k = 0; k < 3; k++) {
      const value = (values[Math.min(k, channels - 1) * pixels + p]! - low) * scale;
      image.data[4 * p + k] = ink ? 255 - value : value;
    }
    image.data[4 * p + 3] = 255;
  }
  const { canvas, context } = canvas2d(width, height);
  context.putImageData(image, 0, 0);
  return canvas;
}

/** Pixels of an array that is painted in small: many of them are shown at once. */
const largest = 1 << 16;

/** A sample as an image or canvas of this many pixels, or a grey tile with its shape. */
export function picture(sample: Sample, size: number): HTMLElement {
  if (sample.image) {
    return h("img", {
      src: urlOf(sample.image),
      alt: sample.name,
      width: size,
      height: size,
      loading: "lazy",
      decoding: "async",
    });
  }
  const [array] = Object.values(sample.arrays ?? {});
  const planes = array && planesOf(array);
  if (!array || !planes || planes.height * planes.width > largest) {
    const shape = array ? array.dims.join("×") : "";
    return h(
      "span",
      { class: "tile", role: "img", "aria-label": `${sample.name}, ${shape}` },
      shape,
    );
  }
  const canvas = paintPlanes(planes, planes.channels === 1);
  canvas.setAttribute("role", "img");
  canvas.setAttribute("aria-label", sample.name);
  return canvas;
}
