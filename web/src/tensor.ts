import { invalidArgument } from "./make_error.js";

interface TypeInfo {
  dtype: string; // the core's name
  array: ArrayType;
}
type ArrayType = { new (buffer: ArrayBuffer): TypedArray; readonly BYTES_PER_ELEMENT: number };

export type TypedArray =
  | Float32Array
  | Float64Array
  | Int8Array
  | Uint8Array
  | Int16Array
  | Uint16Array
  | Int32Array
  | Uint32Array
  | BigInt64Array
  | BigUint64Array;

const types = {
  float32: { dtype: "f32", array: Float32Array },
  float64: { dtype: "f64", array: Float64Array },
  float16: { dtype: "f16", array: Uint16Array },
  bfloat16: { dtype: "bf16", array: Uint16Array },
  int8: { dtype: "i8", array: Int8Array },
  uint8: { dtype: "u8", array: Uint8Array },
  int4: { dtype: "i4", array: Int8Array },
  uint4: { dtype: "u4", array: Uint8Array },
  int16: { dtype: "i16", array: Int16Array },
  uint16: { dtype: "u16", array: Uint16Array },
  int32: { dtype: "i32", array: Int32Array },
  uint32: { dtype: "u32", array: Uint32Array },
  int64: { dtype: "i64", array: BigInt64Array },
  uint64: { dtype: "u64", array: BigUint64Array },
  bool: { dtype: "bool", array: Uint8Array },
  string: { dtype: "string", array: Uint8Array },
} satisfies Record<string, TypeInfo>;

/** Element types, by ONNX Runtime's names. 4-bit integers have a byte each. */
export type TensorType = keyof typeof types;

/** What is taken for a tensor: an `ort.Tensor` of ONNX Runtime will do. */
export interface TensorLike {
  readonly type: string;
  readonly dims: readonly number[];
  readonly data: ArrayLike<number> | ArrayLike<bigint> | ArrayLike<string>;
}
export type Feeds = Readonly<Record<string, TensorLike>>;

/** A dense tensor in row-major order. */
export class Tensor<Type extends TensorType = TensorType> implements TensorLike {
  readonly type: Type;
  readonly data: Type extends "string" ? readonly string[] : TypedArray;
  readonly dims: readonly number[];

  /**
   * As in ONNX Runtime. `data` is a typed array, which is not copied, or an array of numbers,
   * bigints, booleans or strings. `dims` is [data.length] unless it is given.
   */
  constructor(
    type: Type,
    data: TypedArray | readonly (number | bigint | boolean | string)[],
    dims: readonly number[] = [data.length],
  ) {
    const info = types[type] as TypeInfo | undefined;
    if (!info) {
      throw invalidArgument(
        `there is no tensor type '${type}'; the types are ${Object.keys(types).join(", ")}`,
      );
    }
    const elements = dims.reduce((product, dim) => product * dim, 1);
    if (dims.some((dim) => !Number.isSafeInteger(dim) || dim < 0) || elements !== data.length) {
      throw invalidArgument(
        `a tensor of dims [${dims.join(", ")}] does not have ${data.length} elements`,
      );
    }
    this.type = type;
    this.dims = [...dims];
    this.data = (
      type === "string" || ArrayBuffer.isView(data) ? data : fromNumbers(info.array, data)
    ) as never;
    if (type !== "string" && !(this.data instanceof (info.array as never))) {
      // Uint8ClampedArray, Node's Buffer and newer engines' Float16Array are welcome too.
      const view = this.data as TypedArray;
      if (view.BYTES_PER_ELEMENT !== info.array.BYTES_PER_ELEMENT) {
        throw invalidArgument(`a ${type} tensor wants a ${(info.array as never as Function).name}`);
      }
    }
  }
}

function fromNumbers(array: ArrayType, data: readonly unknown[]): TypedArray {
  const big = (array as unknown) === BigInt64Array || (array as unknown) === BigUint64Array;
  const values = data.map((value) =>
    big ? BigInt(value as number) : Number(value as number),
  ) as number[];
  return (array as unknown as Float32ArrayConstructor).from(values) as TypedArray;
}

/** A tensor as the core takes it. */
export interface WireTensor {
  name: string;
  dtype: string;
  dims: number[];
  bytes: Uint8Array | string[];
}

/** Feeds as the core takes them. The bytes are views of the caller's arrays. */
export function toWire(feeds: Feeds): WireTensor[] {
  if (typeof feeds !== "object" || feeds === null) {
    throw invalidArgument("feeds are an object of tensors by the names of the model's inputs");
  }
  return Object.entries(feeds).map(([name, tensor]) => {
    const info = types[tensor?.type as TensorType] as TypeInfo | undefined;
    if (!info || !tensor.dims || tensor.data === undefined) {
      throw invalidArgument(`the feed '${name}' is not a tensor {type, dims, data}`, name);
    }
    const { data } = tensor;
    const { dtype } = info;
    const dims = [...tensor.dims];
    if (dtype === "string") return { name, dtype, dims, bytes: Array.from(data as string[]) };
    const view = ArrayBuffer.isView(data)
      ? (data as TypedArray)
      : fromNumbers(info.array, Array.from(data as number[]));
    if (view.BYTES_PER_ELEMENT !== info.array.BYTES_PER_ELEMENT) {
      throw invalidArgument(
        `the feed '${name}' is ${tensor.type}, but its data have ${view.BYTES_PER_ELEMENT} bytes an element`,
        name,
      );
    }
    const bytes = new Uint8Array(view.buffer as ArrayBuffer, view.byteOffset, view.byteLength);
    return { name, dtype, dims, bytes };
  });
}

export function fromWire(tensors: WireTensor[]): Record<string, Tensor> {
  return Object.fromEntries(
    tensors.map(({ name, dtype, dims, bytes }) => {
      const type = typeOf(dtype);
      const data =
        bytes instanceof Uint8Array ? new types[type].array(bytes.buffer as ArrayBuffer) : bytes;
      return [name, new Tensor(type, data, dims)];
    }),
  );
}

export function typeOf(dtype: string): TensorType {
  const found = Object.entries(types).find(([, info]) => info.dtype === dtype);
  return (found?.[0] ?? "float32") as TensorType;
}
