// The packed package: what a user's compiler and Node find in it, and how much is downloaded.
import assert from "node:assert/strict";
import { execFileSync, spawnSync } from "node:child_process";
import { readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { root } from "../harness.mjs";
import { consumer, dist } from "./package.mjs";

const bin = (name) => join(root, "node_modules/.bin", name);

const program = `
import { InferenceSession, quantizeModel, StaticQuantConfig, Tensor, type QuantizedModel } from "octavo";
import { InferenceSession as Runner } from "octavo/runtime";

export async function shrink(file: File, samples: AsyncIterable<Float32Array>): Promise<QuantizedModel> {
  async function* feeds() {
    for await (const data of samples) yield { input: new Tensor("float32", data, [1, 1, 28, 28]) };
  }
  const config = new StaticQuantConfig({ actAlgorithm: "minmax" }).setLocal("Gemm", { actDtype: "fp32" });
  return quantizeModel(file, config, feeds(), 100, null, {
    onProgress: ({ phase, done, total }) => console.log(phase, done, total),
    signal: AbortSignal.timeout(1000),
  });
}
export async function run(model: QuantizedModel, bytes: Uint8Array) {
  const session = await InferenceSession.create(model, { worker: false });
  const runner = await Runner.create(bytes);
  const outputs = await session.run({ input: { type: "float32", dims: [1], data: [1] } });
  await runner.dispose();
  const data: ArrayLike<unknown> = outputs["y"]!.data;
  return data;
}
`;

for (const [module, resolution] of [
  ["esnext", "bundler"],
  ["node16", "node16"],
]) {
  test(`types, moduleResolution ${resolution}`, () =>
    consumer((folder) => {
      writeFileSync(join(folder, "program.ts"), program);
      const compilerOptions = {
        ...{ noEmit: true, strict: true, target: "es2022", lib: ["es2022", "dom"], types: [] },
        ...{ module, moduleResolution: resolution },
      };
      const config = { compilerOptions, files: ["program.ts"] };
      writeFileSync(join(folder, "tsconfig.json"), JSON.stringify(config));
      const done = spawnSync(bin("tsc"), [], { cwd: folder, encoding: "utf8" });
      assert.equal(done.stdout, "");
    }));
}

test("runs from the packed package, and the process ends by itself", () =>
  consumer((folder) => {
    const digits = JSON.stringify(join(root, "tools/digits/digits.onnx"));
    writeFileSync(
      join(folder, "program.js"),
      `import { InferenceSession } from "octavo";
       const session = await InferenceSession.create(${digits});
       console.log(session.backend.worker, session.outputNames.join());`,
    );
    const args = { cwd: folder, encoding: "utf8", timeout: 30000 };
    assert.equal(execFileSync(process.execPath, ["program.js"], args), "true logits\n");
  }));

test("arethetypeswrong finds nothing", () =>
  consumer((folder, tarball) => {
    // An ES module only: `require` of one is for Node 22 and later to do.
    const args = [
      tarball,
      "--profile",
      "esm-only",
      "--entrypoints",
      ".",
      "runtime",
      "worker",
      "runtime/worker",
    ];
    const done = spawnSync(bin("attw"), args, { cwd: folder, encoding: "utf8" });
    assert.equal(done.status, 0, done.stdout + done.stderr);
  }));

test("publint finds nothing", () => {
  execFileSync(bin("publint"), ["--strict", "--pack", "false"], { cwd: root, stdio: "inherit" });
});

test("sizes over the wire (gzip -9)", () => {
  const size = (name) => execFileSync("gzip", ["-9", "--stdout", join(dist, name)]).length;
  // What each entry's page and worker load, some of it in both.
  const entries = {
    octavo: /^runtime/,
    octavo_runtime:
      /^(worker|model|quantize|config|progress|autotune|calibration|diagnose|verify|recipe|schema|index|threads)/,
  };
  for (const [entry, others] of Object.entries(entries)) {
    const scripts = readdirSync(dist).filter((name) => name.endsWith(".js") && !others.test(name));
    const sizes = {
      ...Object.fromEntries(
        ["", "_relaxed", "_threads", "_relaxed_threads"].map((variant) => [
          `${entry}${variant}.wasm`,
          size(`${entry}${variant}.wasm`),
        ]),
      ),
      javascript: [...scripts, `${entry}_threads.mjs`].reduce((sum, name) => sum + size(name), 0),
    };
    console.log(entry, sizes);
    const limit = entry === "octavo" ? 900_000 : 300_000;
    for (const [name, bytes] of Object.entries(sizes)) {
      assert.ok(bytes < (name === "javascript" ? 40_000 : limit), name);
    }
  }
});
