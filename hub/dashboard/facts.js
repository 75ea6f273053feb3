// The facts of a module, as its page shows them.

import { h, setText } from "./dom.js";
import { ago, bytes, count, duration, moment, percent } from "./format.js";
import { instanceUrl } from "./instance_url.js";
import { session } from "./session.js";

const FACTS = [
  ["Kind", (m) => m.kind],
  ["Address", (m) => (m.port === null ? "" : m.host === null ? `port ${m.port}, kept` : `${m.host}:${m.port}`)],
  ["Gateway", (m) => (m.gateway_port === null ? "" : `${location.hostname}:${m.gateway_port}`)],
  ["Process", (m) => (m.pid === null ? "" : `pid ${m.pid}`)],
  ["In this state", (m) => (m.since > 0 ? `since ${ago(m.since)}` : "")],
  ["Uptime", (m, elapsed) => (m.uptime_s === null ? "" : duration(m.uptime_s + elapsed))],
  ["Idle", (m, elapsed) => duration(m.idle_s + elapsed)],
  ["Restarts", (m) => count(m.restarts)],
  ["Memory", (m) => (m.memory_bytes === null ? "" : bytes(m.memory_bytes))],
  ["CPU", (m) => (m.cpu_percent === null ? "" : percent(m.cpu_percent))],
  ["Data here", (m) => (m.data_dir === null ? "none" : m.dirty ? "dirty: newer than the backend's" : "clean")],
  ["Saved to the backend", (m) => (m.checkpointed_at > 0 ? `${ago(m.checkpointed_at)} (${moment(m.checkpointed_at)})` : "never")],
  ["Directory", (m) => m.data_dir ?? "", "wide"],
];

export class Facts {
  #values = FACTS.map(() => h("dd"));
  #proxy = h("dd", { class: "wide" });
  #proxyShown = "";

  constructor() {
    this.list = h("dl", { class: "facts" },
      FACTS.map(([name, , wide], n) => h("div", { class: wide ?? "" }, h("dt", {}, name), this.#values[n])),
      h("div", { class: "wide" }, h("dt", {}, "Through the hub"), this.#proxy));
    this.element = h("section", { class: "panel card", "aria-label": "Facts" }, h("header", {}, h("h2", {}, "Facts")), this.list);
  }

  show(module, elapsed) {
    FACTS.forEach(([, text], n) => setText(this.#values[n], text(module, elapsed) || "–"));
    const shown = `${module.module_id} ${module.url !== null} ${session.identity?.authenticated}`;
    if (shown === this.#proxyShown) return;
    this.#proxyShown = shown;
    this.#proxy.replaceChildren(...this.#way(module));
  }

  /** The link through the proxy, where a click can open it: a browser sends no token with it. */
  #way(module) {
    const href = instanceUrl(module.module_id);
    if (session.identity?.authenticated) return [h("code", {}, href), h("span", { class: "muted" }, " with the token as a header")];
    return [h("a", { href, target: "_blank", rel: "noopener noreferrer" }, href), h("span", { class: "muted" }, " if it speaks HTTP; wakes it")];
  }
}
