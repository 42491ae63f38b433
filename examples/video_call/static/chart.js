// A chart which moves: bits per second, lost packets, restarts and outages.

const SPAN = 60; // seconds
const HEIGHT = 170;
const FLOOR = HEIGHT - 24;
const CEILING = 22;

/** Make an element of the chart, or another element of SVG's. */
function element(name, attributes, text = "") {
  const node = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) {
    node.setAttribute(key, value);
  }
  node.textContent = text;
  return node;
}

export class Chart {
  /** @param svg where to draw. */
  constructor(svg) {
    this.svg = svg;
    this.samples = []; // { time, rate, server, lost }
    this.marks = []; // { time, label, kind }
    this.spans = []; // { from, to, kind }; one that lasts has no end
  }

  /** Add what was counted, in bits per second, and packets since the last time. */
  add(sample) {
    this.samples.push(sample);
    this.draw(sample.time);
  }

  /** Mark a restart. */
  mark(time, label, kind) {
    this.marks.push({ time, label, kind });
    this.draw(time);
  }

  /** Begin or end a span of a kind: "outage" or "down". */
  span(time, kind, active) {
    const last = this.spans.findLast((span) => span.kind === kind);
    const lasts = last !== undefined && last.to === undefined;
    if (active && !lasts) {
      this.spans.push({ from: time, kind });
    } else if (!active && lasts) {
      last.to = time;
    }
    this.draw(time);
  }

  draw(now) {
    const start = now - SPAN;
    this.samples = this.samples.filter(({ time }) => time >= start - 2);
    this.marks = this.marks.filter(({ time }) => time >= start);
    this.spans = this.spans.filter(({ to }) => to === undefined || to >= start);

    const width = this.svg.clientWidth || 600;
    const x = (time) => (width * (Math.max(time, start) - start)) / SPAN;
    // What is sent once more after an outage may leave the chart at its top.
    const rates = this.samples.map(({ rate }) => rate).sort((a, b) => a - b);
    const top = scale(Math.max(1.2 * (rates[Math.floor(0.9 * rates.length)] ?? 0), 100_000));
    const y = (rate) => FLOOR - ((FLOOR - CEILING) * Math.min(rate, 1.1 * top)) / top;

    this.svg.setAttribute("viewBox", `0 0 ${width} ${HEIGHT}`);
    this.svg.replaceChildren(
      ...this.drawSpans(x, now),
      ...this.drawGrid(x, y, width, top, now),
      ...this.drawRates(x, y),
      ...this.drawMarks(x),
    );
  }

  drawSpans(x, now) {
    return this.spans.map(({ from, to, kind }) =>
      element("rect", {
        class: kind,
        x: x(from),
        width: Math.max(x(to ?? now) - x(from), 1),
        // Where there is no connection, there is a bar on the floor.
        y: kind === "down" ? FLOOR : CEILING,
        height: kind === "down" ? 6 : FLOOR - CEILING,
      }),
    );
  }

  drawGrid(x, y, width, top, now) {
    const nodes = [0, 0.5, 1].flatMap((part) => [
      element("line", { class: "grid", x1: 0, x2: width, y1: y(part * top), y2: y(part * top) }),
      element("text", { x: 2, y: y(part * top) - 3 }, part ? `${(part * top) / 1000} kbit/s` : ""),
    ]);
    for (const ago of [45, 30, 15]) {
      nodes.push(element("text", { x: x(now - ago), y: HEIGHT - 4 }, `−${ago} s`));
    }
    return nodes;
  }

  drawRates(x, y) {
    if (this.samples.length < 2) {
      return [];
    }
    const line = (name) =>
      this.samples.map((sample) => `${x(sample.time)},${y(sample[name])}`).join(" ");
    const [first, last] = [this.samples[0], this.samples.at(-1)];
    const most = Math.max(...this.samples.map(({ lost }) => lost), 20);
    const bars = this.samples
      .filter(({ lost }) => lost > 0)
      .map(({ time, lost }) => {
        const height = Math.max((0.6 * (FLOOR - CEILING) * lost) / most, 3);
        return element("rect", { class: "lost", x: x(time) - 3, y: FLOOR - height, width: 4, height });
      });
    return [
      element("polygon", {
        class: "rate",
        points: `${x(first.time)},${FLOOR} ${line("rate")} ${x(last.time)},${FLOOR}`,
      }),
      element("polyline", { class: "server", points: line("server") }),
      ...bars,
    ];
  }

  drawMarks(x) {
    return this.marks.flatMap(({ time, label, kind }, i) => [
      element("line", { class: "restart", "data-kind": kind, x1: x(time), x2: x(time), y1: 12, y2: FLOOR }),
      element("text", { class: "mark", x: x(time) + 3, y: i % 2 ? 20 : 10 }, label),
    ]);
  }
}

/** Round up to 1, 2 or 5 times a power of ten. */
function scale(value) {
  const power = 10 ** Math.floor(Math.log10(value));
  return [1, 2, 5, 10].find((factor) => factor * power >= value) * power;
}
