// The operations that run or wait, kept up to date by events and, while there are any, by asking.

import { api } from "./api.js";
import { coalesced } from "./coalesce.js";
import { Emitter } from "./emitter.js";

const PAUSE_MS = 700;

/** Emits `change`, and `ended` with an operation that was followed, when it has. */
export class Operations extends Emitter {
  /** Operation id -> `{info, rate}`, the rate in bytes per second or `null`. */
  current = new Map();
  #followed = new Set();
  #timer = null;
  /** Ask the hub soon. */
  sync = coalesced(() => this.#ask(), PAUSE_MS);

  /** Take the word of an event. */
  progress(info) {
    this.#put(info, performance.now());
    this.emit("change");
    this.#keepAsking();
  }

  /** Tell by `ended` how this one went. */
  follow(info) {
    this.#followed.add(info.op_id);
    this.progress(info);
  }

  #put(info, now) {
    const before = this.current.get(info.op_id);
    if (info.status !== "running" && info.status !== "waiting") {
      this.current.delete(info.op_id);
      return;
    }
    let { rate = null, at = now, bytesAt = info.bytes_done } = before ?? {};
    // Half a second at least: a shorter stretch says little about a rate.
    if (before && now - at >= 500) {
      const measured = (Math.max(0, info.bytes_done - bytesAt) * 1000) / (now - at);
      rate = rate === null ? measured : rate * 0.6 + measured * 0.4;
      at = now;
      bytesAt = info.bytes_done;
    }
    this.current.set(info.op_id, { info, rate, at, bytesAt });
  }

  async #ask() {
    let told;
    try {
      told = (await api.operations()).operations;
    } catch {
      return; // The connection's state is shown elsewhere; the next event asks again.
    }
    const now = performance.now();
    const ids = new Set(told.map((info) => info.op_id));
    for (const id of [...this.current.keys()]) if (!ids.has(id)) this.current.delete(id);
    for (const info of told) this.#put(info, now);
    this.emit("change");
    this.#keepAsking();
    for (const id of [...this.#followed]) if (!ids.has(id)) await this.#end(id);
  }

  async #end(id) {
    this.#followed.delete(id);
    try {
      this.emit("ended", await api.operation(id));
    } catch {
      // Forgotten by the hub, or the hub is gone: the list shows what became of the module.
    }
  }

  #keepAsking() {
    if (this.current.size === 0 && this.#followed.size === 0) return;
    this.#timer ??= setTimeout(() => {
      this.#timer = null;
      this.sync();
    }, PAUSE_MS);
  }
}
