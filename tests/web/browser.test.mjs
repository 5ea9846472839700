// The npm package in Chromium, from a static server: with and without cross-origin isolation, under
// a strict content security policy, in a worker and in the page's own thread.
import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { createServer } from "node:http";
import { extname, join, resolve } from "node:path";
import { after, before, test } from "node:test";
import { fileURLToPath } from "node:url";
import { chromium } from "playwright-core";
import { calibration, dist, model, nativeLogits, samples } from "./package.mjs";

const here = fileURLToPath(new URL(".", import.meta.url));
const types = { ".js": "text/javascript", ".mjs": "text/javascript", ".wasm": "application/wasm" };
const policy =
  "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; worker-src 'self'; connect-src 'self'";
const isolation = {
  "cross-origin-opener-policy": "same-origin",
  "cross-origin-embedder-policy": "require-corp",
};

function serve(extraHeaders) {
  const server = createServer(async (request, response) => {
    const { pathname } = new URL(request.url, "http://localhost");
    const headers = { "content-security-policy": policy, ...extraHeaders };
    const folder = pathname.startsWith("/octavo/") ? dist : here;
    const file = resolve(join(folder, pathname.replace(/^\/octavo/, "")));
    try {
      if (pathname === "/") {
        response.writeHead(200, { ...headers, "content-type": "text/html" });
        response.end("<!doctype html><title>test</title>");
      } else if (pathname === "/model.onnx" || pathname === "/samples") {
        response.writeHead(200, headers);
        response.end(pathname === "/samples" ? Buffer.from(samples.buffer) : model);
      } else {
        const body = await readFile(file);
        response.writeHead(200, { ...headers, "content-type": types[extname(file)] });
        response.end(body);
      }
    } catch {
      response.writeHead(404, headers).end();
    }
  });
  return new Promise((done) => server.listen(0, "127.0.0.1", () => done(server)));
}

let browser;
before(async () => {
  browser = await chromium.launch({ executablePath: "/usr/bin/chromium", args: ["--no-sandbox"] });
});
after(() => browser?.close());

for (const isolated of [false, true]) {
  for (const options of [{}, { worker: false }, { variant: "simd", threads: 2 }]) {
    const name = `${isolated ? "isolated" : "plain"} page, ${JSON.stringify(options)}`;
    test(name, async () => {
      const server = await serve(isolated ? isolation : {});
      const context = await browser.newContext();
      try {
        const page = await context.newPage();
        const complaints = [];
        page.on("console", (message) => complaints.push(message.text()));
        page.on("pageerror", (error) => complaints.push(String(error)));
        await page.goto(`http://127.0.0.1:${server.address().port}/`);
        const result = await page.evaluate(
          async ({ calibration, options }) => {
            const [octavo, runtime, { scenario }, samples] = await Promise.all([
              import("/octavo/index.js"),
              import("/octavo/runtime.js"),
              import("/scenario.mjs"),
              fetch("/samples").then((response) => response.arrayBuffer()),
            ]);
            const done = await scenario(octavo, runtime, {
              model: new URL("/model.onnx", location.href),
              samples: new Float32Array(samples),
              calibration,
              options,
            });
            return {
              isolated: crossOriginIsolated,
              cores: navigator.hardwareConcurrency,
              backend: done.backend,
              onnx: [...done.onnx],
              outputs: done.outputs.map((output) => [...output]),
            };
          },
          { calibration, options },
        );
        assert.equal(result.isolated, isolated);
        assert.equal(result.backend.worker, options.worker !== false);
        assert.equal(result.backend.variant, options.variant ?? "relaxed");
        // Threads need shared memory, and a thread of their own that may wait.
        const threads = options.threads ?? Math.min(result.cores, 4);
        const shares = isolated && options.worker !== false;
        assert.equal(result.backend.threads, shares ? threads : 1, result.backend.reason);
        const expected = await nativeLogits(Buffer.from(result.onnx), "q.onnx");
        for (const output of result.outputs) assert.deepEqual(Float32Array.from(output), expected);
        assert.deepEqual(complaints, []);
      } finally {
        await context.close();
        server.closeAllConnections();
        server.close();
      }
    });
  }
}
