// Runs models side by side in one worker, without any message between question and answer: what is
// timed is the model. The page asks through lab.ts.
import { InferenceSession, type Feeds, type Variant } from "octavo";
import { openOnnxRuntime, type RuntimeFiles } from "./onnxruntime";
import { expose } from "./rpc";

export interface Contestant {
  bytes: Uint8Array;
  variant?: Variant;
  threads?: number;
  /** Run it with this copy of onnxruntime-web instead. */
  onnxRuntime?: RuntimeFiles;
}
interface Opened {
  loadMs: number;
  /** "relaxed SIMD, 4 threads" */
  backend: string;
  threads: number;
}
export interface Output {
  dims: readonly number[];
  data: ArrayLike<number>;
}
export interface Runner {
  run(feeds: Feeds): Promise<Output>;
  close(): Promise<void>;
  /** Bytes that a run needs, after the first one. */
  memory?: () => number | undefined;
  backend: string;
  threads: number;
}

async function openOctavo({ bytes, variant, threads }: Contestant): Promise<Runner> {
  const session = await InferenceSession.create(bytes, {
    worker: false,
    ...(variant ? { variant } : {}),
    ...(threads ? { threads } : {}),
  });
  const name = session.outputNames[0]!;
  const { backend } = session;
  return {
    async run(feeds) {
      const { dims, data } = (await session.run(feeds))[name]!;
      return { dims, data: data as unknown as ArrayLike<number> };
    },
    close: () => session.dispose(),
    memory: () => session.memoryBytes,
    backend: backend.variant === "relaxed" ? "relaxed SIMD" : "SIMD",
    threads: backend.threads,
  };
}

const runners = new Map<string, Runner>();
const runnerOf = (slot: string) => {
  const runner = runners.get(slot);
  if (!runner) throw new Error(`no model is open as '${slot}'`);
  return runner;
};

const functions = {
  async open(slot: string, contestant: Contestant): Promise<Opened> {
    const start = performance.now();
    const runner = contestant.onnxRuntime
      ? await openOnnxRuntime(contestant.bytes, contestant.onnxRuntime)
      : await openOctavo(contestant);
    // What was there stays if the new one cannot be opened.
    await functions.close(slot);
    runners.set(slot, runner);
    const { backend, threads } = runner;
    return { loadMs: performance.now() - start, backend, threads };
  },
  async close(slot: string) {
    const runner = runners.get(slot);
    runners.delete(slot);
    await runner?.close();
  },
  /** The first output, and how long a run takes: of many, if it is short for the clock. */
  async run(slot: string, feeds: Feeds): Promise<Output & { ms: number }> {
    const runner = runnerOf(slot);
    const first = performance.now();
    const output = await runner.run(feeds);
    const start = performance.now();
    if (start - first > 20) return { ...output, ms: start - first };
    // The first one had to fetch its weights from memory; it does not count.
    for (let runs = 1; ; runs++) {
      await runner.run(feeds);
      const elapsed = performance.now() - start;
      if (elapsed > 3) return { ...output, ms: elapsed / runs };
    }
  },
  /** Bytes that a run needs: constants and activations. */
  memory: (slot: string) => runnerOf(slot).memory?.() ?? 0,
  /** The first output alone. */
  answer: (slot: string, feeds: Feeds): Promise<Output> => runnerOf(slot).run(feeds),
  /**
   * One turn of a race: runs for about `turnMs`, and gives the milliseconds of each timed stretch,
   * divided by the runs in it. A stretch is long enough for the clock, whose steps are up to 0.1 ms.
   */
  async turn(slot: string, feeds: Feeds, turnMs: number): Promise<number[]> {
    const runner = runnerOf(slot);
    const first = performance.now();
    await runner.run(feeds);
    const stretch = Math.max(1, Math.ceil(2 / Math.max(performance.now() - first, 0.005)));
    const samples: number[] = [];
    const begin = performance.now();
    do {
      const start = performance.now();
      for (let i = 0; i < stretch; i++) await runner.run(feeds);
      samples.push((performance.now() - start) / stretch);
    } while (performance.now() - begin < turnMs);
    return samples;
  },
};
export type LabFunctions = typeof functions;

expose(functions);
