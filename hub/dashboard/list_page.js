// The list of modules: one page of it at a time, as the hub filters and sorts it, kept live by events.

import { ApiError, api } from "./api.js";
import { beforeFrame, coalesced } from "./coalesce.js";
import { COLUMNS } from "./columns.js";
import { h, setText } from "./dom.js";
import { count, plural } from "./format.js";
import { announce, complain } from "./notices.js";
import { openObliterateByName } from "./obliterate_dialog.js";
import { openProvision } from "./provision_dialog.js";
import { SelectionBar } from "./selection_bar.js";
import { ModuleTable } from "./table.js";
import { Toolbar } from "./toolbar.js";
import { DEFAULT_VIEW, PAGE_SIZE, apiQuery, isFiltered, parseView, queryOf } from "./view.js";

// Twice a second at most, however many events there are; and now and then without any, for what has no event: memory, idle.
const PAUSE_MS = 500;
const POLL_MS = 4000;

export class ListPage {
  #view = DEFAULT_VIEW;
  #page = null;
  #abort = null;
  #timers = [];
  #changes = new Map();
  /** What events have told of late, and when: an answer that was asked for before does not take it back. */
  #told = new Map();
  #fetch = coalesced(() => this.#load(), PAUSE_MS);
  #apply = beforeFrame(() => this.#patch());

  constructor({ router, actions, shell }) {
    this.router = router;
    this.shell = shell;
    this.toolbar = new Toolbar({
      change: (changes, push) => this.change({ ...changes, page: 1 }, push),
      provision: () => openProvision({ run: (id, kind) => actions.run("provision", id, kind) }),
      obliterate: () => openObliterateByName(() => this.refresh()),
    });
    this.table = new ModuleTable({
      sort: (key) => this.#sort(key),
      run: (request, id) => actions.run(request, id),
      select: (ids, on) => this.selection.set(ids, on),
    });
    this.selection = new SelectionBar({
      run: (request, ids) => actions.runAll(request, ids, () => this.selection.clear()),
      changed: (ids) => this.table.showSelection(ids),
    });
    this.heading = h("h1", { class: "visually-hidden" }, "Modules");
    this.empty = h("div", { class: "empty", hidden: true });
    this.wrap = h("div", { class: "panel table-wrap", "aria-busy": "true" }, this.table.element, this.empty);
    this.range = h("span", { class: "range", role: "status" });
    this.previous = h("button", { type: "button", onclick: () => this.turn(-1) }, "Previous");
    this.next = h("button", { type: "button", onclick: () => this.turn(1) }, "Next");
    this.number = h("span", { class: "muted" });
    this.pager = h("nav", { class: "pager", "aria-label": "Pages" }, this.range, this.previous, this.number, this.next);
    for (const element of [this.previous, this.number, this.next]) element.hidden = true;
    this.element = h("div", {}, this.heading, this.toolbar.element, this.toolbar.filters, this.wrap, this.pager);
  }

  enter(query) {
    this.shell.title("modhub");
    this.shell.dock(this.selection.element);
    this.#view = parseView(query);
    this.#showView();
    this.refresh();
    this.#timers = [setInterval(() => !document.hidden && this.table.tick(), 1000), setInterval(() => !document.hidden && this.#fetch(), POLL_MS)];
    api.kinds().then(({ kinds }) => this.toolbar.showKinds(kinds), () => {});
  }

  leave() {
    this.#timers.forEach(clearInterval);
    this.#abort?.abort();
    this.selection.element.remove();
  }

  /** Look at something else; the address says what. */
  change(changes, push = true) {
    this.#view = { ...this.#view, ...changes };
    this.router.rewrite(queryOf(this.#view), push);
    this.#showView();
    this.wrap.setAttribute("aria-busy", "true");
    this.refresh();
  }

  turn(step) {
    const pages = this.#page ? Math.max(1, Math.ceil(this.#page.total / PAGE_SIZE)) : 1;
    const page = Math.max(1, Math.min(pages, this.#view.page + step));
    if (page === this.#view.page) return;
    this.change({ page });
    window.scrollTo(0, 0);
  }

  /** What is on its way answers another question, or an older state: ask anew, at once. */
  refresh() {
    this.#load();
  }

  /** Take events: the rows that are shown change before the next frame, all else follows soon. */
  batch(records) {
    for (const { name, module_id: id, fields, at } of records) {
      if (id === null) continue;
      const change = this.#changes.get(id) ?? {};
      if (name === "module.transition") Object.assign(change, changesOf(fields, at));
      else if (name === "module.crashed") {
        change.last_error = fields.reason ?? "its process ended";
        announce(`${id} crashed`);
      } else if (name === "operation.failed") change.last_error = fields.error;
      else continue;
      this.#changes.set(id, change);
      this.#told.set(id, { at: performance.now(), change: { ...this.#told.get(id)?.change, ...change } });
    }
    if (this.#changes.size === 0) return;
    this.#apply();
    this.#fetch();
  }

  offerAgain() {
    this.toolbar.offerAgain();
    this.table.offerAgain();
    this.selection.offerAgain();
  }

  key(event) {
    const does = {
      "/": () => this.toolbar.search.select(), j: () => this.table.move(1), k: () => this.table.move(-1), x: () => this.table.toggleFocused(),
      n: () => this.toolbar.buttons.lastElementChild.click(), "[": () => this.turn(-1), "]": () => this.turn(1),
      ArrowDown: () => this.table.move(1), ArrowUp: () => this.table.move(-1),
      Escape: () => this.selection.clear(),
    }[event.key];
    if (!does) return false;
    // The arrows scroll, unless the keyboard is on the list or on nothing.
    if (event.key.startsWith("Arrow") && document.activeElement !== document.body) return false;
    does();
    return true;
  }

  #sort(key) {
    const { first } = COLUMNS.find((column) => column.key === key);
    const forward = `${first}${key}`;
    const backward = first === "" ? `-${key}` : key;
    this.change({ sort: this.#view.sort === forward ? backward : forward, page: 1 });
  }

  #showView() {
    this.toolbar.show(this.#view);
    this.table.showSort(this.#view.sort);
  }

  #patch() {
    for (const [id, changes] of this.#changes) this.table.patch(id, changes);
    this.#changes.clear();
  }

  async #load() {
    this.#abort?.abort();
    const abort = new AbortController();
    this.#abort = abort;
    const asked = performance.now();
    let page;
    try {
      page = await api.find(apiQuery(this.#view), abort.signal);
    } catch (error) {
      // Unreachable, or no token yet: the page says so elsewhere, and what is shown stays.
      if (error instanceof ApiError && error.status >= 400 && error.status !== 401) complain("The list can't be read", error);
      return;
    }
    if (abort.signal.aborted) return;
    if (page.modules.length === 0 && page.total > 0) {
      this.change({ page: Math.ceil(page.total / PAGE_SIZE) }, false);
      return;
    }
    for (const [id, { at }] of this.#told) if (at < asked) this.#told.delete(id);
    this.#show({ ...page, modules: page.modules.map((module) => ({ ...module, ...this.#told.get(module.module_id)?.change })) });
  }

  #show(page) {
    this.#page = page;
    this.#patch();
    this.table.show(page.modules, this.selection.ids);
    this.table.showSelection(this.selection.ids);
    this.toolbar.showCounts(page.states);
    this.shell.totals(page.states);
    const pages = Math.max(1, Math.ceil(page.total / PAGE_SIZE));
    const last = page.offset + page.modules.length;
    const all = plural(page.total, "module");
    setText(this.range, page.total === 0 ? "" : pages === 1 ? all : `${count(page.offset + 1)} to ${count(last)} of ${all}`);
    setText(this.number, `page ${count(this.#view.page)} of ${count(pages)}`);
    this.previous.disabled = this.#view.page <= 1;
    this.next.disabled = this.#view.page >= pages;
    for (const element of [this.previous, this.number, this.next]) element.hidden = pages === 1;
    this.table.element.hidden = page.total === 0;
    this.empty.hidden = page.total > 0;
    if (page.total === 0) this.#showEmpty();
    this.wrap.setAttribute("aria-busy", "false");
  }

  #showEmpty() {
    const filtered = isFiltered(this.#view);
    const said = filtered ? "filtered" : "none";
    if (this.empty.dataset.said === said) return;
    this.empty.dataset.said = said;
    this.empty.replaceChildren(
      h("h2", {}, filtered ? "No module matches" : "No module yet"),
      h("p", {}, filtered ? "Others are there: the filters above hide them." : "Provision one: it gets a process, a port and a directory of its own."),
      filtered ? h("button", { type: "button", onclick: () => this.change({ ...DEFAULT_VIEW, sort: this.#view.sort }) }, "Show all") : "",
    );
  }
}

/** What a transition changes of a module, as far as the event says. */
export function changesOf(fields, at) {
  const state = fields.to_state;
  const changes = { state, since: at };
  for (const name of ["kind", "dirty"]) if (fields[name] !== null && fields[name] !== undefined) changes[name] = fields[name];
  if (fields.port) changes.port = fields.port;
  if (state === "provisioned") Object.assign(changes, { uptime_s: 0, idle_s: 0 });
  else if (state !== "hibernating") Object.assign(changes, { uptime_s: null, memory_bytes: null, cpu_percent: null });
  return changes;
}
