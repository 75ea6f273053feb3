// Where the page begins: makes the parts, and brings events, keys and addresses to them.

import { Actions } from "./actions.js";
import { api } from "./api.js";
import { EventStream } from "./events.js";
import { openHelp } from "./help_dialog.js";
import { ListPage } from "./list_page.js";
import { ModulePage } from "./module_page.js";
import { dismiss } from "./notices.js";
import { Operations } from "./operations.js";
import { OperationsPanel } from "./operations_panel.js";
import { Router } from "./router.js";
import { session } from "./session.js";
import { Shell } from "./shell.js";
import { askForToken } from "./token_dialog.js";

const stream = new EventStream();
const operations = new Operations();
const panel = new OperationsPanel();
const shell = new Shell({ help: openHelp, retry: () => stream.retry(), signOut });
const actions = new Actions(operations, () => shown?.refresh());
const router = new Router(show);
let shown = null;
let list = null;

function show({ module, query }) {
  const before = shown;
  shown?.leave();
  const parts = { router, actions, shell };
  // The list stays as it was left: selection, place and rows.
  shown = module === null ? (list ??= new ListPage(parts)) : new ModulePage(parts, module);
  document.getElementById("main").replaceChildren(shown.element);
  shown.enter(query);
  if (before === null || before === shown) return;
  if (module !== null) shown.element.querySelector("h1").focus();
  else document.querySelector(`[data-open="${CSS.escape(before.id ?? "")}"]`)?.focus();
}

function signOut() {
  session.token = null;
  session.identify(null);
  // What was shown was shown to somebody else.
  stream.stop("refused");
  location.assign(router.href(""));
}

session.on("identity", () => {
  shown?.offerAgain();
});
session.on("unauthenticated", () => {
  stream.stop("refused");
  askForToken(() => {
    stream.retry();
  });
});

stream.on("state", () => shell.connection(stream));
stream.on("reset", async () => {
  shown.refresh();
  operations.sync();
  shell.backend();
  try {
    session.identify(await api.whoami());
  } catch {
    // Asked again when the stream comes back.
  }
});
stream.on("batch", (messages) => {
  const records = [];
  for (const { name, data } of messages) {
    if (name === "operation.progress") operations.progress(data);
    else records.push(data);
  }
  if (records.length === 0) return;
  shown.batch(records);
  if (records.some(({ op_id: id }) => id !== null)) operations.sync();
  if (records.some(({ name }) => name.startsWith("backend."))) shell.backend();
});
operations.on("change", () => panel.show([...operations.current.values()]));

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented) return;
  if (document.querySelector("dialog[open]")) return;
  const typing = event.target.closest?.("input:not([type=checkbox]), select, textarea");
  if (event.key === "Escape") {
    if (typing) typing.blur();
    else if (!dismiss()) shown.key(event);
    return;
  }
  if (typing) {
    // From the search straight into what it found.
    if (event.key === "ArrowDown" && typing.type === "search" && shown === list) list.table.move(1);
    else return;
  } else if (event.key === "?") openHelp();
  else if (!shown.key(event)) return;
  event.preventDefault();
});

// The address changes without loading anew: what the page itself refers to must not be looked for below the new one.
for (const element of document.querySelectorAll("[href^='.'], [src^='.']")) {
  if (element.hasAttribute("src")) element.src = String(element.src);
  else element.href = String(element.href);
}
shell.dock(panel.element);
shell.connection(stream);
show(router.place());
stream.start();
