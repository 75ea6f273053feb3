// What stands above the list: search, filters with their counts, and what makes or erases a module by name.

import { lookOf } from "./badge.js";
import { COLUMNS } from "./columns.js";
import { h, setText } from "./dom.js";
import { icon } from "./icons.js";
import { count } from "./format.js";
import { REQUESTS, TRANSITIONAL } from "./lifecycle.js";
import { tell } from "./notices.js";
import { session } from "./session.js";

const TYPING_MS = 180;

// Those that hold for a second at most share one: filters that come and go would only unsettle.
const FILTERS = [
  ...["provisioned", "hibernated", "crashed", "unprovisioned"].map((state) => ({ name: state, states: [state], ...lookOf(state) })),
  { name: "in transition", states: TRANSITIONAL, icon: "turning", tone: "moving", meaning: "an operation holds it" },
];

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
    this.filters = h("div", { class: "filters", role: "group", "aria-label": "States" }, FILTERS.map((filter) => this.#filter(filter)));
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

  #filter({ name, states, icon: symbol, tone, meaning }) {
    const number = h("b", {}, "0");
    const shape = h("span", { class: `tone-${tone}` }, icon(symbol));
    const button = h("button", { type: "button", class: "filter none", "aria-pressed": "false", title: meaning, onclick: () => this.#toggle(states) }, shape, name, number);
    this.#filters.set(states, { button, number });
    return button;
  }

  #toggle(states) {
    const on = this.#view.states.some((state) => states.includes(state));
    const others = this.#view.states.filter((state) => !states.includes(state));
    this.handlers.change({ states: on ? others : [...others, ...states] });
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
    for (const [states, { button }] of this.#filters) button.setAttribute("aria-pressed", String(states.some((state) => view.states.includes(state))));
  }

  showKinds(kinds) {
    const chosen = this.kind.value;
    this.kind.replaceChildren(...["", ...kinds].map((kind) => h("option", { value: kind }, kind || "All kinds")));
    if (chosen !== "" && !kinds.includes(chosen)) this.kind.append(h("option", { value: chosen }, chosen));
    this.kind.value = chosen;
  }

  /** @param {Record<string, number>} counts modules by state. */
  showCounts(counts) {
    for (const [states, { button, number }] of this.#filters) {
      const sum = states.reduce((total, state) => total + (counts[state] ?? 0), 0);
      setText(number, count(sum));
      button.classList.toggle("none", sum === 0 && button.getAttribute("aria-pressed") === "false");
    }
  }
}
