// Obliteration: what goes is said, its name is typed, and what went is shown. One module, one by name, or a selection.

import { api } from "./api.js";
import { Dialog, field, textInput } from "./dialog.js";
import { h } from "./dom.js";
import { icon } from "./icons.js";
import { bytes, count, plain, plural } from "./format.js";
import { NAME, NAME_RULE } from "./names.js";
import { announce } from "./notices.js";
import { outcomeList, summaryOf } from "./outcomes.js";

const GOES = [
  "Its process ends at once.",
  "Its data on this machine goes: directory, output log, caches, temporary copies.",
  "Everything that the backend holds of it goes: data, checkpoints, old versions.",
  "Nobody can bring it back.",
];

const whatGoes = () => h("ul", { class: "goes" }, GOES.map((line) => h("li", {}, icon("obliterate"), h("span", {}, line))));

const typing = (text) => ["Type ", h("span", { class: "confirm-text" }, text), " to confirm"];

/** The dialog's way: confirm, run, show. `work` returns what is shown at the end. */
function confirmed({ title, body, first, ready, work, finished }) {
  let ended = false;
  const dialog = new Dialog({
    title,
    symbol: "obliterate",
    destructive: true,
    onsubmit: async () => {
      if (ended) return dialog.close();
      if (!ready()) return undefined;
      dialog.lock(true);
      const progress = h("progress", { "aria-label": "Obliterating" });
      submit.before(progress);
      try {
        const shown = await work();
        ended = true;
        dialog.lock(false);
        dialog.title.textContent = shown.title;
        const close = h("button", { type: "submit", class: "primary" }, "Close");
        dialog.fill(shown.body, [close]);
        close.focus();
        announce(shown.title);
        finished?.();
      } catch (error) {
        dialog.lock(false);
        check();
        dialog.complain(error);
        first.focus();
      } finally {
        progress.remove();
      }
      return undefined;
    },
  });
  const submit = h("button", { type: "submit", class: "danger final", disabled: true }, icon("obliterate"), "Obliterate");
  const check = () => {
    submit.disabled = !ready();
  };
  dialog.element.addEventListener("input", check);
  dialog.fill(body, [dialog.cancelButton(), submit]).open();
  first.focus();
}

function resultOf(gone) {
  const counts = [["Blobs", count(gone.blobs)], ["Old versions", count(gone.versions)], ["In the backend", bytes(gone.bytes)], ["On this machine", bytes(gone.local_bytes)]];
  const empty = gone.remaining === 0;
  return {
    title: `${gone.module_id} is obliterated`,
    body: [
      h("dl", { class: "counts" }, counts.map(([name, value]) => h("div", {}, h("dt", {}, name), h("dd", {}, value)))),
      h("p", { class: empty ? "proof" : "proof failed" }, icon(empty ? "check" : "alert"),
        empty ? "The listing afterwards is empty: nothing of it is left." : `${plural(gone.remaining, "object")} still listed.`),
    ],
  };
}

/** @param {string} id the module. @param {() => void} finished called once it is gone. */
export function openObliterate(id, finished) {
  const typed = textInput({ name: "confirm" });
  confirmed({
    title: `Obliterate ${id}?`,
    body: [whatGoes(), field(typing(id), typed)],
    first: typed,
    ready: () => typed.value === id,
    work: async () => resultOf(await api.obliterate(id)),
    finished,
  });
}

/** For a module that no list shows: the backend may hold data of one that nothing tracks. */
export function openObliterateByName(finished) {
  const name = textInput({ name: "module", maxlength: "63" });
  const typed = textInput({ name: "confirm", maxlength: "63" });
  confirmed({
    title: "Obliterate by name",
    body: [
      h("p", {}, "Also a module that is not listed: the backend may hold data of one that this hub no longer tracks."),
      whatGoes(),
      field("Name", name, NAME_RULE),
      field("Type it again to confirm", typed),
    ],
    first: name,
    ready: () => NAME.test(name.value) && typed.value === name.value,
    work: async () => resultOf(await api.obliterate(name.value)),
    finished,
  });
}

/** @param {string[]} ids the selection. @param {(ids: string[]) => Promise<object[]>} run returns an outcome for each. */
export function openObliterateSelection(ids, run, finished) {
  const phrase = `obliterate ${ids.length}`;
  const typed = textInput({ name: "confirm" });
  confirmed({
    title: `Obliterate ${plural(ids.length, "module")}?`,
    body: [
      whatGoes(),
      h("div", { class: "names", role: "group", "aria-label": "Modules that go", tabindex: "0" }, ids.map((id) => h("div", {}, plain(id)))),
      field(typing(phrase), typed),
    ],
    first: typed,
    ready: () => typed.value === phrase,
    work: async () => {
      const outcomes = await run(ids);
      return { title: `Obliterate: ${summaryOf(outcomes)}`, body: [outcomeList(outcomes)] };
    },
    finished,
  });
}
