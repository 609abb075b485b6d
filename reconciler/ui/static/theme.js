// Light or dark before the first paint: what was chosen here, else the system's choice. A classic script for that reason.
(() => {
  const root = document.documentElement;
  let chosen = null;
  try { chosen = localStorage.getItem("theme"); } catch { /* storage is off: the system decides */ }
  if (chosen === "light" || chosen === "dark") root.dataset.theme = chosen;
})();
