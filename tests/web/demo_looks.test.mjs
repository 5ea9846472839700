// The demo's other page, how both look and can be reached, and how much is downloaded.
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { basename, join } from "node:path";
import { after, test } from "node:test";
import { root } from "../harness.mjs";
import {
  checkAccessibility,
  downloaded,
  folder,
  ready,
  shoot,
  views,
  withDemo,
} from "./demo_page.mjs";
import { closeBrowser } from "./page.mjs";

after(closeBrowser);

test("benchmark page: variants, the visitor's onnxruntime-web, JSON", () =>
  withDemo(
    async (page) => {
      await page.locator("#contestants input").first().waitFor({ timeout: 60_000 });
      const dist = join(root, "node_modules/onnxruntime-web/dist");
      await page.setInputFiles("#runtime-files", [join(dist, "ort.wasm.min.mjs")]);
      await page.locator("#bench-problem", { hasText: "not the files" }).waitFor();
      const names = ["ort.wasm.bundle.min.mjs", "ort-wasm-simd-threaded.wasm"];
      await page.setInputFiles(
        "#runtime-files",
        names.map((name) => join(dist, name)),
      );
      await page.locator("#runtime-note", { hasText: "takes part" }).waitFor();
      await page.locator("#bench-progress:not(.running)").waitFor();
      await page.click("#bench-run");
      await page.locator("#export:enabled").waitFor({ timeout: 120_000 });
      await page.locator("#bench-progress:not(.running)").waitFor({ timeout: 120_000 });
      await shoot(page, "bench");
      await checkAccessibility(page);
      const { bytes } = await downloaded(page, () => page.click("#export"));
      const { device, rows } = JSON.parse(bytes);
      assert.ok(device.cores > 0);
      const peers = rows.map(({ peer, dtype, variant }) => [peer, dtype, variant ?? ""].join(" "));
      for (const peer of ["octavo f32 relaxed", "octavo int8 simd", "onnxruntime-web int8 "]) {
        assert.ok(peers.includes(peer), peer);
      }
      for (const row of rows) assert.ok(row.median_ms > 0, JSON.stringify(row));
      console.log(rows.map((row) => `${row.peer} ${row.dtype} ${row.median_ms}`).join("\n"));
    },
    { path: "bench.html" },
  ));

for (const [name, view] of Object.entries(views)) {
  test(`looks and accessibility: ${name}`, () =>
    withDemo(
      async (page) => {
        await ready(page);
        await page.locator("#tensor-chart canvas").waitFor();
        for (const details of await page.locator("summary").all()) await details.click();
        await page.waitForTimeout(300);
        await checkAccessibility(page);
        await shoot(page, name);
        const [inside, outside] = await page.evaluate(() => [
          document.documentElement.clientWidth,
          document.documentElement.scrollWidth,
        ]);
        assert.ok(outside <= inside, `${outside} px wide in a window of ${inside}`);
      },
      { view: { ...view, reducedMotion: "reduce" } },
    ));
}

test("everything can be reached by keyboard, and shows that it has the focus", () =>
  withDemo(async (page) => {
    await ready(page);
    const reached = new Set();
    for (let i = 0; i < 120; i++) {
      await page.keyboard.press("Tab");
      const { id, name, outline } = await page.evaluate(() => {
        const element = document.activeElement;
        const shown = element.classList.contains("visually-hidden")
          ? (element.closest(".button") ?? element)
          : element;
        return {
          id: element.id,
          name: element.tagName,
          outline: getComputedStyle(shown).outlineStyle,
        };
      });
      if (name === "BODY") break;
      if (id !== "model-files") assert.notEqual(outline, "none", `${name}#${id}`);
      reached.add(id);
    }
    const wanted = ["draw", "model-files", "webcam", "synthetic", "quantize-run", "tune-run"];
    for (const id of wanted) assert.ok(reached.has(id), id);
  }));

test("the page loads less than 120 kB of JavaScript and CSS (gzip -9)", async () => {
  for (const isolated of [false, true]) {
    const loaded = new Set();
    await withDemo(
      async (page) => {
        page.context().on("request", (request) => loaded.add(new URL(request.url()).pathname));
        await page.reload();
        await ready(page);
        await page.locator("#tensor-chart canvas").waitFor();
      },
      { isolated },
    );
    const sizes = [...loaded]
      .filter((path) => /\.(js|css)$/.test(path))
      .map((path) => join(folder, path.replace("/some/folder/", "")))
      .map((file) => [basename(file), execFileSync("gzip", ["-9", "--stdout", file]).length]);
    const total = sizes.reduce((sum, [, size]) => sum + size, 0);
    console.log(JSON.stringify({ isolated, total, ...Object.fromEntries(sizes) }));
    assert.ok(total < 120_000, `${total} bytes`);
  }
});
