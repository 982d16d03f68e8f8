// Which bundle answers, and what it says of itself.

import { count, definitions, element, find, percent } from "./element.js";
import { ask, expectAnswersWithin, Trouble } from "./server.js";

const select = find("bundle-name");
const state = find("bundle-state");
const again = find("bundle-again");
const card = find("bundle-card");

const MOST_LABELS = 20; // named at once: more would leave no room for anything else

let models = [];
let failures = [];
let loading;

/** The chosen one's name; "" before the server has said what there is. */
export const chosen = () => select.value;

export const isDefault = () => models.find((model) => model.name === chosen())?.default ?? true;

/** Whether the file that answered is one of those shown here; another one may have taken its place meanwhile. */
export const isShown = ({ name, version }) => models.some((model) => model.name === name && model.version === version);

export const isLoading = () => loading !== undefined;

/** `onChange` is called when another one is chosen, `onAgain` when the server shall be asked again. */
export function startBundles({ onChange, onAgain }) {
  select.onchange = () => { showCard(); onChange(); };
  again.onclick = async () => {
    await onAgain();
    if (again.hidden) select.focus(); // the button that was pressed is gone
  };
}

/** Ask which bundles there are; of several times, only the last counts. Throws Trouble of 401 only. */
export async function loadBundles() {
  loading?.abort();
  loading = new AbortController();
  const { signal } = loading;
  state.textContent = "Asking the server what it has…"; // or a second failure looked as if nothing had happened
  try {
    const { content } = await ask("models", "models", { signal });
    if (!signal.aborted) show(content);
  } catch (trouble) {
    if (signal.aborted) return;
    if (!(trouble instanceof Trouble)) throw trouble;
    state.textContent = `${trouble.title}. ${trouble.message}`;
    again.hidden = false;
    if (trouble.status === 401) throw trouble;
  } finally {
    if (!signal.aborted) loading = undefined;
  }
}

function show({ models: served, failed, timeout }) {
  expectAnswersWithin(timeout);
  models = served;
  failures = failed;
  const before = chosen();
  const options = served.map(({ name, ready }) => new Option(ready ? name : `${name} (not ready)`, name));
  const broken = failed.map(({ name }) => Object.assign(new Option(`${name} (failed its checks)`, name), { disabled: true }));
  select.replaceChildren(...options, ...broken);
  select.value = served.find(({ name }) => name === before)?.name ?? (served.find((model) => model.default) ?? served[0])?.name ?? "";
  select.hidden = served.length + failed.length === 0;
  state.textContent = served.length ? "" : "The server has no bundle yet. It may still be starting.";
  again.hidden = served.length > 0 && served.every(({ ready }) => ready);
  showCard();
}

function showCard() {
  const model = models.find(({ name }) => name === chosen());
  const warnings = failures.map(({ name, reason }) => `${name} is not served: ${reason}`);
  if (model?.degraded) warnings.unshift(`An engine that should come first does not answer: ${model.degraded}`);
  card.replaceChildren(
    ...warnings.map((text) => element("p", { className: "warning", textContent: text })),
    ...(model ? describe(model) : []),
  );
}

function describe({ version, engine, manifest }) {
  const artifact = manifest.artifacts.find(({ sha256 }) => sha256.startsWith(version));
  const test = artifact?.evaluations.find(({ split }) => split === "test") ?? artifact?.evaluations[0];
  const { labels, origin } = manifest;
  const names = labels.join(", ");
  const isMany = labels.length > MOST_LABELS;
  const facts = {
    Version: code(version),
    Engine: code(engine),
    ...(artifact && { File: `${artifact.format}, ${artifact.precision}, ${(artifact.bytes / 1e6).toFixed(1)} MB` }),
    Network: `${manifest.architecture}, ${count(manifest.parameters)} parameters`,
    ...(test && { Calibration: `its confidence is off by ${percent(test.ece)} on average` }),
    ...(artifact && { Sure: describeSure(artifact.selective) }),
    Labels: isMany ? count(labels.length) : names,
  };
  const more = {
    "All labels": isMany ? names : null,
    "Trained on": `${count(origin.training_images)} images of ${origin.data}`,
    "Held out": `${count(origin.validation_images)} images, to choose the epoch and the calibration`,
    Epoch: origin.epoch,
    Recipe: code(Object.entries(origin.recipe).map((pair) => pair.join("=")).join(" ")),
    Temperature: `${manifest.temperature.toFixed(4)}, sharpening ${(manifest.sharpening ?? 0).toFixed(4)}`,
    "Differs by": artifact?.parity.checks.map(({ name, difference }) => `${name} ${shorten(difference)}`).join(", "),
    Made: manifest.created.slice(0, 10),
    Source: code(origin.source_revision.slice(0, 12)),
    Weights: code(manifest.weights_sha256.slice(0, 12)),
  };
  return [
    ...(test ? [makeFigure(test)] : []),
    definitions(facts),
    element("details", {}, element("summary", { textContent: "How it was made, and how it agrees with PyTorch" }), definitions(more)),
  ];
}

const makeFigure = ({ accuracy, images, split, data }) =>
  element("p", { className: "figure" }, element("strong", { textContent: percent(accuracy, 2) }), `right on ${count(images)} ${split} images (${data})`);

/** How often it is "sure", and what that is worth; `selective` is null where no threshold keeps the promise. */
function describeSure(selective) {
  if (!selective) return "never: the held-out images do not show when it could be";
  const { coverage, precision } = selective.test ?? selective.validation;
  return `of ${percent(coverage)} of the ${selective.test ? "test" : "validation"} images, and right on ${percent(precision)} of those`;
}

const code = (text) => element("code", { textContent: text });

const shorten = (number) => (number === 0 ? "0" : number.toPrecision(2));
