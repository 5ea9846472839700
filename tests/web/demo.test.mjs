// The browser demo, used as a visitor would: every way in, every way out, and what it does with
// files that are wrong.
import assert from "node:assert/strict";
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, test } from "node:test";
import { octavoJson, root, withFolder } from "../harness.mjs";
import { writeNpy, writeNpz } from "../npy.mjs";
import { digitFile, digits, downloaded, drop, ready, shoot, text, withDemo } from "./demo_page.mjs";
import { withExternalData } from "./files.mjs";
import { model } from "./package.mjs";
import { closeBrowser } from "./page.mjs";

after(closeBrowser);

const paper = ["Dark ink on paper, inverted (0 to 255)"];
const openDigitFile = (page, name = "mine.onnx") =>
  page.setInputFiles("#model-files", {
    name,
    mimeType: "application/octet-stream",
    buffer: model,
  });
const modelIs = (page, name) => page.locator("#model-card h3", { hasText: name }).waitFor();
const dataIs = (page, pattern) => page.locator("#data-card h3", { hasText: pattern }).waitFor();

/** "98.6 % to 100.0 %": the shares p from which right / total is 1.96 deviations away. */
function wilson(right, total) {
  const z = 1.959964;
  // (right / total - p)^2 = z^2 p (1 - p) / total
  const [a, b, c] = [
    1 + z ** 2 / total,
    -2 * (right / total) - z ** 2 / total,
    (right / total) ** 2,
  ];
  const root = Math.sqrt(Math.max(0, b ** 2 - 4 * a * c));
  return [-b - root, -b + root].map((end) => `${((50 * end) / a).toFixed(1)} %`).join(" to ");
}

/** Quantizes by the button, and waits for what comes of it. */
async function quantize(page) {
  await page.click("#quantize-run");
  await page.locator("#quantize-progress:not(.running)").waitFor({ timeout: 60_000 });
  assert.equal(await page.locator("#quantize-problem").isVisible(), false);
  await ready(page);
}

for (const isolated of [false, true]) {
  test(`opens with a digit, and quantizes it, ${isolated ? "isolated" : "on a plain host"}`, () =>
    withDemo(
      async (page) => {
        await page.evaluate(() => {
          window.tasks = [];
          window.shifts = [];
          const watch = (type, take) =>
            new PerformanceObserver((list) => list.getEntries().forEach(take)).observe({
              type,
              buffered: true,
            });
          watch("longtask", ({ startTime, duration }) => window.tasks.push([startTime, duration]));
          watch("layout-shift", ({ value }) => window.shifts.push(value));
        });
        await ready(page);
        // In milliseconds; how long the main thread was blocked, in all and by calibration.
        const measured = await page.evaluate(() => {
          const entry = (name) => performance.getEntriesByName(name)[0];
          const { startTime, duration } = entry("quantized");
          const during = ([start, length]) =>
            start < startTime + duration && start + length > startTime;
          const lengths = (tasks) => tasks.map(([, length]) => Math.round(length));
          return {
            firstAnswer: Math.round(entry("first answer").startTime),
            quantized: Math.round(duration),
            judged: Math.round(entry("judged").duration),
            longTasks: lengths(window.tasks),
            whileCalibrating: lengths(window.tasks.filter(during)),
            layoutShift: window.shifts.reduce((a, b) => a + b, 0),
          };
        });
        console.log(JSON.stringify({ isolated, ...measured }));
        for (const slot of ["float", "int8"]) {
          assert.equal(await text(page, `#answer-${slot} .top`), "3");
          assert.match(await text(page, `#answer-${slot} .time`), /^[\d.]+ (µs|ms)$/);
        }
        const headline = await text(page, "#headline");
        assert.match(headline, /^\d\.\d× smaller, .* right answers? .*400/);
        assert.equal(await text(page, "#gist"), headline);
        const rows = await page.locator(".measures th[scope=row]").allTextContents();
        for (const row of ["Size", "Latency", "Peak memory", "Accuracy", "Same answer"]) {
          assert.ok(
            rows.some((name) => name.startsWith(row)),
            row,
          );
        }
        const same = await text(page, ".measures tbody tr:last-child");
        const [right, total] = /(\d+) of (\d+)/.exec(same).slice(1).map(Number);
        assert.equal(total, 400);
        assert.ok(same.includes(`95 % interval ${wilson(right, total)}`), same);
        for (const size of await page
          .locator(".measures tbody tr:nth-child(3) .number")
          .allTextContents()) {
          assert.match(size, /^\d[\d.]* kB$/);
        }
        const threads = isolated ? /\d+ threads|one processor/ : /one thread/;
        assert.match(await text(page, "#device"), threads);
        assert.equal(await text(page, "#requests"), "0 requests to other sites");
      },
      { isolated },
    ));
}

test("draws by pointer and by key", () =>
  withDemo(async (page) => {
    await ready(page);
    const { x, y, width, height } = await page.locator("#draw").boundingBox();
    await page.mouse.move(x + width / 2, y + height * 0.15);
    await page.mouse.down();
    await page.mouse.move(x + width / 2, y + height * 0.85, { steps: 8 });
    await page.mouse.up();
    const answers = async (digit) => {
      for (const slot of ["float", "int8"]) {
        await page.locator(`#answer-${slot} .top`, { hasText: digit }).waitFor();
      }
    };
    await answers("1");
    await shoot(page, "drawn");
    await page.focus("#draw");
    await page.keyboard.press("7");
    await answers("7");
    await page.click("#clear");
    assert.equal(
      await page.evaluate(() =>
        document
          .getElementById("draw")
          .getContext("2d")
          .getImageData(0, 0, 280, 280)
          .data.every((value) => value === 0),
      ),
      true,
    );
  }));

test("a model with its weights in another file; folders as labels; preprocessing", () =>
  withDemo(async (page) => {
    await ready(page);
    const parts = withExternalData(model, "mine.weights");
    await drop(page, [{ name: "mine.onnx", bytes: parts.model }]);
    await page.locator("#model-problem", { hasText: "drop that file too" }).waitFor();
    assert.match(await text(page, "#model-problem"), /^‘mine.onnx’ keeps weights .*‘mine.weights’/);
    await drop(page, [{ name: "mine.weights", bytes: parts.data }]);
    await modelIs(page, "mine.onnx");
    assert.equal(await page.locator("#model-problem").isVisible(), false);
    const card = await text(page, "#model-card");
    for (const fact of ["float32, N × 1 × 28 × 28", "20,234", "19 of 19 operators", "Conv"]) {
      assert.ok(card.includes(fact), fact);
    }

    await withFolder(async (files) => {
      for (const [i, digit] of digits.entries()) {
        const place = join(files, "photos", `class ${digit.label}`);
        mkdirSync(place, { recursive: true });
        writeFileSync(join(place, `${i}.png`), digitFile(digit, "").buffer);
      }
      await page.setInputFiles("#data-folder", join(files, "photos"));
      await dataIs(page, /60 images, labels from 10 folders/);
      // Dark on light is not what the model reads: the preview says so, a preset puts it right.
      const preview = page.locator(".range");
      await preview.filter({ hasText: "0 to 1," }).waitFor();
      await page.selectOption("#preprocess-card select >> nth=0", paper);
      await preview.filter({ hasText: / to \d\d\d, mean/ }).waitFor();
      await page.fill("input[type=number]", "30");
      await quantize(page);
      assert.match(await text(page, ".measures"), /Accuracy.*of 30|Accuracy.*the same/s);
      assert.match(await text(page, "#answer-int8 .top"), /^class \d$/);
      assert.match(await text(page, "#disagreements"), /apart|Another answer/);
      await shoot(page, "own_model");
    });
  }));

test("labels from a CSV, names of classes from a text file", () =>
  withDemo(async (page) => {
    await ready(page);
    await openDigitFile(page);
    await modelIs(page, "mine.onnx");
    const images = digits.map((digit, i) => digitFile(digit, `digit${i}.png`));
    const lines = digits.map(({ label }, i) => `digit${i}.png,${label}`);
    const csv = { name: "labels.csv", mimeType: "text/csv", buffer: Buffer.from(lines.join("\n")) };
    const names = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"];
    const txt = {
      name: "classes.txt",
      mimeType: "text/plain",
      buffer: Buffer.from(names.join("\n")),
    };
    await page.setInputFiles("#data-files", [...images, csv, txt]);
    await dataIs(page, /60 images, labels from labels.csv/);
    await page.selectOption("#preprocess-card select >> nth=0", paper);
    await page.locator("#answer-float .top", { hasText: names[digits[0].label] }).waitFor();
  }));

test("NumPy arrays: .npz with labels, .npy with labels beside it", () =>
  withDemo(async (page) => {
    await ready(page);
    const input = {
      type: "float32",
      dims: [digits.length, 1, 28, 28],
      data: Float32Array.from(digits.flatMap(({ pixels }) => [...pixels])),
    };
    const labels = {
      type: "int64",
      dims: [digits.length],
      data: BigInt64Array.from(digits, ({ label }) => BigInt(label)),
    };
    await withFolder(async (files) => {
      const file = (name) => join(files, name);
      writeNpz(file("digits.npz"), { input, labels });
      writeNpy(file("digits.npy"), input);
      writeNpy(file("digits_labels.npy"), labels);
      for (const given of [["digits.npz"], ["digits.npy", "digits_labels.npy"]]) {
        await openDigitFile(page, `${given[0]}.onnx`);
        await modelIs(page, given[0]);
        await page.setInputFiles("#data-files", given.map(file));
        await dataIs(page, /60 samples from .*, labelled/);
        // What is right as it is stays as it is.
        await page.locator("#preprocess-card summary").waitFor();
        await page.selectOption("#preprocess-card select >> nth=0", ["As they are (0 to 255)"]);
        await page.locator(".range", { hasText: "0 to 255" }).waitFor();
      }
      await page.fill("input[type=number]", "30");
      await quantize(page);
      assert.match(await text(page, ".measures"), /Accuracy/);
    });
  }));

test("frames of the webcam", () =>
  withDemo(async (page) => {
    await ready(page);
    await openDigitFile(page);
    await modelIs(page, "mine.onnx");
    await page.click("#webcam");
    await shoot(page, "webcam");
    await page.click("dialog .primary:enabled");
    await dataIs(page, /24 frames/);
    await page.fill("input[type=number]", "12");
    await quantize(page);
    assert.match(await text(page, "#headline"), /answer to|same answer/i);
  }));

test("noise is labelled as such, and gives no figure of accuracy", () =>
  withDemo(async (page) => {
    await ready(page);
    await page.click("#synthetic");
    assert.match(await text(page, "#data-card .warning"), /^Noise is not what the model was made/);
    await quantize(page);
    assert.match(await text(page, "#headline"), /noise cannot tell/);
    assert.doesNotMatch(await text(page, ".measures"), /Accuracy/);
  }));

test("options come from the schema, and end up in the recipe", () =>
  withDemo(async (page) => {
    await ready(page);
    await page.getByLabel("Activation algorithm").selectOption("kl");
    await page.locator("#recipe summary").click();
    await page.getByLabel("Bias correction").uncheck();
    const percentile = page.getByLabel("Percentile", { exact: true });
    await percentile.fill("20");
    await percentile.press("Tab");
    assert.match(await percentile.evaluate((input) => input.validationMessage), /from 50 to 100/);
    await percentile.fill("99");
    await percentile.press("Tab");
    await quantize(page);
    const recipe = await downloaded(page, () => page.click("text=JSON, for every Octavo tool"));
    assert.equal(recipe.name, "digits_recipe.json");
    assert.deepEqual(JSON.parse(recipe.bytes), [
      {
        static_quant: {
          global: {
            weight_granularity: "per_channel",
            act_algorithm: "kl",
            bias_correction: false,
            percentile: 99,
          },
          local: {},
        },
      },
    ]);
    // Given back, it fills the form.
    await page.reload();
    await ready(page);
    await page.selectOption("#recipe select >> nth=0", "DynamicQuantConfig");
    await drop(page, [recipe]);
    await page.getByLabel("Activation algorithm").waitFor();
    assert.equal(await page.getByLabel("Activation algorithm").inputValue(), "kl");
  }));

test("a run can be cancelled", () =>
  withDemo(async (page) => {
    await ready(page);
    const before = await text(page, "#headline");
    await page.evaluate(() => {
      document.getElementById("quantize-run").click();
      document.querySelector("#quantize-progress button").click();
    });
    await page.locator("#quantize-progress", { hasText: "Cancelled" }).waitFor();
    assert.equal(await text(page, "#headline"), before);
    await quantize(page);
  }));

test("a layer goes back to float by a click, and comes back", () =>
  withDemo(async (page) => {
    await ready(page);
    await page.locator("#tensor-chart canvas").waitFor();
    assert.match(await text(page, "#tensor-note"), /integers reach .* clipped/);
    const first = page.locator(".layer-list li").first();
    const node = await first.getAttribute("data-node");
    const toggle = page.locator(`[data-node="${node}"] [role=switch]`);
    const turn = async (checked) => {
      await toggle.click();
      await page.locator(`[data-node="${node}"] [role=switch][aria-checked=${checked}]`).waitFor();
      await page.locator("#layers-card .progress:not(.running)").waitFor({ timeout: 60_000 });
    };
    await turn(false);
    assert.ok((await text(page, "#recipe .kept")).includes(`${node}: float`));
    assert.match(await text(page, "#verdict-card summary"), /why \d (is|are) not/);
    await shoot(page, "layer_in_float");
    await turn(true);
    assert.equal(await page.locator("#recipe .kept").count(), 0);
    const names = () => page.locator(".layer .name").allTextContents();
    const worst = await names();
    await page.click("text=In the model’s order");
    assert.notDeepEqual(await names(), worst);
    assert.deepEqual((await names()).toSorted(), worst.toSorted());
  }));

test("autotune: trials, the front, stopping, and loading one", () =>
  withDemo(async (page) => {
    await ready(page);
    await page.getByLabel("Max trials").fill("4");
    await page.getByLabel("Max trials").press("Tab");
    await page.click("#tune-run");
    await page.locator("#decision").waitFor({ timeout: 120_000 });
    await page.locator("#tune-progress:not(.running)").waitFor({ timeout: 60_000 });
    const rows = page.locator(".trials tbody tr");
    assert.equal(await rows.count(), 5);
    await page.locator("#tune-results canvas").waitFor();
    await shoot(page, "autotune");
    await page.click("text=Load >> nth=0");
    await page
      .locator("#tune-progress", { hasText: "Trial 1 is the result now" })
      .waitFor({ timeout: 60_000 });

    await page.getByLabel("Max trials").fill("100");
    await page.getByLabel("Max trials").press("Tab");
    await page.click("#tune-run");
    await rows.nth(2).waitFor({ timeout: 60_000 });
    await page.click("text=Stop, keep the best");
    await page.locator("#decision").waitFor({ timeout: 60_000 });
    await page.locator("#tune-progress:not(.running)").waitFor({ timeout: 60_000 });
    assert.ok((await rows.count()) < 100);
    assert.equal(await page.locator(".trials .winner").count(), 1);
  }));

test("downloads run elsewhere, and the lines to copy say the same", () =>
  withDemo(async (page) => {
    await ready(page);
    const take = (label) => downloaded(page, () => page.click(`.file-button:has-text("${label}")`));
    await withFolder(async (files) => {
      const data = join(files, "digits.npy");
      const pixels = Uint8Array.from(digits.flatMap((digit) => [...digit.pixels]));
      writeNpy(data, { type: "uint8", dims: [digits.length, 28, 28], data: pixels });
      const labels = { type: "uint8", dims: [60], data: Uint8Array.from(digits, (d) => d.label) };
      writeNpy(join(files, "digits_labels.npy"), labels);
      for (const label of [".octavo", ".onnx"]) {
        const { name, bytes } = await take(label);
        assert.equal(name, `digits_int8${label}`);
        writeFileSync(join(files, name), bytes);
        const { value } = octavoJson("eval", join(files, name), "--data", data);
        assert.ok(value > 0.9, `${name}: ${value}`);
      }
      const recipe = await take("Recipe");
      writeFileSync(join(files, recipe.name), recipe.bytes);
      const model = join(root, "tools/digits/digits.onnx");
      const out = join(files, "again.octavo");
      octavoJson(
        "quantize",
        model,
        "--data",
        data,
        "--config",
        join(files, recipe.name),
        "-o",
        out,
      );
    });
    const report = await take("Report");
    assert.equal(report.name, "digits_report.html");
    assert.match(report.bytes.toString(), /^<!doctype html>/i);

    assert.match(await text(page, "#snippet"), /new StaticQuantConfig\({ weightGranularity/);
    await page.getByRole("tab", { name: "JavaScript" }).focus();
    await page.keyboard.press("ArrowRight");
    assert.match(await text(page, "#snippet"), /Recipe::from_json/);
    await page.keyboard.press("ArrowRight");
    assert.match(await text(page, "#snippet"), /^octavo quantize digits.onnx .*--config/s);
  }));

test("a reload loses nothing; forgetting does", () =>
  withDemo(async (page) => {
    await ready(page);
    await openDigitFile(page);
    await modelIs(page, "mine.onnx");
    const images = digits.map((digit, i) => digitFile(digit, `digit${i}.png`));
    await page.setInputFiles("#data-files", images);
    await dataIs(page, /60 images/);
    await page.selectOption("#preprocess-card select >> nth=0", paper);
    await page.fill("input[type=number]", "30");
    await quantize(page);
    const figures = async () => [
      await text(page, "#headline"),
      await text(page, ".measures"),
      await text(page, ".range"),
      await text(page, "#snippet"),
      await page.locator(".layer .name").allTextContents(),
    ];
    const before = await figures();
    // Written a moment after the last change.
    await page.waitForTimeout(1000);
    await page.locator("#saved", { hasText: "Kept in this browser" }).waitFor();
    await page.reload();
    await ready(page);
    await page.locator("#answer-int8 .top:not(:text('–'))").waitFor();
    assert.deepEqual(await figures(), before);
    await page.click("#forget");
    await page.locator("#saved", { hasText: "Nothing is kept" }).waitFor();
    await page.reload();
    await modelIs(page, "digits.onnx");
  }));

test("files that are wrong: one sentence, and the page goes on", () =>
  withDemo(async (page) => {
    await ready(page);
    const bytes = Buffer.from("this is not a model");
    const cases = [
      ["model", [{ name: "bad.onnx", bytes }], /^.*\.$/],
      ["model", [{ name: "cut.onnx", bytes: model.subarray(0, 5000) }], /^.*\.$/],
      ["data", [{ name: "bad.npy", bytes }], /‘bad.npy’ is not a NumPy file; save it/],
      ["data", [{ name: "bad.npz", bytes }], /‘bad.npz’ is not an .npz archive; save it/],
      ["data", [{ name: "song.mp3", bytes }], /‘song.mp3’ cannot be used as data; give images/],
      ["data", [{ name: "bad.png", bytes }], /‘bad.png’ is not an image that this browser can/],
      ["model", [{ name: "recipe.json", bytes }], /‘recipe.json’ is not JSON; take a recipe/],
    ];
    for (const [section, files, pattern] of cases) {
      await drop(page, files);
      const line = page.locator(`#${section}-problem`);
      await line.waitFor();
      await page.waitForFunction(
        ([id, source]) => new RegExp(source).test(document.getElementById(id).textContent),
        [`${section}-problem`, pattern.source],
      );
      const said = await line.textContent();
      assert.match(said, /^[A-Z‘].*[.!?]$/);
      assert.doesNotMatch(said, /undefined|object Object/);
    }
    await shoot(page, "problem");
    await page.click("#data-sources >> text=The page’s digits");
    await dataIs(page, /500 drawn digits/);
    await quantize(page);
  }));
