// Which page is shown, what keys do, light and dark, and being let in.

import { data } from "./data.js";
import { h, text } from "./dom.js";
import { clock } from "./format.js";
import { Graph } from "./graph.js";
import { History } from "./history.js";
import { Job } from "./job.js";
import { Jobs } from "./jobs.js";
import { Live } from "./live.js";
import { Spec } from "./spec.js";
import { Specs } from "./specs.js";

const find = (id) => document.getElementById(id);
const main = find("main");
let page = null;
let fresh = null;

// Pages

let watches = false;
const TABS = [["Specs", "#/specs"], ["Jobs", "#/"], ["Graph", "#/graph"], ["History", "#/history"]];
const ROUTES = [
  [/^\/specs\/([^?]+)/, (match) => new Spec(decodeURIComponent(match[1]))],
  [/^\/specs$/, () => new Specs()],
  [/^\/graph$/, () => new Graph()],
  [/^\/history$/, () => new History()],
  [/^\/jobs\/([^?]+)/, (match) => new Job(decodeURIComponent(match[1]))],
  [/^\/(?:\?(.*))?$/, (match) => new Jobs(new URLSearchParams(match[1] ?? ""))],
];

function made(path) {
  for (const [pattern, make] of ROUTES) {
    const match = pattern.exec(path);
    if (match) return make(match);
  }
  return new Jobs(new URLSearchParams());
}

function open() {
  if (location.hash === "#main") {
    main.focus();
    return;
  }
  const before = page;
  before?.close();
  try {
    page = made(location.hash.slice(1) || "/");
  } catch {
    page = new Jobs(new URLSearchParams()); // an address that no browser writes
  }
  page.cameFromList = before instanceof Jobs;
  page.reload = refresh;
  const tab = TABS.find(([, hash]) => hash !== "#/" && location.hash.startsWith(hash)) ?? TABS[1];
  for (const link of find("tabs").children) {
    if (link.getAttribute("href") === tab[1]) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  main.replaceChildren(page.element);
  scrollTo(0, 0);
  refresh();
}

async function refresh() {
  const shown = page;
  try {
    await shown.refresh();
    fresh = Date.now() / 1000;
    if (shown === page) {
      if (!page.element.isConnected) main.replaceChildren(page.element); // what was not there is there now
      document.title = `${page.title} · reconciler`;
      trouble("");
    }
  } catch (error) {
    if (!("status" in error)) throw error;
    if (shown !== page) return;
    if (error.status === 401) login();
    else if (error.status === 404) main.replaceChildren(h("div", { class: "page" }, h("div", { class: "card empty" }, h("p", {}, error.message), h("a", { href: "#/" }, "All jobs"))));
    else trouble(error.message);
  }
}

function trouble(words) {
  const since = words && fresh ? ` What you see is from ${clock(fresh)}.` : "";
  find("trouble").hidden = !words;
  text(find("trouble"), words + since);
}

// News

const STATES = { live: "live", waiting: "connecting", lost: "disconnected" };
const live = new Live(refresh, (state) => {
  find("live").className = `live ${state}`;
  text(find("live"), STATES[state]);
  if (state === "lost") trouble("The connection to the server is lost; trying again.");
});
setInterval(() => { if (!document.hidden && page?.element.isConnected) refresh(); }, 30_000); // "5 min ago" goes on

// Keys

const KEYS = [["/", "filter"], ["j  k", "next, previous row"], ["Enter", "open"], ["Esc", "back, or clear the filters"], ["n  p", "older, newer page"], ["t", "light or dark"], ["?", "this list"]];

function help() {
  const dialog = h("dialog", { class: "ask", "aria-label": "Keyboard shortcuts", onclose: () => dialog.remove() },
    h("form", { method: "dialog" },
      h("h2", {}, "Keyboard"),
      h("dl", { class: "keys" }, KEYS.map(([key, does]) => h("div", {}, h("dt", {}, key.split("  ").map((k) => h("kbd", {}, k))), h("dd", {}, does)))),
      h("div", { class: "buttons" }, h("button", { autofocus: true }, "Close"))));
  document.body.append(dialog);
  dialog.showModal();
}

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || document.querySelector("dialog[open]")) return;
  const typing = event.target.closest("input:not([type=checkbox]), select, textarea");
  if (typing) {
    if (event.key === "Escape" || (event.key === "Enter" && event.target.type === "search")) event.target.blur();
    return;
  }
  if (event.key === "Enter" && event.target.closest("a, button, input")) return;
  if (event.key === "?") help();
  else if (event.key === "t") toggle();
  else if (!page?.key(event.key)) return;
  event.preventDefault();
});
find("help").addEventListener("click", help);

// Light and dark

const dark = () => (document.documentElement.dataset.theme ?? (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light")) === "dark";

function label() {
  const other = dark() ? "Light" : "Dark";
  text(find("theme"), other);
  find("theme").setAttribute("aria-label", `${other} colours`);
  page?.recolour?.();
}

function toggle() {
  const theme = dark() ? "light" : "dark";
  document.documentElement.dataset.theme = theme;
  try { localStorage.setItem("theme", theme); } catch { /* then it lasts as long as the page */ }
  label();
}
find("theme").addEventListener("click", toggle);
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", label);

// Being let in

function login(words = "") {
  live.stop();
  const field = h("input", { type: "password", name: "token", required: true, autocomplete: "current-password", "aria-label": "Token", placeholder: "Token" });
  const note = h("p", { class: "bad", role: "alert" }, words);
  const form = h("form", { class: "card login", onsubmit: (event) => { event.preventDefault(); enter(field.value); } },
    h("h1", {}, "Log in"),
    h("p", {}, "With the key that the server was started with."),
    field, h("button", {}, "Log in"), note);
  main.replaceChildren(form);
  field.focus();
}

async function enter(token) {
  try {
    await data.login(token);
  } catch (error) {
    login(error.message);
    return;
  }
  start();
}

find("logout").addEventListener("click", async () => {
  await data.logout();
  location.reload();
});

async function start() {
  try {
    const about = await data.about();
    text(find("title"), about.title);
    find("logout").hidden = !about.login;
    watches = about.watch;
    find("tabs").replaceChildren(...(watches ? TABS.map(([title, href]) => h("a", { href }, title)) : []));
    if (watches && location.hash === "") history.replaceState(null, "", "#/specs");
  } catch (error) {
    if (error.status === 401) login();
    else {
      trouble(error.message);
      setTimeout(start, 3000);
    }
    return;
  }
  open();
  live.start();
}

/** A token in the address is used at once and taken out of it, and so out of the history. */
function begin() {
  const given = /^#token=(.+)$/.exec(location.hash);
  addEventListener("hashchange", open);
  label();
  if (!given) return start();
  history.replaceState(null, "", location.pathname);
  return enter(decodeURIComponent(given[1]));
}

begin();
