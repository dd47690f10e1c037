
// Elements and text: how rows are kept, what numbers look like, and what is asked and noted.

// Milliseconds for which a note is there.
const NOTE_MS = 5_000;

const NUMBER = new Intl.NumberFormat("en-US", { maximumFractionDigits: 0 });

function byId(id) {
  return document.getElementById(id);
}

// Children that are text become text.
function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

// Leaves alone what is so already: a selection in it stays, and nothing is laid out anew.
function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

// One child for each item, made once and kept for as long as there is an item of that key, so that
// whoever has the focus in it keeps it.
function keyed(parent, items, keyOf, build, draw) {
  parent.byKey ??= new Map();
  const gone = new Map(parent.byKey);
  let before = null;
  for (const item of items) {
    const key = keyOf(item);
    const child = parent.byKey.get(key) ?? build();
    parent.byKey.set(key, child);
    gone.delete(key);
    draw(child, item);
    const place = before === null ? parent.firstChild : before.nextSibling;
    if (place !== child) parent.insertBefore(child, place);
    before = child;
  }
  for (const [key, child] of gone) {
    child.remove();
    parent.byKey.delete(key);
  }
}

function drawPill(pill, text, look) {
  setText(pill, text);
  if (pill.className !== `pill ${look}`) pill.className = `pill ${look}`;
}

function drawBar(cell, share, text) {
  if (!cell.firstChild) {
    cell.append(make("div", { class: "bar" },
      make("i", { "aria-hidden": "true" }, make("b")), make("span", { class: "number" })));
  }
  const [track, number] = cell.firstChild.children;
  track.firstChild.style.width = `${(share * 100).toFixed(1)}%`;
  setText(number, text);
}

function words(name) {
  return name.replaceAll("_", " ");
}

function count(number) {
  return NUMBER.format(number);
}

function percent(share) {
  return `${(share * 100).toFixed(1)} %`;
}

function perSecond(rate) {
  return `${rate < 10 ? Number(rate.toFixed(1)) : count(rate)} /s`;
}

// Three digits and a unit; a kB is 1,000 bytes.
function size(bytes) {
  const units = ["B", "kB", "MB", "GB", "TB", "PB"];
  let at = 0;
  let value = bytes;
  while (value >= 999.5 && at < units.length - 1) [value, at] = [value / 1_000, at + 1];
  const digits = at === 0 ? 0 : value < 10 ? 2 : value < 100 ? 1 : 0;
  return `${value.toFixed(digits)} ${units[at]}`;
}

// The two largest units.
function duration(timeMs) {
  const timeS = Math.floor(timeMs / 1_000);
  if (timeS < 60) return `${timeS} s`;
  if (timeS < 3_600) return `${Math.floor(timeS / 60)} min ${timeS % 60} s`;
  const hours = Math.floor(timeS / 3_600);
  if (hours < 24) return `${hours} h ${Math.floor((timeS % 3_600) / 60)} min`;
  return `${Math.floor(hours / 24)} d ${hours % 24} h`;
}

// Null is beyond what is measured.
function shortTime(timeUs) {
  if (timeUs === null) return "long";
  if (timeUs < 1_000) return `${Math.round(timeUs)} µs`;
  if (timeUs < 1_000_000) return `${Number((timeUs / 1_000).toPrecision(2))} ms`;
  return `${Number((timeUs / 1_000_000).toPrecision(2))} s`;
}

// With the day, if that is another.
function clockTime(atMs) {
  const [at, now] = [new Date(atMs), new Date()];
  const time = at.toLocaleTimeString("en-GB");
  if (at.toDateString() === now.toDateString()) return time;
  return `${at.toLocaleDateString("en-GB", { day: "numeric", month: "short" })} ${time}`;
}

// Asks whether that is meant: true or the weight that was set, else false.
async function confirmed(title, text, yes, weight = null) {
  const dialog = byId("confirm");
  const input = dialog.querySelector("input");
  setText(byId("confirm-title"), title);
  setText(byId("confirm-text"), text);
  setText(byId("confirm-yes"), yes);
  byId("confirm-weight").hidden = weight === null;
  input.disabled = weight === null;
  input.value = weight ?? "";
  if (await answerOf(dialog) !== "yes") return false;
  return weight === null ? true : Number(input.value);
}

// The value of the button that closed it; none for Escape.
function answerOf(dialog) {
  dialog.returnValue = "";
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => resolve(dialog.returnValue), { once: true });
  });
}

// Says what came of something that was wanted.
async function noted(done, text) {
  try {
    const said = await done;
    note(typeof text === "function" ? text(said) : text);
  } catch (error) {
    note(error.message);
  }
}

function note(text) {
  const line = make("p", {}, text);
  byId("notes").append(line);
  setTimeout(() => line.remove(), NOTE_MS);
}
