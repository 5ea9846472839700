// A line that says what is being done, how long it will take, and ends it.
import { fill, h } from "./dom";
import { isAbort, sentence, timeLeft } from "./format";
import type { Step, Task } from "./work";

/** Shows one sentence where something went wrong, or takes it away. */
export function problem(element: HTMLElement, error?: unknown) {
  element.hidden = error === undefined;
  element.textContent = error === undefined ? "" : sentence(error);
}

const running = new Map<AbortController, Promise<unknown>>();

/** Ends all tasks: what they work on is about to be exchanged. */
export async function cancelAll() {
  for (const abort of running.keys()) abort.abort();
  await Promise.allSettled(running.values());
}

export class ProgressLine {
  readonly #bar = h("progress", { max: 1, "aria-label": "Progress" });
  readonly #text = h("span", { class: "progress-text", role: "status" });
  readonly #stop = h("button", { type: "button", class: "quiet" }, "Cancel");
  #abort: AbortController | undefined;
  #said = 0;

  constructor(
    private readonly place: HTMLElement,
    private readonly problemPlace: HTMLElement,
  ) {
    fill(place, this.#bar, this.#text, this.#stop);
    this.#stop.addEventListener("click", () => this.#abort?.abort());
    this.#idle("");
  }

  #idle(text: string) {
    this.place.classList.remove("running");
    this.#text.textContent = text;
    this.#bar.value = 0;
    this.#abort = undefined;
  }

  #show({ text, share, etaMs }: Step) {
    if (share === undefined) this.#bar.removeAttribute("value");
    else this.#bar.value = share;
    // A screen reader would not come to an end with ten a second.
    const now = performance.now();
    const left = etaMs === undefined || etaMs === 0 ? "" : `, ${timeLeft(etaMs)}`;
    if (
      now - this.#said < 300 &&
      this.#text.textContent?.split(/[ ,]/)[0] === text.split(/[ ,]/)[0]
    ) {
      return;
    }
    this.#said = now;
    this.#text.textContent = `${text}${left}`;
  }

  /** Runs a task; what goes wrong is said in a sentence. True if it came to its end. */
  async run(task: (task: Task) => Promise<unknown>, done = ""): Promise<boolean> {
    if (this.#abort) return false;
    const abort = new AbortController();
    this.#abort = abort;
    problem(this.problemPlace);
    this.place.classList.add("running");
    this.#said = 0;
    this.#show({ text: "Beginning" });
    try {
      const work = task({ signal: abort.signal, onStep: (step) => this.#show(step) });
      running.set(abort, work);
      await work;
      this.#idle(done);
      return true;
    } catch (error) {
      this.#idle(isAbort(error) ? "Cancelled" : "");
      if (!isAbort(error)) problem(this.problemPlace, error);
      return false;
    } finally {
      running.delete(abort);
    }
  }
}
