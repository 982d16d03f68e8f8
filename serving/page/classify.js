// Pictures to answers: a few requests at a time, each of one picture, so that a bad one fails alone. The server gathers
// them into batches.

import { ask, Trouble } from "./server.js";

const AT_ONCE = 4;
const ATTEMPTS = 4;
const LONGEST_WAIT = 30; // seconds

const waiting = [];
let running = 0;

/** Have `card` answered by the bundle `model` when its turn has come. */
export function classify(card, model) {
  card.wait();
  const job = { card, model };
  card.job = job; // of several for one card, only the last counts
  waiting.push(job);
  next();
}

async function next() {
  if (running === AT_ONCE || waiting.length === 0) return;
  const job = waiting.shift();
  running += 1;
  try {
    if (isWanted(job)) await run(job);
  } finally {
    running -= 1;
    next();
  }
}

const isWanted = (job) => job.card.isShown && job.card.job === job;

async function run(job) {
  const { card, model } = job;
  try {
    await checkReadable(card.file);
    card.ask();
    const answer = await persist(card, model);
    if (isWanted(job)) card.answer(answer);
  } catch (trouble) {
    if (!(trouble instanceof Trouble)) throw trouble;
    if (isWanted(job)) card.fail(trouble);
  }
}

/** Ask again as long as the server says when. */
async function persist(card, model) {
  for (let attempt = 1; ; attempt += 1) {
    try {
      return await request(card.file, model);
    } catch (trouble) {
      const { title, retryAfter } = trouble;
      if (retryAfter == null || retryAfter > LONGEST_WAIT || attempt === ATTEMPTS) throw trouble;
      card.postpone(title, retryAfter);
      await new Promise((resolve) => { setTimeout(resolve, 1000 * retryAfter); });
      card.ask();
    }
  }
}

async function request(file, model) {
  const body = new FormData();
  body.append("images", file);
  const { content, timing } = await ask(`classify?${new URLSearchParams({ pixels: true, model })}`, { method: "POST", body });
  return { model: content.model, timing, ...content.predictions[0] };
}

/** A folder, or a file that is gone, would fail as if the server were not there. */
async function checkReadable(file) {
  try {
    await file.slice(0, 1).arrayBuffer();
  } catch {
    throw new Trouble("It cannot be read", "The browser cannot open this file. Is it a folder, or was it moved?", { status: 400 });
  }
}
