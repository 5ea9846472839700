// What the package's tests share: its files, and the digit model with images and native results.
import { execFileSync } from "node:child_process";
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { octavo as cli, root, tool, withFolder } from "../harness.mjs";
import { readNpy, writeNpy } from "../npy.mjs";

export const dist = join(root, "web/dist");
export const model = readFileSync(join(root, "tools/digits/digits.onnx"));
export const calibration = 40;

/** 100 digits as floats, 28 x 28 each. */
export const samples = await withFolder((folder) => {
  const file = join(folder, "digits.npy");
  tool("octavo_digits", "--count", 100, "--seed", 21, "--out", file);
  return Float32Array.from(readNpy(file).data);
});

/** The native portable backend's logits for the samples. `name`: q.onnx or q.octavo. */
export function nativeLogits(bytes, name) {
  return withFolder((folder) => {
    const file = (base) => join(folder, base);
    writeFileSync(file(name), bytes);
    const dims = [samples.length / 784, 1, 28, 28];
    writeNpy(file("input.npy"), { type: "float32", dims, data: samples });
    const input = ["--input", `input=${file("input.npy")}`];
    cli("run", file(name), ...input, "--output-dir", folder, "--backend", "portable");
    return readNpy(file("logits.npy")).data;
  });
}

/** Installs the packed package in a folder of its own and calls body(folder, tarball). */
export function consumer(body) {
  return withFolder((folder) => {
    const pack = ["pack", "--ignore-scripts", "--silent", "--pack-destination", folder];
    execFileSync("npm", pack, { cwd: root, stdio: ["ignore", "ignore", "inherit"] });
    const [tarball] = readdirSync(folder);
    const target = join(folder, "node_modules/octavo");
    mkdirSync(target, { recursive: true });
    execFileSync("tar", ["-xzf", join(folder, tarball), "-C", target, "--strip-components=1"]);
    writeFileSync(join(folder, "package.json"), '{ "type": "module" }');
    return body(folder, join(folder, tarball));
  });
}
