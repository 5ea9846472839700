// Saves what the page shows, and brings it back after a reload.
import { Model } from "octavo";
import { readDataset, synthetic, type Dataset } from "./dataset";
import { $ } from "./dom";
import { lab } from "./lab";
import { change, on, state } from "./state";
import { forget, restore, save, type Session } from "./storage";
import { datasetOfFrames } from "./webcam";
import { openDigits, openModel } from "./work";

/** After the last change. */
const delayMs = 400;

function current(): Session | undefined {
  const { model, data, classes, preprocess, recipe, outcome, trials } = state;
  if (!model) return undefined;
  let kept: Session["outcome"];
  if (outcome) {
    const { model: _, ...rest } = outcome;
    kept = rest;
  }
  return {
    model: { own: model.own, entries: model.entries },
    ...(data ? { data: { kind: data.kind, entries: data.entries } } : {}),
    ...(classes ? { classes } : {}),
    preprocess,
    recipe,
    ...(kept ? { outcome: kept } : {}),
    ...(trials ? { trials } : {}),
  };
}

export function setUpSaving() {
  const said = $("saved");
  const button = $<HTMLButtonElement>("forget");
  let timer: ReturnType<typeof setTimeout> | undefined;
  const write = async () => {
    const session = current();
    if (!session || state.busy) return;
    const kept = await save(session);
    said.textContent = kept
      ? "Kept in this browser: a reload loses nothing."
      : "This is not kept in the browser (too large, or not allowed): download what you need.";
    button.hidden = !kept;
  };
  on(["model", "data", "preprocess", "recipe", "outcome", "trials", "busy"], () => {
    clearTimeout(timer);
    timer = setTimeout(() => void write(), delayMs);
  });
  button.addEventListener("click", async () => {
    clearTimeout(timer);
    await forget();
    button.hidden = true;
    said.textContent = "Nothing is kept any more.";
  });
}

async function dataOf({
  kind,
  entries,
}: NonNullable<Session["data"]>): Promise<Dataset | undefined> {
  if (kind === "digits") return state.data;
  if (kind === "synthetic") return synthetic(state.model!.model.inputMetadata);
  return kind === "webcam" ? datasetOfFrames(entries) : readDataset(entries);
}

/** Shows the last session again; false if there is none. */
export async function restoreSession(): Promise<boolean> {
  const session = await restore();
  if (!session) return false;
  try {
    if (session.model.own) await openDigits();
    else await openModel(session.model.entries);
    const data = session.data && (await dataOf(session.data));
    const { preprocess, recipe, classes, outcome, trials } = session;
    change({ data, classes, preprocess, recipe });
    if (outcome) {
      const model = await Model.load(outcome.compact);
      await lab("open", "int8", { bytes: outcome.compact });
      change({ outcome: { ...outcome, model } });
    }
    change({ trials });
    return true;
  } catch {
    // Made by another version of the page, perhaps: it is not worth an error.
    await forget();
    return false;
  }
}
