// Addresses of the page: `/` is the list, `/modules/{id}` a module's page, both below where the application is mounted.

import { ROOT } from "./api.js";

export class Router {
  /** @param {(place: {module: string | null, query: string}) => void} go called whenever another place is to be shown. */
  constructor(go) {
    this.go = go;
    window.addEventListener("popstate", () => go(this.place()));
    document.addEventListener("click", (event) => this.#click(event));
  }

  place() {
    const path = location.pathname.slice(ROOT.pathname.length);
    const match = /^modules\/([^/]+)$/.exec(path);
    return { module: match ? decodeURIComponent(match[1]) : null, query: location.search };
  }

  href(path) {
    return new URL(path, ROOT).href;
  }

  open(path) {
    history.pushState(null, "", this.href(path));
    this.go(this.place());
  }

  /** Change the query only; with `push` the browser's way back leads to what it was. */
  rewrite(query, push) {
    const url = ROOT.pathname + query;
    if (push) history.pushState(null, "", url);
    else history.replaceState(null, "", url);
  }

  /** Links between the two pages are followed without loading anew, unless another tab or window is wanted. */
  #click(event) {
    if (event.defaultPrevented || event.button !== 0 || event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return;
    const link = event.target.closest?.("a[href]");
    if (!link || link.target || link.origin !== location.origin || !link.pathname.startsWith(ROOT.pathname) || link.hash) return;
    const path = link.pathname.slice(ROOT.pathname.length);
    if (path !== "" && !/^modules\/[^/]+$/.test(path)) return;
    event.preventDefault();
    this.open(path + link.search);
  }
}
