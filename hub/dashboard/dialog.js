// A dialog: modal, so that the keyboard stays in it; Escape closes it, and focus goes back to where it came from.

import { h, freshId } from "./dom.js";
import { icon } from "./icons.js";
import { linesOf } from "./notices.js";

export class Dialog {
  #body = h("div", { class: "dialog-body" });
  #foot = h("div", { class: "dialog-foot" });
  #locked = false;

  /**
   * @param {{title: string, symbol?: string, destructive?: boolean, onsubmit?: () => void, onclose?: () => void, closable?: boolean}} options
   */
  constructor({ title, symbol = null, destructive = false, onsubmit = () => this.close(), onclose = () => {}, closable = true }) {
    const titleId = freshId("title");
    this.title = h("h2", { id: titleId }, title);
    this.element = h(
      "dialog",
      { class: destructive ? "destructive" : "", "aria-labelledby": titleId },
      h("form", { novalidate: true, onsubmit: (event) => this.#submit(event, onsubmit) },
        h("div", { class: "dialog-head" }, symbol && icon(symbol), this.title,
          closable && h("button", { type: "button", class: "icon-button", "aria-label": "Close", onclick: () => this.close() }, icon("close"))),
        this.#body, this.#foot),
    );
    this.element.addEventListener("cancel", (event) => {
      if (this.#locked || !closable) event.preventDefault();
    });
    this.element.addEventListener("close", () => {
      this.element.remove();
      onclose();
    });
  }

  /** Replace what it says and its buttons. */
  fill(body, buttons) {
    this.#body.replaceChildren(...body.flat(Infinity).filter(Boolean));
    this.#foot.replaceChildren(...buttons.filter(Boolean));
    return this;
  }

  open() {
    document.body.append(this.element);
    this.element.showModal();
    return this;
  }

  /** While locked, Escape does not close it: something has been asked whose answer is to be seen. */
  lock(locked) {
    this.#locked = locked;
    for (const control of this.element.querySelectorAll("button, input, select")) control.disabled = locked;
    this.#foot.querySelector("[type=submit]")?.setAttribute("aria-busy", String(locked));
  }

  close() {
    if (!this.#locked) this.element.close();
  }

  /** Say what went wrong, in the dialog, where whoever asked looks. */
  complain(error) {
    this.#body.querySelector(".problem")?.remove();
    this.#body.append(h("div", { class: "problem", role: "alert" }, linesOf(error).map((line) => h("p", {}, line))));
  }

  cancelButton(label = "Cancel") {
    return h("button", { type: "button", onclick: () => this.close() }, label);
  }

  #submit(event, onsubmit) {
    event.preventDefault();
    if (!this.#locked) onsubmit();
  }
}

/** A labelled control with a note below it; the label may be text or nodes. */
export function field(label, control, note = null) {
  control.id ||= freshId("field");
  const noteElement = note && h("span", { class: "note", id: freshId("note") }, note);
  if (noteElement) control.setAttribute("aria-describedby", noteElement.id);
  return h("div", { class: "field" }, h("label", { for: control.id }, label), control, noteElement);
}

/** An input for names and tokens: nothing is completed, corrected or capitalised in it. */
export function textInput(attributes = {}) {
  return h("input", { type: "text", autocomplete: "off", autocapitalize: "none", spellcheck: "false", ...attributes });
}
