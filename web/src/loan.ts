// How the tensors of a run reach a worker.
import type { WireTensor } from "./tensor.js";

export interface Loan {
  tensors: WireTensor[];
  transfer: Transferable[];
  /** The worker has read the tensors. */
  end(): void;
}

const buffersOf = (tensors: WireTensor[]) => [
  ...new Set(
    tensors.flatMap(({ bytes }) =>
      bytes instanceof Uint8Array ? [bytes.buffer as ArrayBuffer] : [],
    ),
  ),
];

/** The tensors' own buffers, which are empty afterwards. */
export const given = (tensors: WireTensor[]): Loan => ({
  tensors,
  transfer: buffersOf(tensors),
  end: () => undefined,
});

/** More are needed only where runs wait for each other. */
const mostFree = 4;

/**
 * Lends copies. Where memory can be shared they are in buffers that serve later runs again: what a
 * message takes for 600 kB, 0.4 ms, is spent on memory that has never been touched.
 */
export class Lender {
  #free: SharedArrayBuffer[] = [];

  lend(tensors: WireTensor[]): Loan {
    if (typeof SharedArrayBuffer === "undefined") {
      return given(
        tensors.map((tensor) => ({ ...tensor, bytes: tensor.bytes.slice() }) as WireTensor),
      );
    }
    const lent: SharedArrayBuffer[] = [];
    const copies = tensors.map((tensor) => {
      if (!(tensor.bytes instanceof Uint8Array)) return tensor;
      const { length } = tensor.bytes;
      const at = this.#free.findIndex(({ byteLength }) => byteLength >= length);
      const buffer = this.#free.splice(at, at < 0 ? 0 : 1)[0] ?? new SharedArrayBuffer(length);
      lent.push(buffer);
      const bytes = new Uint8Array(buffer, 0, length);
      bytes.set(tensor.bytes);
      return { ...tensor, bytes };
    });
    const end = () => void (this.#free = [...lent, ...this.#free].slice(0, mostFree));
    return { tensors: copies, transfer: [], end };
  }
}
