
// Rates, the big figures, and what is told of workers, listeners and ends of sessions.

// Seconds over which a rate is taken: a figure that jumps cannot be read.
const RATE_OVER_S = 3;

// The last pulses, oldest first: what rates are differences of.
let pulses = [];

// Per second, since a few seconds ago; null where nothing is known yet.
function ratesSince(pulse) {
  const last = pulses.at(-1);
  // It was started again, and counts from zero.
  if (last && pulse.accepted_total < last.accepted_total) pulses = [];
  pulses.push(pulse);
  const fromMs = pulse.at_ms - RATE_OVER_S * 1_000 - 500;
  pulses = pulses.filter((one) => one.at_ms >= fromMs);
  const first = pulses[0];
  const rate = (of) => {
    const [now, before] = [of(pulse), of(first)];
    const timeS = (pulse.at_ms - first.at_ms) / 1_000;
    return timeS > 0 && now !== undefined && before !== undefined ? (now - before) / timeS : null;
  };
  return {
    accepts: rate((one) => one.accepted_total),
    closes: rate((one) => one.closed_total),
    up: rate((one) => one.bytes_up_total),
    down: rate((one) => one.bytes_down_total),
    ofWorker: (number) => rate((one) => one.workers[number]?.accepted_total),
  };
}

function drawFigures(pulse, rates) {
  setText(byId("sessions_live"), count(pulse.sessions_live));
  setText(byId("sessions_more"), `${count(pulse.closed_total)} closed since the start`);
  setFigure(byId("accepts"), rates.accepts === null ? "–" : perSecond(rates.accepts));
  setText(byId("accepts_more"), `${count(pulse.accepted_total)} since the start`);
  for (const [id, rate, total] of [
    ["bytes_up", rates.up, pulse.bytes_up_total],
    ["bytes_down", rates.down, pulse.bytes_down_total],
  ]) {
    setFigure(byId(id), rate === null ? "–" : `${size(rate)}/s`);
    setText(byId(`${id}_more`), `${size(total)} since the start`);
  }
  document.title = `${count(pulse.sessions_live)} sessions – ringway`;
}

// A number, and its unit in small.
function setFigure(element, text) {
  const [number, ...unit] = text.split(" ");
  const is = `${number} ${unit.join(" ")}`.trim();
  if (element.textContent === is) return;
  element.replaceChildren(number);
  if (unit.length) element.append(" ", make("span", {}, unit.join(" ")));
}

function drawClosed(closed) {
  const reasons = Object.entries(closed).sort(([, one], [, other]) => other - one);
  const total = reasons.reduce((sum, [, number]) => sum + number, 0);
  byId("no-closed").hidden = total > 0;
  byId("closed").hidden = total === 0;
  setText(byId("closed-total"), total ? `${count(total)} by reason` : "");
  const build = () => make("tr", {},
    make("td", {}, make("span")), make("td", { class: "number" }), make("td", { class: "share" }));
  const key = ([reason]) => reason;
  keyed(byId("closed").tBodies[0], reasons, key, build, (row, [reason, number]) => {
    setText(row.cells[0].firstChild, words(reason));
    setText(row.cells[1], count(number));
    drawBar(row.cells[2], number / total, percent(number / total));
  });
}

function drawWorkers(workers, rates) {
  const build = () => make("tr", {}, make("td", { class: "tight" }),
    make("td", { class: "number" }), make("td", { class: "number" }), make("td"));
  keyed(byId("workers").tBodies[0], workers, (one) => one.number, build, (row, worker) => {
    setText(row.cells[0], `${worker.number}, core ${worker.core}`);
    setText(row.cells[1], count(worker.live));
    row.cells[1].title = `of ${count(worker.max)} at most`;
    const accepts = rates.ofWorker(worker.number);
    setText(row.cells[2], accepts === null ? "–" : perSecond(accepts).replace(" /s", ""));
    const lacked = Object.entries(worker.lacked);
    if (worker.unlogged_total) lacked.push(["log lines", worker.unlogged_total]);
    const words = lacked.map(([what, times]) => `${what.replaceAll("_", " ")} ×${count(times)}`);
    setText(row.cells[3], words.join(", ") || "nothing");
    row.cells[3].className = lacked.length ? "warn" : "quiet";
  });
}

function drawListeners(listeners) {
  const build = () => make("tr", {}, make("td"), make("td"), make("td", { class: "number" }));
  keyed(byId("listeners").tBodies[0], listeners, (one) => one.name, build, (row, one) => {
    setText(row.cells[0], one.name);
    row.cells[0].title = `${one.bind.join(", ")}; peek ${one.peek}, keep-alive ${one.keep_alive}`;
    setText(row.cells[1], one.pool);
    setText(row.cells[2], one.max_connections === null
      ? count(one.live) : `${count(one.live)} of ${count(one.max_connections)}`);
  });
}
