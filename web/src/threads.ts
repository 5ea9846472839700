// The module with threads.
import type { Loader } from "./engine.js";
import { nodeThread } from "./load.js";
import glue from "./octavo_threads.mjs";

export const loader: Loader = {
  glue,
  openThread: async () =>
    (await nodeThread(() => new URL(["thread.js"].join(), import.meta.url))) ??
    (() =>
      new Worker(new URL("./thread.js", import.meta.url), {
        type: "module",
        name: "em-pthread",
      })),
};
