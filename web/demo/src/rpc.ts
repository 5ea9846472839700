// Calls of functions in a worker, by name.

interface Request {
  id: number;
  method: string;
  args: unknown[];
}
interface Answer {
  id: number;
  result?: unknown;
  error?: string;
}
type Functions = Record<string, (...args: never[]) => unknown>;

/** In the worker: answers calls of these functions, one after another. */
export function expose(functions: Functions) {
  let last: Promise<unknown> = Promise.resolve();
  onmessage = ({ data }: MessageEvent<Request>) => {
    last = last.then(async () => {
      const answer: Answer = { id: data.id };
      try {
        answer.result = await functions[data.method]!(...(data.args as never[]));
      } catch (error) {
        answer.error = error instanceof Error ? error.message : String(error);
      }
      postMessage(answer);
    });
  };
}

/** In the page: the functions of the worker, as promises. */
export function connect<F extends Functions>(worker: Worker) {
  const waiting = new Map<number, { resolve(value: unknown): void; reject(error: Error): void }>();
  let lastId = 0;
  worker.onmessage = ({ data: { id, result, error } }: MessageEvent<Answer>) => {
    const call = waiting.get(id);
    waiting.delete(id);
    if (error !== undefined) call?.reject(new Error(error));
    else call?.resolve(result);
  };
  worker.onerror = (event) => {
    const error = new Error(
      event.message || "a script of this page could not be loaded; reload it",
    );
    for (const call of waiting.values()) call.reject(error);
    waiting.clear();
  };
  return <Name extends keyof F & string>(
    method: Name,
    ...args: Parameters<F[Name]>
  ): Promise<Awaited<ReturnType<F[Name]>>> =>
    new Promise((resolve, reject) => {
      const id = ++lastId;
      waiting.set(id, { resolve: resolve as (value: unknown) => void, reject });
      worker.postMessage({ id, method, args } satisfies Request);
    });
}
