// One row of the list. It is changed in place, cell by cell, and only where something differs: nothing flickers, and focus
// and a text selection stay where they are.

import { actionButton } from "./action_buttons.js";
import { urlOf } from "./api.js";
import { badge, setBadge } from "./badge.js";
import { COLUMNS } from "./columns.js";
import { h, setAttribute, setText } from "./dom.js";
import { REQUESTS, offeredTo } from "./lifecycle.js";

const FACTS = COLUMNS.filter((column) => column.text);

export class Row {
  #describedAt = 0;
  #offered = null;
  #cells = new Map();

  /** @param {{run: (request: string, id: string) => Promise<void>}} handlers */
  constructor(module, handlers) {
    this.handlers = handlers;
    this.id = module.module_id;
    const name = h("a", { href: urlOf(`modules/${this.id}`).href, "data-open": this.id, title: this.id }, this.id);
    this.link = name;
    this.box = h("input", { type: "checkbox", "aria-label": `Select ${this.id}`, "data-select": this.id });
    this.state = badge(module.state);
    this.chip = h("span", { class: "chip", title: "Its data here is newer than what the backend has", hidden: true }, "dirty");
    this.actions = h("div", { class: "row-actions" });
    this.element = h(
      "tr",
      { role: "row", "data-id": this.id },
      h("td", { role: "cell" }, this.box),
      h("th", { role: "rowheader", scope: "row", class: "name" }, name),
      h("td", { role: "cell", class: "col-state" }, this.state),
      FACTS.map((column) => this.#fact(column)),
      h("td", { role: "cell", class: "actions-cell" }, this.actions),
    );
    this.describe(module);
  }

  #fact({ key, label, number }) {
    const value = h("span");
    const extra = key === "checkpointed_at" ? [" ", this.chip] : [];
    const cell = h(
      "td",
      { role: "cell", "data-label": label, class: `fact col-${key}${number ? " number" : ""}${key === "last_error" ? " error" : ""}${key === "kind" ? " kind" : ""}` },
      value,
      extra,
    );
    this.#cells.set(key, { cell, value });
    return cell;
  }

  /** Show what the hub has told. */
  describe(module) {
    this.module = module;
    this.#describedAt = performance.now();
    this.#show();
  }

  /** Show what an event has told, until the hub is asked. */
  patch(changes) {
    // Counters run on from the moment that they were told.
    const elapsed = (performance.now() - this.#describedAt) / 1000;
    const { uptime_s, idle_s } = this.module;
    this.#describedAt = performance.now();
    this.module = { ...this.module, uptime_s: uptime_s === null ? null : uptime_s + elapsed, idle_s: idle_s + elapsed, ...changes };
    this.#show();
  }

  #show() {
    setBadge(this.state, this.module.state);
    this.chip.hidden = !this.module.dirty;
    this.element.classList.toggle("fell", this.module.state === "crashed");
    this.tick();
    this.offer();
  }

  /** Let time pass in what depends on it. */
  tick() {
    const elapsed = (performance.now() - this.#describedAt) / 1000;
    for (const { key, text } of FACTS) {
      const { cell, value } = this.#cells.get(key);
      const said = text(this.module, elapsed);
      const alone = key === "checkpointed_at" && this.module.dirty;
      setText(value, said === "" && !alone ? "–" : said);
      cell.classList.toggle("nil", said === "");
      cell.classList.toggle("blank", said === "" && !alone);
      if (key === "last_error") setAttribute(cell, "title", this.module.last_error || null);
    }
  }

  /** Show the buttons that the state leaves open; `again` also where they are the same, after the role has changed. */
  offer(again = false) {
    const offered = offeredTo(this.module).sort((a, b) => REQUESTS[a].slot - REQUESTS[b].slot);
    if (!again && this.#offered === offered.join()) return;
    this.#offered = offered.join();
    const held = this.actions.contains(document.activeElement) ? document.activeElement.dataset.request : null;
    this.actions.replaceChildren(
      ...offered.map((request) => actionButton(request, this.id, { compact: true, run: () => this.handlers.run(request, this.id) })),
    );
    // The button that had the focus may be gone: the keyboard stays in this row.
    if (held !== null) (this.actions.querySelector(`[data-request="${held}"]`) ?? this.link).focus();
  }

  set selected(value) {
    this.box.checked = value;
    setAttribute(this.element, "aria-selected", value ? "true" : null);
  }
}
