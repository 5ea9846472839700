// What there is to calibrate and to judge with.
import { $, fill, h } from "./dom";
import { labelled, type DataKind } from "./dataset";
import { fromInput, type Entry } from "./files";
import { count } from "./format";
import { on, state } from "./state";
import { picture } from "./picture";
import { split } from "./work";
import { className } from "./answers";

const shownAtOnce = 28;

const kinds: Record<DataKind, string> = {
  digits: "The page’s digits",
  images: "Images",
  arrays: "Arrays",
  webcam: "Webcam",
  synthetic: "Synthetic",
};

function fileButton(
  label: string,
  attributes: Record<string, unknown>,
  give: (e: Entry[]) => void,
) {
  const input = h("input", {
    type: "file",
    multiple: true,
    class: "visually-hidden",
    "aria-label": label,
    ...attributes,
    onchange: () => {
      give(fromInput(input));
      input.value = "";
    },
  });
  return h("label", { class: "button" }, label, input);
}

interface DataSources {
  onFiles: (entries: Entry[]) => void;
  onWebcam: () => void;
  onSynthetic: () => void;
  onDigits: () => void;
}

export function setUpDataCard({ onFiles, onWebcam, onSynthetic, onDigits }: DataSources) {
  const digits = h("button", { type: "button", onclick: onDigits }, "The page’s digits");
  fill(
    $("data-sources"),
    fileButton("Files…", { id: "data-files" }, onFiles),
    fileButton("A folder…", { id: "data-folder", webkitdirectory: true }, onFiles),
    h("button", { type: "button", id: "webcam", onclick: onWebcam }, "Webcam…"),
    h("button", { type: "button", id: "synthetic", onclick: onSynthetic }, "Noise"),
    digits,
  );
  const show = () => {
    digits.hidden = !state.model?.own || state.data?.kind === "digits";
    showData();
  };
  on(["data", "model", "recipe"], show);
  show();
}

function showData() {
  const card = $("data-card");
  const { data, model } = state;
  if (!data) {
    fill(
      card,
      h(
        "p",
        { class: "empty" },
        model && !model.own
          ? "No data yet. Drop images, or .npy or .npz files; record some frames from the webcam; or take noise to see that it works."
          : "Loading the digits …",
      ),
    );
    return;
  }
  const { samples } = data;
  const { seen, fresh, judging } = split(data, state.recipe.samples);
  const known = labelled(data);
  const shown = data.kind === "synthetic" ? 4 : shownAtOnce;
  const use = fresh
    ? `The first ${seen.length} calibrate, ${judging.length} others judge.`
    : `${samples.length === 1 ? "It calibrates" : `All ${seen.length === samples.length ? "" : "of them "}calibrate`} and judge: too few to keep some apart.`;
  const labels =
    known === 0
      ? "No labels: answers are compared with the float model’s."
      : known < samples.length
        ? `${known} of ${samples.length} have labels.`
        : "";
  fill(
    card,
    h("h3", { class: "file" }, data.title, h("small", {}, kinds[data.kind])),
    data.kind === "synthetic" &&
      h(
        "p",
        { class: "warning" },
        "Noise is not what the model was made for: ranges will be wrong, and nothing can be said about accuracy. Good for size and speed only.",
      ),
    h("p", { class: "soft use" }, [use, labels].filter(Boolean).join(" ")),
    h(
      "ul",
      { class: "thumbs", "aria-label": "Samples" },
      ...samples
        .slice(0, shown)
        .map((sample, i) =>
          h(
            "li",
            { class: i < seen.length && fresh ? "seen" : "", title: sample.name },
            picture(sample, 48),
            sample.label !== undefined && h("span", {}, className(sample.label)),
          ),
        ),
    ),
    samples.length > shown &&
      h("p", { class: "soft" }, `and ${count(samples.length - shown)} more`),
  );
}
