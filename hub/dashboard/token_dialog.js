// Asks for a token where the hub wants one.

import { api } from "./api.js";
import { Dialog, field, textInput } from "./dialog.js";
import { h } from "./dom.js";
import { session } from "./session.js";

let open = false;

/** @param {() => void} accepted called when the hub has taken the token. */
export function askForToken(accepted) {
  if (open) return;
  open = true;
  const token = textInput({ type: "password", name: "token", required: true });
  const dialog = new Dialog({
    title: "This hub wants a token",
    symbol: "live",
    closable: false,
    onclose: () => {
      open = false;
    },
    onsubmit: async () => {
      if (token.value.trim() === "") return;
      dialog.lock(true);
      session.token = token.value.trim();
      try {
        session.identify(await api.whoami());
        dialog.lock(false);
        dialog.close();
        accepted();
      } catch (error) {
        session.token = null;
        dialog.lock(false);
        dialog.complain(error.status === 401 ? new Error("The hub does not know this token.") : error);
        token.select();
      }
    },
  });
  dialog.fill(
    [field("Token", token, "It is kept until this tab is closed, or you sign out. The command modhub token makes one.")],
    [h("button", { type: "submit", class: "primary" }, "Sign in")],
  ).open();
  token.focus();
}
