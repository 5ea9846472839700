// Records some frames of the webcam as calibration samples.
import type { Dataset } from "./dataset";
import type { Entry } from "./files";
import { canvas2d, h } from "./dom";
import { plural } from "./format";
import { problem } from "./progress";

const frames = 24;
const intervalMs = 250;

function explain(error: unknown): Error {
  const name = error instanceof DOMException ? error.name : "";
  if (name === "NotAllowedError") {
    return new Error("The browser was not allowed to use the camera; allow it beside the address");
  }
  if (name === "NotFoundError") return new Error("There is no camera here; drop images instead");
  return new Error("The camera could not be opened; close what else uses it, or drop images");
}

const wait = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

async function frame(video: HTMLVideoElement, index: number): Promise<Entry> {
  const { canvas, context } = canvas2d(video.videoWidth, video.videoHeight);
  context.drawImage(video, 0, 0);
  const blob = await new Promise<Blob | null>((done) => canvas.toBlob(done, "image/jpeg", 0.92));
  if (!blob) throw new Error("The camera gave no picture; try again");
  const path = `frame ${index + 1}.jpg`;
  return { path, file: new File([blob], path, { type: "image/jpeg" }) };
}

export const datasetOfFrames = (entries: Entry[]): Dataset => ({
  kind: "webcam",
  title: plural(entries.length, "frame"),
  samples: entries.map(({ path, file }) => ({ name: path, image: file })),
  entries,
});

/** Opens a dialog with the camera's picture; undefined if it was closed without recording. */
export function recordWebcam(): Promise<Dataset | undefined> {
  const video = h("video", {
    muted: true,
    playsinline: true,
    "aria-label": "The camera’s picture",
  });
  video.muted = true;
  const said = h("p", { class: "soft", role: "status" }, `Takes ${frames} frames in six seconds.`);
  const wrong = h("p", { class: "problem", role: "alert", hidden: true });
  const record = h("button", { type: "button", class: "primary", disabled: true }, "Record");
  const close = h("button", { type: "button" }, "Close");
  const dialog = h(
    "dialog",
    { class: "webcam", "aria-label": "Webcam" },
    h("h2", {}, "Webcam"),
    video,
    said,
    wrong,
    h("div", { class: "row" }, record, close),
  );
  document.body.append(dialog);
  dialog.showModal();

  return new Promise((resolve) => {
    let stream: MediaStream | undefined;
    let result: Dataset | undefined;
    let closed = false;
    dialog.addEventListener("close", () => {
      closed = true;
      stream?.getTracks().forEach((track) => track.stop());
      dialog.remove();
      resolve(result);
    });
    close.addEventListener("click", () => dialog.close());
    record.addEventListener("click", async () => {
      record.disabled = true;
      try {
        const entries: Entry[] = [];
        for (let i = 0; i < frames && !closed; i++) {
          entries.push(await frame(video, i));
          said.textContent = `${i + 1} of ${frames}`;
          await wait(intervalMs);
        }
        if (!closed) result = datasetOfFrames(entries);
        dialog.close();
      } catch (error) {
        problem(wrong, error);
        record.disabled = false;
      }
    });
    void (async () => {
      try {
        stream = await navigator.mediaDevices.getUserMedia({
          video: { facingMode: "environment" },
        });
        if (closed) return stream.getTracks().forEach((track) => track.stop());
        video.srcObject = stream;
        await video.play();
        record.disabled = false;
        record.focus();
      } catch (error) {
        problem(wrong, explain(error));
      }
    })();
  });
}
