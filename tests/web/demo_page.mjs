// What the demo's tests share: the built page, opened at different sizes and ways.
import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { build } from "vite";
import { root, tool, withFolder } from "../harness.mjs";
import { readNpy } from "../npy.mjs";
import { png } from "./files.mjs";
import { withPage } from "./page.mjs";

/** Where it is built: test files run at the same time. */
export const folder = mkdtempSync(join(tmpdir(), "octavo-demo-"));
process.on("exit", () => rmSync(folder, { recursive: true }));
const screenshots = join(root, "build/screenshots");
mkdirSync(screenshots, { recursive: true });

let built;
/** Builds the page's static files, once. */
const buildDemo = () =>
  (built ??= build({
    root: join(root, "web/demo"),
    logLevel: "error",
    build: { outDir: folder },
  }));

export const views = {
  desktop: { viewport: { width: 1280, height: 900 } },
  desktopDark: { viewport: { width: 1280, height: 900 }, colorScheme: "dark" },
  phone: { viewport: { width: 390, height: 844 }, hasTouch: true },
  phoneDark: { viewport: { width: 390, height: 844 }, hasTouch: true, colorScheme: "dark" },
};

/**
 * Calls body(page) with the demo, served from a folder of a plain static host. Fails on what the
 * console says, and on requests to anywhere else.
 */
export async function withDemo(body, { path = "index.html", ...options } = {}) {
  await buildDemo();
  // Browsers ask for it where the empty page is that they are sent to first.
  const routes = { "/some/folder/": folder, "/favicon.ico": Buffer.alloc(0) };
  const use = async (page, complaints) => {
    const foreign = [];
    const origin = new URL(page.url()).origin;
    page.on("request", (request) => {
      const url = request.url();
      if (/^(https?|wss?):/.test(url) && !url.startsWith(origin)) foreign.push(url);
    });
    await page.goto(`${origin}/some/folder/${path}`);
    await body(page, complaints);
    assert.deepEqual(foreign, []);
    assert.deepEqual(complaints, []);
  };
  await withPage(routes, use, { csp: false, view: views.desktop, ...options });
}

/** Waits until the digit model has been quantized and judged. */
export const ready = (page) => page.locator("#headline").waitFor({ timeout: 60_000 });

export const text = (page, selector) => page.locator(selector).first().textContent();

export const shoot = (page, name) =>
  page.screenshot({ path: join(screenshots, `${name}.png`), fullPage: true });

const axe = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
/** Fails on serious and critical findings of axe-core. */
export async function checkAccessibility(page) {
  await page.evaluate(axe);
  const { violations } = await page.evaluate(() => globalThis.axe.run());
  const serious = violations
    .filter(({ impact }) => impact === "serious" || impact === "critical")
    .map(({ id, nodes }) => `${id}: ${nodes.map(({ html }) => html).join(" ")}`);
  assert.deepEqual(serious, []);
}

/** Digits that the page has not: images of 28 x 28 bytes with labels. */
export const digits = await withFolder((folder) => {
  const [images, labels] = ["images.npy", "labels.npy"].map((name) => join(folder, name));
  tool("octavo_digits", "--count", 60, "--seed", 41, "--out", images, "--labels", labels);
  const pixels = readNpy(images).data;
  const classes = readNpy(labels).data;
  return Array.from(classes, (label, i) => ({
    label,
    pixels: pixels.subarray(i * 784, (i + 1) * 784),
  }));
});

/** Such a digit as an image file of dark ink on paper, as one would photograph it. */
export const digitFile = ({ pixels }, name) => ({
  name,
  mimeType: "image/png",
  buffer: png(
    pixels.map((value) => 255 - value),
    28,
    28,
  ),
});

/** Drops files on the page, as {name, bytes}. */
export async function drop(page, files) {
  const given = files.map(({ name, bytes }) => ({ name, bytes: [...bytes] }));
  await page.evaluate((given) => {
    const transfer = new DataTransfer();
    for (const { name, bytes } of given)
      transfer.items.add(new File([new Uint8Array(bytes)], name));
    const event = (type) => new DragEvent(type, { dataTransfer: transfer, bubbles: true });
    for (const type of ["dragenter", "drop"]) document.body.dispatchEvent(event(type));
  }, given);
}

/** The bytes of the file that a click downloads, and its name. */
export async function downloaded(page, click) {
  const [file] = await Promise.all([page.waitForEvent("download"), click()]);
  return { name: file.suggestedFilename(), bytes: readFileSync(await file.path()) };
}
