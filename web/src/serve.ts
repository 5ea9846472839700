// The worker's side of host.ts: an engine that answers calls by name.
import { Engine, resultBuffers, type Loader } from "./engine.js";
import { toDetail, type Answer, type Request } from "./host.js";
import { isNode, nodeModule } from "./load.js";

/** Steps are told no more often. */
const stepMs = 50;

export async function serve(loader: Loader) {
  let engine: Engine | undefined;
  const answer = async (request: Request, post: (a: Answer, t: Transferable[]) => void) => {
    const { id } = request;
    try {
      if ("wasm" in request) {
        engine = await Engine.create(loader, request.wasm, request.threads);
        post({ id }, []);
      } else {
        let told = -Infinity;
        const result = engine!.call(request.method, request.args, (done, total) => {
          const now = performance.now();
          if (request.steps && (now - told > stepMs || done === total)) {
            told = now;
            post({ id, step: [done, total] }, []);
          }
          return !request.cancel || Atomics.load(request.cancel, 0) === 0;
        });
        post({ id, result }, resultBuffers(result));
      }
    } catch (error) {
      post({ id, error: toDetail(error), stopped: engine?.stopped ?? true }, []);
    }
  };
  if (isNode) {
    const { parentPort } = await nodeModule<typeof import("node:worker_threads")>("worker_threads");
    parentPort!.on("message", (request: Request) =>
      answer(request, (a, transfer) => parentPort!.postMessage(a, transfer as never)),
    );
  } else {
    const scope = globalThis as unknown as {
      onmessage: (event: MessageEvent<Request>) => void;
      postMessage(message: unknown, transfer: Transferable[]): void;
    };
    scope.onmessage = ({ data }) => answer(data, (a, transfer) => scope.postMessage(a, transfer));
  }
}
