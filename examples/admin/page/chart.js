// A small time line: the last five minutes, one layer on the other, and what each is now.

const SVG = "http://www.w3.org/2000/svg";
const KEPT = 300; // seconds
const HEIGHT = 100;

export class Chart {
  // Samples are added up in boxes of so many seconds; a box of one is a moment, not a sum.
  constructor(place, seconds) {
    this.seconds = seconds;
    this.picture = document.createElementNS(SVG, "svg");
    this.picture.setAttribute("viewBox", `0 0 ${KEPT} ${HEIGHT}`);
    this.picture.setAttribute("preserveAspectRatio", "none");
    this.picture.setAttribute("role", "img");
    this.top = element("p", "top");
    this.legend = element("ul", "legend");
    const axis = element("p", "axis");
    axis.append(element("span", "", "5 minutes ago"), element("span", "", "now"));
    place.append(this.top, this.picture, axis, this.legend);
  }

  show(names, samples, taken) {
    const boxes = this.boxes(samples, taken, names.length);
    const top = round(Math.max(1, ...boxes.map(({ values }) => sum(values))));
    const most = top.toLocaleString("en");
    this.top.textContent = this.seconds === 1 ? most : `${most} in ${this.seconds} s`;
    this.picture.replaceChildren(...names.map((name, layer) => this.layer(name, layer, boxes, top)));
    this.says(names, samples);
  }

  says(names, samples) {
    const now = this.seconds === 1 ? samples.at(-1) ?? [] : names.map((_, at) => sum(samples.map((of) => of[at])));
    const texts = names.map((name, at) => `${name.replaceAll("_", " ")} ${(now[at] ?? 0).toLocaleString("en")}`);
    this.legend.replaceChildren(...texts.map((text, at) => element("li", names[at], text)));
    const what = this.seconds === 1 ? "Now" : "In five minutes";
    this.picture.setAttribute("aria-label", `${what}: ${texts.join(", ")}`);
  }

  // Where each begins, and what it holds. They stand still while time goes on.
  boxes(samples, taken, width) {
    const first = taken - samples.length;
    const boxes = new Map();
    samples.forEach((sample, at) => {
      const box = Math.floor((first + at) / this.seconds);
      const values = boxes.get(box) ?? Array(width).fill(0);
      boxes.set(box, values.map((value, layer) => value + sample[layer]));
    });
    return [...boxes].map(([box, values]) => ({ x: KEPT - taken + box * this.seconds, values }));
  }

  // One stair for each box, from the layers below to this one's top.
  layer(name, layer, boxes, top) {
    const y = (values, layers) => HEIGHT * (1 - sum(values.slice(0, layers)) / top);
    const rects = boxes.filter(({ values }) => values[layer] > 0).map(({ x, values }) => {
      const [from, to] = [y(values, layer), y(values, layer + 1)];
      const gap = this.seconds === 1 ? 0 : 1;
      return `M${x} ${from}H${x + this.seconds - gap}V${to}H${x}Z`;
    });
    const path = document.createElementNS(SVG, "path");
    path.setAttribute("class", name);
    path.setAttribute("d", rects.join(""));
    return path;
  }
}

function element(tag, kind, text = "") {
  const made = document.createElement(tag);
  made.className = kind;
  made.textContent = text;
  return made;
}

const sum = (values) => values.reduce((total, value) => total + value, 0);

// The next of 1, 2, 4, 6, 8, 10, 20, 40 and so on.
function round(highest) {
  const ten = 10 ** Math.floor(Math.log10(highest));
  return [1, 2, 4, 6, 8, 10].map((step) => step * ten).find((step) => step >= highest);
}
