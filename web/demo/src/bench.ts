// The benchmark page: variants of Octavo, and the visitor's own onnxruntime-web, on two models.
import {
  backendInfo,
  Model,
  quantizeModel,
  StaticQuantConfig,
  type Feeds,
  type Variant,
} from "octavo";
import digitsUrl from "../digits.npz?url";
import { ownDigits, synthetic } from "./dataset";
import { $, fill, h } from "./dom";
import { feedsOf } from "./feeds";
import { download } from "./files";
import { bytes as bytesText, ms, times } from "./format";
import { lab, race, type Timing } from "./lab";
import type { Contestant } from "./lab.worker";
import { runtimeFiles, type RuntimeFiles } from "./onnxruntime";
import { presets } from "./preprocess";
import { countRequests } from "./privacy";
import { problem, ProgressLine } from "./progress";
import { restore } from "./storage";
import { digitModel, type Task } from "./work";

type DType = "float" | "int8";
interface Candidate {
  name: string;
  /** For Octavo and for runtimes that read ONNX only. */
  own: Uint8Array;
  onnx: Uint8Array;
}
interface Entry {
  id: string;
  peer: "octavo" | "onnxruntime-web";
  dtype: DType;
  variant?: Variant;
  threads: number;
  chosen: boolean;
}
interface Row extends Entry, Partial<Timing> {
  model: string;
  loadMs?: number;
  error?: string;
}

const models = new Map<DType, Candidate>();
let feeds: Feeds | undefined;
let runtime: RuntimeFiles | undefined;
let entries: Entry[] = [];
let rows: Row[] = [];
const line = new ProgressLine($("bench-progress"), $("bench-problem"));

async function use(dtype: DType, name: string, source: Blob | Uint8Array) {
  const model = await Model.load(source);
  try {
    const own = await model.toCompact();
    models.set(dtype, { name, own, onnx: await model.toOnnx() });
    if (dtype === "float" || !feeds) {
      const [sample] = synthetic(model.inputMetadata, 1).samples;
      feeds = await feedsOf(sample!, model.inputMetadata, presets.none.values);
    }
  } finally {
    await model.dispose();
  }
}

/** What was quantized last, or else the digit model, quantized here. */
async function useLast() {
  const session = await restore();
  const file = session?.model.entries.find(({ path }) => /\.(onnx|octavo)$/i.test(path));
  if (session?.outcome && (session.model.own || session.model.entries.length === 1)) {
    await use("float", file?.path ?? "digits.onnx", file?.file ?? (await digitModel()));
    await use("int8", "int8", session.outcome.compact);
    return;
  }
  await use("float", "digits.onnx", await digitModel());
  const { samples } = await ownDigits(digitsUrl);
  const model = await Model.load(await digitModel());
  const config = new StaticQuantConfig({ weightGranularity: "per_channel" });
  const all = Promise.all(
    samples.slice(0, 100).map((one) => feedsOf(one, model.inputMetadata, presets.none.values)),
  );
  const small = await quantizeModel(model, config, await all);
  await use("int8", "int8", await small.toCompact());
  await Promise.all([small.dispose(), model.dispose()]);
}

function listEntries() {
  const { variant: fastest, threads } = backendInfo();
  const variants: Variant[] = fastest === "relaxed" ? ["relaxed", "simd"] : ["simd"];
  const counts = threads > 1 ? [1, threads] : [1];
  const before = new Map(entries.map(({ id, chosen }) => [id, chosen]));
  const list: Omit<Entry, "id" | "chosen">[] = [];
  for (const dtype of models.keys()) {
    for (const count of counts) {
      for (const variant of variants) list.push({ peer: "octavo", dtype, variant, threads: count });
    }
    if (runtime) list.push({ peer: "onnxruntime-web", dtype, threads: 1 });
  }
  entries = list.map((entry) => {
    const id = [entry.peer, entry.dtype, entry.variant, entry.threads].join("/");
    return { ...entry, id, chosen: before.get(id) ?? true };
  });
}

const variantText = (variant: Variant | undefined) =>
  variant === undefined ? "" : variant === "relaxed" ? "relaxed SIMD" : "SIMD";
const title = ({ peer, variant, threads }: Entry) =>
  [peer, variantText(variant), threads === 1 ? "1 thread" : `${threads} threads`]
    .filter(Boolean)
    .join(", ");

function showEntries() {
  listEntries();
  const group = (dtype: DType) => {
    const { name, own } = models.get(dtype)!;
    const heading = dtype === "float" ? "Float" : "Int8";
    return h(
      "div",
      { role: "group", class: "contestants", "aria-label": heading },
      h("h3", {}, heading, h("small", {}, `${name}, ${bytesText(own.length)} as .octavo`)),
      ...entries
        .filter((entry) => entry.dtype === dtype)
        .map((entry) => {
          const box = h("input", { type: "checkbox", id: entry.id });
          box.checked = entry.chosen;
          box.addEventListener("change", () => (entry.chosen = box.checked));
          return h(
            "div",
            { class: "field check" },
            box,
            h("label", { for: entry.id }, title(entry)),
          );
        }),
    );
  };
  fill($("contestants"), h("div", { class: "pair" }, ...[...models.keys()].map(group)));
}

async function run({ signal, onStep }: Task) {
  const chosen = entries.filter((entry) => entry.chosen);
  if (chosen.length === 0) throw new Error("Nothing is chosen; tick at least one contestant");
  if (!feeds) throw new Error("There is no model yet; choose one");
  rows = chosen.map((entry) => ({ ...entry, model: models.get(entry.dtype)!.name }));
  showRows();
  try {
    for (const [i, row] of rows.entries()) {
      signal.throwIfAborted();
      onStep({ text: `Opening ${title(row)}`, share: i / rows.length });
      const candidate = models.get(row.dtype)!;
      const contestant: Contestant =
        row.peer === "octavo"
          ? { bytes: candidate.own, variant: row.variant!, threads: row.threads }
          : { bytes: candidate.onnx, onnxRuntime: runtime! };
      try {
        row.loadMs = (await lab("open", row.id, contestant)).loadMs;
        await lab("answer", row.id, feeds);
      } catch (error) {
        row.error = (error as Error).message;
      }
    }
    const able = rows.filter(({ error }) => error === undefined);
    const timings = await race(
      able.map(({ id }) => id),
      feeds,
      {
        rounds: 9,
        turnMs: 120,
        signal,
        onRound: (done, total) =>
          onStep({ text: `Round ${done} of ${total}`, share: done / total }),
      },
    );
    for (const row of able) Object.assign(row, timings.get(row.id));
  } finally {
    for (const { id } of rows) await lab("close", id);
    showRows();
  }
}

function resultRow(row: Row, slowest: number, base: number | undefined) {
  const bar = h("span", { class: "bar-fill" });
  bar.style.inlineSize = row.medianMs ? `${(100 * row.medianMs) / slowest}%` : "0";
  const figures = row.error
    ? [h("td", { class: "soft", colspan: 4 }, row.error)]
    : [
        h(
          "td",
          { class: row.dtype },
          h("span", { class: "number" }, row.medianMs === undefined ? "…" : ms(row.medianMs)),
          h("span", { class: "bar-track", "aria-hidden": "true" }, bar),
        ),
        h("td", {}, row.p95Ms === undefined ? "" : ms(row.p95Ms)),
        h("td", {}, row.loadMs === undefined ? "" : ms(row.loadMs)),
        h("td", {}, row.medianMs && base ? times(base / row.medianMs) : ""),
      ];
  return h(
    "tr",
    {},
    h("th", { scope: "row" }, row.dtype === "float" ? "Float" : "Int8", h("small", {}, title(row))),
    ...figures,
  );
}

function showRows() {
  const medians = rows.flatMap(({ medianMs }) => medianMs ?? []);
  const base = rows.find(({ dtype, medianMs }) => dtype === "float" && medianMs)?.medianMs;
  const heads = ["Model", "Median", "95th percentile", "Load", "Speed"];
  fill(
    $("results"),
    h(
      "div",
      { class: "scroll", tabindex: 0, role: "region", "aria-label": "Results" },
      h(
        "table",
        { class: "measures" },
        h("thead", {}, h("tr", {}, ...heads.map((head) => h("th", { scope: "col" }, head)))),
        h("tbody", {}, ...rows.map((row) => resultRow(row, Math.max(...medians, 1e-9), base))),
      ),
    ),
    base !== undefined &&
      h(
        "p",
        { class: "soft" },
        "Speed is relative to the first float row. Load is the time from bytes to a session; the first of a kind starts its WebAssembly module too.",
      ),
  );
  $<HTMLButtonElement>("export").disabled = medians.length === 0;
}

function exportJson() {
  const device = {
    userAgent: navigator.userAgent,
    cores: navigator.hardwareConcurrency,
    crossOriginIsolated,
    when: new Date().toISOString(),
  };
  const list = rows.map(
    ({ model, peer, dtype, variant, threads, medianMs, p95Ms, minMs, samples, loadMs, error }) => ({
      model,
      peer,
      dtype: dtype === "float" ? "f32" : "int8",
      variant,
      threads,
      median_ms: medianMs,
      p95_ms: p95Ms,
      min_ms: minMs,
      samples,
      load_ms: loadMs,
      error,
    }),
  );
  download(
    "benchmark.json",
    `${JSON.stringify({ device, rows: list }, null, 2)}\n`,
    "application/json",
  );
}

function onFile(id: string, give: (files: File[]) => Promise<void> | void) {
  const input = $<HTMLInputElement>(id);
  input.addEventListener("change", async () => {
    problem($("bench-problem"));
    try {
      await give([...(input.files ?? [])]);
      showEntries();
    } catch (error) {
      problem($("bench-problem"), error);
    }
    input.value = "";
  });
}

onFile("float-file", ([file]) => use("float", file!.name, file!));
onFile("int8-file", ([file]) => use("int8", file!.name, file!));
onFile("runtime-files", (files) => {
  runtime = runtimeFiles(files);
  if (!runtime) {
    throw new Error(
      "These are not the files of onnxruntime-web; give ort.wasm.bundle.min.mjs and ort-wasm-simd-threaded.wasm",
    );
  }
  $("runtime-note").textContent = "onnxruntime-web takes part, on one thread.";
});
$("bench-run").addEventListener("click", () => void line.run(run));
$("export").addEventListener("click", exportJson);
const { reason } = backendInfo();
$("device").textContent = `${navigator.hardwareConcurrency} processors; ${reason}.`;
countRequests();
void line.run(async ({ onStep }) => {
  onStep({ text: "Loading the models" });
  await useLast();
  showEntries();
});
