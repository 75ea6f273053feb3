// Line drawings on a grid of 16, in the colour of the text beside them.

import { svg } from "./dom.js";

const PATHS = {
  alert: "M8 1.8 15 14H1zM8 6.2v3.6M8 11.8v.4",
  back: "M9.5 3.5 5 8l4.5 4.5",
  check: "M2.8 8.6 6.2 12l7-7.6",
  checkpoint: "M2.5 2.5h8.6l2.4 2.4v8.6h-11zM5 2.5v3.8h5V2.5M4.8 13.5V9.4h6.4v4.1",
  circle: "M8 2.6a5.4 5.4 0 1 0 0 10.8A5.4 5.4 0 0 0 8 2.6z",
  close: "M3.8 3.8l8.4 8.4M12.2 3.8l-8.4 8.4",
  deprovision: "M8 10V2.2M4.8 5.2 8 2l3.2 3.2M2.2 9.6v3.9h11.6V9.6",
  disc: "M8 2.2a5.8 5.8 0 1 0 0 11.6A5.8 5.8 0 0 0 8 2.2zM5.4 8.1l1.9 1.9 3.4-3.9",
  down: "M3.6 6 8 10.4 12.4 6",
  help: "M8 1.8a6.2 6.2 0 1 0 0 12.4A6.2 6.2 0 0 0 8 1.8zM6.1 6.3c.1-2.6 4-2.4 3.9 0 0 1.4-2 1.5-2 3M8 11.4v.3",
  hibernate: "M13.4 9.6A5.9 5.9 0 0 1 6.4 2.6a5.9 5.9 0 1 0 7 7z",
  link: "M9 2.5h4.5V7M13.2 2.8 7.4 8.6M11.5 9.4v4.1h-9v-9h4.1",
  live: "M8 6.4a1.6 1.6 0 1 0 0 3.2 1.6 1.6 0 0 0 0-3.2zM4.5 4.5a5 5 0 0 0 0 7M11.5 4.5a5 5 0 0 1 0 7M2.4 2.4a8 8 0 0 0 0 11.2M13.6 2.4a8 8 0 0 1 0 11.2",
  obliterate: "M2.4 4.2h11.2M6 4V2.2h4V4M3.8 4.4l.8 9.4h6.8l.8-9.4M6.6 7v4.2M9.4 7v4.2",
  offline: "M2 2l12 12M8 11.9v.2M5.4 9.2a3.8 3.8 0 0 1 3-1.1M2.6 6.5A7.8 7.8 0 0 1 5 5M8.4 4.3a7.9 7.9 0 0 1 5 2.2",
  pause: "M5.2 3.2v9.6M10.8 3.2v9.6",
  plus: "M8 3v10M3 8h10",
  provision: "M4.6 2.8v10.4L13 8z",
  search: "M7 2.4a4.6 4.6 0 1 0 0 9.2 4.6 4.6 0 0 0 0-9.2zM10.4 10.4 14 14",
  theme: "M8 2.2a5.8 5.8 0 1 0 0 11.6zM8 2.2a5.8 5.8 0 0 1 0 11.6",
  turning: "M8 2.2A5.8 5.8 0 1 1 2.2 8",
  up: "M3.6 10 8 5.6 12.4 10",
  wake: "M8 5a3 3 0 1 0 0 6 3 3 0 0 0 0-6zM8 1.2v1.4M8 13.4v1.4M1.2 8h1.4M13.4 8h1.4M3.2 3.2l1 1M11.8 11.8l1 1M3.2 12.8l1-1M11.8 4.2l1-1",
};

/** Draw an icon. It says nothing to a screen reader: text stands beside it, or a label on its button. */
export function icon(name) {
  return svg(
    "svg",
    { class: "icon", viewBox: "0 0 16 16", "aria-hidden": "true", focusable: "false" },
    svg("path", {
      d: PATHS[name], fill: "none", stroke: "currentColor", "stroke-width": "1.6", "stroke-linecap": "round", "stroke-linejoin": "round",
    }),
  );
}
