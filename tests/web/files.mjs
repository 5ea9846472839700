// Files that the demo's tests give to the page: images, arrays, models with external data.
import { crc32, deflateSync } from "node:zlib";

function chunk(type, data) {
  const body = Buffer.concat([Buffer.from(type, "latin1"), data]);
  const out = Buffer.alloc(body.length + 8);
  out.writeUInt32BE(data.length, 0);
  body.copy(out, 4);
  out.writeUInt32BE(crc32(body), out.length - 4);
  return out;
}

/** A PNG file of 8-bit pixels, grey or RGB. */
export function png(pixels, width, height, channels = 1) {
  const header = Buffer.alloc(13);
  header.writeUInt32BE(width, 0);
  header.writeUInt32BE(height, 4);
  header[8] = 8;
  header[9] = channels === 3 ? 2 : 0;
  const stride = width * channels;
  const rows = Array.from({ length: height }, (_, y) =>
    Buffer.concat([Buffer.from([0]), Buffer.from(pixels.subarray(y * stride, (y + 1) * stride))]),
  );
  return Buffer.concat([
    Buffer.from("\x89PNG\r\n\x1a\n", "latin1"),
    chunk("IHDR", header),
    chunk("IDAT", deflateSync(Buffer.concat(rows))),
    chunk("IEND", Buffer.alloc(0)),
  ]);
}

// Just enough of Protocol Buffers: fields as [number, wire type, value], values as bytes or numbers.
function parse(bytes) {
  const fields = [];
  let at = 0;
  const varint = () => {
    let value = 0n;
    for (let shift = 0n; ; shift += 7n) {
      const byte = bytes[at++];
      value |= BigInt(byte & 0x7f) << shift;
      if (byte < 0x80) return value;
    }
  };
  while (at < bytes.length) {
    const tag = Number(varint());
    const wire = tag & 7;
    if (wire === 0) fields.push([tag >> 3, wire, varint()]);
    else {
      const size = wire === 2 ? Number(varint()) : wire === 5 ? 4 : 8;
      fields.push([tag >> 3, wire, bytes.subarray(at, at + size)]);
      at += size;
    }
  }
  return fields;
}
function varint(value) {
  const out = [];
  for (let rest = BigInt(value); ; rest >>= 7n) {
    if (rest < 0x80n) return Buffer.from([...out, Number(rest)]);
    out.push(Number(rest & 0x7fn) | 0x80);
  }
}
const write = (fields) =>
  Buffer.concat(
    fields.flatMap(([number, wire, value]) => [
      varint((number << 3) | wire),
      ...(wire === 0 ? [varint(value)] : wire === 2 ? [varint(value.length), value] : [value]),
    ]),
  );

/** {model, data}: an ONNX file with its weights in another file of this name. */
export function withExternalData(onnx, name) {
  const [graphField, initializer, rawData, location, externalData] = [7, 5, 9, 14, 13];
  const parts = [];
  let offset = 0;
  const entry = (key, value) =>
    write([
      [1, 2, Buffer.from(key)],
      [2, 2, Buffer.from(String(value))],
    ]);
  const outside = (tensor) => {
    const fields = parse(tensor);
    const raw = fields.find(([number]) => number === rawData)?.[2];
    if (!raw || raw.length < 64) return tensor;
    const where = { location: name, offset, length: raw.length };
    parts.push(raw);
    offset += raw.length;
    return write([
      ...fields.filter(([number]) => number !== rawData),
      [location, 0, 1n],
      ...Object.entries(where).map(([key, value]) => [externalData, 2, entry(key, value)]),
    ]);
  };
  const rewrite = (bytes, field, change) =>
    write(
      parse(bytes).map(([number, wire, value]) =>
        number === field ? [number, wire, change(value)] : [number, wire, value],
      ),
    );
  const model = rewrite(onnx, graphField, (graph) => rewrite(graph, initializer, outside));
  return { model, data: Buffer.concat(parts) };
}
