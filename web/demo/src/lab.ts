// The page's side of lab.worker.ts, and races between models.
import type { Feeds } from "octavo";
import type { LabFunctions } from "./lab.worker";
import { connect } from "./rpc";
import { quantile } from "./statistics";

export const lab = connect<LabFunctions>(
  new Worker(new URL("./lab.worker.ts", import.meta.url), { type: "module" }),
);

export interface Timing {
  medianMs: number;
  p95Ms: number;
  minMs: number;
  /** Timed stretches. */
  samples: number;
}

/**
 * Times models in turns, so that whatever else the machine does meets them alike. A first turn of
 * each, before the engine's optimizing compiler is done, does not count.
 */
export async function race(
  slots: readonly string[],
  feeds: Feeds,
  { rounds = 7, turnMs = 60, signal, onRound }: RaceOptions = {},
): Promise<Map<string, Timing>> {
  const samples = new Map(slots.map((slot) => [slot, [] as number[]]));
  for (let round = 0; round <= rounds; round++) {
    for (const slot of slots) {
      signal?.throwIfAborted();
      const turn = await lab("turn", slot, feeds, turnMs);
      if (round > 0) samples.get(slot)!.push(...turn);
    }
    onRound?.(round, rounds);
  }
  return new Map(
    [...samples].map(([slot, values]) => [
      slot,
      {
        medianMs: quantile(values, 0.5),
        p95Ms: quantile(values, 0.95),
        minMs: Math.min(...values),
        samples: values.length,
      },
    ]),
  );
}
interface RaceOptions {
  rounds?: number;
  turnMs?: number;
  signal?: AbortSignal;
  onRound?: (done: number, total: number) => void;
}
