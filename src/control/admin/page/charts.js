
// Curves of the last minutes, drawn by hand: axes, a grid, and the values under the pointer or,
// with the arrow keys, under a cross that the keyboard moves.

// Seconds that a chart shows.
const SPAN_S = 300;

// Milliseconds between two points beyond which nothing is drawn: the stream was cut there.
const GAP_MS = 5_000;

// Pixels around the field: labels of the axes stand there.
const LEFT = 62;
const RIGHT = 8;
const TOP = 8;
const BOTTOM = 20;

let traffic = null;
let rates = null;

function startCharts() {
  const bytes = (value) => `${size(value)}/s`;
  traffic = new Chart(byId("traffic"), ["from servers", "from clients"], bytes);
  rates = new Chart(byId("rates"), ["accepted", "closed"], perSecond);
}

function drawCharts(atMs, now) {
  traffic.add(atMs, [now.down, now.up]);
  rates.add(atMs, [now.accepts, now.closes]);
}

class Chart {
  constructor(element, names, format) {
    this.element = element;
    this.legend = element.parentElement.querySelector(".legend");
    this.names = names;
    this.format = format;
    this.points = [];
    // The point that is looked at, by its time; null: the last one.
    this.lookedAtMs = null;
    element.addEventListener("pointermove", (event) => this.point(event));
    element.addEventListener("pointerleave", () => this.look(null));
    element.addEventListener("blur", () => this.look(null));
    element.addEventListener("keydown", (event) => this.key(event));
    new ResizeObserver(() => this.draw()).observe(element);
  }

  add(atMs, values) {
    if (values.some((value) => value === null)) return;
    this.points.push({ atMs, values });
    this.points = this.points.filter((point) => point.atMs > atMs - SPAN_S * 1_000);
    this.draw();
  }

  point(event) {
    const x = event.clientX - this.element.getBoundingClientRect().left;
    const atMs = this.endMs() - ((this.width() - RIGHT - x) / this.field()) * SPAN_S * 1_000;
    const away = (point) => Math.abs(point.atMs - atMs);
    const near = [...this.points].sort((one, other) => away(one) - away(other))[0];
    this.look(near?.atMs ?? null);
  }

  key(event) {
    const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (event.key === "Escape") this.look(null);
    if (!step || !this.points.length) return;
    event.preventDefault();
    const at = this.points.findIndex((point) => point.atMs === this.lookedAtMs);
    const from = at < 0 ? this.points.length - 1 : at;
    const next = Math.min(this.points.length - 1, Math.max(0, from + step));
    this.look(this.points[next].atMs);
  }

  look(atMs) {
    this.lookedAtMs = atMs;
    this.draw();
  }

  width() { return this.element.clientWidth; }
  field() { return this.width() - LEFT - RIGHT; }
  endMs() { return this.points.at(-1)?.atMs ?? 0; }

  draw() {
    const [width, height] = [this.width(), this.element.clientHeight];
    if (width === 0) return;
    const top = niceTop(Math.max(...this.points.flatMap((point) => point.values), 0));
    const x = (atMs) => width - RIGHT - ((this.endMs() - atMs) / (SPAN_S * 1_000)) * this.field();
    const y = (value) => height - BOTTOM - (value / top) * (height - TOP - BOTTOM);
    const svg = shape("svg", { width, height, "aria-hidden": "true" });
    svg.append(...this.axes(top, y, height));
    for (const [at, name] of ["one", "other"].entries()) {
      svg.append(...curve(this.points, at, x, y, name));
    }
    const looked = this.points.find((point) => point.atMs === this.lookedAtMs);
    if (looked) svg.append(...cross(looked, x, y, height));
    this.element.replaceChildren(svg);
    this.say(looked ?? this.points.at(-1), Boolean(looked));
  }

  axes(top, y, height) {
    const shapes = [];
    const end = this.width() - RIGHT;
    for (let quarter = 0; quarter <= 4; quarter += 1) {
      const value = (top / 4) * quarter;
      shapes.push(shape("line", { class: "grid", x1: LEFT, x2: end, y1: y(value), y2: y(value) }));
      const label = { x: LEFT - 8, y: y(value) + 4, "text-anchor": "end" };
      if (quarter % 2 === 0) shapes.push(shape("text", label, this.format(value)));
    }
    for (let minute = 0; minute <= SPAN_S / 60; minute += 1) {
      const x = end - (minute / (SPAN_S / 60)) * this.field();
      const label = { x, y: height - 4, "text-anchor": minute === 0 ? "end" : "middle" };
      shapes.push(shape("text", label, minute === 0 ? "now" : `−${minute} min`));
    }
    return shapes;
  }

  // Values in the legend, and for those who cannot see curves.
  say(point, isLooked) {
    const text = (at) => point ? this.format(point.values[at]) : "–";
    const values = this.names.map((name, at) => [name, text(at)]);
    const time = isLooked ? [make("span", { class: "time" }, clockTime(point.atMs))] : [];
    this.legend.replaceChildren(...time, ...values.map(([name, value], at) =>
      make("span", { class: ["one", "other"][at] }, `${name} `, make("b", {}, value))));
    const words = values.map(([name, value]) => `${name} ${value}`).join(", ");
    const when = isLooked ? clockTime(point.atMs) : "now";
    this.element.setAttribute("aria-label", `${words}, ${when}; arrow keys move through time`);
  }
}

// A line, below the first one an area, and a gap where the stream was cut.
function curve(points, at, x, y, name) {
  const pieces = [];
  for (const [index, point] of points.entries()) {
    const isCut = index === 0 || point.atMs - points[index - 1].atMs > GAP_MS;
    if (isCut) pieces.push([]);
    pieces.at(-1).push([x(point.atMs), y(point.values[at])]);
  }
  return pieces.flatMap((piece) => {
    const line = piece.map(([px, py]) => `${px.toFixed(1)},${py.toFixed(1)}`).join("L");
    const [first, last] = [piece[0][0].toFixed(1), piece.at(-1)[0].toFixed(1)];
    const ground = y(0).toFixed(1);
    const drawn = shape("path", { class: `curve ${name}`, d: `M${line}` });
    if (at > 0) return [drawn];
    const area = { class: `area ${name}`, d: `M${line}L${last},${ground}L${first},${ground}Z` };
    return [shape("path", area), drawn];
  });
}

function cross(point, x, y, height) {
  const at = x(point.atMs);
  const line = { class: "cross", x1: at, x2: at, y1: TOP, y2: height - BOTTOM };
  const spots = point.values.map((value, index) =>
    shape("circle", { class: `spot ${["one", "other"][index]}`, cx: at, cy: y(value), r: 3.5 }));
  return [shape("line", line), ...spots];
}

// The end of an axis: four steps of 1, 2, 2.5 or 5 times a power of ten.
function niceTop(most) {
  const step = Math.max(most, 4) / 4;
  const power = 10 ** Math.floor(Math.log10(step));
  return [1, 2, 2.5, 5, 10].map((factor) => factor * power).find((nice) => nice >= step) * 4;
}

function shape(tag, attributes, text = "") {
  const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.textContent = text;
  return element;
}
