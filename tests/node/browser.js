// What every script here shares that drives a browser: Chromium, headless, with a page in it of
// which everything is written down that must not happen.
"use strict";

const { chromium } = require("playwright-core");

// Milliseconds for anything that is waited for, on a loaded machine.
const DEADLINE_MS = 60_000;

// Debian's own; root may not have its sandbox, and a container has little shared memory.
function launch() {
  return chromium.launch({
    executablePath: "/usr/bin/chromium",
    args: ["--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu"],
    timeout: DEADLINE_MS,
  });
}

// A page, and a list that fills with errors, violations of the policy and foreign requests.
// `prepare` has the page before anything is in it.
async function open(browser, url, more = {}, prepare = async () => {}) {
  const context = await browser.newContext({ viewport: { width: 1280, height: 900 }, ...more });
  context.setDefaultTimeout(DEADLINE_MS);
  const page = await context.newPage();
  const wrong = [];
  page.on("console", (message) => {
    if (["error", "warning"].includes(message.type())) wrong.push(`console: ${message.text()}`);
  });
  page.on("pageerror", (error) => wrong.push(`error: ${error.stack}`));
  page.on("dialog", (dialog) => wrong.push(`dialog: ${dialog.message()}`));
  page.on("request", (request) => {
    const isOurs = new URL(request.url()).origin === new URL(url).origin;
    if (!isOurs && !request.url().startsWith("data:")) wrong.push(`request: ${request.url()}`);
  });
  await page.addInitScript(() => {
    addEventListener("securitypolicyviolation", (event) =>
      console.error(`policy: ${event.violatedDirective} ${event.blockedURI}`));
  });
  await prepare(page);
  await page.goto(url);
  return { page, wrong };
}

// Once an element's text is so.
async function textIs(page, selector, wanted) {
  await page.waitForFunction(
    ([where, text]) => document.querySelector(where)?.textContent.trim() === text,
    [selector, wanted],
  ).catch(async (error) => {
    const is = await page.locator(selector).allTextContents();
    throw new Error(`${selector} is ${JSON.stringify(is)} and not ${wanted}: ${error.message}`);
  });
}

module.exports = { launch, open, textIs };
