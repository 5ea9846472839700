// What both models are asked: a drawn digit, or one of the samples.
import { $, fill } from "./dom";
import { ask, sayInSlot, setSlot, setUpAnswers, className } from "./answers";
import { setUpDrawing, side } from "./draw";
import { picture } from "./picture";
import { random } from "./statistics";
import { on, state } from "./state";
import { headline } from "./verdict";
import { feedMaker } from "./work";

const inkFeeds = (ink: Uint8Array) => ({
  input: { type: "float32", dims: [1, 1, side, side], data: Float32Array.from(ink) },
});

let picked = 0;

async function askPicked() {
  const sample = state.data?.samples[picked];
  if (!state.model || state.model.own) return;
  if (!sample) {
    fill($("picked"), "Add data below, and its samples are asked here.");
    return ask(undefined);
  }
  fill($("picked"), picture(sample, 280));
  if (sample.label !== undefined) $("picked").append(` ${className(sample.label)}`);
  try {
    ask(await feedMaker()(sample));
  } catch {
    // The preview of the preprocessing says what is wrong.
    ask(undefined);
  }
}

function showGist() {
  const { outcome, model } = state;
  const gist = $("gist");
  if (outcome) gist.textContent = headline(outcome.verdict).text;
  else
    gist.textContent =
      model && !model.own
        ? "Add data, then quantize: the int8 answers appear beside the float ones."
        : "";
}

export function setUpQuestion() {
  setUpAnswers();
  const next = random(5);
  const drawing = setUpDrawing(
    (ink) => ask(inkFeeds(ink)),
    (digit) => {
      const samples = state.data?.samples.filter(
        ({ label }) => digit === undefined || label === digit,
      );
      const sample = samples?.[Math.floor(next() * samples.length)];
      const data = Object.values(sample?.arrays ?? {})[0]?.data;
      return data?.length === side * side ? Uint8Array.from(data as Uint8Array) : undefined;
    },
  );
  const askDrawn = () => ask(inkFeeds(drawing.ink()));
  $("clear").addEventListener("click", drawing.clear);
  $("another").addEventListener("click", () => {
    if (state.model?.own !== false) return drawing.place();
    picked = (picked + 1) % Math.max(1, state.data?.samples.length ?? 1);
    void askPicked();
  });
  on("model", () => {
    const own = state.model?.own === true;
    $("draw-panel").hidden = !own;
    $("pick-panel").hidden = own;
    $("clear").hidden = !own;
    picked = 0;
    if (own) askDrawn();
    else void askPicked();
  });
  on(["data", "preprocess"], () => void askPicked());
  on(["model", "outcome"], () => {
    if (state.outcome) setSlot("int8", true);
    else setSlot("int8", false, state.model?.own ? "" : "not quantized yet");
    showGist();
  });
  on("busy", () => {
    sayInSlot("int8", state.busy ? "being made …" : state.model?.own ? "" : "not quantized yet");
  });
  return askDrawn;
}
