// Asking for operations: for one module, for many, and telling how it went.

import { api } from "./api.js";
import { REQUESTS } from "./lifecycle.js";
import { openObliterate, openObliterateSelection } from "./obliterate_dialog.js";
import { openOutcomes } from "./outcomes.js";
import { complain, tell } from "./notices.js";

// Each waits with a connection of its own, and a browser has six to an origin; what is asked beyond is not waited for.
const MOST_WAITING = 3;
const BULK_LIMIT = 1000;

export class Actions {
  #waiting = 0;

  /** @param {import("./operations.js").Operations} operations @param {() => void} changed called after each. */
  constructor(operations, changed) {
    this.operations = operations;
    this.changed = changed;
    operations.on("ended", (info) => this.#ended(info));
  }

  /** Run a request on one module; `obliterate` asks first. */
  async run(request, id, kind = "") {
    if (request === "obliterate") {
      openObliterate(id, this.changed);
      return;
    }
    const body = request === "provision" && kind !== "" ? { kind } : undefined;
    const { label, done } = REQUESTS[request];
    const waits = this.#waiting < MOST_WAITING;
    if (waits) this.#waiting += 1;
    try {
      this.operations.sync();
      if (waits) {
        await api.ask(request, id, body);
        tell(`${id} ${done}`);
      } else {
        this.operations.follow(await api.ask(request, id, body, { wait: "false" }));
      }
    } catch (error) {
      complain(`${label} failed: ${id}`, error);
    } finally {
      if (waits) this.#waiting -= 1;
      this.changed();
    }
  }

  /** Run a request on many modules and show an outcome for each; `obliterate` asks first. */
  async runAll(request, ids, finished) {
    if (request === "obliterate") {
      openObliterateSelection(ids, (names) => this.#bulk(request, names), () => {
        finished();
        this.changed();
      });
      return;
    }
    try {
      this.operations.sync();
      openOutcomes(request, await this.#bulk(request, ids));
    } catch (error) {
      complain(`${REQUESTS[request].label} failed`, error);
    } finally {
      this.changed();
    }
  }

  async #bulk(request, ids) {
    const outcomes = [];
    for (let from = 0; from < ids.length; from += BULK_LIMIT) {
      outcomes.push(...(await api.bulk(request, ids.slice(from, from + BULK_LIMIT))).outcomes);
    }
    return outcomes;
  }

  #ended({ module_id, operation, status, error }) {
    const { label, done } = REQUESTS[operation] ?? { label: operation, done: `${operation} done` };
    if (status === "done") tell(`${module_id} ${done}`);
    else complain(`${label} ${status}: ${module_id}`, new Error(error ?? status));
    this.changed();
  }
}
