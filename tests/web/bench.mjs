// What tools/bench web runs; see there.
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import { createRequire } from "node:module";
import { dirname, extname, join, normalize } from "node:path";
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";
import { chromium } from "playwright-core";
import { ortSession, readFlags, root, sharedFile } from "../harness.mjs";
import { quantizeShared, randomInputs, sharedModels } from "../shared_models.mjs";

const options = readFlags({
  models: Object.keys(sharedModels),
  dtypes: ["f32", "int8"],
  threads: [1],
  variants: ["relaxed", "simd"],
  peers: ["octavo", "onnxruntime-web", "litertjs"],
  rounds: 7,
  seconds: 0.15,
  json: join(root, "build/bench/web.json"),
  keep: false,
});
const folder = join(root, "build/bench");
for (const made of [folder, dirname(options.json)]) mkdirSync(made, { recursive: true });

// The same networks as .tflite files.
const tflite = {
  mobilenetv2: { int8: "mobilenetv2_int8" },
  resnet8: { f32: "resnet8_float" },
  vww96: { f32: "vww96_float" },
};

const here = dirname(fileURLToPath(import.meta.url));
const require = createRequire(import.meta.url);
const modules = dirname(dirname(require.resolve("playwright-core/package.json")));
const types = {
  ".html": "text/html",
  ".js": "text/javascript",
  ".mjs": "text/javascript",
  ".wasm": "application/wasm",
};
const loaded = new Set(); // .wasm files that the page has asked for

/** Serves the package as /octavo/, this folder as /bench/, model files as /file/, and node_modules. */
function serve() {
  const server = createServer((request, response) => {
    const path = normalize(decodeURIComponent(new URL(request.url, "http://localhost").pathname));
    const [, first, ...rest] = path.split("/");
    const file =
      {
        octavo: () => join(root, "web/dist", ...rest),
        bench: () => join(here, ...rest),
        file: () => `/${rest.join("/")}`,
      }[first]?.() ?? join(modules, path);
    const headers = {
      "cross-origin-opener-policy": "same-origin",
      "cross-origin-embedder-policy": "require-corp",
      "content-type": types[extname(path)] ?? "application/octet-stream",
    };
    if (path === "/index.html") {
      const map = { imports: { "@litertjs/wasm-utils": "/@litertjs/wasm-utils/dist/index.js" } };
      response.writeHead(200, headers);
      response.end(
        `<!doctype html><title>bench</title><script type="importmap">${JSON.stringify(map)}</script>`,
      );
    } else if (existsSync(file)) {
      if (extname(file) === ".wasm") loaded.add(file);
      response.writeHead(200, headers);
      response.end(readFileSync(file));
    } else {
      response.writeHead(404, headers).end();
    }
  });
  return new Promise((done) => server.listen(0, "127.0.0.1", () => done(server)));
}

const wire = new Map();
/** Bytes over the wire of the .wasm file that a contestant loaded. */
function gzipBytes(file) {
  if (!wire.has(file)) wire.set(file, gzipSync(readFileSync(file), { level: 9 }).length);
  return wire.get(file);
}
const wasmOf = {
  octavo:
    ({ variant }) =>
    (file) =>
      file.includes("/dist/octavo") && file.includes("_relaxed") === (variant === "relaxed"),
  "onnxruntime-web": () => (file) => file.includes("/onnxruntime-web/"),
  litertjs: () => (file) => file.includes("/@litertjs/"),
};

/** The contestants on a model in a data type. */
async function contestants(name, dtype, threads, metadata) {
  let file = sharedFile("models", `${name}.onnx`);
  if (dtype === "int8") {
    file = join(folder, `${name}_int8.onnx`);
    if (!options.keep || !existsSync(file)) {
      const flags = ["--weight-granularity", "per_channel", "--no-check"];
      await quantizeShared(name, file, flags, metadata);
    }
  }
  const url = `/file${file}`;
  // The page's own thread may not wait for others: only a worker has them.
  const worker = options.threads.some((count) => count > 1);
  const all = options.variants.map((variant) => ({
    peer: "octavo",
    url,
    variant,
    threads,
    worker,
  }));
  all.push({ peer: "onnxruntime-web", url, threads });
  const lite =
    tflite[name]?.[dtype] && sharedFile("models/tflite", `${tflite[name][dtype]}.tflite`);
  if (lite) all.push({ peer: "litertjs", url: `/file${lite}`, threads });
  return all.filter(({ peer }) => options.peers.includes(peer));
}

const server = await serve();
const browser = await chromium.launch({
  executablePath: "/usr/bin/chromium",
  args: ["--no-sandbox", "--disable-gpu", "--disable-background-networking"],
});
const label = ({ peer, variant }) => (variant === "simd" ? `${peer} (simd)` : peer);
const number = (value) => value.toPrecision(3).padStart(9);
const rows = [];
console.log("medians in ms; x: how many times longer than octavo\n");
for (const name of options.models) {
  const float = sharedFile("models", `${name}.onnx`);
  if (!float) {
    console.log(`${name.padEnd(14)} SKIPPED: not in OCTAVO_SHARED`);
    continue;
  }
  const metadata = (await ortSession(float)).inputMetadata;
  const inputs = randomInputs(metadata, sharedModels[name], 17);
  const plain = Object.fromEntries(
    Object.entries(inputs).map(([input, { type, dims, data }]) => [
      input,
      { type, dims, data: Array.from(data, Number) },
    ]),
  );
  // A page for each number of threads, which some contestants fix when they are loaded. In turns all
  // the same, and float with int8: their ratios are figures of their own.
  const fields = [];
  for (const threads of options.threads) {
    const racers = [];
    for (const dtype of options.dtypes) {
      for (const one of await contestants(name, dtype, threads, metadata)) {
        racers.push({ ...one, dtype });
      }
    }
    const page = await browser.newPage();
    await page.goto(`http://127.0.0.1:${server.address().port}/index.html`);
    const call = (fn, ...args) =>
      page.evaluate(
        async ([fn, args]) => (await import("/bench/bench_page.mjs"))[fn](...args),
        [fn, args],
      );
    await call("prepare", racers, plain, 1000 * options.seconds);
    fields.push({ threads, racers, page, call });
  }
  for (let round = 0; round < options.rounds; round++) {
    for (let i = 0; i < fields[0].racers.length; i++) {
      for (const { call } of fields) await call("turn", i);
    }
  }
  for (const { threads, racers, page, call } of fields) {
    const results = await call("results");
    await page.close();
    const ours = {};
    results.forEach((result, i) => {
      const { peer, dtype } = racers[i];
      const line = [name.padEnd(14), dtype.padEnd(5), threads, label(racers[i]).padEnd(17)];
      if (result.error) {
        console.log([...line, `FAILED: ${result.error}`].join(" "));
        return;
      }
      if (peer === "octavo") ours[dtype] ??= result.median_ms;
      const bytes = gzipBytes([...loaded].find(wasmOf[peer](racers[i])));
      rows.push({
        model: name,
        peer: label(racers[i]),
        dtype,
        threads,
        median_ms: result.median_ms,
        min_ms: result.min_ms,
        load_ms: result.load_ms,
        wasm_gz_bytes: bytes,
      });
      const ratios = [`x ${(result.median_ms / ours[dtype]).toFixed(2)}`];
      if (peer === "octavo" && dtype === "int8") {
        const twin = rows.findLast(
          (row) =>
            row.model === name &&
            row.dtype === "f32" &&
            row.threads === threads &&
            row.peer === label(racers[i]),
        );
        if (twin) ratios.push(`float/int8 ${(twin.median_ms / result.median_ms).toFixed(2)}`);
      }
      if (threads !== options.threads[0]) {
        const fewer = rows.find(
          (row) =>
            row.model === name &&
            row.dtype === dtype &&
            row.peer === label(racers[i]) &&
            row.threads === options.threads[0],
        );
        const speedup = (key) => (fewer[key] / result[key]).toFixed(2);
        if (fewer) {
          ratios.push(`over ${fewer.threads} thread ${speedup("median_ms")}`);
          ratios.push(`(min ${speedup("min_ms")})`);
        }
      }
      console.log(
        [
          ...line,
          number(result.median_ms),
          `min${number(result.min_ms)}`,
          `load ${result.load_ms.toFixed(0).padStart(5)}`,
          `wasm ${(bytes / 1000).toFixed(0).padStart(5)} kB`,
          ...ratios,
        ].join(" "),
      );
    });
  }
}
await browser.close();
server.close();
writeFileSync(options.json, JSON.stringify(rows, null, 2) + "\n");
