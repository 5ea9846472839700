// Writes web/demo/digits.npz, the digits that the demo calibrates with and tests on. Needs
// `tools/build native octavo_digits`. Usage: node web/demo/make_digits.mjs
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { zipSync } from "fflate";
import { root, tool, withFolder } from "../../tests/harness.mjs";

await withFolder((folder) => {
  const file = (name) => join(folder, name);
  // Another series than the model was trained and tested on.
  const series = ["--count", 500, "--seed", 31];
  tool("octavo_digits", ...series, "--out", file("input.npy"), "--labels", file("labels.npy"));
  const arrays = ["input.npy", "labels.npy"].map((name) => [name, readFileSync(file(name))]);
  // A date of its own would make the archive another one each time.
  const options = { level: 9, mtime: "1980-01-01" };
  writeFileSync(join(root, "web/demo/digits.npz"), zipSync(Object.fromEntries(arrays), options));
});
