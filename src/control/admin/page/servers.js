
// Servers by pool: what they are, what share they have, and what an operator wants of them; and
// the changes that were heard of.

// Changes that are kept; older ones are in the log.
const CHANGES_MAX = 200;

// What an operator can want, and what that means to a server.
const DUTIES = {
  ready: ["Ready", "It gets sessions as its weight says."],
  drain: ["Drain", "It gets no new sessions but those whose key leads there. Sessions go on."],
  down: ["Down", "It gets no new sessions at all. Sessions go on."],
};

// How each state looks; whatever is not here is bad.
const LOOKS = {
  up: "good", ready: "good", slow_start: "good hollow", ok: "good", on_backups: "warn",
  draining: "warn", drain: "warn", disabled: "hollow", leaving: "hollow", removed: "hollow",
};

const SERVER_HEADS = [
  ["Server", ""], ["State", "tight"], ["Cause", "cause wide"], ["Weight", "number"],
  ["Sessions", "number"], ["Share", "share wide"], ["Connect", "number"], ["Errors", "number"],
  ["Wanted", "tight wide"],
];

// By name, as last asked for; and the servers as last heard of.
let pools = new Map();
let servers = [];

function drawPools(all) {
  pools = new Map(all.map((pool) => [pool.name, pool]));
  drawServers(servers);
}

function drawServers(heard) {
  servers = heard;
  const names = [...new Set(servers.map((server) => server.pool))];
  const groups = names.map((name) => [name, servers.filter((server) => server.pool === name)]);
  keyed(byId("servers"), groups, ([name]) => name, buildPool, drawPool);
}

function buildPool() {
  const heads = SERVER_HEADS.map(([head, kind]) =>
    make("th", { class: kind.replace("wide", ""), scope: "col" }, head));
  return make("section", {},
    make("div", { class: "title" }, make("h2"), make("span", { class: "pill" }),
      make("span", { class: "quiet" }), make("span", { class: "quiet evenness" })),
    make("table", { class: "servers" },
      make("thead", {}, make("tr", {}, ...heads)), make("tbody")));
}

function drawPool(section, [name, servers]) {
  const [title, pill, about, even] = section.firstChild.children;
  const pool = pools.get(name);
  const live = servers.reduce((sum, server) => sum + server.live, 0);
  setText(title, name);
  section.dataset.pool = name;
  section.setAttribute("aria-label", `Servers of ${name}`);
  pill.hidden = !pool || pool.condition === "ok";
  if (pool) drawPill(pill, words(pool.condition), LOOKS[pool.condition] ?? "bad");
  setText(about, pool ? aboutPool(pool) : "");
  setText(even, evenness(servers));
  even.title = "largest share over the mean share, by weight, of servers that get sessions";
  const key = (server) => server.address;
  keyed(section.lastChild.tBodies[0], servers, key, buildServer,
    (row, server) => drawServer(row, server, live));
}

function aboutPool(pool) {
  const parts = [words(pool.balance)];
  if (pool.sticky !== "none") parts.push(`sticky by ${words(pool.sticky)}`);
  if (pool.learned_keys) parts.push(`${count(pool.learned_keys)} keys`);
  if (pool.queued) parts.push(`${count(pool.queued)} queued`);
  if (pool.retries_total) parts.push(`${count(pool.retries_total)} retries`);
  return parts.join(" · ");
}

// Largest over mean of what each has for its weight; 1.00 is even.
function evenness(servers) {
  const chosen = servers.filter((one) => ["up", "slow_start"].includes(one.state) && !one.backup);
  const live = chosen.reduce((sum, server) => sum + server.live, 0);
  const weight = chosen.reduce((sum, server) => sum + server.weight, 0);
  if (chosen.length < 2 || live === 0) return "";
  const largest = Math.max(...chosen.map((server) => server.live / server.weight));
  return `evenness ${(largest / (live / weight)).toFixed(2)}`;
}

function buildServer() {
  const cells = SERVER_HEADS.map(([head, kind]) => make("td", { class: kind, "data-head": head }));
  const [server, state, , weight, , , , , wanted] = cells;
  server.append(make("span", { class: "mono" }), " ", make("small"));
  state.append(make("span", { class: "pill" }));
  const row = make("tr", {}, ...cells);
  weight.append(make("button", { type: "button", class: "weight" }));
  weight.firstChild.addEventListener("click", () => changeWeight(row.server));
  const buttons = Object.entries(DUTIES).map(([duty, [word]]) => {
    const button = make("button", { type: "button", "data-duty": duty }, word);
    button.addEventListener("click", () => changeDuty(row.server, duty));
    return button;
  });
  wanted.append(make("span", { class: "choice", role: "group" }, ...buttons));
  return row;
}

function drawServer(row, server, live) {
  row.server = server;
  row.dataset.server = server.address;
  const [name, state, cause, weight, sessions, share, connect, errors, wanted] = row.cells;
  setText(name.firstChild, server.address);
  const extras = [server.id === server.address ? "" : server.id, server.backup ? "backup" : ""];
  setText(name.lastChild, extras.filter(Boolean).join(" · "));
  drawPill(state.firstChild, words(server.state), LOOKS[server.state] ?? "bad");
  setText(cause, aboutCause(server));
  const isFile = server.weight_in_file === null || server.weight_in_file === server.weight;
  setText(weight.firstChild, String(server.weight));
  weight.firstChild.title = isFile ? "change" : `${server.weight_in_file} in the file`;
  weight.firstChild.setAttribute("aria-label", `Weight ${server.weight} of ${server.address}`);
  const max = server.max_connections;
  setText(sessions, max === null ? count(server.live) : `${count(server.live)} of ${count(max)}`);
  drawBar(share, live ? server.live / live : 0, percent(live ? server.live / live : 0));
  drawTimes(connect, server.connect_us);
  drawErrors(errors, server);
  const isOurs = !["leaving", "removed"].includes(server.state);
  wanted.firstChild.hidden = !isOurs;
  weight.firstChild.disabled = !isOurs;
  wanted.firstChild.setAttribute("aria-label", `Wanted of ${server.address}`);
  const duty = { draining: "drain", disabled: "down" }[server.state] ?? "ready";
  for (const button of wanted.firstChild.children) {
    button.setAttribute("aria-pressed", String(button.dataset.duty === duty));
  }
}

function aboutCause(server) {
  const parts = [];
  if (server.health !== server.state && server.health !== "up") parts.push(words(server.health));
  if (server.cause) parts.push(server.cause);
  if (server.for_ms !== null) parts.push(duration(server.for_ms));
  return parts.join(" · ");
}

function drawTimes(cell, times) {
  const isKnown = times.count > 0;
  setText(cell, isKnown ? shortTime(times.p50) : "–");
  const within = () => `half within ${shortTime(times.p50)}, 99 % within ${shortTime(times.p99)}`;
  cell.title = isKnown ? within() : "";
}

function drawErrors(cell, server) {
  const errors = Object.entries(server.connect_errors);
  if (server.early_resets_total) errors.push(["early reset", server.early_resets_total]);
  const total = errors.reduce((sum, [, times]) => sum + times, 0);
  setText(cell, count(total));
  cell.title = errors.map(([what, times]) => `${words(what)} ×${count(times)}`).join(", ");
  cell.classList.toggle("warn", total > 0);
}

async function changeDuty(server, duty) {
  const [word, meaning] = DUTIES[duty];
  const title = `${word}: ${server.address}`;
  if (!(await confirmed(title, meaning, word))) return;
  await change(server, { state: duty });
}

async function changeWeight(server) {
  const meaning = `Its share of new sessions, relative to the others of ${server.pool}.`;
  const weight = await confirmed(`Weight of ${server.address}`, meaning, "Set", server.weight);
  if (weight) await change(server, { weight });
}

async function change(server, what) {
  const [pool, address] = [server.pool, server.address].map(encodeURIComponent);
  const done = tell("PATCH", `/v1/pools/${pool}/servers/${address}`, what);
  const text = Object.entries(what).map(([name, value]) => `${name} ${value}`).join(", ");
  await noted(done, `${server.address}: ${text}`);
}

function drawChange(notice) {
  byId("no-history").hidden = true;
  const state = make("span", { class: "pill" });
  drawPill(state, words(notice.state), LOOKS[notice.state] ?? lookOfChange(notice.state));
  const whom = make("span", { class: "mono" }, notice.server ?? "whole pool");
  const by = notice.by ? [` by ${notice.by}`] : [];
  byId("history").prepend(make("li", {},
    make("time", { class: "quiet", datetime: notice.at }, clockTime(Date.parse(notice.at))),
    make("div", {},
      make("p", {}, state, " ", whom, " ", make("small", {}, notice.pool)),
      make("p", { class: "quiet" }, notice.cause, ...by))));
  while (byId("history").children.length > CHANGES_MAX) byId("history").lastChild.remove();
}

// A weight, or a server that was added, is neither good nor bad.
function lookOfChange(state) {
  return state.includes("=") ? "hollow" : "bad";
}
