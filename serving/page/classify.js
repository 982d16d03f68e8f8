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
  card.job?.abort(); // of several for one card, only the last counts
  card.job = new AbortController();
  card.wait();
  waiting.push({ card, model, signal: card.job.signal });
  next();
}

function next() {
  while (running < AT_ONCE && waiting.length > 0) {
    const job = waiting.shift();
    if (!job.signal.aborted) start(job);
  }
}

async function start(job) {
  running += 1;
  try {
    await run(job);
  } finally {
    running -= 1;
    next();
  }
}

async function run(job) {
  const { card, signal } = job;
  try {
    await checkReadable(card.file);
    const answer = await persist(job);
    signal.throwIfAborted();
    card.answer(answer);
  } catch (trouble) {
    if (signal.aborted) return;
    if (!(trouble instanceof Trouble)) throw trouble;
    card.fail(trouble);
  }
}

/** Ask again as long as the server says when. */
async function persist(job) {
  const { card, signal } = job;
  for (let attempt = 1; ; attempt += 1) {
    signal.throwIfAborted();
    card.ask();
    try {
      return await request(job);
    } catch (trouble) {
      signal.throwIfAborted();
      const { title, retryAfter } = trouble;
      if (retryAfter == null || retryAfter > LONGEST_WAIT || attempt === ATTEMPTS) throw trouble;
      card.postpone(title, retryAfter);
      await sleep(retryAfter, signal);
    }
  }
}

const sleep = (seconds, signal) => new Promise((resolve, reject) => {
  setTimeout(resolve, 1000 * seconds);
  signal.addEventListener("abort", () => reject(signal.reason));
});

async function request({ card: { file }, model, signal }) {
  const body = new FormData();
  body.append("images", file);
  const { content, timing } = await ask(`classify?${new URLSearchParams({ pixels: true, model })}`, "predictions", { method: "POST", body, signal });
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
