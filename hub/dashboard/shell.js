// What stands around every page: totals, state of the connection, who is signed in, colours.

import { api } from "./api.js";
import { h, setText } from "./dom.js";
import { duration, plain, plural, count } from "./format.js";
import { icon } from "./icons.js";
import { session } from "./session.js";

const CONNECTIONS = {
  connecting: ["turning", "connecting", "The events of the hub are asked for"],
  live: ["live", "live", "Changes are shown as they happen"],
  reconnecting: ["turning", "reconnecting", "The connection broke; what is shown may be old"],
  offline: ["offline", "offline", "The hub can't be reached; what is shown may be old"],
  paused: ["pause", "paused", "Nobody looked"],
  refused: ["offline", "signed out", "The hub wants a token"],
};
const THEMES = { system: "the system's", light: "light", dark: "dark" };
const get = (id) => document.getElementById(id);

export class Shell {
  #dock = h("div", { class: "dock" });

  /** @param {{help: () => void, signOut: () => void, retry: () => void}} handlers */
  constructor(handlers) {
    this.handlers = handlers;
    get("help").append(icon("help"));
    get("help").addEventListener("click", handlers.help);
    get("sign-out").addEventListener("click", handlers.signOut);
    get("theme").append(icon("theme"));
    get("theme").addEventListener("click", () => this.#turnTheme());
    document.body.append(this.#dock);
    // What stands before the end of the page makes the page longer by as much: its last rows can be scrolled clear of it.
    new ResizeObserver(([{ target }]) => document.body.style.setProperty("--docked", `${target.offsetHeight}px`)).observe(this.#dock);
    this.#showTheme();
    session.on("identity", (identity) => this.#identify(identity));
  }

  title(text) {
    document.title = text;
  }

  dock(element) {
    this.#dock.append(element);
  }

  /** @param {Record<string, number> | null} states modules by state; `null` where nobody keeps count. */
  totals(states) {
    if (states === null) {
      setText(get("totals"), "");
      return;
    }
    const all = Object.values(states).reduce((sum, number) => sum + number, 0);
    const parts = [plural(all, "module")];
    if (states.provisioned) parts.push(`${count(states.provisioned)} up`);
    if (states.crashed) parts.push(`${count(states.crashed)} crashed`);
    setText(get("totals"), parts.join(" · "));
  }

  connection({ state, retryIn }) {
    const [symbol, word, meaning] = CONNECTIONS[state];
    const element = get("connection");
    const turns = symbol === "turning";
    if (element.dataset.state !== state) {
      element.dataset.state = state;
      element.title = meaning;
      const again = h("button", { type: "button", onclick: this.handlers.retry }, "Try now");
      element.replaceChildren(h("span", { class: turns ? "spins" : "" }, icon(symbol)), h("span", {}, word), ...(state === "offline" ? [again] : []));
    }
    if (state === "offline") element.title = `${meaning}; next attempt in ${duration(retryIn / 1000 + 0.5)}`;
  }

  /** Say it on every page while the backend is out of use. */
  async backend() {
    const box = get("backend-trouble");
    try {
      const { backend } = await api.stats();
      box.hidden = backend.available;
      const again = backend.retry_after_s === null ? "" : ` Next attempt in ${duration(backend.retry_after_s)}.`;
      setText(box, backend.available ? "" : `The backend is unavailable: ${plain(backend.error ?? "it does not answer")}.${again}`);
    } catch {
      // The connection's state says it.
    }
  }

  #identify(identity) {
    get("sign-out").hidden = !identity?.authenticated;
    const who = identity ? `${identity.name} · ${identity.role}` : "";
    setText(get("identity"), identity?.authenticated ? who : "");
    get("identity").title = identity ? `Signed in as ${identity.name}, with the role ${identity.role}` : "";
  }

  #turnTheme() {
    const names = Object.keys(THEMES);
    const next = names[(names.indexOf(document.documentElement.dataset.theme ?? "system") + 1) % names.length];
    if (next === "system") delete document.documentElement.dataset.theme;
    else document.documentElement.dataset.theme = next;
    try {
      if (next === "system") localStorage.removeItem("modhub.theme");
      else localStorage.setItem("modhub.theme", next);
    } catch {
      // Storage is refused: it holds as long as the page.
    }
    this.#showTheme();
  }

  #showTheme() {
    const label = `Colours: ${THEMES[document.documentElement.dataset.theme ?? "system"]}`;
    get("theme").setAttribute("aria-label", label);
    get("theme").title = label;
  }
}
