// Who is at the page: the token, kept as long as the tab, and what its role may do.

import { Emitter } from "./emitter.js";

const KEY = "modhub.token";
const ROLES = ["read", "operate", "obliterate"];

class Session extends Emitter {
  #token = null;
  /** `{name, role, authenticated}` of `/hub/whoami`; `null` until it is known. */
  identity = null;

  constructor() {
    super();
    try {
      this.#token = sessionStorage.getItem(KEY);
    } catch {
      // Storage is refused: the token lives as long as the page.
    }
  }

  get token() {
    return this.#token;
  }

  set token(value) {
    this.#token = value;
    try {
      if (value === null) sessionStorage.removeItem(KEY);
      else sessionStorage.setItem(KEY, value);
    } catch {
      // As above.
    }
  }

  identify(identity) {
    this.identity = identity;
    this.emit("identity", identity);
  }

  /** Why a request of this role is not allowed; `null` where it is. */
  refusal(role) {
    if (this.identity === null || ROLES.indexOf(this.identity.role) >= ROLES.indexOf(role)) return null;
    return `Needs the role ${role}; ${this.identity.name} has ${this.identity.role}.`;
  }
}

export const session = new Session();
