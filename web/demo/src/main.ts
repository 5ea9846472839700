// Puts the page together: views, files that come in, and how it begins.
import { backendInfo, schema } from "octavo";
import { setSlot } from "./answers";
import { setUpDataCard } from "./data_card";
import { readClassNames, readDataset, synthetic } from "./dataset";
import { $ } from "./dom";
import { extension, fromInput, isModel, onDrop, type Entry } from "./files";
import { lab } from "./lab";
import { setUpLayers } from "./layers";
import { setUpModelCard } from "./model_card";
import { setUpPreprocessForm } from "./preprocess_form";
import { countRequests } from "./privacy";
import { cancelAll, ProgressLine, problem } from "./progress";
import { setUpQuestion } from "./question";
import { fromJson } from "./recipe";
import { setUpRecipeForm } from "./recipe_form";
import { restoreSession, setUpSaving } from "./session";
import { change, on, state } from "./state";
import { setUpTake } from "./take";
import { setUpTuning } from "./tune";
import { setUpVerdictCard } from "./verdict_card";
import { recordWebcam } from "./webcam";
import { awaitsParts, digitModel, isPart, openDigits, openModel, quantize } from "./work";

const quantizing = new ProgressLine($("quantize-progress"), $("quantize-problem"));
const runQuantize = () => quantizing.run((task) => quantize(state.recipe, task));

/** Shows what goes wrong in a section's own line, and brings that into view. */
async function inSection(section: "model" | "data", work: () => Promise<unknown>) {
  const line = $(`${section}-problem`);
  problem(line);
  $(section).classList.add("working");
  try {
    await cancelAll();
    await work();
  } catch (error) {
    problem(line, error);
    line.scrollIntoView({ block: "center" });
  } finally {
    $(section).classList.remove("working");
  }
}

async function takeData(entries: readonly Entry[]) {
  const [data, classes] = [await readDataset(entries), await readClassNames(entries)];
  if (!data && !classes) {
    const names = entries.map(({ path }) => `‘${path}’`).slice(0, 3);
    throw new Error(
      `${names.join(", ")} cannot be used as data; give images, .npy or .npz files, or a .txt file with a class on each line`,
    );
  }
  change({
    ...(data ? { data } : {}),
    ...(classes ? { classes } : data?.classes ? { classes: data.classes } : {}),
  });
}

async function takeRecipe({ file, path }: Entry) {
  let json: unknown;
  try {
    json = JSON.parse(await file.text());
  } catch {
    throw new Error(`‘${path}’ is not JSON; take a recipe that Octavo wrote`);
  }
  change({ recipe: { ...state.recipe, stages: fromJson(json, state.schema) } });
}

/** Whatever files come in, from wherever. */
async function take(entries: readonly Entry[]) {
  if (entries.length === 0) return;
  const recipe = entries.find(({ path }) => extension(path) === "json");
  if (recipe && entries.length === 1) return inSection("model", () => takeRecipe(recipe));
  const isOfModel = (entry: Entry) => isModel(entry) || isPart(entry);
  const others = entries.filter((entry) => !isOfModel(entry));
  if (entries.some(isModel) || (awaitsParts() && entries.some(isPart))) {
    // Beside a model, files without a use of their own are its external data.
    const parts = entries.filter((entry) => isOfModel(entry) || extension(entry.path) === "");
    await inSection("model", () => openModel(parts));
    if (!others.some(({ path }) => extension(path) !== "")) return;
  }
  if (others.length > 0) await inSection("data", () => takeData(others));
  else if (!entries.some(isModel)) await inSection("model", () => openModel(entries));
}

function describeDevice() {
  const { variant, threads, reason } = backendInfo();
  const simd = variant === "relaxed" ? "relaxed SIMD" : "SIMD";
  $("device").textContent =
    `Runs with ${simd} on ${threads === 1 ? "one thread" : `${threads} threads`} (${reason}). Everything is computed in this tab; neither model nor data leave it.`;
}

async function begin(askDrawn: () => void) {
  // The digit model answers before anything else is done.
  try {
    await lab("open", "float", { bytes: await digitModel() });
    setSlot("float", true);
    askDrawn();
    change({ schema: await schema() });
    if (await restoreSession()) return;
    await openDigits();
    await runQuantize();
  } catch (error) {
    problem($("model-problem"), error);
  }
}

setUpModelCard();
setUpPreprocessForm();
setUpRecipeForm();
setUpVerdictCard();
setUpLayers();
setUpTuning();
setUpTake();
setUpSaving();
setUpDataCard({
  onFiles: (entries) => void take(entries),
  onWebcam: () =>
    void inSection("data", async () => {
      const data = await recordWebcam();
      if (data) change({ data });
      $("webcam").focus();
    }),
  onSynthetic: () =>
    void inSection("data", async () => {
      if (state.model) change({ data: synthetic(state.model.model.inputMetadata) });
    }),
  onDigits: () => void inSection("model", openDigits),
});
const askDrawn = setUpQuestion();

$("quantize-run").addEventListener("click", () => void runQuantize());
on("busy", () => ($<HTMLButtonElement>("quantize-run").disabled = state.busy));
const modelFiles = $<HTMLInputElement>("model-files");
modelFiles.addEventListener("change", () => {
  void take(fromInput(modelFiles));
  modelFiles.value = "";
});
$("model-own").addEventListener("click", () =>
  inSection("model", async () => {
    await openDigits();
    await runQuantize();
  }),
);
onDrop((entries) => void take(entries));
countRequests();
describeDevice();
void begin(askDrawn);
