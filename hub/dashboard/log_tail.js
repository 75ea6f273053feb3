// The end of a module's output, followed while it is looked at. What a process writes is text here and nothing else.

import { ApiError, api } from "./api.js";
import { h, setText } from "./dom.js";
import { bytes, plain } from "./format.js";

const PAUSE_MS = 1000;
const FIRST_BYTES = 65536;
const NEXT_BYTES = 262144;
// What is kept on the page; the rest is in the module's log.
const MOST_CHARACTERS = 200_000;

export class LogTail {
  #offset = null;
  #logId = "";
  #length = 0;
  #timer = null;
  #abort = null;
  #paused = false;
  #text = h("pre", { class: "log", tabindex: "0", role: "region", "aria-label": "Output" });
  #state = h("span", { role: "status" });
  #size = h("span");

  constructor(id) {
    this.id = id;
    this.pause = h("button", { type: "button", "aria-pressed": "false", onclick: () => this.#toggle() }, "Pause");
    this.element = h("section", { class: "panel card", "aria-label": "Log" },
      h("header", {}, h("h2", {}, "Log"), this.pause),
      this.#text, h("div", { class: "log-foot" }, this.#state, this.#size));
  }

  enter() {
    this.#read();
  }

  leave() {
    clearTimeout(this.#timer);
    this.#abort?.abort();
  }

  /** The output was begun anew, or erased. */
  restart() {
    this.#offset = null;
  }

  #toggle() {
    this.#paused = !this.#paused;
    this.pause.setAttribute("aria-pressed", String(this.#paused));
    setText(this.pause, this.#paused ? "Resume" : "Pause");
    setText(this.#state, this.#paused ? "paused" : "following");
    if (this.#paused) this.leave();
    else this.#read();
  }

  async #read() {
    this.#abort = new AbortController();
    let soon = false;
    try {
      if (!document.hidden) soon = await this.#once();
      setText(this.#state, this.#length === 0 ? "no output yet" : "following");
    } catch (error) {
      if (error.name === "AbortError") return;
      const none = error instanceof ApiError && error.status === 404;
      if (none) this.restart();
      setText(this.#state, none ? "there is no output" : "waiting for the hub");
    }
    if (!this.#paused) this.#timer = setTimeout(() => this.#read(), soon ? 0 : PAUSE_MS);
  }

  /** Read what is new; returns whether there is more. */
  async #once() {
    const { signal } = this.#abort;
    const query = this.#offset === null ? { max_bytes: FIRST_BYTES } : { offset: this.#offset, log_id: this.#logId, max_bytes: NEXT_BYTES };
    const chunk = await api.log(this.id, query, signal);
    if (signal.aborted) return false;
    // Another log: the module was sent home or obliterated; that one is read from its beginning.
    const anew = this.#offset === null || chunk.log_id !== this.#logId || chunk.offset < this.#offset;
    if (anew) {
      this.#text.replaceChildren();
      this.#length = 0;
    } else if (chunk.offset > this.#offset) {
      this.#append(`… ${bytes(chunk.offset - this.#offset)} were rotated away …\n`);
    }
    this.#offset = chunk.next_offset;
    this.#logId = chunk.log_id;
    this.#append(plain(chunk.text));
    setText(this.#size, `${bytes(chunk.size)} in all`);
    return this.#offset < chunk.size && chunk.text !== "";
  }

  #append(text) {
    if (text === "") return;
    const box = this.#text;
    // Follows only while the end is in sight: who has scrolled up reads.
    const follows = box.scrollTop + box.clientHeight >= box.scrollHeight - 24;
    box.append(text);
    this.#length += text.length;
    while (this.#length > MOST_CHARACTERS && box.childNodes.length > 1) {
      this.#length -= box.firstChild.length;
      box.firstChild.remove();
    }
    if (follows) box.scrollTop = box.scrollHeight;
  }
}
