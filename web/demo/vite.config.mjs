// Builds the demo into build/web_demo: static files that any host may serve, from any path.
import { readFileSync } from "node:fs";
import { resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { defineConfig } from "vite";

const here = fileURLToPath(new URL(".", import.meta.url));
const root = resolve(here, "../..");
const { exports } = JSON.parse(readFileSync(resolve(root, "package.json"), "utf8"));

/** Cross-origin isolation, which lets the page use threads; it works without it too. */
const isolation = {
  "Cross-Origin-Opener-Policy": "same-origin",
  "Cross-Origin-Embedder-Policy": "require-corp",
};

/** What the pages share: <!-- NAME.html --> stands for a file of src, whose link to the page is marked. */
const parts = {
  name: "parts",
  transformIndexHtml: {
    order: "pre",
    handler: (html, { path }) =>
      html.replace(/<!-- (\w+\.html) -->/g, (_, name) =>
        readFileSync(resolve(here, "src", name), "utf8").replace(
          `<a href="./${path.slice(1).replace("index.html", "")}"`,
          '$& aria-current="page"',
        ),
      ),
  },
};

// The browser itself keeps the page from talking to anybody: blob: is for files that the visitor
// gives (images, a runtime to compare with).
const policy = [
  "default-src 'none'",
  "script-src 'self' 'wasm-unsafe-eval' blob:",
  "worker-src 'self' blob:",
  "connect-src 'self' blob:",
  "img-src 'self' blob: data:",
  "media-src 'self' blob:",
  "style-src 'self'",
  "manifest-src 'self'",
  "base-uri 'none'",
  "form-action 'none'",
].join("; ");
const contentSecurityPolicy = {
  name: "content-security-policy",
  apply: "build",
  transformIndexHtml: () => [
    {
      tag: "meta",
      attrs: { "http-equiv": "Content-Security-Policy", content: policy },
      injectTo: "head-prepend",
    },
  ],
};

export default defineConfig({
  root: here,
  base: "./",
  publicDir: false,
  plugins: [parts, contentSecurityPolicy],
  resolve: {
    // The package by its own name: what it exports, and nothing else of the repository.
    alias: [
      { find: /^octavo$/, replacement: resolve(root, exports["."].default) },
      { find: /^octavo\/runtime$/, replacement: resolve(root, exports["./runtime"].default) },
    ],
  },
  worker: { format: "es" },
  build: {
    outDir: resolve(root, "build/web_demo"),
    emptyOutDir: true,
    target: "es2022",
    modulePreload: { polyfill: false },
    rollupOptions: {
      input: { index: resolve(here, "index.html"), bench: resolve(here, "bench.html") },
    },
  },
  server: { fs: { allow: [root] }, headers: isolation },
  preview: { headers: isolation },
});
