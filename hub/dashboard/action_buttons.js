// Buttons of a module's requests: those that its state leaves open; those that the role does not allow say why.

import { h } from "./dom.js";
import { icon } from "./icons.js";
import { REQUESTS } from "./lifecycle.js";
import { tell } from "./notices.js";
import { session } from "./session.js";

/**
 * @param {string} request one of `REQUESTS`.
 * @param {string} about what it is done to, for the label: a name, or "the 3 selected".
 * @param {{compact?: boolean, run: () => Promise<void> | void}} options
 */
export function actionButton(request, about, { compact = false, run }) {
  const { label, slot, role, does } = REQUESTS[request];
  const refusal = session.refusal(role);
  const tone = request === "obliterate" ? "danger" : "";
  const button = h(
    "button",
    {
      type: "button",
      class: compact ? `icon-button ${tone} slot-${slot}` : tone,
      "data-request": request,
      "aria-label": refusal === null ? `${label} ${about}` : `${label} ${about}. ${refusal}`,
      "aria-disabled": refusal === null ? null : "true",
      title: refusal ?? `${label}: ${does}`,
      onclick: async () => {
        if (refusal !== null) tell(`${label} is not allowed`, refusal);
        if (refusal !== null || button.getAttribute("aria-busy") === "true") return;
        button.setAttribute("aria-busy", "true");
        try {
          await run();
        } finally {
          button.removeAttribute("aria-busy");
        }
      },
    },
    icon(request),
    compact ? null : label,
  );
  return button;
}
