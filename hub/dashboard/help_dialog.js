// The keyboard's shortcuts.

import { Dialog } from "./dialog.js";
import { h } from "./dom.js";

const SHORTCUTS = [
  [["/"], "search"],
  [["↓", "↑", "j", "k"], "next and previous module"],
  [["Home", "End"], "first and last module of the page"],
  [["Enter"], "open the module"],
  [["x"], "select the module, or not"],
  [["n"], "provision a module"],
  [["["], "previous page, or back to the list"],
  [["]"], "next page"],
  [["?"], "this help"],
  [["Esc"], "close a dialog or a notice, or end the selection"],
];

export function openHelp() {
  const dialog = new Dialog({ title: "Keyboard shortcuts", symbol: "help" });
  dialog.fill(
    [h("dl", { class: "shortcuts" }, SHORTCUTS.map(([keys, does]) => [h("dt", {}, keys.map((key) => [h("kbd", {}, key), " "])), h("dd", {}, does)]))],
    [h("button", { type: "submit", class: "primary" }, "Close")],
  ).open();
}
