// Who tells and who listens, without either knowing the other.

export class Emitter {
  #listeners = new Map();

  /** Call `listener` with every value of `type` from now on; returns what ends that. */
  on(type, listener) {
    const listeners = this.#listeners.get(type) ?? new Set();
    this.#listeners.set(type, listeners.add(listener));
    return () => listeners.delete(listener);
  }

  emit(type, value) {
    for (const listener of [...(this.#listeners.get(type) ?? [])]) listener(value);
  }
}
