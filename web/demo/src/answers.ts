// One question, two answers: the float and the int8 model side by side.
import type { Feeds } from "octavo";
import { $, fill, h } from "./dom";
import { ms, percent, shape } from "./format";
import { lab } from "./lab";
import type { Output } from "./lab.worker";
import { state } from "./state";
import { argmax, probabilities, quantile, rangeOf, relativeError } from "./statistics";
import { batchOf, isClassifier, topOf } from "./verdict";

type Slot = "float" | "int8";
const slots: readonly Slot[] = ["float", "int8"];

const titles: Record<Slot, string> = { float: "Float", int8: "Int8" };

/** Models with so few classes show all of them, in place. */
const fewClasses = 10;
const rowsShown = 5;
/** The time that is shown is the median of so many runs. */
const remembered = 15;

export const className = (index: number) => state.classes?.[index] ?? `class ${index}`;

/** A name, a bar and a number. */
export function barRow(name: string, share: number, text: string, first = false) {
  const bar = h("span", { class: "bar-fill" });
  bar.style.inlineSize = `${Math.max(0, Math.min(1, share)) * 100}%`;
  return h(
    "li",
    { class: first ? "first" : "" },
    h("span", { class: "name", title: name }, name),
    h("span", { class: "bar-track", "aria-hidden": "true" }, bar),
    h("span", { class: "value" }, text),
  );
}

class AnswerCard {
  readonly #top = h("p", { class: "top" }, "–");
  readonly #sure = h("p", { class: "sure" });
  readonly #time = h("p", { class: "time" });
  readonly #rows = h("ol", { class: "bars" });
  #times: number[] = [];

  constructor(readonly slot: Slot) {
    fill(
      $(`answer-${slot}`),
      h("header", {}, h("h3", {}, titles[slot]), this.#time),
      h("div", { class: "best" }, this.#top, this.#sure),
      this.#rows,
    );
  }

  clear(text = "") {
    this.#times = [];
    this.#top.textContent = "–";
    this.#sure.textContent = text;
    this.#time.textContent = "";
    fill(this.#rows);
  }

  say(text: string) {
    this.#sure.textContent = text;
  }

  show(output: Output & { ms: number }, feeds: Feeds, float?: Output) {
    this.#times = [...this.#times, output.ms].slice(-remembered);
    this.#time.textContent = ms(quantile(this.#times, 0.5));
    this.#time.title = "Median of the last runs, on this device";
    if (isClassifier(output, feeds)) {
      const scores = Array.from(output.data).slice(0, output.data.length / batchOf(feeds));
      this.#classes(probabilities(scores));
    } else this.#values(output, float);
  }

  #classes(p: number[]) {
    const best = argmax(p);
    this.#top.textContent = className(best);
    this.#top.classList.toggle("long", className(best).length > 2);
    this.#sure.textContent = percent(p[best]!);
    const few = p.length <= fewClasses;
    const shown = few ? p.map((value, index) => [index, value] as const) : topOf(p, rowsShown);
    fill(
      this.#rows,
      ...shown.map(([index, value]) =>
        barRow(className(index), value, percent(value, value > 0.9995 ? 0 : 1), index === best),
      ),
    );
  }

  #values({ dims, data }: Output, float?: Output) {
    this.#top.textContent = shape(dims);
    this.#top.classList.add("long");
    const [low, high] = rangeOf(data);
    const range = `${low.toPrecision(3)} to ${high.toPrecision(3)}`;
    const apart = float ? `, ${percent(relativeError(float.data, data))} from float` : "";
    this.#sure.textContent = `Values ${range}${apart}`;
    fill(this.#rows);
  }
}

let cards: Record<Slot, AnswerCard> | undefined;
const open = new Set<Slot>();
let next: Feeds | undefined;
let asking = false;
let lastFeeds: Feeds | undefined;

export function setUpAnswers() {
  cards = { float: new AnswerCard("float"), int8: new AnswerCard("int8") };
}

/** A slot's model has changed; undefined text: it is there. */
export function setSlot(slot: Slot, isOpen: boolean, text = "") {
  if (isOpen) open.add(slot);
  else open.delete(slot);
  cards?.[slot].clear(text);
  if (isOpen && lastFeeds) ask(lastFeeds);
}
export const sayInSlot = (slot: Slot, text: string) => {
  if (!open.has(slot)) cards?.[slot].say(text);
};

/** Asks the models that are there. While they think, only the latest question waits. */
export function ask(feeds: Feeds | undefined) {
  lastFeeds = feeds;
  next = feeds;
  if (!asking) void answerAll();
}

async function answerAll() {
  asking = true;
  try {
    while (next) {
      const feeds = next;
      next = undefined;
      let float: Output | undefined;
      for (const slot of slots) {
        if (!open.has(slot)) continue;
        const output = await lab("run", slot, feeds).catch(() => undefined);
        // The model may have been exchanged meanwhile.
        if (!output || !open.has(slot) || lastFeeds !== feeds) continue;
        cards![slot].show(output, feeds, float);
        if (slot === "float") {
          float = output;
          mark("first answer");
        }
      }
    }
  } finally {
    asking = false;
  }
}

/** When the first answer was there: for measurements. */
function mark(name: string) {
  if (performance.getEntriesByName(name).length === 0) performance.mark(name);
}
