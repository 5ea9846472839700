// Reads and writes numpy's .npy files, as ONNX-Runtime-shaped tensors {type, dims, data}.
import { readFileSync, writeFileSync } from "node:fs";
import { crc32 } from "node:zlib";

const formats = {
  float32: ["<f4", Float32Array],
  float64: ["<f8", Float64Array],
  int64: ["<i8", BigInt64Array],
  uint64: ["<u8", BigUint64Array],
  int32: ["<i4", Int32Array],
  uint32: ["<u4", Uint32Array],
  int16: ["<i2", Int16Array],
  uint16: ["<u2", Uint16Array],
  int8: ["|i1", Int8Array],
  uint8: ["|u1", Uint8Array],
  bool: ["|b1", Uint8Array],
};

export function readNpy(path) {
  const bytes = readFileSync(path);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const [lengthBytes, length] =
    bytes[6] === 1 ? [2, view.getUint16(8, true)] : [4, view.getUint32(8, true)];
  const start = 8 + lengthBytes + length;
  const header = bytes.toString("latin1", 8 + lengthBytes, start);
  const descr = /'descr': *'([^']+)'/.exec(header)[1];
  const dims = /'shape': *\(([^)]*)\)/
    .exec(header)[1]
    .split(",")
    .filter((d) => d.trim())
    .map(Number);
  const found = Object.entries(formats).find(([, [code]]) => code.slice(1) === descr.slice(1));
  if (!found || descr[0] === ">" || /'fortran_order': *True/.test(header)) {
    throw new Error(`${path}: cannot read ${header}`);
  }
  const [type, [, TypedArray]] = found;
  const elements = dims.reduce((a, b) => a * b, 1);
  const data = bytes.buffer.slice(
    bytes.byteOffset + start,
    bytes.byteOffset + start + elements * TypedArray.BYTES_PER_ELEMENT,
  );
  return { type, dims, data: new TypedArray(data) };
}

function npyBytes({ type, dims, data }) {
  const [descr] = formats[type];
  const shape = dims.map((d) => `${d},`).join(" ");
  let header = `{'descr': '${descr}', 'fortran_order': False, 'shape': (${shape}), }`;
  header = header.padEnd(header.length + 63 - ((10 + header.length) % 64)) + "\n";
  const preamble = Buffer.from("\x93NUMPY\x01\x00\x00\x00", "latin1");
  preamble.writeUInt16LE(header.length, 8);
  const body = Buffer.from(data.buffer, data.byteOffset, data.byteLength);
  return Buffer.concat([preamble, Buffer.from(header, "latin1"), body]);
}

export function writeNpy(path, tensor) {
  writeFileSync(path, npyBytes(tensor));
}

/** Writes numpy's .npz, a ZIP file with an uncompressed member for each array. */
export function writeNpz(path, arrays) {
  const members = [];
  const directory = [];
  let offset = 0;
  for (const [name, tensor] of Object.entries(arrays)) {
    const file = Buffer.from(`${name}.npy`);
    const body = npyBytes(tensor);
    // From "version needed" to "extra length", the same in the local header and in the directory.
    const common = Buffer.alloc(26);
    common.writeUInt16LE(20, 0);
    common.writeUInt32LE(crc32(body), 10);
    common.writeUInt32LE(body.length, 14);
    common.writeUInt32LE(body.length, 18);
    common.writeUInt16LE(file.length, 22);
    members.push(Buffer.from("PK\x03\x04"), common, file, body);
    const location = Buffer.alloc(14);
    location.writeUInt32LE(offset, 10);
    directory.push(Buffer.from("PK\x01\x02\x14\x00"), common, location, file);
    offset += 30 + file.length + body.length;
  }
  const entries = Buffer.concat(directory);
  const end = Buffer.alloc(22);
  end.write("PK\x05\x06");
  const count = Object.keys(arrays).length;
  end.writeUInt16LE(count, 8);
  end.writeUInt16LE(count, 10);
  end.writeUInt32LE(entries.length, 12);
  end.writeUInt32LE(offset, 16);
  writeFileSync(path, Buffer.concat([...members, entries, end]));
}
