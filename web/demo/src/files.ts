// Files in: dropped, chosen, or a whole folder of them. Files out: downloads.

/** A file, and where it lay in the folder that was given. */
export interface Entry {
  path: string;
  file: File;
}

export const extension = (name: string) => /\.([^./]+)$/.exec(name)?.[1]?.toLowerCase() ?? "";
export const fileName = (path: string) => path.slice(path.lastIndexOf("/") + 1);

export const isModel = ({ path }: Entry) => ["onnx", "octavo"].includes(extension(path));
export const isImage = ({ path, file }: Entry) =>
  file.type.startsWith("image/") ||
  ["png", "jpg", "jpeg", "webp", "gif", "bmp", "avif"].includes(extension(path));
export const isArray = ({ path }: Entry) => ["npy", "npz"].includes(extension(path));
export const isTable = ({ path }: Entry) => ["csv", "txt"].includes(extension(path));

export const fromInput = (input: HTMLInputElement): Entry[] =>
  [...(input.files ?? [])].map((file) => ({ path: file.webkitRelativePath || file.name, file }));

/** Everything that was dropped, folders with what is in them. */
async function fromDrop(transfer: DataTransfer): Promise<Entry[]> {
  // The items are gone after the first wait: all roots are taken before it.
  const roots = [...transfer.items].flatMap((item) => item.webkitGetAsEntry?.() ?? []);
  if (roots.length === 0) return [...transfer.files].map((file) => ({ path: file.name, file }));
  return (await Promise.all(roots.map(entriesOf))).flat();
}

async function entriesOf(root: FileSystemEntry): Promise<Entry[]> {
  if (root.isFile) {
    const file = await new Promise<File>((resolve, reject) =>
      (root as FileSystemFileEntry).file(resolve, reject),
    );
    return [{ path: root.fullPath.replace(/^\//, ""), file }];
  }
  const reader = (root as FileSystemDirectoryEntry).createReader();
  const found: FileSystemEntry[] = [];
  for (;;) {
    // A hundred at a time, by the interface's definition.
    const some = await new Promise<FileSystemEntry[]>((resolve, reject) =>
      reader.readEntries(resolve, reject),
    );
    if (some.length === 0) break;
    found.push(...some);
  }
  return (await Promise.all(found.map(entriesOf))).flat();
}

/** Calls back with what is dropped anywhere on the page. */
export function onDrop(listener: (entries: Entry[]) => void) {
  const page = document.documentElement;
  const hasFiles = (event: DragEvent) => event.dataTransfer?.types.includes("Files") === true;
  let depth = 0;
  page.addEventListener("dragenter", (event) => {
    if (!hasFiles(event)) return;
    depth++;
    page.classList.add("dropping");
  });
  page.addEventListener("dragleave", (event) => {
    if (!hasFiles(event) || --depth > 0) return;
    page.classList.remove("dropping");
  });
  page.addEventListener("dragover", (event) => {
    if (hasFiles(event)) event.preventDefault();
  });
  page.addEventListener("drop", (event) => {
    if (!hasFiles(event)) return;
    event.preventDefault();
    depth = 0;
    page.classList.remove("dropping");
    void fromDrop(event.dataTransfer!).then(listener);
  });
}

export function download(name: string, content: BlobPart, type = "application/octet-stream") {
  const url = URL.createObjectURL(new Blob([content], { type }));
  const link = document.createElement("a");
  link.href = url;
  link.download = name;
  link.click();
  // The browser reads it after the click has been handled.
  setTimeout(() => URL.revokeObjectURL(url), 10_000);
}
