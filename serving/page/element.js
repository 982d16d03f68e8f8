// HTML elements, and figures as people read them.

/** An element with properties and children; texts among them stay texts, whatever they hold. */
export function element(name, properties = {}, ...children) {
  const made = Object.assign(document.createElement(name), properties);
  made.append(...children);
  return made;
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
