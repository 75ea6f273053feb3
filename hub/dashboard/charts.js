// A line over time, as SVG: what a module's processes used of late.

import { h, setText, svg } from "./dom.js";
import { clock } from "./format.js";

const WIDTH = 600;
const HEIGHT = 120;

/** The smallest round number that is not below `value`: the top of a scale. */
export function roundedUp(value) {
  if (value <= 0) return 1;
  const magnitude = 10 ** Math.floor(Math.log10(value));
  return [1, 1.5, 2, 3, 4, 5, 7.5, 10].find((step) => step * magnitude >= value) * magnitude;
}

export class Chart {
  #samples = [];
  #now = h("b");
  #top = h("span");
  #from = h("span");
  #to = h("span");
  #grid = [0, 0.5, 1].map((share) => svg("line", { class: "grid", x1: 0, x2: WIDTH, y1: share * HEIGHT, y2: share * HEIGHT }));
  #cursor = svg("line", { class: "cursor", y1: 0, y2: HEIGHT, visibility: "hidden" });

  /**
   * @param {{label: string, tone: string, value: (sample: object) => number, format: (value: number) => string, floor: number}} options
   *   `floor` is the least top of the scale: small numbers are not blown up to fill it.
   */
  constructor({ label, tone, value, format, floor }) {
    Object.assign(this, { label, value, format, floor });
    this.area = svg("path", { class: `area ${tone}` });
    this.line = svg("path", { class: `line ${tone}` });
    this.svg = svg("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", role: "img" }, this.#grid, this.area, this.line, this.#cursor);
    this.svg.addEventListener("pointermove", (event) => this.#point(event));
    this.svg.addEventListener("pointerleave", () => this.#leave());
    this.element = h("figure", { class: "chart" },
      h("figcaption", {}, h("span", {}, label, " ", this.#now), h("span", { class: "muted" }, this.#top)),
      this.svg, h("div", { class: "axis" }, this.#from, this.#to));
    this.show([]);
  }

  /** @param {{at: number}[]} samples the oldest first; where there are none, what was shown stays: it sleeps now. */
  show(samples) {
    if (samples.length === 0 && this.#samples.length > 0) return;
    this.#samples = samples;
    if (samples.length === 0) {
      setText(this.#from, "no samples yet");
      this.svg.setAttribute("aria-label", `${this.label}: no samples yet`);
      return;
    }
    const values = samples.map(this.value);
    const top = roundedUp(Math.max(this.floor, ...values));
    const first = samples[0].at;
    const last = samples.at(-1).at;
    const x = (at) => ((at - first) / Math.max(1, last - first)) * WIDTH;
    const y = (value) => HEIGHT - (value / top) * HEIGHT;
    this.x = x;
    const points = samples.map((sample, n) => `${x(sample.at).toFixed(1)} ${y(values[n]).toFixed(1)}`).join("L");
    this.line.setAttribute("d", `M${points}`);
    this.area.setAttribute("d", `M0 ${HEIGHT}L${points}L${x(last).toFixed(1)} ${HEIGHT}Z`);
    this.#leave();
    setText(this.#top, `of ${this.format(top)}`);
    setText(this.#from, clock(first));
    setText(this.#to, clock(last));
    const least = this.format(Math.min(...values));
    const most = this.format(Math.max(...values));
    this.svg.setAttribute("aria-label", `${this.label} from ${clock(first)} to ${clock(last)}: now ${this.format(values.at(-1))}, between ${least} and ${most}`);
  }

  #point(event) {
    if (this.#samples.length === 0) return;
    const box = this.svg.getBoundingClientRect();
    const at = ((event.clientX - box.left) / box.width) * WIDTH;
    const distance = (sample) => Math.abs(this.x(sample.at) - at);
    const nearest = this.#samples.reduce((best, sample) => (distance(sample) < distance(best) ? sample : best));
    this.#cursor.setAttribute("x1", this.x(nearest.at));
    this.#cursor.setAttribute("x2", this.x(nearest.at));
    this.#cursor.setAttribute("visibility", "visible");
    setText(this.#now, `${this.format(this.value(nearest))} at ${clock(nearest.at)}`);
  }

  #leave() {
    this.#cursor.setAttribute("visibility", "hidden");
    if (this.#samples.length > 0) setText(this.#now, this.format(this.value(this.#samples.at(-1))));
  }
}
