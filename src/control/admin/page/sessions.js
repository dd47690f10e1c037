
// Live sessions: found, paged, sorted, looked at and closed.

// Sessions on a page: what a screen holds.
const PAGE = 25;

// Milliseconds between looks at the page that is shown.
const SESSIONS_MS = 2_000;

// Head, kind, field it is sorted by, text.
const SESSION_HEADS = [
  ["Session", "mono tight", "id", (one) => one.id],
  ["Client", "mono", "client", (one) => one.client ?? "unix socket"],
  ["Host", "wide", "host", (one) => one.host],
  ["Server", "mono", "server", (one) => one.server],
  ["Key", "", "key", (one) => keyText(one)],
  ["Phase", "", "phase", (one) => phaseText(one)],
  ["From client", "number", "bytes_up", (one) => size(one.bytes_up)],
  ["From server", "number", "bytes_down", (one) => size(one.bytes_down)],
  ["Age", "number", "age_ms", (one) => duration(one.age_ms)],
  ["Idle", "number", "idle_ms", (one) => one.idle_ms === null ? "" : duration(one.idle_ms)],
];

// Where pages that were turned began, the present one last; null is the first.
let begins = [null];
let nextPage = null;
let sessions = [];
let sorting = { field: null, isDown: false };

// Counts looks, so that a late answer does not overwrite a newer one.
let lookNumber = 0;

function startSessions() {
  const heads = SESSION_HEADS.map(([head, kind, field]) => {
    const button = make("button", { type: "button" }, head);
    button.addEventListener("click", () => sortBy(field));
    const attributes = { class: kind.replace(/wide|mono/g, ""), scope: "col", "data-field": field };
    return make("th", attributes, button);
  });
  const last = make("th", { scope: "col" }, make("span", { class: "unseen" }, "Close"));
  byId("session-table").tHead.rows[0].append(...heads, last);
  // Once a field is left, not with each key: half an address is none.
  byId("search").addEventListener("change", searchAnew);
  byId("search").addEventListener("submit", (event) => {
    event.preventDefault();
    searchAnew();
  });
  byId("search").addEventListener("reset", () => setTimeout(searchAnew));
  byId("earlier").addEventListener("click", () => turn(-1));
  byId("later").addEventListener("click", () => turn(1));
  byId("close-matching").addEventListener("click", closeMatching);
  repeat(SESSIONS_MS, () => document.hidden ? Promise.resolve() : lookAtSessions());
}

// What is looked for, by field.
function wanted() {
  const entries = [...new FormData(byId("search"))].map(([name, text]) => [name, text.trim()]);
  return Object.fromEntries(entries.filter(([, text]) => text !== ""));
}

function searchAnew() {
  begins = [null];
  return lookAtSessions();
}

function turn(step) {
  if (step > 0 && nextPage) begins.push(nextPage);
  if (step < 0 && begins.length > 1) begins.pop();
  return lookAtSessions();
}

async function lookAtSessions() {
  lookNumber += 1;
  const mine = lookNumber;
  const query = new URLSearchParams({ ...wanted(), limit: String(PAGE) });
  if (begins.at(-1) !== null) query.set("after", begins.at(-1));
  try {
    const found = await get(`/v1/sessions?${query}`);
    if (mine !== lookNumber) return;
    [sessions, nextPage] = [found.sessions, found.next];
    const isSilent = found.silent.length > 0;
    setText(byId("sessions-note"), isSilent ? `worker ${found.silent} does not answer` : "");
    byId("sessions-note").classList.toggle("bad", isSilent);
  } catch (error) {
    if (mine !== lookNumber) return;
    setText(byId("sessions-note"), error.message);
    byId("sessions-note").classList.add("bad");
    return;
  }
  drawSessions();
}

function sortBy(field) {
  const isSame = sorting.field === field;
  sorting = isSame && sorting.isDown ? { field: null, isDown: false } : { field, isDown: isSame };
  drawSessions();
}

function drawSessions() {
  const { field, isDown } = sorting;
  for (const head of byId("session-table").tHead.rows[0].cells) {
    const order = isDown ? "descending" : "ascending";
    if (head.dataset.field === field && field) head.setAttribute("aria-sort", order);
    else head.removeAttribute("aria-sort");
  }
  const sorted = [...sessions];
  if (field) sorted.sort((one, other) => compare(one[field], other[field]));
  if (isDown) sorted.reverse();
  keyed(byId("session-table").tBodies[0], sorted, (one) => one.id, buildSession, drawSession);
  const hasFilter = Object.keys(wanted()).length > 0;
  byId("no-sessions").hidden = sessions.length > 0;
  byId("session-table").hidden = sessions.length === 0;
  setText(byId("no-sessions"), hasFilter ? "No session is like that." : "No session.");
  byId("close-matching").disabled = !hasFilter || sessions.length === 0;
  byId("earlier").disabled = begins.length === 1;
  byId("later").disabled = nextPage === null;
  const isAll = begins.length === 1 && nextPage === null;
  const shown = `${count(sessions.length)} shown`;
  setText(byId("page-number"), isAll ? shown : `page ${begins.length}, ${shown}, sorted by page`);
}

// Addresses and words by letters, numbers by size, what is missing last.
function compare(one, other) {
  if (one === other) return 0;
  if (one === null) return 1;
  if (other === null) return -1;
  if (typeof one === "number") return one - other;
  return String(one).localeCompare(String(other), "en", { numeric: true });
}

function buildSession() {
  const cells = SESSION_HEADS.map(([head, kind]) => make("td", { class: kind, "data-head": head }));
  const look = make("button", { type: "button", class: "plain" });
  const close = make("button", { type: "button", class: "grave close" }, "Close");
  cells[0].append(look);
  const row = make("tr", {}, ...cells, make("td", { class: "number" }, close));
  look.addEventListener("click", () => lookAt(row.dataset.id));
  close.addEventListener("click", () => closeOne(row.dataset.id));
  return row;
}

function drawSession(row, session) {
  row.dataset.id = session.id;
  row.cells[SESSION_HEADS.length].firstChild.setAttribute("aria-label", `Close ${session.id}`);
  for (const [at, [, , , text]] of SESSION_HEADS.entries()) {
    setText(at === 0 ? row.cells[0].firstChild : row.cells[at], text(session) ?? "");
  }
}

function keyText(session) {
  return [session.key, session.how].filter((word) => word && word !== "none").map(words).join(", ");
}

// How bytes go is worth a word only where they are spliced.
function phaseText(session) {
  const modes = [session.mode_up, session.mode_down];
  return modes.includes("splice") ? `${words(session.phase)}, spliced` : words(session.phase);
}

// Everything about one, TCP_INFO too.
async function lookAt(id) {
  try {
    const session = await get(`/v1/sessions/${encodeURIComponent(id)}`);
    const dialog = byId("details");
    setText(byId("details-title"), `Session ${id}`);
    dialog.querySelector("dl").replaceChildren(...flat(session).flatMap(([name, value]) =>
      [make("dt", {}, name), make("dd", { class: "mono" }, String(value ?? "–"))]));
    await answerOf(dialog);
  } catch (error) {
    note(error.message);
  }
}

// Names of what is within others have a dot.
function flat(object, before = "") {
  return Object.entries(object).flatMap(([name, value]) =>
    value !== null && typeof value === "object"
      ? flat(value, `${before}${name}.`) : [[before + name, value]]);
}

async function closeOne(id) {
  const session = sessions.find((one) => one.id === id);
  const [client, server] = [session?.client ?? "the client", session?.server ?? "its server"];
  const text = `The connections to ${client} and ${server} are closed.`;
  if (!(await confirmed(`Close session ${id}`, text, "Close it"))) return;
  await noted(tell("DELETE", `/v1/sessions/${encodeURIComponent(id)}`), `${id}: closed`);
  await lookAtSessions();
}

async function closeMatching() {
  const filter = wanted();
  const like = Object.entries(filter).map(([name, text]) => `${name} ${text}`).join(", ");
  const text = "All of them are closed, on every page, 1,000 each second.";
  if (!(await confirmed(`Close sessions of ${like}`, text, "Close them"))) return;
  const told = tell("POST", "/v1/sessions/kill", { filter });
  await noted(told, (done) => `${count(done.matched)} sessions are being closed`);
  await lookAtSessions();
}
