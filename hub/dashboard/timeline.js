// What happened to a module, the newest first.

import { lookOf } from "./badge.js";
import { h } from "./dom.js";
import { bytes, clock, count, duration, milliseconds, moment, plain } from "./format.js";
import { icon } from "./icons.js";

const MOST = 200;

// Told by the line itself, or of no use to a reader here.
const TOLD = new Set(["from_state", "to_state", "kind", "duration_ms", "stack", "traceback", "output", "pid", "port", "dirty"]);

function written(name, value) {
  if (name.endsWith("_ms")) return milliseconds(value);
  if (name.endsWith("_s")) return duration(value);
  if (name === "bytes" || name.endsWith("_bytes")) return bytes(value);
  if (typeof value === "number") return count(value);
  if (typeof value === "boolean") return value ? "yes" : "no";
  return plain(typeof value === "string" ? value : JSON.stringify(value));
}

const LOOKS = {
  "module.crashed": { icon: "alert", tone: "bad" },
  "module.hung": { icon: "alert", tone: "bad" },
  "module.parked": { icon: "alert", tone: "bad" },
  "module.restart.exhausted": { icon: "alert", tone: "bad" },
  "operation.failed": { icon: "alert", tone: "bad" },
  "instance.hook_failed": { icon: "alert", tone: "bad" },
  "module.obliterated": { icon: "obliterate", tone: "erasing" },
  "hydration.completed": { icon: "down", tone: "idle" },
  "dehydration.completed": { icon: "deprovision", tone: "idle" },
  "checkpoint.completed": { icon: "checkpoint", tone: "idle" },
};

function whatOf({ name, fields }) {
  if (name === "module.transition") return [h("span", { class: "muted" }, `${fields.from_state} → `), h("strong", {}, String(fields.to_state))];
  return h("span", {}, name.replace(/^(module|operation)\./, "").replaceAll(/[._]/g, " "));
}

function entryOf(record) {
  const { name, at, fields } = record;
  const look = name === "module.transition" ? lookOf(fields.to_state) : (LOOKS[name] ?? { icon: "circle", tone: "idle" });
  const shape = look.icon === "turning" ? "circle" : look.icon;
  const took = fields.duration_ms === undefined || fields.duration_ms === null ? "" : ` · took ${milliseconds(fields.duration_ms)}`;
  const why = Object.entries(fields)
    .filter(([key, value]) => !TOLD.has(key) && value !== null && value !== "")
    .map(([key, value]) => (key === "reason" || key === "error" ? written(key, value) : `${key.replace(/_(ms|s|bytes)$/, "").replaceAll("_", " ")}: ${written(key, value)}`));
  return h("li", { "data-number": record.number, "data-name": name },
    h("span", { class: `tone-${look.tone}` }, icon(shape)),
    h("span", { class: "what" }, whatOf(record), h("span", { class: "muted" }, took)),
    h("time", { datetime: new Date(at * 1000).toISOString(), title: moment(at) }, clock(at)),
    why.length > 0 && h("span", { class: "why" }, why.join(" · ")),
    fields.output && h("details", { class: "why" }, h("summary", {}, "last output"), h("pre", {}, plain(fields.output))));
}

export class Timeline {
  #seen = new Set();
  #list = h("ol", { class: "timeline", tabindex: "0", "aria-label": "Transitions and other events, the newest first" });
  #none = h("p", { class: "muted" }, "Nothing since the hub started.");

  constructor() {
    this.element = h("section", { class: "panel card", "aria-label": "Timeline" }, h("header", {}, h("h2", {}, "Timeline")), this.#list, this.#none);
  }

  /** Show these, and nothing that was shown before: another run of the hub counts its events anew. */
  restart(records) {
    this.#seen.clear();
    this.#list.replaceChildren();
    this.add(records);
  }

  /** @param {object[]} records the oldest first. */
  add(records) {
    for (const record of records) {
      if (this.#seen.has(record.number)) continue;
      this.#seen.add(record.number);
      this.#list.prepend(entryOf(record));
    }
    while (this.#list.children.length > MOST) this.#list.lastElementChild.remove();
    this.#none.hidden = this.#list.children.length > 0;
    this.#list.hidden = this.#list.children.length === 0;
  }
}
