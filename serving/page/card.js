// One picture on the page, from waiting to its answer.

import { definitions, element, milliseconds, percent } from "./element.js";

const SIDE = 32; // pixels
const MOST_BARS = 10;

export class Card {
  /** `onChange` is called when its state has changed, `onAgain` when its user asks again. */
  constructor(file, { onChange, onAgain }) {
    this.file = file;
    this.onChange = onChange;
    this.onAgain = () => onAgain(this);
    this.canvas = element("canvas", { width: SIDE, height: SIDE });
    this.text = element("div", { className: "answer" });
    this.article = element("article", {}, element("div", { className: "seen" }, this.canvas), this.text);
    this.element = element("li", {}, this.article);
    this.source = this.makeSource();
    this.drawNothing();
  }

  get isDone() { return this.state === "answered" || this.hasFailed; }
  get hasFailed() { return this.state === "failed"; }

  remove() {
    this.job?.abort();
    URL.revokeObjectURL(this.url);
    this.element.remove();
  }

  wait() { this.show("waiting", say("Waiting…")); }
  ask() { this.show("asking", say("Asking…")); }
  postpone(title, seconds) { this.show("waiting", say(`${title}. Asking again in ${seconds} s.`)); }

  fail(trouble) {
    this.trouble = trouble;
    this.said = `${this.file.name}: ${trouble.title}.`;
    this.drawNothing();
    const title = element("h3", { textContent: trouble.title });
    this.show("failed", title, say(trouble.message), ...(trouble.isPassing ? [this.makeButton()] : []));
  }

  answer({ model, timing, label, probability, probabilities, confident, pixels }) {
    const verdict = [percent(probability), { true: "sure", false: "not sure" }[confident]].filter(Boolean);
    this.said = `${this.file.name}: ${label}, ${verdict.join(", ")}.`;
    this.model = model;
    this.draw(pixels);
    this.show("answered", element("h3", { textContent: label }), makeVerdict(verdict));
    this.article.classList.toggle("unsure", confident === false);
    this.article.append(makeBars(probabilities), makeCost(timing, model));
  }

  show(state, ...content) {
    this.state = state;
    this.article.className = state;
    this.article.replaceChildren(this.article.firstElementChild, this.text);
    this.text.replaceChildren(this.source, ...content);
    this.onChange(this);
  }

  draw(pixels) {
    const rgb = Uint8Array.from(atob(pixels), (character) => character.charCodeAt(0));
    const image = new ImageData(SIDE, SIDE);
    for (let pixel = 0; pixel < SIDE * SIDE; pixel += 1) {
      image.data.set(rgb.subarray(3 * pixel, 3 * pixel + 3), 4 * pixel);
      image.data[4 * pixel + 3] = 255;
    }
    this.canvas.getContext("2d").putImageData(image, 0, 0);
    this.describe(`${this.file.name}, as the network sees it`);
  }

  drawNothing() {
    this.canvas.getContext("2d").clearRect(0, 0, SIDE, SIDE);
    this.describe(`${this.file.name}, not seen by the network yet`);
  }

  describe(text) {
    this.canvas.role = "img";
    this.canvas.ariaLabel = text;
  }

  makeButton() {
    const name = `Try again: ${this.file.name}`;
    return element("button", { className: "small", textContent: "Try again", ariaLabel: name, onclick: () => this.askAgain() });
  }

  askAgain() {
    this.article.tabIndex = -1;
    this.article.focus(); // the button that was pressed is gone
    this.onAgain();
  }

  /** The file itself, small, with its name and its size in pixels where the browser can tell. */
  makeSource() {
    this.url = URL.createObjectURL(this.file);
    const size = element("small");
    const image = element("img", { src: this.url, alt: "", loading: "lazy", decoding: "async" });
    image.onload = () => { size.textContent = describeSize(image.naturalWidth, image.naturalHeight); };
    image.onerror = () => image.remove();
    const name = element("span", { title: this.file.name, textContent: this.file.name, dir: "auto" });
    return element("p", { className: "source" }, image, element("span", {}, name, size));
  }
}

const say = (text) => element("p", { className: "state", textContent: text });

const describeSize = (width, height) =>
  width === SIDE && height === SIDE ? "32 × 32, taken as it is" : `${width} × ${height} → 32 × 32`;

const makeVerdict = ([confidence, ...sure]) =>
  element("p", { className: "verdict" }, element("b", { textContent: confidence }), ...sure.map((word) => ` · ${word}`));

function makeBars(probabilities) {
  const ranked = Object.entries(probabilities).sort(([, a], [, b]) => b - a);
  const others = ranked.splice(MOST_BARS);
  if (others.length) ranked.push([`${others.length} more`, others.reduce((sum, [, probability]) => sum + probability, 0)]);
  const bars = ranked.map(([label, probability]) => makeBar(label, probability));
  return element("ol", { className: "bars", role: "list", ariaLabel: "Probabilities" }, ...bars);
}

function makeBar(label, probability) {
  const bar = element("i", { ariaHidden: "true" });
  bar.style.setProperty("--share", `${100 * probability}%`);
  const name = element("span", { textContent: label, title: label, dir: "auto" });
  return element("li", {}, name, bar, element("b", { textContent: percent(probability) }));
}

function makeCost({ decode, queue, inference, total, batch }, { name, version }) {
  const facts = {
    decode: milliseconds(decode),
    queue: milliseconds(queue),
    inference: milliseconds(inference),
    "in all": milliseconds(total),
    "batch of": batch,
    by: `${name} ${version}`,
  };
  return definitions(facts, { className: "cost" });
}
