// What of the list is looked at: filters, order and page. The address says it, so that it can be kept, sent and gone back to.

import { STATES } from "./lifecycle.js";

export const PAGE_SIZE = 100;

export const DEFAULT_VIEW = Object.freeze({ states: [], kind: "", search: "", dirty: "", sort: "module_id", page: 1 });

/** Read a view from the query of an address; what makes no sense is left out. */
export function parseView(query) {
  const parameters = new URLSearchParams(query);
  const page = Number.parseInt(parameters.get("page") ?? "1", 10);
  return {
    states: parameters.getAll("state").filter((state) => Object.hasOwn(STATES, state)),
    kind: parameters.get("kind") ?? "",
    search: parameters.get("search") ?? "",
    dirty: parameters.get("dirty") === "true" ? "true" : "",
    sort: /^-?[a-z_]+$/.test(parameters.get("sort") ?? "") ? parameters.get("sort") : DEFAULT_VIEW.sort,
    page: page >= 1 ? page : 1,
  };
}

/** The query of a view's address: only what differs from the default. */
export function queryOf(view) {
  const parameters = new URLSearchParams();
  for (const state of view.states) parameters.append("state", state);
  for (const key of ["kind", "search", "dirty"]) if (view[key] !== "") parameters.set(key, view[key]);
  if (view.sort !== DEFAULT_VIEW.sort) parameters.set("sort", view.sort);
  if (view.page > 1) parameters.set("page", String(view.page));
  const text = parameters.toString();
  return text === "" ? "" : `?${text}`;
}

/** The same as the API takes it. */
export function apiQuery(view) {
  return {
    state: view.states, kind: view.kind, search: view.search, dirty: view.dirty, sort: view.sort,
    limit: PAGE_SIZE, offset: (view.page - 1) * PAGE_SIZE,
  };
}

export const isFiltered = (view) => view.states.length > 0 || view.kind !== "" || view.search !== "" || view.dirty !== "";
