// The list's table: header, rows by id, focus and selection that survive its updates.

import { COLUMNS } from "./columns.js";
import { h } from "./dom.js";
import { icon } from "./icons.js";
import { Row } from "./row.js";

export class ModuleTable {
  #rows = new Map();
  #order = [];
  #anchor = null;
  #body = h("tbody", { role: "rowgroup" });
  #heads = new Map();

  /**
   * @param {{sort: (key: string) => void, run: (request: string, id: string) => Promise<void>,
   *   select: (ids: string[], on: boolean) => void}} handlers
   */
  constructor(handlers) {
    this.handlers = handlers;
    this.pageBox = h("input", {
      type: "checkbox", "aria-label": "Select all on this page", onchange: () => handlers.select(this.#order, this.pageBox.checked),
    });
    this.element = h(
      "table",
      { class: "modules", role: "table", "aria-label": "Modules" },
      h("thead", { role: "rowgroup" }, h("tr", { role: "row" },
        h("th", { role: "columnheader", scope: "col" }, this.pageBox),
        COLUMNS.map((column) => this.#head(column)),
        h("th", { role: "columnheader", scope: "col", class: "actions-head" }, "Actions"))),
      this.#body,
    );
    this.#body.addEventListener("click", (event) => this.#click(event));
    this.element.addEventListener("keydown", (event) => this.#key(event));
  }

  #head({ key, label, number, unsorted }) {
    const cell = h(
      "th",
      { role: "columnheader", scope: "col", class: `col-${key}${number ? " number" : ""}`, "aria-sort": unsorted ? null : "none" },
      unsorted ? h("span", { class: "muted" }, label) : h("button", { type: "button", onclick: () => this.handlers.sort(key) }, label, icon("up")),
    );
    if (!unsorted) this.#heads.set(key, cell);
    return cell;
  }

  /** Show by what the list is sorted. */
  showSort(sort) {
    for (const [key, cell] of this.#heads) {
      cell.setAttribute("aria-sort", sort === key ? "ascending" : sort === `-${key}` ? "descending" : "none");
    }
  }

  /** Show these modules, in this order; rows that stay are kept and not moved without need. */
  show(modules, selected) {
    const held = document.activeElement?.closest?.("tr[data-id]");
    const heldAt = held ? this.#order.indexOf(held.dataset.id) : -1;
    const wanted = new Set(modules.map((module) => module.module_id));
    for (const [id, row] of this.#rows) {
      if (wanted.has(id)) continue;
      row.element.remove();
      this.#rows.delete(id);
    }
    let next = this.#body.firstElementChild;
    for (const module of modules) {
      let row = this.#rows.get(module.module_id);
      if (row) row.describe(module);
      else this.#rows.set(module.module_id, (row = new Row(module, this.handlers)));
      row.selected = selected.has(module.module_id);
      if (row.element === next) next = next.nextElementSibling;
      else place(this.#body, row.element, next);
    }
    this.#order = [...wanted];
    if (heldAt >= 0 && !wanted.has(held.dataset.id)) this.focusAt(heldAt);
  }

  /** Change one row, if it is on this page; returns whether it is. */
  patch(id, changes) {
    const row = this.#rows.get(id);
    row?.patch(changes);
    return row !== undefined;
  }

  tick() {
    for (const row of this.#rows.values()) row.tick();
  }

  offerAgain() {
    for (const row of this.#rows.values()) row.offer(true);
  }

  showSelection(selected) {
    let on = 0;
    for (const [id, row] of this.#rows) {
      row.selected = selected.has(id);
      if (selected.has(id)) on += 1;
    }
    this.pageBox.checked = on > 0 && on === this.#order.length;
    this.pageBox.indeterminate = on > 0 && on < this.#order.length;
  }

  /** Put the keyboard on the row at this place, or the nearest one. */
  focusAt(index) {
    const id = this.#order[Math.max(0, Math.min(index, this.#order.length - 1))];
    const link = this.#rows.get(id)?.link;
    link?.focus();
    link?.scrollIntoView({ block: "nearest" });
  }

  /** Move the keyboard by rows; where it is on none, to the first or the last one. */
  move(step) {
    const held = document.activeElement?.closest?.("tr[data-id]")?.dataset.id;
    const at = this.#order.indexOf(held);
    this.focusAt(at === -1 ? (step > 0 ? 0 : this.#order.length - 1) : at + step);
  }

  /** Select or deselect the row that has the keyboard. */
  toggleFocused() {
    const id = document.activeElement?.closest?.("tr[data-id]")?.dataset.id;
    if (id === undefined) return;
    this.#anchor = id;
    this.handlers.select([id], !this.#rows.get(id).box.checked);
  }

  #click(event) {
    const id = event.target.dataset?.select;
    if (id === undefined) return;
    const on = event.target.checked;
    const from = this.#order.indexOf(this.#anchor);
    const to = this.#order.indexOf(id);
    const range = event.shiftKey && from !== -1 ? this.#order.slice(Math.min(from, to), Math.max(from, to) + 1) : [id];
    this.#anchor = id;
    this.handlers.select(range, on);
  }

  #key(event) {
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    const pages = { Home: 0, End: this.#order.length - 1 }[event.key];
    if (!event.target.closest("tbody") || (step === undefined && pages === undefined)) return;
    event.preventDefault();
    if (step !== undefined) this.move(step);
    else this.focusAt(pages);
  }
}

/** Put a row before another one; where the browser can, without taking the focus from it. */
function place(body, element, before) {
  if (element.parentNode === body && body.moveBefore) {
    body.moveBefore(element, before);
    return;
  }
  const held = element.contains(document.activeElement) ? document.activeElement : null;
  body.insertBefore(element, before);
  held?.focus();
}
