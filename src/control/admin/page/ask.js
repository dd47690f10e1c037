
// Asking ringway, and hearing what it tells.

// Milliseconds until a lost stream of events is asked for again.
const AGAIN_MS = 1_000;

// Milliseconds of silence behind which a stream is given up.
const SILENCE_MS = 6_000;

// Number of the last change that was heard of; 0: none.
let lastChange = 0;

// The promise of a token, while somebody is asked for one.
let tokenComes = null;

async function get(path) {
  return answer(await ask("GET", path));
}

async function tell(method, path, body) {
  return answer(await ask(method, path, { body: JSON.stringify(body ?? {}) }));
}

async function answer(response) {
  const said = await response.json().catch(() => ({}));
  if (!response.ok) throw new Error(said.error ?? `ringway answers ${response.status}`);
  return said;
}

// Asks again with a token where one is needed.
async function ask(method, path, more = {}) {
  const headers = {};
  const token = sessionToken();
  if (token) headers["Authorization"] = `Bearer ${token}`;
  if (method !== "GET") headers["Content-Type"] = "application/json";
  const response = await fetch(path, { method, headers, cache: "no-store", ...more });
  if (response.status !== 401) return response;
  await response.body?.cancel();
  // Another one may have come meanwhile.
  if (token === sessionToken()) await newToken(token !== null);
  return ask(method, path, more);
}

function sessionToken() {
  return sessionStorage.getItem("ringway.token");
}

function newToken(isWrong) {
  tokenComes ??= askForToken(isWrong).then((token) => {
    sessionStorage.setItem("ringway.token", token);
    tokenComes = null;
  });
  return tokenComes;
}

async function askForToken(isWrong) {
  const dialog = byId("token");
  byId("token-wrong").hidden = !isWrong;
  const input = dialog.querySelector("input");
  input.value = "";
  for (;;) {
    if (await answerOf(dialog) === "yes") return input.value.trim();
  }
}

// For as long as the page is there. Changes that were missed come first: for a start, all that
// ringway remembers.
async function follow(hear) {
  for (;;) {
    await followOnce(hear).catch(() => {});
    await pause(AGAIN_MS);
  }
}

// fetch and not EventSource, which can show no token.
async function followOnce(hear) {
  const giveUp = new AbortController();
  const path = `/v1/events?after=${lastChange}`;
  const response = await ask("GET", path, { signal: giveUp.signal });
  if (!response.ok) throw new Error(`${response.status}`);
  let lastMs = Date.now();
  const watch = setInterval(() => {
    if (Date.now() - lastMs > SILENCE_MS) giveUp.abort();
  }, AGAIN_MS);
  try {
    let rest = "";
    for await (const text of texts(response.body)) {
      lastMs = Date.now();
      const events = (rest + text).split("\n\n");
      rest = events.pop();
      for (const event of events) hearEvent(event, hear);
    }
  } finally {
    clearInterval(watch);
  }
}

// Not every browser can walk over a stream by itself.
async function* texts(body) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    yield value;
  }
}

// HTML, section 9.2.6, as far as ringway writes it.
function hearEvent(text, hear) {
  let name = "message";
  let data = "";
  for (const line of text.split("\n")) {
    if (line.startsWith("event:")) name = line.slice(6).trim();
    if (line.startsWith("data:")) data += line.slice(5);
  }
  if (!data) return;
  const event = JSON.parse(data);
  if (name === "change") lastChange = event.number;
  hear(name, event);
}

// Again and again, whatever comes of it; at once for a start.
async function repeat(everyMs, work) {
  for (;;) {
    await work().catch(() => {});
    await pause(everyMs);
  }
}

function pause(timeMs) {
  return new Promise((resolve) => setTimeout(resolve, timeMs));
}
