// A form for a config's options, made from the package's schema: a new option needs nothing here.
import type { ConfigSchema, OptionSchema } from "octavo";
import { field, h, select } from "./dom";

type Options = Record<string, unknown>;

const longer: Record<string, string> = {
  act: "activation",
  dtype: "type",
  sym: "symmetric",
  prob: "probability",
};

/** "actAlgorithm" becomes "Activation algorithm". */
export function label(name: string): string {
  const words = name.replace(/[A-Z]/g, (letter) => ` ${letter.toLowerCase()}`).split(" ");
  const text = words.map((word) => longer[word] ?? word).join(" ");
  return text.charAt(0).toUpperCase() + text.slice(1);
}

const textOf = (value: unknown) => (Array.isArray(value) ? value.join(", ") : String(value));

function control(option: OptionSchema, value: unknown, set: (value: unknown) => void) {
  const { type, choices, min, max, auto } = option;
  if (choices && type === "string") {
    const known = choices.map((choice) => [choice, choice.replaceAll("_", " ")] as const);
    return select(known, textOf(value), set);
  }
  if (type === "boolean") {
    const box = h("input", { type: "checkbox" });
    box.checked = value === true;
    box.addEventListener("change", () => set(box.checked));
    return box;
  }
  const isNumber = type === "number" || type === "integer";
  const input = h("input", {
    type: "text",
    value: textOf(value),
    inputmode: isNumber ? "decimal" : undefined,
    spellcheck: "false",
  });
  input.addEventListener("change", () => {
    const text = input.value.trim();
    if (!isNumber) {
      return set(type === "strings" ? text.split(/\s*,\s*/).filter(Boolean) : text);
    }
    if (auto && text === "auto") {
      input.setCustomValidity("");
      return set(text);
    }
    const number = Number(text);
    const fits =
      text !== "" &&
      Number.isFinite(number) &&
      (type !== "integer" || Number.isInteger(number)) &&
      (min === undefined || number >= min) &&
      (max === undefined || number <= max);
    const range =
      min === undefined ? "" : max === undefined ? ` from ${min}` : ` from ${min} to ${max}`;
    input.setCustomValidity(
      fits ? "" : `A ${type === "integer" ? "whole " : ""}number${range}${auto ? ", or auto" : ""}`,
    );
    if (input.reportValidity()) set(number);
  });
  return input;
}

const same = (a: unknown, b: unknown) => textOf(a) === textOf(b);

/**
 * After the fields of `lead`, the options of `first` at hand, the others folded away. `change` gets what differs from the
 * defaults.
 */
export function optionsForm(
  { options: schema }: ConfigSchema,
  values: Options,
  first: readonly string[],
  change: (values: Options) => void,
  lead: readonly HTMLElement[] = [],
): HTMLElement {
  const current = { ...values };
  const make = (option: OptionSchema) => {
    const { name, help, default: standard } = option;
    const set = (value: unknown) => {
      if (same(value, standard)) delete current[name];
      else current[name] = value;
      element.classList.toggle("changed", name in current);
      change({ ...current });
    };
    const element = field(label(name), control(option, current[name] ?? standard, set), help);
    if (option.type === "boolean") element.classList.add("check");
    element.classList.toggle("changed", name in current);
    return element;
  };
  const chosen = first.flatMap((name) => schema.find((option) => option.name === name) ?? []);
  // A config that none of the names fits shows all it has.
  const main = chosen.length > 0 || schema.length > 6 ? chosen : schema;
  const rest = schema.filter((option) => !main.includes(option));
  return h(
    "div",
    { class: "options" },
    h("div", { class: "fields" }, ...lead, ...main.map(make)),
    rest.length > 0 &&
      h(
        "details",
        {},
        h(
          "summary",
          {},
          main.length > 0 ? `${rest.length} more options` : `${rest.length} options`,
        ),
        h("div", { class: "fields" }, ...rest.map(make)),
      ),
  );
}
