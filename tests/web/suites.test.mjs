// The GoogleTest suites, compiled to WebAssembly (tests/wasm.cmake), in Node and in Chromium.
import assert from "node:assert/strict";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { after, test } from "node:test";
import { root } from "../harness.mjs";
import { closeBrowser, withPage } from "./page.mjs";

after(closeBrowser);

const folder = join(root, "build/wasm/tests");
const onnxData = "/usr/share/libonnx-testdata/data";

/** Runs the suites; `prepare(FS)` makes the files that they read. Gives the exit status and the output. */
async function run(create, prepare, filter = "*") {
  const lines = [];
  const print = (line) => lines.push(line);
  let status = 0;
  const module = await create({ print, printErr: print, onExit: (code) => (status = code) });
  await prepare(module.FS);
  status = module.callMain(["--gtest_brief=1", `--gtest_filter=${filter}`]) ?? status;
  return { status, text: lines.join("\n") };
}

function check({ status, text }) {
  assert.equal(status, 0, text.slice(-5000));
  const passed = Number(/\[ {2}PASSED {2}\] (\d+) tests/.exec(text)?.[1]);
  assert.ok(passed > 200, text.slice(-1000));
}

for (const variant of ["", "_relaxed"]) {
  const name = `octavo_tests${variant}.mjs`;

  const wasm = join(folder, name.replace(".mjs", ".wasm"));
  const skip = !WebAssembly.validate(readFileSync(wasm)) && "this Node.js has no relaxed SIMD";
  test(`${name} in Node`, { skip }, async () => {
    const { default: create } = await import(join(folder, name));
    const mount = (FS) => {
      for (const path of [root, onnxData].filter(existsSync)) {
        FS.mkdirTree(path);
        FS.mount(FS.filesystems.NODEFS, { root: path }, path);
      }
    };
    const result = await run(create, mount);
    check(result);
    if (existsSync(onnxData)) assert.doesNotMatch(result.text, /needs \/usr\/share/);
  });

  test(`${name} in Chromium`, () => {
    const golden = readdirSync(join(root, "tests/golden")).map((file) => `tests/golden/${file}`);
    const routes = { "/suites/": folder, "/files/": root };
    return withPage(
      routes,
      async (page) => {
        const files = [...golden, "tools/digits/digits.onnx", "docs/options.md"];
        const argument = { name, root, files, source: String(run) };
        const result = await page.evaluate(inPage, argument);
        check(result);
      },
      { csp: false },
    );
  });
}

// ONNX's cases, 50 MB, are left to Node.
async function inPage({ name, root, files, source }) {
  const run = new Function(`return ${source}`)();
  const { default: create } = await import(`/suites/${name}`);
  const prepare = async (FS) => {
    for (const file of files) {
      FS.mkdirTree(`${root}/${file.slice(0, file.lastIndexOf("/"))}`);
      const response = await fetch(`/files/${file}`);
      FS.writeFile(`${root}/${file}`, new Uint8Array(await response.arrayBuffer()));
    }
  };
  // A test of limits fills gigabytes, which a page gets slowly.
  return run(create, prepare, "-*ExponentialNesting*");
}
