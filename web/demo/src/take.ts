// What the visitor takes home: files, and lines to copy.
import { $, fill, h } from "./dom";
import { download } from "./files";
import { baseName, bytes } from "./format";
import { toJson } from "./recipe";
import { snippets, type Snippet } from "./snippets";
import { on, state, type Outcome } from "./state";

function fileButton(label: string, note: string, give: () => void) {
  return h(
    "button",
    { type: "button", class: "file-button", onclick: give },
    h("b", {}, label),
    h("span", {}, note),
  );
}

/** Tabs as the ARIA practices have them: arrow keys move, one tab stop. */
function tabs(snippets: Snippet[]) {
  const code = h("code", {});
  const panel = h(
    "pre",
    { role: "tabpanel", id: "snippet", tabindex: 0, "aria-labelledby": "tab-0" },
    code,
  );
  const said = h("span", { class: "soft", role: "status" });
  let current = 0;
  const buttons = snippets.map(({ label }, i) =>
    h(
      "button",
      {
        type: "button",
        role: "tab",
        id: `tab-${i}`,
        "aria-controls": "snippet",
        onclick: () => choose(i),
        onkeydown: (event: KeyboardEvent) => {
          const by = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
          if (by === undefined) return;
          choose((i + by + snippets.length) % snippets.length);
          buttons[current]!.focus();
          event.preventDefault();
        },
      },
      label,
    ),
  );
  function choose(i: number) {
    current = i;
    buttons.forEach((button, k) => {
      button.setAttribute("aria-selected", String(k === i));
      button.tabIndex = k === i ? 0 : -1;
    });
    code.textContent = snippets[i]!.code;
    panel.setAttribute("aria-labelledby", `tab-${i}`);
    said.textContent = "";
  }
  const copy = h(
    "button",
    {
      type: "button",
      class: "quiet",
      onclick: () =>
        navigator.clipboard.writeText(snippets[current]!.code).then(
          () => (said.textContent = "Copied"),
          () => (said.textContent = "Select the lines and copy them by hand"),
        ),
    },
    "Copy",
  );
  choose(0);
  return h(
    "div",
    { class: "snippets" },
    h(
      "div",
      { class: "row" },
      h("div", { role: "tablist", "aria-label": "The same model again" }, ...buttons),
      copy,
      said,
    ),
    panel,
  );
}

function show() {
  const card = $("take-card");
  const { outcome, model } = state;
  if (!outcome || !model) {
    fill(card, h("p", { class: "empty" }, "Quantize first: then the small model is here."));
    return;
  }
  fill(
    card,
    h("div", { class: "files" }, ...filesOf(outcome, baseName(model.name))),
    made(outcome),
  );
}

function filesOf({ compact, onnx, recipe, diagnosis }: Outcome, stem: string) {
  return [
    fileButton(".octavo", `${bytes(compact.length)}, for octavo/runtime`, () =>
      download(`${stem}_int8.octavo`, compact as Uint8Array<ArrayBuffer>),
    ),
    fileButton(".onnx", `${bytes(onnx.length)}, for any ONNX runtime (QDQ)`, () =>
      download(`${stem}_int8.onnx`, onnx as Uint8Array<ArrayBuffer>),
    ),
    fileButton("Recipe", "JSON, for every Octavo tool", () =>
      download(
        `${stem}_recipe.json`,
        `${JSON.stringify(toJson(recipe), null, 2)}\n`,
        "application/json",
      ),
    ),
    diagnosis &&
      fileButton("Report", "one HTML page that opens offline", () =>
        download(`${stem}_report.html`, diagnosis.html, "text/html"),
      ),
  ].filter((button) => button !== undefined);
}

function made({ recipe }: Outcome) {
  const { model, data, preprocess } = state;
  const images = data?.samples[0]?.image !== undefined;
  return tabs(snippets({ model: model!.name, recipe, ...(images ? { preprocess } : {}) }));
}

export function setUpTake() {
  on(["outcome", "preprocess"], show);
  show();
}
