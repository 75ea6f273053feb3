// The hub's events, live: one stream for the page, which comes back by itself and resumes where it broke off.

import { headers, refused, urlOf } from "./api.js";
import { Emitter } from "./emitter.js";
import { SseParser } from "./sse.js";

// The hub sends a comment every 10 s: silence of more than two of them is a dead connection.
const SILENCE_MS = 25_000;
const FIRST_DELAY_MS = 400;
const LAST_DELAY_MS = 15_000;
// After so many vain attempts the hub is called offline, not merely slow to answer.
const PATIENCE = 3;
// A browser has six connections to an origin; a tab that nobody looks at gives its own back.
const HIDDEN_MS = 30_000;

/**
 * Emits `state` (`connecting`, `live`, `reconnecting`, `offline`, `paused`, `refused`), `reset` when everything is to be
 * read anew, and `batch` with the events that arrived together: `{name, data}`.
 */
export class EventStream extends Emitter {
  state = "connecting";
  /** Milliseconds to the next attempt, while there is none. */
  retryIn = 0;
  #lastId = null;
  #attempts = 0;
  #abort = null;
  #timer = null;
  #hidden = null;

  start() {
    document.addEventListener("visibilitychange", () => this.#visibility());
    window.addEventListener("online", () => this.retry());
    this.#connect();
  }

  /** Connect now instead of after the delay; also after a new token. */
  retry() {
    clearTimeout(this.#timer);
    this.#attempts = 0;
    this.#abort?.abort();
    this.#connect();
  }

  /** End the stream until `retry`. */
  stop(state) {
    clearTimeout(this.#timer);
    this.#abort?.abort();
    this.#abort = null;
    this.#become(state);
  }

  #visibility() {
    clearTimeout(this.#hidden);
    if (document.hidden) this.#hidden = setTimeout(() => this.state !== "refused" && this.stop("paused"), HIDDEN_MS);
    else if (this.state === "paused") this.retry();
  }

  async #connect() {
    const abort = new AbortController();
    this.#abort = abort;
    let dog = null;
    const alive = () => {
      clearTimeout(dog);
      dog = setTimeout(() => abort.abort(), SILENCE_MS);
    };
    let wait = null;
    try {
      alive();
      const resume = this.#lastId === null ? {} : { "Last-Event-ID": this.#lastId };
      const answer = await fetch(urlOf("hub/events"), {
        headers: headers({ Accept: "text/event-stream", ...resume }), signal: abort.signal, cache: "no-store", redirect: "error",
      });
      if (!answer.ok) {
        const error = await refused(answer);
        if (error.status === 401 || error.status === 403) {
          this.stop("refused");
          return;
        }
        wait = error.retryAfter === null ? null : error.retryAfter * 1000;
        throw error;
      }
      this.#attempts = 0;
      this.#become("live");
      // What was shown may be older than the first event of this stream.
      this.emit("reset");
      await this.#read(answer.body.pipeThrough(new TextDecoderStream()).getReader(), alive);
    } catch {
      // Broken off, refused or silent: all the same, another attempt follows.
    } finally {
      clearTimeout(dog);
    }
    if (this.#abort === abort) this.#again(wait);
  }

  async #read(reader, alive) {
    let batch = [];
    const parser = new SseParser((name, data) => {
      if (name === "reset") this.emit("reset");
      else if (name !== "hello") batch.push({ name, data: JSON.parse(data) });
    }, this.#lastId);
    for (let part = await reader.read(); !part.done; part = await reader.read()) {
      alive();
      parser.feed(part.value);
      this.#lastId = parser.lastId;
      if (batch.length > 0) this.emit("batch", batch);
      batch = [];
    }
  }

  #again(wait) {
    this.#attempts += 1;
    const backoff = Math.min(LAST_DELAY_MS, FIRST_DELAY_MS * 2 ** (this.#attempts - 1));
    // Spread, so that many pages do not come back to a restarted hub in the same instant.
    this.retryIn = wait ?? backoff * (0.75 + Math.random() / 2);
    this.#become(this.#attempts > PATIENCE ? "offline" : "reconnecting");
    this.#timer = setTimeout(() => this.#connect(), this.retryIn);
  }

  #become(state) {
    this.state = state;
    this.emit("state", state);
  }
}
