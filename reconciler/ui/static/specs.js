// Every spec of a watch: what it wants, what it has, what comes next and why; and what waits for approval.

import { data } from "./data.js";
import { confirm, h, keyed, text } from "./dom.js";
import { measure, number } from "./format.js";
import { badge, bar, showProgress, time } from "./jobs.js";
import { Rows } from "./rows.js";

const MOST = 300;
const ACTIONS = { create: ["+", "good", "to create"], resume: [">", "good", "to resume"], pause: ["=", "held", "to pause"], cancel: ["–", "bad", "to cancel"], wait: ["~", "busy", "waiting"], hold: ["·", "busy", "on hold"], blocked: ["!", "bad", "blocked"], none: ["", "", "as specified"] };

export const address = (name) => `#/specs/${encodeURIComponent(name)}`;

/** An action with its sign: never colour alone. */
export function act(change) {
  const [sign, tone, said] = ACTIONS[change?.action ?? "none"] ?? ["?", "odd", change.action];
  return h("span", { class: `act ${tone}` }, h("b", { "aria-hidden": "true" }, sign), said);
}

export const money = (costs) => Object.entries(costs).map(([currency, amount]) => `${amount.toLocaleString("en-US", { minimumFractionDigits: 2, maximumFractionDigits: amount < 0.01 ? 6 : 2 })} ${currency}`).join(" + ");

/** What differs, field by field. */
export function differences(diff) {
  return h("table", { class: "diff" },
    h("thead", {}, h("tr", {}, ["Field", "Now", "Then"].map((title) => h("th", { scope: "col" }, title)))),
    h("tbody", {}, diff.map((d) => h("tr", {},
      h("th", { scope: "row" }, d.field),
      h("td", { class: "old" }, d.old ?? "default"),
      h("td", { class: "new" }, d.new ?? "default", d.rows_added !== undefined && h("small", {}, `${number(d.rows_added)} rows added, ${number(d.rows_removed)} removed`))))));
}

export class Specs {
  constructor() {
    this.title = "Specs";
    this.wanted = "";
    this.body = h("tbody");
    this.rows = new Rows(this.body, address);
    this.search = h("input", { type: "search", placeholder: "Name, model or reason", "aria-label": "Filter by name, model or reason", oninput: () => this.show(this.seen) });
    this.chips = h("div", { class: "chips", role: "group", "aria-label": "What comes next" });
    this.count = h("p", { class: "count", role: "status" });
    this.problems = h("ul", { class: "card problems", hidden: true, "aria-label": "Problems" });
    this.note = h("p", { class: "trouble", role: "alert", hidden: true });
    this.waiting = h("section", { class: "card approval", hidden: true });
    this.empty = h("div", { class: "empty" }, "Looking at the server for the first time…");
    const heads = [["Name"], ["Wanted"], ["Job"], ["Progress"], ["Loss", "n"], ["Next"], ["Time", "n"]];
    this.table = h("table", { class: "specs", hidden: true },
      h("caption", { class: "unseen" }, "Specs, by name"),
      h("thead", {}, h("tr", {}, heads.map(([title, kind]) => h("th", { scope: "col", class: kind }, title)))),
      this.body);
    this.element = h("div", { class: "page" },
      h("h1", { class: "unseen" }, "Specs"),
      this.note, this.problems, this.waiting,
      h("div", { class: "filters" }, this.search, this.chips),
      this.count,
      h("div", { class: "card table" }, this.table, this.empty));
  }

  async refresh() {
    this.show(await data.overview());
  }

  show(seen) {
    this.seen = seen;
    const problems = [...(seen.failed ? [seen.failed] : []), ...(seen.problems ?? [])];
    this.problems.hidden = !problems.length;
    keyed(this.problems, problems, (p) => p, (p) => h("li", {}, p), () => {});
    if (!seen.looked) return;
    this.showWaiting(seen.waiting);
    const specs = [...seen.specs, ...seen.gone.map((change) => ({ name: change.name, gone: true, change, job: { id: change.job_id } }))];
    const counts = {};
    for (const { change } of specs) counts[change?.action ?? "none"] = (counts[change?.action ?? "none"] ?? 0) + 1;
    keyed(this.chips, ["", ...Object.keys(ACTIONS).filter((a) => counts[a] || a === this.wanted)], (action) => action,
      (action) => h("button", { type: "button", class: "chip", onclick: () => { this.wanted = action; this.show(this.seen); } }, h("span", {}, action ? ACTIONS[action][2] : "All"), h("b")),
      (chip, action) => {
        text(chip.lastChild, number(action ? (counts[action] ?? 0) : specs.length));
        chip.setAttribute("aria-pressed", String(action === this.wanted));
      });
    const wanted = this.search.value.trim().toLowerCase();
    const found = specs.filter((spec) => (!this.wanted || (spec.change?.action ?? "none") === this.wanted) && [spec.name, spec.model, spec.base, spec.change?.reason].some((t) => (t ?? "").toLowerCase().includes(wanted)));
    keyed(this.body, found.slice(0, MOST), (spec) => `${spec.name} ${spec.gone ? spec.job.id : ""}`, (spec) => line(spec, this.rows), fill);
    this.rows.mark();
    this.table.hidden = !found.length;
    this.empty.hidden = found.length > 0;
    text(this.empty, specs.length ? "No spec matches." : "No specs yet.");
    text(this.count, `${number(found.length)} ${found.length === 1 ? "spec" : "specs"}${found.length > MOST ? `, of which these are the first ${MOST}` : ""}`);
  }

  showWaiting({ changes, cost, unpriced }) {
    this.waiting.hidden = !changes.length;
    const shown = JSON.stringify([changes, cost]);
    if (!changes.length || shown === this.shown) return;
    this.shown = shown;
    const runs = changes.length === 1 ? "run" : "runs";
    const price = [money(cost) && `about ${money(cost)}`, unpriced && Object.keys(cost).length ? `${unpriced} without a price` : ""].filter(Boolean).join(", ");
    this.waiting.replaceChildren(
      h("header", {},
        h("h2", {}, `${changes.length} new ${runs} ${changes.length === 1 ? "waits" : "wait"} for approval`),
        price && h("span", { class: "price" }, price),
        h("button", { type: "button", class: "main", onclick: () => this.approve(changes, price) }, `Start ${changes.length} ${runs}`)),
      h("ul", {}, changes.map((change) => h("li", {},
        h("details", {},
          h("summary", {}, act(change), h("a", { href: address(change.name) }, change.name), h("span", { class: "why" }, change.reason),
            change.cost && h("span", { class: "price" }, money({ [change.cost.currency]: change.cost.amount }))),
          change.diff.length ? differences(change.diff) : h("p", {}, "There is no earlier job to compare with."),
          change.notes.map((note) => h("p", {}, note)))))));
  }

  async approve(changes, price) {
    const runs = changes.length === 1 ? "1 run" : `${changes.length} runs`;
    if (!(await confirm(`Start ${runs}?`, `Start ${runs}`, { detail: price ? `It costs ${price}.` : "A run that has been started cannot be undone." }))) return;
    this.note.hidden = true;
    try {
      await data.approve(changes.map((change) => [change.name, change.revision]));
    } catch (error) {
      text(this.note, error.message);
      this.note.hidden = false;
    }
    this.reload();
  }

  key(key) {
    if (this.rows.key(key)) return true;
    if (key === "/") this.search.select();
    else if (key === "Escape" && (this.search.value || this.wanted)) {
      this.search.value = this.wanted = "";
      this.show(this.seen);
    } else return false;
    return true;
  }

  close() {}
}

function line(spec, rows) {
  const cells = ["name", "wanted", "state", "progress", "loss n", "next", "took n"].map((kind) => h("td", { class: kind }));
  cells[0].append(spec.gone ? h("span") : h("a", { href: address(spec.name) }), h("small"));
  cells[3].append(...bar());
  return h("tr", { "data-id": spec.name, onclick: spec.gone ? null : rows.opens(spec.name) }, cells);
}

function fill(row, spec) {
  const [name, wanted, state, progress, loss, next, took] = row.children;
  text(name.firstChild, spec.name);
  text(name.lastChild, spec.gone ? (spec.job.id ?? "") : spec.base ? `from ${spec.base}` : spec.model);
  text(wanted, spec.gone ? "no spec" : spec.desired);
  const status = spec.job?.status ?? "";
  if (state.dataset.status !== status) {
    state.dataset.status = status;
    state.replaceChildren(status ? badge(status) : h("span", { class: "none" }, spec.gone ? "" : "no job"));
  }
  showProgress(progress, { status, step: spec.step, total_steps: spec.total_steps });
  text(loss, measure(spec.loss));
  const reason = [spec.change?.action, spec.change?.reason, spec.held].join();
  if (next.dataset.reason !== reason) {
    next.dataset.reason = reason;
    const why = spec.change?.action === "none" ? spec.change.reason : [spec.change?.reason, spec.held].filter(Boolean).join("; ");
    next.replaceChildren(act(spec.change), h("span", { class: "why" }, why ?? ""));
    next.title = why ?? "";
  }
  text(took, spec.job?.created_at ? time(spec.job) : "");
}

