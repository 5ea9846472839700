// Keeps the last session in the browser, so that a reload loses nothing.
import type { DataKind } from "./dataset";
import type { Entry } from "./files";
import type { Preprocess } from "./preprocess";
import type { Recipe } from "./recipe";
import type { Outcome, Trials } from "./state";

/** What is needed to show everything again. */
export interface Session {
  model: { own: boolean; entries: Entry[] };
  data?: { kind: DataKind; entries: Entry[] };
  classes?: readonly string[];
  preprocess: Preprocess;
  recipe: Recipe;
  outcome?: Omit<Outcome, "model">;
  trials?: Trials;
}

/** Of another form than this, a session is not read. */
const version = 1;
/** Bytes of files that are kept at most. */
export const largest = 300e6;

const request = <T>(wanted: IDBRequest<T>) =>
  new Promise<T>((resolve, reject) => {
    wanted.onsuccess = () => resolve(wanted.result);
    wanted.onerror = () => reject(wanted.error);
  });

async function store(mode: IDBTransactionMode): Promise<IDBObjectStore> {
  const opening = indexedDB.open("octavo-demo", 1);
  opening.onupgradeneeded = () => opening.result.createObjectStore("session");
  const database = await request(opening);
  const transaction = database.transaction("session", mode);
  transaction.oncomplete = () => database.close();
  return transaction.objectStore("session");
}

const sizeOf = ({ model, data }: Session) =>
  [...model.entries, ...(data?.entries ?? [])].reduce((sum, { file }) => sum + file.size, 0);

/** False: it is too large, or the browser keeps nothing. */
export async function save(session: Session): Promise<boolean> {
  if (sizeOf(session) > largest) return false;
  try {
    await request((await store("readwrite")).put({ version, session }, "last"));
    return true;
  } catch {
    return false;
  }
}

export async function restore(): Promise<Session | undefined> {
  try {
    const kept = (await request((await store("readonly")).get("last"))) as
      | { version: number; session: Session }
      | undefined;
    return kept?.version === version ? kept.session : undefined;
  } catch {
    return undefined;
  }
}

export async function forget(): Promise<void> {
  await request((await store("readwrite")).clear());
}
