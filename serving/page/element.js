// HTML elements, and figures as people read them.

/** An element with properties and children; texts among them stay texts, whatever they hold. */
export function element(name, properties = {}, ...children) {
  const made = Object.assign(document.createElement(name), properties);
  made.append(...children);
  return made;
}

/** A list of terms and what is known of them, texts or elements; those of which nothing is are left out. */
export function definitions(facts, properties = {}) {
  const known = Object.entries(facts).filter(([, value]) => value != null);
  const pairs = known.map(([term, value]) => element("div", {}, element("dt", { textContent: term }), element("dd", {}, value)));
  return element("dl", properties, ...pairs);
}

/** Copy the text of `code`, or select it where the browser does not let us; whether it was copied. */
export async function copyOrSelect(code) {
  try {
    await navigator.clipboard.writeText(code.textContent);
    return true;
  } catch { // browsers have a clipboard at https and localhost only, and may refuse it
    getSelection().selectAllChildren(code);
    return false;
  }
}

export const find = (id) => document.getElementById(id);

/** A share as "98.4 %"; what is not nothing is not written as nothing, nor what is not all as all. */
export function percent(share, digits = 1) {
  const [least, most] = [10 ** -digits, 100 - 10 ** -digits];
  const value = 100 * share;
  const text = value > 0 && value < least ? `< ${least}` : value < 100 && value > most ? `> ${most}` : value.toFixed(digits);
  return `${text}\u00a0%`;
}

/** Of one figure worth reading: "0.04 ms", "3.1 ms", "120 ms". */
export const milliseconds = (value) =>
  value == null ? null : `${value < 0.1 ? value.toFixed(2) : value < 10 ? value.toFixed(1) : value.toFixed(0)} ms`;

export const count = (value) => value.toLocaleString("en");
