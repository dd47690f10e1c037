// The status page in a browser; says numbered JSON lines as it gets on, and exits. The last one has
// `wrong`: a list of what must not happen, which is empty.
//
// --url=http://127.0.0.1:PORT/   the page
// --do=figures                   says what the page shows
// --do=operate                   drains, weighs, searches and closes with mouse and keyboard
//   --server=IP:PORT --host=HOST   what is drained; the host of the one session that is closed
// --do=hostile                   is told markup wherever a peer or a file can bring text
// --do=token --token=TEXT        is asked for the token, and gives a wrong one first
// --do=stale                     says it is live, then stale, then live again
"use strict";

const { launch, open, textIs } = require("./browser");
const { options, say } = require("./options");

const tasks = { figures, operate, hostile, token, stale };
let steps = 0;

function done(more = {}) {
  say({ step: steps, ...more });
  steps += 1;
}

main().catch((error) => {
  console.error(error.stack);
  process.exitCode = 1;
});

async function main() {
  const browser = await launch();
  try {
    await tasks[options.do](browser);
  } finally {
    await browser.close();
  }
}

async function live(browser, more) {
  const opened = await open(browser, options.url, more);
  await textIs(opened.page, "#link", "live");
  done();
  return opened;
}

// Everything the page shows, once it shows as many sessions as --sessions says.
async function figures(browser) {
  const { page, wrong } = await live(browser);
  await textIs(page, "#sessions_live", options.sessions);
  await page.waitForSelector("#fact-version");
  await page.waitForSelector("#session-table tbody tr");
  done();
  const shown = await page.evaluate(() => {
    const text = (selector) => document.querySelector(selector).textContent;
    const rows = (selector) => [...document.querySelectorAll(`${selector} tbody tr`)]
      .map((row) => [...row.cells].map((cell) => cell.innerText.trim()));
    return {
      version: text("#fact-version"),
      engine: text("#fact-engine"),
      edition: text("#fact-edition"),
      sessions: text("#sessions_live"),
      accepted: text("#accepts_more"),
      closed: text("#sessions_more"),
      bytes_up: text("#bytes_up_more"),
      bytes_down: text("#bytes_down_more"),
      evenness: text(".evenness"),
      servers: rows(".servers"),
      reasons: rows("#closed"),
      workers: rows("#workers"),
      listeners: rows("#listeners"),
      session_rows: rows("#session-table"),
    };
  });
  await looksRight(page, wrong);
  done({ ...shown, wrong });
}

// Nothing sticks out at any width, the theme can be switched, and a chart says its values.
async function looksRight(page, wrong) {
  const paper = () => page.evaluate(() => getComputedStyle(document.body).backgroundColor);
  const papers = new Set();
  for (const theme of ["light", "dark", "auto"]) {
    await page.click("#theme");
    await textIs(page, "#theme", `Theme: ${theme}`);
    papers.add(await paper());
  }
  if (papers.size !== 2) wrong.push(`papers: ${[...papers]}`);
  for (const width of [1280, 800, 400]) {
    await page.setViewportSize({ width, height: 900 });
    // Charts are drawn anew for the width there is, a moment later.
    const fits = (width) => document.documentElement.scrollWidth <= width;
    await page.waitForFunction(fits, width).catch(() => wrong.push(`too wide at ${width}`));
  }
  await page.locator("#rates .curve").first().waitFor({ state: "attached" });
  await page.focus("#rates");
  await page.keyboard.press("ArrowLeft");
  await page.locator("#rates .cross").waitFor({ state: "attached" });
  const unnamed = await page.evaluate(() => [...document.querySelectorAll("button, input")]
    .filter((one) => !one.closest("dialog"))
    .filter((one) => !(one.getAttribute("aria-label") || one.innerText || one.labels?.length))
    .map((one) => one.outerHTML));
  wrong.push(...unnamed.map((one) => `without a name: ${one}`));
}

async function operate(browser) {
  const { page, wrong } = await live(browser);
  const row = `[data-server="${options.server}"]`;
  const state = `${row} .pill`;
  const want = async (duty, becomes) => {
    await page.click(`${row} [data-duty="${duty}"]`);
    await page.click("#confirm-yes");
    await textIs(page, state, becomes);
  };
  // Asked for and then not meant.
  await page.click(`${row} [data-duty="down"]`);
  await page.keyboard.press("Escape");
  await page.waitForSelector("#confirm", { state: "hidden" });
  await want("down", "disabled");
  await want("ready", "up");
  done();
  // Without a mouse.
  await page.focus(`${row} [data-duty="drain"]`);
  await page.keyboard.press("Enter");
  await textIs(page, "#confirm-title", `Drain: ${options.server}`);
  await page.focus("#confirm-yes");
  await page.keyboard.press("Enter");
  await textIs(page, state, "draining");
  await textIs(page, "#history li:first-child .pill", "drain");
  await page.click(`${row} .weight`);
  await page.fill("#confirm-weight input", "7");
  await page.click("#confirm-yes");
  await textIs(page, `${row} .weight`, "7");
  done();
  const changes = () => page.locator("#history li .pill").allTextContents();
  const history = [await changes()];
  const closed = await closeOne(page);
  // Whoever comes later sees the same.
  await page.reload();
  await page.waitForSelector("#history li");
  history.push(await changes());
  done({ history, closed, wrong });
}

async function closeOne(page) {
  const rows = page.locator("#session-table tbody tr");
  await page.fill('[name="host"]', options.host);
  await page.keyboard.press("Enter");
  await page.waitForFunction((host) => {
    const hosts = [...document.querySelectorAll('#session-table [data-head="Host"]')];
    return hosts.length === 1 && hosts[0].textContent === host;
  }, options.host);
  await rows.locator("button.plain").click();
  await page.waitForSelector("#details dt");
  const about = await page.textContent("#details dl");
  if (!about.includes("rtt_us")) throw new Error(`no TCP_INFO in ${about}`);
  await page.click("#details button");
  const id = await rows.first().getAttribute("data-id");
  await rows.locator("button.close").click();
  await page.click("#confirm-yes");
  await textIs(page, "#no-sessions", "No session is like that.");
  await page.waitForSelector("#no-sessions", { state: "visible" });
  await page.click('#search [type="reset"]');
  await rows.first().waitFor();
  return id;
}

// Answers are changed on their way, as if readers of hosts and files let everything pass.
async function hostile(browser) {
  const markup = "<img src=x onerror=\"console.error('it ran')\"><script>hurt()</script>";
  const hurt = (text) => text + markup;
  const spoil = (value) => {
    if (Array.isArray(value)) return value.map(spoil);
    if (value === null || typeof value !== "object") return value;
    return Object.fromEntries(Object.entries(value).map(([name, one]) => {
      const isText = typeof one === "string" && !["at", "next"].includes(name);
      return [name, isText ? hurt(one) : spoil(one)];
    }));
  };
  const fetched = async (path) => (await fetch(new URL(path, options.url))).json();
  const [servers, workers] = await Promise.all(["/v1/servers", "/v1/workers"].map(fetched));
  const pulse = {
    at_ms: Date.now(), edition: 1, draining: false, sessions_live: 1, accepted_total: 1,
    closed_total: 1, closed: { [hurt("reason")]: 1 }, bytes_up_total: 1, bytes_down_total: 1,
    servers: spoil(servers), workers,
  };
  const change = {
    number: 1,
    at: new Date().toISOString(),
    ...spoil({ pool: "p", server: "s", state: "down", cause: "c", by: "b" }),
  };
  const spoilAnswers = (page) => page.route("**/v1/**", async (route) => {
    const { pathname } = new URL(route.request().url());
    if (pathname === "/v1/events") {
      const events = [["status", pulse], ["change", change]].map(([name, data]) =>
        `event: ${name}\ndata: ${JSON.stringify(data)}\n\n`);
      return route.fulfill({ contentType: "text/event-stream", body: events.join("") });
    }
    // The id is spoilt, so ringway knows no such session.
    if (pathname.startsWith("/v1/sessions/")) return route.fulfill({ json: spoil({ host: "h" }) });
    const response = await route.fetch();
    await route.fulfill({ response, json: spoil(await response.json()) });
  });
  const { page, wrong } = await open(browser, options.url, {}, spoilAnswers);
  await page.waitForSelector("#session-table tbody tr");
  await page.waitForSelector("#history li");
  await page.waitForSelector("#listeners tbody tr");
  await page.locator("#session-table button.plain").first().click();
  await page.waitForSelector("#details dt");
  const made = await page.locator("main img, main script, dialog img, dialog script").count();
  const seen = await page.locator("body").innerText();
  done({ made, shown_as_text: seen.includes(markup), wrong });
}

async function token(browser) {
  const { page } = await open(browser, options.url);
  await page.fill("#token input", "not the token at all");
  await page.keyboard.press("Enter");
  await page.waitForSelector("#token-wrong", { state: "visible" });
  done();
  await page.fill("#token input", options.token);
  await page.keyboard.press("Enter");
  await textIs(page, "#link", "live");
  // The tab has it, the next page in it asks for none.
  await page.reload();
  await textIs(page, "#link", "live");
  const kept = await page.evaluate(() => Object.values(sessionStorage));
  done({ kept, asks: await page.locator("#token").isVisible(), wrong: [] });
}

async function stale(browser) {
  const { page } = await live(browser);
  await page.waitForFunction(() => {
    return document.getElementById("link").textContent.startsWith("stale: last heard");
  });
  done();
  await textIs(page, "#link", "live");
  done({ wrong: [] });
}
