// The page: takes pictures in, has them classified, and shows what came of it.

import { chosen, isDefault, isLoading, isShown, loadBundles, startBundles } from "./bundle.js";
import { Card } from "./card.js";
import { classify } from "./classify.js";
import { find } from "./element.js";
import { startIntake } from "./intake.js";
import { showRequest, startRequest } from "./request.js";
import { hasKey, setKey } from "./server.js";

const list = find("cards");
const key = find("key");
let cards = [];
const asked = new Set(); // cards whose answers are still to be said

function say(text) {
  find("said").textContent = "";
  requestAnimationFrame(() => { find("said").textContent = text; }); // the same text twice is read twice
}

function take(files) {
  const made = files.map((file) => new Card(file, { onChange, onAgain: (card) => askFor([card]) }));
  cards = [...made, ...cards];
  list.prepend(...made.map((card) => card.element));
  askFor(made);
}

function askFor(some) {
  for (const card of some) {
    asked.add(card);
    classify(card, chosen());
  }
}

function onChange(card) {
  showCount();
  if (card.hasFailed && card.trouble.status === 401) askForKey();
  else if (isNews(card) && !isLoading()) load();
}

/** Whether the server has other bundles than the page shows: it was changed, or has come back. */
const isNews = (card) => (card.hasFailed ? card.trouble.status === 404 : card.isDone && !isShown(card.model));

function showCount() {
  const done = cards.filter((card) => card.isDone).length;
  const failures = cards.filter((card) => card.hasFailed).length;
  const isDone = done === cards.length;
  find("pictures").hidden = cards.length === 0;
  find("count").textContent = (isDone ? `${done} done` : `${done} of ${cards.length} done`) + (failures ? `, ${failures} failed` : "");
  find("again").hidden = !isDone || passing().length === 0;
  if (isDone && asked.size > 0) announce(failures);
}

function announce(failures) {
  const [card, ...others] = asked;
  asked.clear();
  say(others.length === 0 ? card.said : `${cards.length} pictures done, ${failures || "none"} failed. The newest is ${cards[0].said}`);
}

function askForKey() {
  if (!key.hidden) return;
  key.hidden = false;
  find("more").hidden = true; // a browser opens these pages without a key
  const title = hasKey() ? "This server does not know that API key" : "This server wants an API key";
  find("key-title").textContent = title;
  find("key-text").focus();
  say(`${title}.`);
}

const passing = () => cards.filter((card) => card.hasFailed && card.trouble.isPassing);

function askAgain() {
  askFor(passing());
  find("pictures").focus(); // the button that was pressed is gone
}

function showCode() {
  showRequest({ model: isDefault() ? "" : chosen(), withKey: hasKey() });
}

let model = "";
const moved = new WeakSet(); // cards that were asked for a bundle which their user did not choose

function onBundle(isChosen = true) {
  showCode();
  if (model && model !== chosen()) askFor(isChosen ? cards : cards.filter(moveOnce));
  model = chosen();
}

/** Whether it is the first time: replicas that have different bundles would have it asked again for ever. */
function moveOnce(card) {
  const isFirst = !moved.has(card);
  moved.add(card);
  return isFirst;
}

async function load() {
  try {
    await loadBundles();
    onBundle(false);
  } catch (trouble) {
    if (trouble.status !== 401) throw trouble;
    askForKey();
  }
}

key.onsubmit = async (event) => {
  event.preventDefault();
  setKey(find("key-text").value.trim());
  find("key-text").value = "";
  key.hidden = true;
  askFor(cards.filter((card) => !card.isDone)); // what is asked with another key says nothing of this one
  find("files").focus();
  await load();
  if (key.hidden) askFor(passing()); // else the new key is a wrong one, too
};
find("again").onclick = askAgain;
find("clear").onclick = () => {
  for (const card of cards) card.remove();
  cards = [];
  asked.clear();
  showCount();
  find("files").focus();
};

startIntake({ take, say });
startBundles({ onChange: onBundle, onAgain: load });
startRequest(say);
showCode();
load();
