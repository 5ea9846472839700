// Reads NumPy's .npy and .npz files.
import type { TensorType, TypedArray } from "octavo";

/** An array in row-major order. */
export interface NdArray {
  type: TensorType;
  dims: readonly number[];
  data: TypedArray;
}

type ArrayType = { new (buffer: ArrayBuffer): TypedArray; readonly BYTES_PER_ELEMENT: number };
const types: Record<string, readonly [TensorType, ArrayType]> = {
  f2: ["float16", Uint16Array],
  f4: ["float32", Float32Array],
  f8: ["float64", Float64Array],
  i1: ["int8", Int8Array],
  u1: ["uint8", Uint8Array],
  b1: ["bool", Uint8Array],
  i2: ["int16", Int16Array],
  u2: ["uint16", Uint16Array],
  i4: ["int32", Int32Array],
  u4: ["uint32", Uint32Array],
  i8: ["int64", BigInt64Array],
  u8: ["uint64", BigUint64Array],
};

export function readNpy(bytes: Uint8Array, name: string): NdArray {
  const magic = String.fromCharCode(...bytes.subarray(1, 6));
  if (bytes[0] !== 0x93 || magic !== "NUMPY") {
    throw new Error(`‘${name}’ is not a NumPy file; save it with numpy.save`);
  }
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const short = bytes[6] === 1;
  const start = short ? 10 : 12;
  const end = start + (short ? view.getUint16(8, true) : view.getUint32(8, true));
  const header = new TextDecoder("latin1").decode(bytes.subarray(start, end));
  const descr = /'descr':\s*'([<>|=]?)(\w+)'/.exec(header);
  const entry = types[descr?.[2] ?? ""];
  if (!entry || descr?.[1] === ">") {
    throw new Error(
      `‘${name}’ holds values of a type that is not read here; save it as float32 or uint8`,
    );
  }
  if (header.includes("'fortran_order': True")) {
    throw new Error(`‘${name}’ is in Fortran order; save it with numpy.ascontiguousarray`);
  }
  const dims = (/'shape':\s*\(([^)]*)\)/.exec(header)?.[1] ?? "")
    .split(",")
    .filter((text) => text.trim())
    .map(Number);
  const [type, array] = entry;
  const length = dims.reduce((product, dim) => product * dim, 1) * array.BYTES_PER_ELEMENT;
  if (bytes.length < end + length) {
    throw new Error(`‘${name}’ is cut off; copy it again`);
  }
  return { type, dims, data: new array(bytes.slice(end, end + length).buffer) };
}

/** The arrays of an .npz file by their names. */
export async function readNpz(bytes: Uint8Array, name: string): Promise<Map<string, NdArray>> {
  const { unzip } = await import("fflate");
  const files = await new Promise<Record<string, Uint8Array>>((resolve, reject) =>
    unzip(bytes, { filter: (file) => file.name.endsWith(".npy") }, (error, data) =>
      error
        ? reject(new Error(`‘${name}’ is not an .npz archive; save it with numpy.savez`))
        : resolve(data),
    ),
  );
  return new Map(
    Object.entries(files).map(([file, data]) => [
      file.replace(/\.npy$/, ""),
      readNpy(data, `${name}/${file}`),
    ]),
  );
}

/** Part `index` along the first axis; no copy. */
export function part({ type, dims, data }: NdArray, index: number): NdArray {
  const size = dims.slice(1).reduce((product, dim) => product * dim, 1);
  return { type, dims: dims.slice(1), data: data.subarray(index * size, (index + 1) * size) };
}
