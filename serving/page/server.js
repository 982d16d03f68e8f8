// Asks the server, and says in words what went wrong.

const TITLES = {
  400: "It cannot be read",
  401: "An API key is wanted",
  404: "Not found",
  413: "It is too large",
  415: "This kind is not taken",
  422: "It is not acceptable",
  429: "The server is busy",
  500: "The server failed",
  503: "The server is not ready",
  504: "It took too long",
};
const LATER = [429, 503];
const PASSING = [401, 404, 429];
const ON_THE_WAY = 25; // seconds, there and back

let key = "";
let patience; // seconds
expectAnswersWithin();

export const setKey = (text) => { key = text; };
export const hasKey = () => key !== "";

/** What the server may take for a request, in seconds; what it usually may, until it has said. */
export function expectAnswersWithin(seconds = 5) { patience = Math.ceil(seconds) + ON_THE_WAY; }

/** Why there is no answer: `message` for people; `status` 0 when nobody answered; `retryAfter` in seconds, or null. */
export class Trouble extends Error {
  constructor(title, message, { status = 0, retryAfter = null } = {}) {
    super(message);
    Object.assign(this, { title, status, retryAfter });
  }

  /** Whether the same request may be answered another time. */
  get isPassing() { return this.status === 0 || PASSING.includes(this.status) || this.status >= 500; }
}

/** The JSON of an answer, which holds the list `wanted`, and what it says of its time. Throws Trouble. */
export async function ask(path, wanted, { signal, ...options } = {}) {
  const { response, content } = await send(path, signal, options);
  if (response.ok && Array.isArray(content?.[wanted])) return { content, timing: readTiming(response.headers.get("Server-Timing")) };
  throw troubleOf(response, content);
}

async function send(path, signal, options) {
  const seconds = patience;
  const late = AbortSignal.timeout(1000 * seconds);
  const ended = signal && AbortSignal.any ? AbortSignal.any([signal, late]) : late; // browsers before 2024 have no `any`
  const headers = key ? { Authorization: `Bearer ${key}` } : {};
  try {
    const response = await fetch(path, { ...options, headers, signal: ended });
    return { response, content: parse(await response.text()) };
  } catch (error) {
    if (error.name === "TimeoutError") throw new Trouble("It took too long", `No answer came within ${seconds} seconds.`);
    throw new Trouble("The server does not answer", "It may have been stopped, or the network is down.");
  }
}

/** Null where it is no JSON: of a gateway, say. */
function parse(text) {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}

function troubleOf(response, content) {
  const { status } = response;
  const said = content?.error?.message ?? `The answer was ${status} ${response.statusText}, and not from the classifier itself.`;
  const wait = Number(response.headers.get("Retry-After") || NaN);
  return new Trouble(TITLES[status] ?? "There is no answer", said, {
    status,
    retryAfter: LATER.includes(status) && Number.isFinite(wait) ? wait : null,
  });
}

/** `decode;dur=0.4, batch;desc="3"` as { decode: 0.4, batch: 3 }. */
function readTiming(header) {
  const entries = [...(header ?? "").matchAll(/([\w-]+);(?:dur|desc)="?([\d.]+)"?/g)];
  return Object.fromEntries(entries.map(([, name, value]) => [name, Number(value)]));
}
