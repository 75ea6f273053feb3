// A module's own page: facts, actions, progress, timeline, use over time, output.

import { actionButton } from "./action_buttons.js";
import { ApiError, api } from "./api.js";
import { badge, setBadge } from "./badge.js";
import { Chart } from "./charts.js";
import { coalesced } from "./coalesce.js";
import { h, setText } from "./dom.js";
import { Facts } from "./facts.js";
import { bytes, percent, plain, plural } from "./format.js";
import { REQUESTS, offeredTo } from "./lifecycle.js";
import { changesOf } from "./list_page.js";
import { LogTail } from "./log_tail.js";
import { announce, complain } from "./notices.js";
import { OperationsPanel } from "./operations_panel.js";
import { Timeline } from "./timeline.js";

const PAUSE_MS = 400;
const POLL_MS = 4000;
const USAGE_MS = 2000;

export class ModulePage {
  #module = null;
  #describedAt = 0;
  #offered = null;
  #toldAt = 0;
  #abort = new AbortController();
  #timers = [];
  #fetch = coalesced(() => this.#load(), PAUSE_MS);

  constructor({ router, actions, shell }, id) {
    Object.assign(this, { id, router, actions, shell });
    this.badge = badge("unprovisioned");
    this.buttons = h("div", { class: "buttons" });
    this.gone = h("section", { class: "panel gone", role: "status", hidden: true });
    this.error = h("pre");
    this.errorBox = h("section", { class: "panel last-error", "aria-label": "Last error", hidden: true }, h("h2", {}, "Last error"), this.error);
    this.progress = new OperationsPanel({ inline: true });
    this.facts = new Facts();
    this.timeline = new Timeline();
    this.log = new LogTail(id);
    this.memory = new Chart({ label: "Memory", tone: "memory", value: (s) => s.memory_bytes, format: bytes, floor: 1e6 });
    this.cpu = new Chart({ label: "CPU", tone: "cpu", value: (s) => s.cpu_percent, format: percent, floor: 5 });
    this.details = h("div", { class: "module-grid" },
      h("div", {}, this.facts.element, this.timeline.element),
      h("div", {}, h("section", { class: "panel card", "aria-label": "Use" }, h("header", {}, h("h2", {}, "Use over time")),
        h("div", { class: "charts" }, this.memory.element, this.cpu.element)), this.log.element));
    this.element = h("div", {},
      h("nav", { class: "crumbs", "aria-label": "Way back" }, h("a", { href: router.href(""), "data-back": "" }, "All modules")),
      h("div", { class: "module-head" }, h("h1", { tabindex: "-1" }, id), this.badge, this.buttons),
      this.gone, this.progress.element, this.errorBox, this.details);
  }

  enter() {
    this.shell.title(`${this.id} · modhub`);
    this.shell.totals(null);
    this.#load();
    this.#usage();
    this.#events();
    this.log.enter();
    this.#timers = [
      setInterval(() => this.#tick(), 1000),
      setInterval(() => !document.hidden && this.#fetch(), POLL_MS),
      setInterval(() => !document.hidden && this.#usage(), USAGE_MS),
    ];
  }

  leave() {
    this.#timers.forEach(clearInterval);
    this.#abort.abort();
    this.log.leave();
  }

  /** Read everything anew: the connection broke, or an operation ended. */
  refresh() {
    this.#fetch();
    this.#events();
  }

  batch(records) {
    const mine = records.filter(({ module_id: id }) => id === this.id);
    if (mine.length === 0) return;
    this.timeline.add(mine);
    this.#toldAt = performance.now();
    for (const { name, fields, at } of mine) {
      if (name === "module.transition") this.#change(fields, at);
      if (name === "module.crashed") announce(`${this.id} crashed`);
      if (name === "module.obliterated") this.#showGone(fields);
    }
    this.#fetch();
  }

  #change(fields, at) {
    // Without data there is nothing left that the hub holds of it.
    if (fields.to_state === "unprovisioned" && fields.dirty === false) this.#showUntracked();
    else if (this.#module !== null) this.#show({ ...this.#module, ...changesOf(fields, at) });
  }

  /** @param {object[]} entries the operations that run. */
  operations(entries) {
    this.progress.show(entries.filter(({ info }) => info.module_id === this.id));
  }

  offerAgain() {
    this.#offered = null;
    if (this.#module !== null) this.#show(this.#module);
  }

  key(event) {
    if (event.key !== "[") return false;
    this.router.open("");
    return true;
  }

  #show(module) {
    this.#module = module;
    this.#describedAt = performance.now();
    this.badge.hidden = false;
    setBadge(this.badge, module.state);
    this.facts.element.hidden = false;
    const failed = module.last_error ? plain(module.last_error) : "";
    this.errorBox.hidden = failed === "";
    setText(this.error, failed);
    this.#offer(offeredTo(module));
    this.#tick();
  }

  #offer(requests) {
    if (this.#offered === requests.join()) return;
    this.#offered = requests.join();
    const held = this.buttons.contains(document.activeElement);
    const order = Object.keys(REQUESTS).filter((request) => requests.includes(request));
    this.buttons.replaceChildren(...order.map((request) => actionButton(request, this.id, { run: () => this.actions.run(request, this.id) })));
    if (held) (this.buttons.firstElementChild ?? this.element.querySelector("h1")).focus();
  }

  #tick() {
    if (this.#module !== null) this.facts.show(this.#module, (performance.now() - this.#describedAt) / 1000);
  }

  async #load() {
    const asked = performance.now();
    try {
      const module = await api.module(this.id, this.#abort.signal);
      // An event has told something newer meanwhile, and had it asked for again.
      if (this.#toldAt > asked) return;
      this.gone.hidden = true;
      this.#show(module);
    } catch (error) {
      if (error.name === "AbortError" || !(error instanceof ApiError)) return;
      if (error.status === 404) this.#showUntracked();
      else if (error.status >= 400 && error.status !== 401) complain(`${this.id} can't be read`, error);
    }
  }

  #showUntracked() {
    this.#module = null;
    this.badge.hidden = true;
    this.facts.element.hidden = true;
    this.errorBox.hidden = true;
    this.log.restart();
    this.#offer(["provision", "obliterate"]);
    if (!this.gone.hidden) return;
    this.gone.replaceChildren(h("h2", {}, "Not tracked"),
      h("p", {}, "This hub holds nothing of a module of this name; the backend may. Provision brings its data here, or begins with none."));
    this.gone.hidden = false;
  }

  #showGone({ blobs, versions, bytes: erased, local_bytes: local }) {
    this.gone.replaceChildren(h("h2", {}, "Obliterated"),
      h("p", {}, `Nothing of ${this.id} is left: ${plural(blobs, "blob")}, ${plural(versions, "old version")}, ${bytes(erased)} in the backend and ${bytes(local)} here are gone.`));
    this.gone.hidden = false;
    announce(`${this.id} is obliterated`);
  }

  async #usage() {
    try {
      const { samples } = await api.usage(this.id, this.#abort.signal);
      this.memory.show(samples);
      this.cpu.show(samples);
    } catch {
      // Not tracked, or unreachable: the page says so elsewhere.
    }
  }

  async #events() {
    try {
      const page = await api.events(this.id, { limit: 100 }, this.#abort.signal);
      this.timeline.restart(page.events);
    } catch {
      // As above.
    }
  }
}
