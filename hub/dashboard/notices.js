// What the page says beside its contents: notices that can be read and closed, and announcements for screen readers.

import { ApiError } from "./api.js";
import { h } from "./dom.js";
import { icon } from "./icons.js";
import { plain } from "./format.js";

const SHOWN_MS = 6000;
const MOST = 4;

function show(kind, title, ...lines) {
  const box = document.getElementById("notices");
  const notice = h(
    "div",
    { class: `notice ${kind}`, role: kind === "error" ? "alert" : "status" },
    icon(kind === "error" ? "alert" : "check"),
    h("div", {}, h("p", {}, h("strong", {}, title)), lines.filter(Boolean).map((line) => h("p", { class: "lines" }, line))),
    h("button", { type: "button", class: "icon-button", "aria-label": "Close this notice", onclick: () => notice.remove() }, icon("close")),
  );
  box.append(notice);
  while (box.children.length > MOST) box.firstElementChild.remove();
  // An error stays until somebody has read it.
  if (kind !== "error") setTimeout(() => notice.remove(), SHOWN_MS);
}

export const tell = (title, ...lines) => show("done", title, ...lines);

/** Close the newest notice; false where there is none. */
export function dismiss() {
  const newest = document.getElementById("notices").lastElementChild;
  newest?.remove();
  return newest !== null;
}

/** What an error says, line by line: detail, hint, the process's last output, when to try again. */
export function linesOf(error) {
  if (!(error instanceof ApiError)) return [String(error?.message ?? error)];
  return [
    plain(error.message),
    error.hint && plain(error.hint),
    error.output && plain(error.output),
    error.retryAfter !== null && `Try again in ${Math.ceil(error.retryAfter)} s.`,
  ].filter(Boolean);
}

export function complain(title, error) {
  // The dialog for the token says it already.
  if (error instanceof ApiError && error.status === 401) return;
  show("error", title, ...linesOf(error));
}

let said = 0;
let waiting = null;
/** Have a screen reader say it; in a burst only the last one, so that it can be followed. */
export function announce(text) {
  clearTimeout(waiting);
  waiting = setTimeout(() => {
    said = Date.now();
    document.getElementById("announcer").textContent = text;
  }, Math.max(0, said + 1500 - Date.now()));
}
