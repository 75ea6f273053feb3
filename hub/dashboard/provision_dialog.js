// The dialog that provisions a module by name.

import { api } from "./api.js";
import { Dialog, field, textInput } from "./dialog.js";
import { h } from "./dom.js";
import { NAME, NAME_RULE } from "./names.js";

/**
 * @param {{run: (id: string, kind: string) => Promise<boolean>, name?: string}} options `run` resolves to whether it was taken.
 */
export async function openProvision({ run, name = "" }) {
  const id = textInput({ name: "module", maxlength: "63", value: name, required: true });
  const kinds = h("select", { name: "kind" }, h("option", { value: "" }, "the recorded one, else the default"));
  const dialog = new Dialog({
    title: "Provision a module",
    symbol: "provision",
    onsubmit: () => {
      if (!NAME.test(id.value)) {
        dialog.complain(new Error(`That can't be a name: ${NAME_RULE}`));
        id.focus();
        return;
      }
      dialog.close();
      run(id.value, kinds.value);
    },
  });
  dialog.fill(
    [field("Name", id, NAME_RULE), field("Kind", kinds, "The kind of server that runs on its data. A module that has data keeps its kind.")],
    [dialog.cancelButton(), h("button", { type: "submit", class: "primary" }, "Provision")],
  ).open();
  id.focus();
  try {
    const told = await api.kinds();
    kinds.append(...told.kinds.map((kind) => h("option", { value: kind }, kind === told.default ? `${kind} (default)` : kind)));
  } catch (error) {
    dialog.complain(error);
  }
}
