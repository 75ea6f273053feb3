// What is open in which state, as data; a test compares it with the hub's own table.

/** State -> how it is shown: icon, tone of its colours, and what it means in words. */
export const STATES = {
  provisioned: { icon: "disc", tone: "good", meaning: "runs and serves" },
  hibernated: { icon: "hibernate", tone: "rest", meaning: "stopped, its data is kept here" },
  crashed: { icon: "alert", tone: "bad", meaning: "its process ended by itself" },
  unprovisioned: { icon: "circle", tone: "idle", meaning: "does not run" },
  provisioning: { icon: "turning", tone: "moving", meaning: "is brought up" },
  waking: { icon: "turning", tone: "moving", meaning: "starts on its kept data" },
  recovering: { icon: "turning", tone: "moving", meaning: "is started again after a crash" },
  hibernating: { icon: "turning", tone: "moving", meaning: "is stopped" },
  deprovisioning: { icon: "turning", tone: "moving", meaning: "is stopped, its data goes to the backend" },
  obliterating: { icon: "turning", tone: "erasing", meaning: "every trace of it is destroyed" },
};

/** Stable state -> requests that begin something there. */
export const OPEN = {
  unprovisioned: ["provision", "obliterate"],
  provisioned: ["hibernate", "deprovision", "obliterate", "checkpoint"],
  hibernated: ["provision", "wake", "deprovision", "obliterate", "checkpoint"],
  crashed: ["provision", "deprovision", "obliterate"],
};

/** The same with data that is not sent home yet. */
export const OPEN_DIRTY = { unprovisioned: ["provision", "deprovision", "obliterate"] };

/**
 * Transitional state -> requests worth queueing behind the operation that holds the module; every one may be asked there.
 * A deprovision or an obliterate that waits also cuts a hydration short.
 */
export const QUEUED = {
  provisioning: ["deprovision", "obliterate"],
  waking: ["deprovision", "obliterate"],
  recovering: ["deprovision", "obliterate"],
  hibernating: ["deprovision", "obliterate"],
  deprovisioning: ["obliterate"],
  obliterating: [],
};

/** The transitional states; the list shows them as one. */
export const TRANSITIONAL = Object.keys(QUEUED);

/** Requests of the module that are open. */
export function openTo({ state, dirty }) {
  return (dirty && OPEN_DIRTY[state]) || OPEN[state] || QUEUED[state] || [];
}

/** As `openTo`, without what would only say the same twice: a hibernated module is woken, not provisioned. */
export function offeredTo(module) {
  const open = openTo(module);
  return open.filter((request) => request !== "provision" || !open.includes("wake"));
}

/** Request -> its name on a button, its place in a row, the role it needs, and what it does. */
export const REQUESTS = {
  provision: { label: "Provision", done: "is provisioned", slot: 1, role: "operate", does: "bring its data here and start it" },
  wake: { label: "Wake", done: "is awake", slot: 1, role: "operate", does: "start it on its kept data" },
  hibernate: { label: "Hibernate", done: "is hibernated", slot: 1, role: "operate", does: "stop it and keep its data here" },
  checkpoint: { label: "Checkpoint", done: "has a copy of its data in the backend", slot: 2, role: "operate", does: "send a copy of its data to the backend" },
  deprovision: { label: "Deprovision", done: "is deprovisioned", slot: 3, role: "operate", does: "stop it and send its data to the backend" },
  obliterate: { label: "Obliterate", done: "is obliterated", slot: 4, role: "obliterate", does: "destroy every trace of it" },
};
