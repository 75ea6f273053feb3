// Calls of the hub's HTTP API. Everything is relative to where this file came from: the application may be mounted anywhere.

import { session } from "./session.js";

/** Where the application is mounted. */
export const ROOT = new URL("../", import.meta.url);

export class ApiError extends Error {
  constructor(problem, status, retryAfter) {
    super(problem.detail || problem.title || `The hub answered ${status}.`);
    this.status = status;
    this.code = problem.code ?? "";
    this.title = problem.title ?? "";
    this.hint = problem.hint ?? "";
    this.output = problem.output ?? "";
    /** Seconds after which it is worth trying again, if the hub said so. */
    this.retryAfter = retryAfter ?? problem.retry_after_s ?? null;
  }
}

export function urlOf(path, query = {}) {
  const url = new URL(path, ROOT);
  for (const [name, value] of Object.entries(query)) {
    for (const one of Array.isArray(value) ? value : [value]) {
      if (one !== null && one !== undefined && one !== "") url.searchParams.append(name, one);
    }
  }
  return url;
}

/** Headers of every request; the token goes in one of them and nowhere else. */
export function headers(more = {}) {
  return session.token === null ? more : { ...more, Authorization: `Bearer ${session.token}` };
}

/** Turn an answer that is no success into an error, and ask for a token where one is missing. */
export async function refused(answer) {
  let problem = {};
  try {
    problem = await answer.json();
  } catch {
    // Not the hub's own answer: a proxy's page, say.
  }
  const after = Number.parseFloat(answer.headers.get("Retry-After") ?? "");
  const error = new ApiError(problem, answer.status, Number.isFinite(after) ? after : null);
  if (answer.status === 401) session.emit("unauthenticated", error);
  return error;
}

/**
 * Call the API.
 * @returns {Promise<any>} the answer's JSON.
 * @throws {ApiError} the hub refused, or could not be reached (status 0).
 */
export async function call(method, path, { query, body, signal } = {}) {
  let answer;
  try {
    answer = await fetch(urlOf(path, query), {
      method,
      signal,
      headers: headers(body === undefined ? { Accept: "application/json" } : { Accept: "application/json", "Content-Type": "application/json" }),
      body: body === undefined ? undefined : JSON.stringify(body),
      cache: "no-store",
      credentials: "same-origin",
      redirect: "error",
    });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new ApiError({ detail: "The hub can't be reached.", hint: "Check that it runs; the page connects again by itself." }, 0, null);
  }
  if (!answer.ok) throw await refused(answer);
  return answer.json();
}

const module = (id) => `hub/modules/${encodeURIComponent(id)}`;

export const api = {
  whoami: () => call("GET", "hub/whoami"),
  kinds: () => call("GET", "hub/kinds"),
  stats: () => call("GET", "stats/hub"),
  find: (query, signal) => call("GET", "hub/status", { query, signal }),
  module: (id, signal) => call("GET", module(id), { signal }),
  log: (id, query, signal) => call("GET", `${module(id)}/log`, { query, signal }),
  usage: (id, signal) => call("GET", `${module(id)}/usage`, { signal }),
  events: (id, query, signal) => call("GET", `${module(id)}/events`, { query, signal }),
  operations: () => call("GET", "hub/operations"),
  operation: (opId) => call("GET", `hub/operations/${encodeURIComponent(opId)}`),
  ask: (request, id, body, query) => call("POST", `${module(id)}/${request}`, { query, body }),
  obliterate: (id) => call("DELETE", module(id)),
  bulk: (operation, ids, kind = null) => call("POST", "hub/bulk", { body: { operation, module_ids: ids, kind } }),
};
