// How numbers, times and foreign text are written.

const BYTE_UNITS = ["B", "kB", "MB", "GB", "TB", "PB"];

/** 1536000 -> "1.5 MB"; powers of 1000. */
export function bytes(count) {
  let value = count;
  let unit = 0;
  while (value >= 999.5 && unit < BYTE_UNITS.length - 1) {
    value /= 1000;
    unit += 1;
  }
  return `${unit === 0 || value >= 99.5 ? Math.round(value) : value.toFixed(1)} ${BYTE_UNITS[unit]}`;
}

/** 93784 -> "1 d 2 h": the two largest units at most, one where it is below a minute. */
export function duration(seconds) {
  const s = Math.max(0, Math.floor(seconds));
  if (s < 60) return `${s} s`;
  if (s < 3600) return s < 600 ? `${Math.floor(s / 60)} min ${s % 60} s` : `${Math.floor(s / 60)} min`;
  if (s < 86400) return `${Math.floor(s / 3600)} h ${Math.floor((s % 3600) / 60)} min`;
  return `${Math.floor(s / 86400)} d ${Math.floor((s % 86400) / 3600)} h`;
}

/** Milliseconds as a duration, with the precision that matters. */
export function milliseconds(ms) {
  if (ms < 1000) return `${Math.round(ms)} ms`;
  return ms < 60_000 ? `${(ms / 1000).toFixed(1)} s` : duration(ms / 1000);
}

/** Seconds since the epoch -> "3 min ago"; coarse, so that it rarely changes. */
export function ago(at, now = Date.now() / 1000) {
  const seconds = Math.max(0, now - at);
  if (seconds < 5) return "just now";
  if (seconds < 60) return `${Math.floor(seconds)} s ago`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min ago`;
  return seconds < 86400 ? `${Math.floor(seconds / 3600)} h ago` : `${Math.floor(seconds / 86400)} d ago`;
}

const CLOCK = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23" });
const MOMENT = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "medium" });
export const clock = (at) => CLOCK.format(at * 1000);
export const moment = (at) => MOMENT.format(at * 1000);

const NUMBER = new Intl.NumberFormat("en");
/** 10000 -> "10,000". */
export const count = (value) => NUMBER.format(value);

/** "1 module", "2 modules". */
export const plural = (value, noun) => `${count(value)} ${noun}${value === 1 ? "" : "s"}`;

export const percent = (value) => `${value < 9.95 ? value.toFixed(1) : Math.round(value)} %`;

// CSI and OSC sequences, two-character escapes, then control characters but tab and newline.
const ESCAPES = /\x1b\[[0-?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)|\x1b[@-Z\\-_]/g;
const CONTROLS = /[\x00-\x08\x0b-\x1f\x7f]/g;

/** Text of a process without what would colour or move a terminal's cursor. */
export const plain = (text) => text.replace(ESCAPES, "").replace(/\r\n/g, "\n").replace(CONTROLS, "");

/** The first line of a text, for where there is room for one. */
export const firstLine = (text) => plain(text).split("\n", 1)[0];
