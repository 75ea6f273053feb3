// The wire format of server-sent events, for a stream that is read by fetch (EventSource can't send a token).

export class SseParser {
  #buffer = "";
  #event = "";
  #data = [];
  #onMessage;
  /** The last `id:` that was seen, to resume from. */
  lastId = null;

  /** @param {(event: string, data: string) => void} onMessage is called for each message. */
  constructor(onMessage, lastId = null) {
    this.#onMessage = onMessage;
    this.lastId = lastId;
  }

  feed(text) {
    this.#buffer += text;
    let from = 0;
    for (let end = this.#buffer.indexOf("\n"); end !== -1; end = this.#buffer.indexOf("\n", from)) {
      this.#line(this.#buffer.slice(from, this.#buffer[end - 1] === "\r" ? end - 1 : end));
      from = end + 1;
    }
    this.#buffer = this.#buffer.slice(from);
  }

  #line(line) {
    if (line === "") {
      if (this.#data.length > 0) this.#onMessage(this.#event || "message", this.#data.join("\n"));
      this.#event = "";
      this.#data = [];
      return;
    }
    const colon = line.indexOf(":");
    if (colon === 0) return;
    const name = colon === -1 ? line : line.slice(0, colon);
    const value = colon === -1 ? "" : line.slice(line[colon + 1] === " " ? colon + 2 : colon + 1);
    if (name === "data") this.#data.push(value);
    else if (name === "event") this.#event = value;
    else if (name === "id") this.lastId = value;
  }
}
