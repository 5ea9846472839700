// Samples and labels from the files that a visitor gives.
import type { ValueMetadata } from "octavo";
import { extension, fileName, isArray, isImage, isTable, type Entry } from "./files";
import type { Sample } from "./feeds";
import { plural } from "./format";
import { part, readNpy, readNpz, type NdArray } from "./npy";
import { random } from "./statistics";

export type DataKind = "digits" | "images" | "arrays" | "webcam" | "synthetic";

export interface Dataset {
  kind: DataKind;
  /** "300 images in 10 folders" */
  title: string;
  samples: Sample[];
  /** Names of the labels, if the data have names for them. */
  classes?: readonly string[];
  /** What it was made of: enough to make it again after a reload. */
  entries: Entry[];
}

export const labelled = ({ samples }: Dataset) =>
  samples.filter(({ label }) => label !== undefined).length;

interface Labels {
  of: (path: string) => number | undefined;
  classes?: readonly string[];
  from: string;
}

const isNumber = (text: string) => /^\d+$/.test(text);

/** Names to numbers: numbers stay what they are, others count in sorted order. */
function numbered(names: Iterable<string>): Map<string, number> {
  const sorted = [...new Set(names)].sort();
  const numeric = sorted.every(isNumber);
  return new Map(sorted.map((name, i) => [name, numeric ? Number(name) : i]));
}

async function labelsFromCsv(csv: Entry): Promise<Labels> {
  const rows = (await csv.file.text())
    .split(/\r?\n/)
    .map((line) => line.split(",").map((cell) => cell.trim().replace(/^"(.*)"$/, "$1")))
    .filter((cells) => cells.length >= 2 && cells[0]);
  // A heading has no file of its kind below it.
  if (rows[0] && !extension(rows[0][0]!)) rows.shift();
  if (rows.length === 0) {
    throw new Error(`‘${csv.path}’ has no lines of the form file,label; write one for each image`);
  }
  const numbers = numbered(rows.map((row) => row[1]!));
  const byName = new Map(rows.map(([file, label]) => [fileName(file!), numbers.get(label!)!]));
  const names = [...numbers.keys()];
  return {
    of: (path) => byName.get(fileName(path)),
    ...(names.every(isNumber) ? {} : { classes: names }),
    from: csv.path,
  };
}

const folderOf = (path: string) => path.split("/").at(-2) ?? "";

function labelsFromFolders(images: readonly Entry[]): Labels | undefined {
  const folders = numbered(images.map(({ path }) => folderOf(path)));
  if (folders.size < 2) return undefined;
  const names = [...folders.keys()];
  return {
    of: (path) => folders.get(folderOf(path)),
    ...(names.every(isNumber) ? {} : { classes: names }),
    from: plural(folders.size, "folder"),
  };
}

async function fromImages(images: Entry[], csv: Entry | undefined): Promise<Dataset> {
  const labels = csv ? await labelsFromCsv(csv) : labelsFromFolders(images);
  const sorted = images.toSorted((a, b) => a.path.localeCompare(b.path, "en", { numeric: true }));
  const samples = sorted.map(({ path, file }): Sample => {
    const label = labels?.of(path);
    return { name: fileName(path), image: file, ...(label === undefined ? {} : { label }) };
  });
  if (csv && samples.every(({ label }) => label === undefined)) {
    throw new Error(`No line of ‘${csv.path}’ names one of the images; write lines of file,label`);
  }
  return {
    kind: "images",
    title: `${plural(samples.length, "image")}${labels ? `, labels from ${labels.from}` : ""}`,
    // In turns through the classes, so that any first part of them is a fair one.
    samples: interleaved(samples),
    ...(labels?.classes ? { classes: labels.classes } : {}),
    entries: [...images, ...(csv ? [csv] : [])],
  };
}

function interleaved(samples: Sample[]): Sample[] {
  const classes = new Map<number | undefined, Sample[]>();
  for (const sample of samples) {
    classes.set(sample.label, [...(classes.get(sample.label) ?? []), sample]);
  }
  const queues = [...classes.values()];
  const longest = Math.max(...queues.map((queue) => queue.length));
  return Array.from({ length: longest }, (_, i) =>
    queues.flatMap((queue) => queue[i] ?? []),
  ).flat();
}

/** Samples of arrays that all have one for each along their first axis. */
function fromParts(
  arrays: Map<string, NdArray>,
  labels: NdArray | undefined,
  stem: string,
): Sample[] {
  const [first] = arrays.values();
  const total = first?.dims[0] ?? 0;
  return Array.from({ length: total }, (_, i) => ({
    name: `${stem} ${i + 1}`,
    ...(labels && i < labels.data.length ? { label: Number(labels.data[i]) } : {}),
    arrays: Object.fromEntries([...arrays].map(([name, array]) => [name, part(array, i)])),
  }));
}

async function fromArrays(entries: Entry[]): Promise<Dataset> {
  const samples: Sample[] = [];
  const bytesOf = async ({ file }: Entry) => new Uint8Array(await file.arrayBuffer());
  const isLabels = ({ path }: Entry) => /(^|[_-])labels?\.npy$/i.test(path);
  const given = entries.find(isLabels);
  let labels = given && readNpy(await bytesOf(given), given.path);
  for (const entry of entries.filter((entry) => !isLabels(entry))) {
    const stem = fileName(entry.path).replace(/\.np[yz]$/i, "");
    const bytes = await bytesOf(entry);
    const arrays =
      extension(entry.path) === "npz"
        ? await readNpz(bytes, entry.path)
        : new Map([["", readNpy(bytes, entry.path)]]);
    const inside = arrays.get("labels");
    arrays.delete("labels");
    for (const { dims } of arrays.values()) {
      if (dims.length === 0 || dims[0] === 0) {
        throw new Error(`‘${entry.path}’ has no samples along its first axis; save at least one`);
      }
    }
    samples.push(...fromParts(arrays, inside ?? labels, stem));
    labels = undefined;
  }
  if (samples.length === 0) {
    throw new Error("There are labels but no samples; add the .npy file with the samples");
  }
  const known = samples.filter(({ label }) => label !== undefined).length;
  return {
    kind: "arrays",
    title: `${plural(samples.length, "sample")} from ${entries.map(({ path }) => fileName(path)).join(", ")}${known ? ", labelled" : ""}`,
    samples,
    entries,
  };
}

/** Undefined if there are no data among the files. */
export async function readDataset(entries: readonly Entry[]): Promise<Dataset | undefined> {
  const images = entries.filter(isImage);
  const arrays = entries.filter(isArray);
  if (images.length > 0) {
    return fromImages(
      images,
      entries.find(({ path }) => extension(path) === "csv"),
    );
  }
  return arrays.length > 0 ? fromArrays(arrays) : undefined;
}

/** The lines of a text file beside the data or the model: names of the classes. */
export async function readClassNames(entries: readonly Entry[]): Promise<string[] | undefined> {
  const entry = entries.find((entry) => isTable(entry) && extension(entry.path) === "txt");
  const lines = (await entry?.file.text())?.split(/\r?\n/).map((line) => line.trim());
  while (lines?.at(-1) === "") lines.pop();
  return lines;
}

/** Draws from the normal distribution, to be drawn from again: quicker than to make each anew. */
function normals(): Float32Array {
  const next = random(7);
  // The sum of uniform numbers is nearly normal: variance 1 with twelve of them.
  return Float32Array.from({ length: 4096 }, () => {
    let sum = -6;
    for (let k = 0; k < 12; k++) sum += next();
    return sum;
  });
}

/** Noise for every input: enough to see that quantization works, not how well. */
export function synthetic(inputs: readonly ValueMetadata[], total = 32): Dataset {
  const table = normals();
  const size = (dim: number | string | null, axis: number, rank: number) =>
    typeof dim === "number" && dim > 0 ? dim : axis === 0 ? 1 : rank === 4 && axis > 1 ? 224 : 16;
  const noise = ({ type, shape }: ValueMetadata, next: () => number): NdArray => {
    const dims = (shape ?? [1]).map((dim, axis, all) => size(dim, axis, all.length));
    const length = dims.reduce((a, b) => a * b, 1);
    if (type === "float32") {
      const data = new Float32Array(length);
      for (let i = 0; i < length; i++) data[i] = table[(next() * table.length) | 0]!;
      return { type, dims, data };
    }
    const bits = Array.from({ length }, () => +(next() < 0.5));
    return type === "int64"
      ? { type, dims, data: BigInt64Array.from(bits, BigInt) }
      : { type: "int32", dims, data: Int32Array.from(bits) };
  };
  return {
    kind: "synthetic",
    title: `${plural(total, "sample")} of noise`,
    samples: Array.from({ length: total }, (_, i) => ({
      name: `noise ${i + 1}`,
      // Made when it is asked for: together they may be large.
      get arrays() {
        const next = random(i + 1);
        return Object.fromEntries(inputs.map((input) => [input.name, noise(input, next)]));
      },
    })),
    entries: [],
  };
}

/** The project's own digits: beside the page, drawn by tools/digits. */
export async function ownDigits(url: string): Promise<Dataset> {
  const response = await fetch(url);
  if (!response.ok) throw new Error("The page's own digits could not be loaded; reload the page");
  const arrays = await readNpz(new Uint8Array(await response.arrayBuffer()), "digits.npz");
  const labels = arrays.get("labels")!;
  arrays.delete("labels");
  const samples = fromParts(arrays, labels, "digit");
  return {
    kind: "digits",
    title: `${plural(samples.length, "drawn digit")}, labelled`,
    samples,
    entries: [],
  };
}
