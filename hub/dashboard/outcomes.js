// What became of each module of a bulk operation.

import { Dialog } from "./dialog.js";
import { h } from "./dom.js";
import { icon } from "./icons.js";
import { REQUESTS } from "./lifecycle.js";
import { bytes, plain, plural } from "./format.js";

/** One line an outcome, the failed ones first; `outcomes` as `POST /hub/bulk` answers. */
export function outcomeList(outcomes) {
  const failedFirst = [...outcomes].sort((a, b) => (a.status === "done") - (b.status === "done"));
  return h("ul", { class: "outcomes", "aria-label": "Outcomes", tabindex: "0" }, failedFirst.map(({ module_id, status, module, obliterated, problem }) => {
    const after = problem?.retry_after_s ? `Try again in ${Math.ceil(problem.retry_after_s)} s.` : null;
    const detail = problem
      ? [problem.detail || problem.title, problem.hint, problem.output, after].filter(Boolean).map((line) => plain(String(line)))
      : obliterated
        ? [`${plural(obliterated.blobs, "blob")}, ${plural(obliterated.versions, "old version")}, ${bytes(obliterated.bytes + obliterated.local_bytes)}; ${listing(obliterated)}`]
        : [module ? `is ${module.state}` : "done"];
    return h("li", { class: status === "done" ? "done" : "failed" },
      icon(status === "done" ? "check" : "alert"),
      h("span", {}, h("strong", {}, module_id), h("span", { class: "visually-hidden" }, status === "done" ? " done" : " failed")),
      h("span", { class: "detail" }, detail.join("\n")));
  }));
}

const listing = ({ remaining }) => (remaining === 0 ? "the listing is empty" : `${plural(remaining, "object")} still listed`);

export function summaryOf(outcomes) {
  const failed = outcomes.filter(({ status }) => status !== "done").length;
  const done = plural(outcomes.length - failed, "module");
  return failed === 0 ? `${done} done` : `${done} done, ${failed} failed`;
}

export function openOutcomes(request, outcomes) {
  const dialog = new Dialog({ title: `${REQUESTS[request].label}: ${summaryOf(outcomes)}`, symbol: request });
  dialog.fill([outcomeList(outcomes)], [h("button", { type: "submit", class: "primary" }, "Close")]).open();
}
