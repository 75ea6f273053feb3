// Colours follow the system until a person chooses. Runs before the first paint, so it is no module and does one thing.
"use strict";
try {
  const chosen = localStorage.getItem("modhub.theme");
  if (chosen === "light" || chosen === "dark") document.documentElement.dataset.theme = chosen;
} catch {
  // Storage is refused: the system's colours it is.
}
