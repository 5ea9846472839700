// Runs functions in pages of headless Chromium, from a static server with a strict content security
// policy.
import { readFile } from "node:fs/promises";
import { createServer } from "node:http";
import { extname, join, normalize } from "node:path";
import { chromium } from "playwright-core";

const types = {
  ".css": "text/css",
  ".html": "text/html",
  ".js": "text/javascript",
  ".svg": "image/svg+xml",
  ".mjs": "text/javascript",
  ".wasm": "application/wasm",
};
const policy =
  "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; worker-src 'self'; connect-src 'self'";
const isolation = {
  "cross-origin-opener-policy": "same-origin",
  "cross-origin-embedder-policy": "require-corp",
};

/**
 * Serves `routes` ({"/prefix/": folder, "/name": bytes}) and, at "/", an empty page. The longest
 * prefix wins.
 */
export function serve(routes, headers = {}) {
  const prefixes = Object.keys(routes).sort((a, b) => b.length - a.length);
  const server = createServer(async (request, response) => {
    const pathname = decodeURIComponent(new URL(request.url, "http://localhost").pathname);
    const send = (body, type) =>
      response.writeHead(200, { ...headers, "content-type": type }).end(body);
    const prefix = prefixes.find((prefix) => pathname.startsWith(prefix));
    try {
      const target = routes[prefix];
      if (target === undefined) {
        if (pathname !== "/") throw new Error("not found");
        send("<!doctype html><title>test</title>", "text/html");
      } else if (typeof target === "string") {
        let file = normalize(pathname.slice(prefix.length - 1));
        if (file.endsWith("/")) file += "index.html";
        send(
          await readFile(join(target, file)),
          types[extname(file)] ?? "application/octet-stream",
        );
      } else {
        send(target, "application/octet-stream");
      }
    } catch {
      response.writeHead(404, headers).end();
    }
  });
  return new Promise((done) => server.listen(0, "127.0.0.1", () => done(server)));
}

// Nothing of the browser's own, and a camera that shows a test picture.
const args = [
  "--no-sandbox",
  "--disable-gpu",
  "--disable-background-networking",
  "--use-fake-device-for-media-stream",
  "--use-fake-ui-for-media-stream",
];
let browser;
/**
 * Calls body(page, complaints) with a page of such a server. `complaints`: what the console says.
 * `view`: what Playwright's contexts take (viewport, colorScheme, ...).
 */
export async function withPage(
  routes,
  body,
  { isolated = false, csp = true, path = "", view = {} } = {},
) {
  browser ??= chromium.launch({ executablePath: "/usr/bin/chromium", args });
  const context = await (await browser).newContext(view);
  const server = await serve(routes, {
    ...(isolated ? isolation : {}),
    ...(csp ? { "content-security-policy": policy } : {}),
  });
  try {
    const page = await context.newPage();
    const complaints = [];
    page.on("console", (message) => complaints.push(message.text()));
    page.on("pageerror", (error) => complaints.push(String(error)));
    await page.goto(`http://127.0.0.1:${server.address().port}/${path}`);
    return await body(page, complaints);
  } finally {
    await context.close();
    server.closeAllConnections();
    server.close();
  }
}

/** The result of a function that is called in the page with `argument`. */
export const inPage = (routes, fn, argument, options) =>
  withPage(routes, (page) => page.evaluate(fn, argument), options);

/** To be called after the last page (node:test's after). */
export const closeBrowser = async () => (await browser)?.close();
