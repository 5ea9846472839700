// A Vite app built from the packed package, and used: a model is chosen, quantized and run.
import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, test } from "node:test";
import { build } from "vite";
import { root } from "../harness.mjs";
import { consumer, nativeLogits, samples } from "./package.mjs";
import { closeBrowser, withPage } from "./page.mjs";

after(closeBrowser);

const html = `<!doctype html>
<title>app</title>
<input type="file" id="model" />
<button id="quantize">Quantize</button>
<progress id="progress"></progress>
<a id="download" download="small.onnx">Download</a>
<output id="result"></output>
<script type="module" src="./main.js"></script>
`;
const program = `
import { InferenceSession, StaticQuantConfig, quantizeModel } from "octavo";
import { InferenceSession as Runner } from "octavo/runtime";

const $ = (id) => document.getElementById(id);
$("quantize").onclick = async () => {
  try {
    const [file] = $("model").files;
    const samples = new Float32Array(await (await fetch("/samples")).arrayBuffer());
    const feeds = (data) => ({ input: { type: "float32", dims: [data.length / 784, 1, 28, 28], data } });
    async function* loader() {
      for (let i = 0; i < 20; i++) yield feeds(samples.subarray(i * 784, (i + 1) * 784));
    }
    const onProgress = ({ done, total }) => Object.assign($("progress"), { value: done, max: total || 1 });
    const small = await quantizeModel(file, new StaticQuantConfig(), loader(), 20, null, { onProgress });
    const session = await InferenceSession.create(small);
    const runner = await Runner.create(await small.toCompact());
    const outputs = [];
    for (const one of [session, runner]) outputs.push([...(await one.run(feeds(samples))).logits.data]);
    window.onnx = [...(await small.toOnnx())];
    window.outputs = outputs;
    $("result").textContent = JSON.stringify(session.backend);
  } catch (error) {
    $("result").textContent = String(error.stack ?? error);
  }
};
`;

test("a Vite app", () =>
  consumer(async (folder) => {
    writeFileSync(join(folder, "index.html"), html);
    writeFileSync(join(folder, "main.js"), program);
    await build({ root: folder, logLevel: "error" });
    const routes = { "/": join(folder, "dist"), "/samples": Buffer.from(samples.buffer) };
    for (const isolated of [false, true]) {
      const clickThrough = async (page, complaints) => {
        await page.setInputFiles("#model", join(root, "tools/digits/digits.onnx"));
        await page.click("#quantize");
        await page.waitForFunction(() => document.getElementById("result").textContent);
        const result = await page.textContent("#result");
        assert.match(result, /^\{/, complaints.join("\n"));
        const backend = JSON.parse(result);
        assert.ok(backend.worker);
        const cores = await page.evaluate(() => navigator.hardwareConcurrency);
        assert.equal(backend.threads, isolated ? Math.min(cores, 4) : 1, backend.reason);
        const { onnx, outputs } = await page.evaluate(() => ({ onnx, outputs }));
        const expected = await nativeLogits(Buffer.from(onnx), "q.onnx");
        for (const output of outputs) assert.deepEqual(Float32Array.from(output), expected);
        assert.deepEqual(complaints, []);
      };
      await withPage(routes, clickThrough, { isolated, path: "index.html" });
    }
  }));
