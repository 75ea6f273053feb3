// Where a module's instance is found through the hub: at a host name of its own where that can work, else below a path.

import { ROOT, urlOf } from "./api.js";

/** Domain below which each module has a host name; empty = none. The hub writes it into the page. */
const DOMAIN = document.querySelector("meta[name=proxy-domain]").content;
// Browsers take every name below `localhost` for this machine.
const LOOPBACK = ["localhost", "127.0.0.1", "[::1]"];

/**
 * At its own host an application works as it is: it has an origin of its own. Below a path its pages run in a sandbox.
 * @returns {string} the URL; a host has no case, and is the hub's only where the hub has the server for itself.
 */
export function instanceUrl(id, { domain = DOMAIN, page = location, root = ROOT } = {}) {
  const below = urlOf(`hub/proxy/${encodeURIComponent(id)}/`).href;
  const resolves = page.hostname === domain || (domain === "localhost" && LOOPBACK.includes(page.hostname));
  if (domain === "" || !resolves || root.pathname !== "/" || id !== id.toLowerCase()) return below;
  const url = new URL("/", page.origin);
  url.hostname = `${id}.${domain}`; // does nothing with what a browser takes for no name
  return url.hostname === `${id}.${domain}` ? url.href : below;
}
