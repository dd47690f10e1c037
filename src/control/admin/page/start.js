
// The status page of ringway: follows what it tells and draws it.
//
// Asks nobody but the ringway it came from, and keeps nothing but the token and the theme. What
// peers have sent (hosts, ids, causes) becomes text, never markup.

// Milliseconds between looks at what is not among the events: it changes rarely.
const LOOK_MS = 5_000;

// Milliseconds of silence behind which what is shown is said to be old: events come each second.
const STALE_MS = 3_500;

// What is known of ringway as a whole; null until it was asked for.
let status = null;
let statusAtMs = 0;

// The look that is under way.
let looking = null;

// When it was last heard of, on this machine's clock; 0: never.
let heardAtMs = 0;

// Begins below all constants: a module's script is over before this comes.
addEventListener("DOMContentLoaded", start);

function start() {
  startTheme();
  startCharts();
  startSessions();
  follow(hear);
  repeat(LOOK_MS, look);
  setInterval(drawLink, 500);
  setInterval(drawFacts, 1_000);
}

function hear(name, event) {
  heardAtMs = Date.now();
  if (name === "status") hearStatus(event);
  if (name === "change") hearChange(event);
  drawLink();
}

function hearStatus(pulse) {
  const rates = ratesSince(pulse);
  drawFigures(pulse, rates);
  drawCharts(pulse.at_ms, rates);
  drawServers(pulse.servers);
  drawClosed(pulse.closed);
  drawWorkers(pulse.workers, rates);
  if (status) Object.assign(status, { edition: pulse.edition, draining: pulse.draining });
}

function hearChange(notice) {
  drawChange(notice);
  look().catch(() => {});
}

// Those who want it at the same time get the same one: changes come in hundreds.
function look() {
  looking ??= lookOnce().finally(() => { looking = null; });
  return looking;
}

async function lookOnce() {
  const [whole, pools, listeners] =
    await Promise.all([get("/v1/status"), get("/v1/pools"), get("/v1/listeners")]);
  [status, statusAtMs] = [whole, Date.now()];
  drawFacts();
  drawPools(pools);
  drawListeners(listeners);
}

// The line on top.
function drawFacts() {
  if (!status) return;
  const uptimeMs = status.uptime_ms + (heardAtMs ? Math.max(0, heardAtMs - statusAtMs) : 0);
  const facts = [
    ["version", status.version],
    ["up", duration(uptimeMs)],
    ["engine", status.engine],
    ["edition", count(status.edition)],
    ["pid", String(status.pid)],
    ["log", status.log_level],
  ];
  if (status.changes) facts.push(["changed by operators", count(status.changes)]);
  keyed(byId("facts"), facts, ([word]) => word, () => make("div", {}, make("dt"), make("dd")),
    (entry, [word, text]) => {
      setText(entry.firstChild, word);
      setText(entry.lastChild, text);
      entry.lastChild.id = `fact-${word.replaceAll(" ", "-")}`;
    });
}

// Whether what is shown is how it is.
function drawLink() {
  const silentMs = Date.now() - heardAtMs;
  const isStale = silentMs > STALE_MS;
  document.body.classList.toggle("stale", isStale);
  if (heardAtMs === 0) return drawPill(byId("link"), "connecting", "warn hollow");
  if (isStale) {
    return drawPill(byId("link"), `stale: last heard ${duration(silentMs)} ago`, "bad hollow");
  }
  if (status?.draining) return drawPill(byId("link"), "draining", "warn");
  drawPill(byId("link"), "live", "good");
}

// Auto, light or dark; auto is how the browser has it.
function startTheme() {
  const themes = ["auto", "light", "dark"];
  const set = (theme) => {
    document.documentElement.dataset.theme = theme;
    setText(byId("theme"), `Theme: ${theme}`);
    keep("theme", theme);
  };
  set(themes.includes(kept("theme")) ? kept("theme") : "auto");
  byId("theme").addEventListener("click", () => {
    const now = themes.indexOf(document.documentElement.dataset.theme);
    set(themes[(now + 1) % themes.length]);
  });
}

// A browser may keep nothing for us.
function kept(name) {
  try { return localStorage.getItem(`ringway.${name}`); } catch { return null; }
}

function keep(name, value) {
  try { localStorage.setItem(`ringway.${name}`, value); } catch { /* then not */ }
}
