// A state as it is shown everywhere: colour, icon and word.

import { h } from "./dom.js";
import { icon } from "./icons.js";
import { STATES } from "./lifecycle.js";

export const lookOf = (state) => STATES[state] ?? { icon: "help", tone: "idle", meaning: "" };

export function badge(state) {
  const element = h("span", { class: "state" });
  setBadge(element, state);
  return element;
}

export function setBadge(element, state) {
  if (element.dataset.state === state) return;
  const look = lookOf(state);
  element.dataset.state = state;
  element.dataset.tone = look.tone;
  element.title = look.meaning;
  element.replaceChildren(icon(look.icon), h("span", {}, state));
}
