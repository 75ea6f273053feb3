// Progress of operations: a bar each, with bytes, files and rate where data is on its way.

import { h, setText } from "./dom.js";
import { bytes, count, duration, plural } from "./format.js";

const MOST = 6;
// What is over before one could read it would only flash.
const WORTH_SHOWING_S = 0.8;

function amountOf({ info, rate }) {
  if (info.status === "waiting") return "waits";
  const parts = [];
  if (info.bytes_total > 0) parts.push(`${bytes(info.bytes_done)} of ${bytes(info.bytes_total)}`);
  else if (info.bytes_done > 0) parts.push(bytes(info.bytes_done));
  if (info.files_total > 0) parts.push(`${count(info.files_done)}/${plural(info.files_total, "file")}`);
  if (rate) parts.push(`${bytes(rate)}/s`);
  return parts.join(" · ") || duration(info.duration_s);
}

class Bar {
  constructor(id) {
    this.name = h("strong");
    this.step = h("span", { class: "muted" });
    const what = h("span", {}, this.name, " ", this.step);
    this.progress = h("progress", { max: "1" });
    this.amount = h("span", { class: "amount" });
    this.element = h("li", { class: "operation", "data-op": id }, what, this.amount, this.progress);
  }

  show(entry) {
    const { info } = entry;
    setText(this.name, info.module_id);
    setText(this.step, `${info.operation}${info.step && info.step !== info.operation ? ` · ${info.step}` : ""}`);
    this.progress.setAttribute("aria-label", `${info.operation} of ${info.module_id}`);
    if (info.bytes_total > 0) this.progress.value = Math.min(1, info.bytes_done / info.bytes_total);
    else this.progress.removeAttribute("value");
    setText(this.amount, amountOf(entry));
    this.element.title = info.asked_by ? `asked by ${info.asked_by}` : "";
  }
}

export class OperationsPanel {
  #bars = new Map();
  #list = h("ol");
  #rest = h("p", { class: "muted" });
  #title;

  /** @param {{inline?: boolean}} options inline: a part of the page, not something that stands before it and can be folded. */
  constructor({ inline = false } = {}) {
    this.#title = h(inline ? "h2" : "summary");
    const unfolded = !inline && !matchMedia("(max-width: 760px)").matches;
    this.element = h(inline ? "section" : "details", { class: inline ? "panel card progress" : "panel operations", open: unfolded, hidden: true },
      this.#title, this.#list, this.#rest);
  }

  /** @param {{info: object, rate: number | null}[]} all */
  show(all) {
    const entries = all.filter(({ info }) => info.bytes_total > 0 || info.duration_s >= WORTH_SHOWING_S);
    // Those with data on its way first, then the longest.
    const sorted = [...entries].sort((a, b) => (b.info.bytes_total > 0) - (a.info.bytes_total > 0) || b.info.duration_s - a.info.duration_s);
    const shown = sorted.slice(0, MOST);
    const ids = new Set(shown.map(({ info }) => info.op_id));
    for (const [id, bar] of this.#bars) {
      if (ids.has(id)) continue;
      bar.element.remove();
      this.#bars.delete(id);
    }
    for (const entry of shown) {
      const id = entry.info.op_id;
      let bar = this.#bars.get(id);
      if (!bar) {
        this.#bars.set(id, (bar = new Bar(id)));
        this.#list.append(bar.element);
      }
      bar.show(entry);
    }
    const rest = entries.length - shown.length;
    setText(this.#title, `${plural(entries.length, "operation")} running`);
    setText(this.#rest, rest > 0 ? `and ${count(rest)} more` : "");
    this.element.hidden = entries.length === 0;
  }
}
