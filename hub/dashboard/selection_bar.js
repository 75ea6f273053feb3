// What can be done to the selected modules; it stays over all pages of the list.

import { actionButton } from "./action_buttons.js";
import { h, setText } from "./dom.js";
import { icon } from "./icons.js";
import { plural } from "./format.js";

const REQUESTS = ["provision", "wake", "hibernate", "checkpoint", "deprovision", "obliterate"];

export class SelectionBar {
  #ids = new Set();
  #title = h("strong", { role: "status" });
  #buttons = h("span", { class: "visually-contents" });

  /** @param {{run: (request: string, ids: string[]) => Promise<void>, changed: (ids: Set<string>) => void}} handlers */
  constructor(handlers) {
    this.handlers = handlers;
    this.element = h("section", { class: "selection", "aria-label": "Selected modules", hidden: true }, this.#title, this.#buttons,
      h("button", { type: "button", class: "icon-button", "aria-label": "End the selection", title: "End the selection (Esc)", onclick: () => this.clear() }, icon("close")));
    this.offerAgain();
  }

  get ids() {
    return this.#ids;
  }

  offerAgain() {
    this.#buttons.replaceChildren(...REQUESTS.map((request) => actionButton(request, "the selected modules", {
      run: () => this.handlers.run(request, [...this.#ids]),
    })));
  }

  set(ids, on) {
    for (const id of ids) {
      if (on) this.#ids.add(id);
      else this.#ids.delete(id);
    }
    this.#show();
  }

  clear() {
    this.#ids.clear();
    this.#show();
  }

  #show() {
    setText(this.#title, `${plural(this.#ids.size, "module")} selected`);
    this.element.hidden = this.#ids.size === 0;
    this.handlers.changed(this.#ids);
  }
}
