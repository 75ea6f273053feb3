// The columns of the list, as data: what each shows of a module, and how it is sorted.

import { ago, bytes, count, duration, firstLine, percent } from "./format.js";

/**
 * `text(module, elapsed)` is what a cell says; `elapsed` is how many seconds ago the module was described. `first` is the
 * order of the first click on the header: largest first where that is what one looks for.
 */
export const COLUMNS = [
  { key: "module_id", label: "Module", first: "" },
  { key: "state", label: "State", first: "" },
  { key: "kind", label: "Kind", first: "", text: (m) => m.kind },
  { key: "port", label: "Port", first: "", number: true, text: (m) => (m.port === null ? "" : String(m.port)) },
  { key: "gateway_port", label: "Gateway", unsorted: true, number: true, text: (m) => (m.gateway_port === null ? "" : String(m.gateway_port)) },
  { key: "uptime_s", label: "Uptime", first: "-", number: true, text: (m, elapsed) => (m.uptime_s === null ? "" : duration(m.uptime_s + elapsed)) },
  { key: "restarts", label: "Restarts", first: "-", number: true, text: (m) => (m.restarts ? count(m.restarts) : "") },
  { key: "memory_bytes", label: "Memory", first: "-", number: true, text: (m) => (m.memory_bytes === null ? "" : bytes(m.memory_bytes)) },
  { key: "cpu_percent", label: "CPU", first: "-", number: true, text: (m) => (m.cpu_percent === null ? "" : percent(m.cpu_percent)) },
  { key: "idle_s", label: "Idle", first: "-", number: true, text: (m, elapsed) => duration(m.idle_s + elapsed) },
  { key: "checkpointed_at", label: "Saved", first: "-", text: (m) => (m.checkpointed_at > 0 ? ago(m.checkpointed_at) : "") },
  { key: "last_error", label: "Last error", first: "-", text: (m) => (m.last_error ? firstLine(m.last_error) : "") },
];
