import type { Steps } from "./host.js";

export interface ProgressEvent {
  phase: "load" | "calibrate" | "quantize" | "evaluate" | "compare";
  done: number;
  /** 0 if it is not known. */
  total: number;
  /** Milliseconds that the phase will still take; undefined while nothing is known. */
  etaMs?: number;
  /** Of autotune; 0: the float model. */
  trial?: number;
}

const intervalMs = 100;

/** Tells a listener of progress, ten times a second at most; the end of a phase always. */
export class Progress {
  #phase: ProgressEvent["phase"] = "load";
  #total = 0;
  #begun = 0;
  #told = -Infinity;
  trial: number | undefined;

  constructor(private readonly listener?: (event: ProgressEvent) => void) {}

  begin(phase: ProgressEvent["phase"], total: number) {
    this.#phase = phase;
    this.#total = total;
    this.#begun = performance.now();
  }

  step(done: number) {
    const now = performance.now();
    if (now - this.#told < intervalMs) return;
    this.#told = now;
    const left = this.#total - done;
    this.#tell({
      done,
      total: this.#total,
      ...(left >= 0 && done > 0 ? { etaMs: ((now - this.#begun) / done) * left } : {}),
    });
  }

  /** Of an algorithm that works on what the data have shown. */
  steps(signal?: AbortSignal): Steps {
    const told = (done: number, total: number) => {
      if (this.#phase !== "quantize" || this.#total !== total) this.begin("quantize", total);
      this.step(done);
    };
    return { told, signal };
  }

  end(done: number) {
    this.#tell({ done, total: done, etaMs: 0 });
  }

  #tell(event: Omit<ProgressEvent, "phase">) {
    const trial = this.trial === undefined ? {} : { trial: this.trial };
    this.listener?.({ phase: this.#phase, ...event, ...trial });
  }
}
