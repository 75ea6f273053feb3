// What stands above the list: search, filters with their counts, and what makes or erases a module by name.

import { lookOf } from "./badge.js";
import { COLUMNS } from "./columns.js";
import { h, setText } from "./dom.js";
import { icon } from "./icons.js";
import { count } from "./format.js";
import { REQUESTS, STATES } from "./lifecycle.js";
import { tell } from "./notices.js";
import { session } from "./session.js";

const TYPING_MS = 180;

export class Toolbar {
  #filters = new Map();
  #typing = null;
  #view = null;

  /** @param {{change: (changes: object, push?: boolean) => void, provision: () => void, obliterate: () => void}} handlers */
  constructor(handlers) {
    this.handlers = handlers;
    this.search = h("input", {
      type: "search", placeholder: "Search modules", "aria-label": "Search modules", autocomplete: "off", spellcheck: "false", oninput: () => this.#typed(),
    });
    this.kind = h("select", { "aria-label": "Kind", onchange: () => handlers.change({ kind: this.kind.value }) }, h("option", { value: "" }, "All kinds"));
    this.dirty = h("input", { type: "checkbox", onchange: () => handlers.change({ dirty: this.dirty.checked ? "true" : "" }) });
    this.order = h("select", { class: "sort-choice", "aria-label": "Sort by", onchange: () => handlers.change({ sort: this.order.value }) },
      COLUMNS.filter(({ unsorted }) => !unsorted).map(({ key, label, first }) => h("option", { value: `${first}${key}` }, `Sort: ${label}`)));
    this.buttons = h("div", { class: "end" });
    this.element = h("div", { class: "toolbar", role: "search" },
      h("div", { class: "search" }, icon("search"), this.search, h("kbd", { "aria-hidden": "true" }, "/")),
      this.kind, h("label", { class: "check" }, this.dirty, "dirty only"), this.order, this.buttons);
    this.filters = h("div", { class: "filters", role: "group", "aria-label": "States" }, Object.keys(STATES).map((state) => this.#filter(state)));
    this.offerAgain();
  }

  /** The buttons anew, by what the role allows. */
  offerAgain() {
    this.buttons.replaceChildren(
      this.#button("Obliterate by name…", "obliterate", "danger", this.handlers.obliterate),
      this.#button("Provision…", "provision", "primary", this.handlers.provision),
    );
  }

  #button(label, request, tone, run) {
    const refusal = session.refusal(REQUESTS[request].role);
    return h("button", {
      type: "button", class: tone, "aria-disabled": refusal ? "true" : null, title: refusal, onclick: () => (refusal ? tell("Not allowed", refusal) : run()),
    }, icon(request === "provision" ? "plus" : request), label);
  }

  #filter(state) {
    const number = h("b", {}, "0");
    const look = lookOf(state);
    const shape = h("span", { class: `tone-${look.tone}` }, icon(look.icon));
    const button = h("button", { type: "button", class: "filter none", "aria-pressed": "false", title: look.meaning, onclick: () => this.#toggle(state) }, shape, state, number);
    this.#filters.set(state, { button, number });
    return button;
  }

  #toggle(state) {
    const states = this.#view.states.includes(state) ? this.#view.states.filter((one) => one !== state) : [...this.#view.states, state];
    this.handlers.change({ states });
  }

  #typed() {
    clearTimeout(this.#typing);
    this.#typing = setTimeout(() => this.handlers.change({ search: this.search.value.trim() }, false), TYPING_MS);
  }

  show(view) {
    this.#view = view;
    if (document.activeElement !== this.search) this.search.value = view.search;
    if (view.kind !== "" && ![...this.kind.options].some(({ value }) => value === view.kind)) this.kind.append(h("option", { value: view.kind }, view.kind));
    this.kind.value = view.kind;
    this.dirty.checked = view.dirty !== "";
    this.order.value = view.sort;
    for (const [state, { button }] of this.#filters) button.setAttribute("aria-pressed", String(view.states.includes(state)));
  }

  showKinds(kinds) {
    const chosen = this.kind.value;
    this.kind.replaceChildren(...["", ...kinds].map((kind) => h("option", { value: kind }, kind || "All kinds")));
    if (chosen !== "" && !kinds.includes(chosen)) this.kind.append(h("option", { value: chosen }, chosen));
    this.kind.value = chosen;
  }

  /** @param {Record<string, number>} counts modules by state. */
  showCounts(counts) {
    for (const [state, { button, number }] of this.#filters) {
      setText(number, count(counts[state] ?? 0));
      button.classList.toggle("none", !counts[state] && button.getAttribute("aria-pressed") === "false");
    }
  }
}
