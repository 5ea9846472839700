// Few helpers instead of a framework: elements are made once and changed where they stand.

type Child = Node | string | number | null | undefined | false;
type Props = Record<string, unknown>;

/** h("button", { class: "primary", onclick }, "Quantize") */
export function h<Tag extends keyof HTMLElementTagNameMap>(
  tag: Tag,
  props: Props = {},
  ...children: Child[]
): HTMLElementTagNameMap[Tag] {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(props)) {
    if (value === undefined || value === null || value === false) continue;
    if (name === "class") element.className = String(value);
    else if (name.startsWith("on")) {
      element.addEventListener(name.slice(2), value as EventListener);
    } else if (value === true) element.setAttribute(name, "");
    else element.setAttribute(name, String(value));
  }
  element.append(...kept(children));
  return element;
}

const kept = (children: Child[]) =>
  children
    .filter((child) => child !== null && child !== undefined && child !== false)
    .map((child) => (child instanceof Node ? child : String(child)));

/** The element of index.html with this id. */
export function $<Type extends HTMLElement = HTMLElement>(id: string): Type {
  const element = document.getElementById(id);
  if (!element) throw new Error(`the page has no element '${id}'`);
  return element as Type;
}

export function fill(element: Element, ...children: Child[]) {
  element.replaceChildren(...kept(children));
}

/** A labelled form field with an explanation below. */
let fields = 0;
export function field(label: string, control: HTMLElement, help?: string) {
  const id = (control.id ||= `field-${++fields}`);
  const note = help && h("p", { class: "help", id: `${id}-help` }, help);
  if (note) control.setAttribute("aria-describedby", note.id);
  return h("div", { class: "field" }, h("label", { for: id }, label), control, note);
}

export function select(
  choices: readonly (readonly [value: string, label: string])[],
  value: string,
  onchange: (value: string) => void,
) {
  const control = h("select", {
    onchange: () => onchange(control.value),
  });
  for (const [choice, label] of choices) {
    control.append(h("option", { value: choice, selected: choice === value }, label));
  }
  return control;
}

/** A canvas with its context, for pixels that are read back. */
export function canvas2d(width: number, height: number) {
  const canvas = h("canvas", { width, height });
  return { canvas, context: contextOf(canvas) };
}
export function contextOf(canvas: HTMLCanvasElement) {
  return canvas.getContext("2d", { willReadFrequently: true })!;
}

export const reducedMotion = () => matchMedia("(prefers-reduced-motion: reduce)").matches;

/** A custom property's value: charts are drawn in the page's colours. */
export const cssColor = (name: string) =>
  getComputedStyle(document.documentElement).getPropertyValue(name).trim();

/** Calls back when the page turns dark or light. */
export function onColorScheme(listener: () => void) {
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", listener);
}
