// All jobs: filters, a table that keeps itself up to date, pages of fifty.

import { data } from "./data.js";
import { h, keyed, text } from "./dom.js";
import { ago, duration, ended, measure, NOTHING, number, timestamp, tone, words } from "./format.js";
import { Rows } from "./rows.js";

const PAGE = 50;
const UNOWNED = "-";
const ORDER = ["running", "queued", "validating_files", "paused", "succeeded", "failed", "cancelled"];

/** A status with its dot: never colour alone. */
export const badge = (status) => h("span", { class: `status ${tone(status)}` }, words(status));

export const address = (id) => `#/jobs/${encodeURIComponent(id)}`;

export class Jobs {
  constructor(query) {
    this.query = { status: query.getAll("status"), owner: query.get("owner") ?? "", text: query.get("text") ?? "" };
    this.page = Math.max(1, Number.parseInt(query.get("page") ?? "1", 10) || 1);
    this.title = "Jobs";
    this.build();
  }

  build() {
    this.search = h("input", { type: "search", placeholder: "Name, id, model or label", value: this.query.text, "aria-label": "Filter by name, id, model or label", oninput: () => this.typed() });
    this.owner = h("select", { "aria-label": "Owner", onchange: () => this.narrow({ owner: this.owner.value }) });
    this.chips = h("div", { class: "chips", role: "group", "aria-label": "Status" });
    this.count = h("p", { class: "count", role: "status" });
    this.body = h("tbody");
    this.rows = new Rows(this.body, address);
    this.empty = h("div", { class: "empty", hidden: true });
    const heads = [["Name"], ["Status"], ["Progress"], ["Loss", "n"], ["Model"], ["Owner"], ["Created", "n"], ["Time", "n"]];
    this.table = h("table", { class: "jobs" },
      h("caption", { class: "unseen" }, "Jobs, newest first"),
      h("thead", {}, h("tr", {}, heads.map(([title, kind]) => h("th", { scope: "col", class: kind }, title)))),
      this.body);
    this.back = h("button", { type: "button", onclick: () => this.turn(-1) }, "Newer");
    this.on = h("button", { type: "button", onclick: () => this.turn(1) }, "Older");
    this.where = h("span");
    this.element = h("div", { class: "page" },
      h("h1", { class: "unseen" }, "Jobs"),
      h("div", { class: "filters" }, this.search, this.owner, this.chips),
      this.count,
      h("div", { class: "card table" }, this.table, this.empty),
      this.pager = h("nav", { class: "pager", "aria-label": "More jobs" }, this.back, this.where, this.on));
  }

  async refresh() {
    const asked = (this.asking = { ...this.query, offset: (this.page - 1) * PAGE, limit: PAGE });
    const found = await data.jobs(asked);
    if (asked === this.asking) this.show(found);
  }

  show({ jobs, counts, owners }) {
    const all = Object.values(counts).reduce((sum, n) => sum + n, 0);
    const matching = this.query.status.length ? this.query.status.reduce((sum, status) => sum + (counts[status] ?? 0), 0) : all;
    this.last = Math.max(1, Math.ceil(matching / PAGE));
    if (this.page > this.last) return this.turn(this.last - this.page);
    this.showFilters(counts, all, owners);
    keyed(this.body, jobs, (job) => job.id, (job) => line(job, this.rows), fill);
    this.rows.mark();
    this.table.hidden = !jobs.length;
    this.empty.hidden = jobs.length > 0;
    if (!jobs.length) this.empty.replaceChildren(...this.nothing());
    const first = (this.page - 1) * PAGE;
    text(this.count, `${number(matching)} ${matching === 1 ? "job" : "jobs"}${this.filtered ? " match" : ""}${this.filtered && matching === 1 ? "es" : ""}`);
    text(this.where, `${number(first + 1)}–${number(first + jobs.length)} of ${number(matching)}`);
    this.pager.hidden = this.last === 1;
    this.back.disabled = this.page === 1;
    this.on.disabled = this.page === this.last;
  }

  get filtered() {
    return Boolean(this.query.text || this.query.owner || this.query.status.length);
  }

  nothing() {
    if (this.filtered) return [h("p", {}, "No job matches."), h("button", { type: "button", onclick: () => this.narrow({ status: [], owner: "", text: "" }) }, "Clear the filters")];
    return [h("p", {}, "No jobs yet."), h("p", {}, "They appear here as soon as there are any: ", h("code", {}, "reconciler apply"))];
  }

  showFilters(counts, all, owners) {
    const statuses = [...ORDER.filter((s) => s in counts || this.query.status.includes(s)), ...Object.keys(counts).filter((s) => !ORDER.includes(s)).sort()];
    keyed(this.chips, ["", ...statuses], (status) => status,
      (status) => h("button", { type: "button", class: status ? `chip ${tone(status)}` : "chip", onclick: () => this.toggle(status) }, h("span", {}, status ? words(status) : "All"), h("b")),
      (chip, status) => {
        text(chip.lastChild, number(status ? (counts[status] ?? 0) : all));
        chip.setAttribute("aria-pressed", String(status ? this.query.status.includes(status) : !this.query.status.length));
      });
    const choices = [["", "All owners"], ...owners.map((o) => [o, o]), ...(owners.length ? [[UNOWNED, "No owner"]] : [])];
    if (this.query.owner && !choices.some(([value]) => value === this.query.owner)) choices.push([this.query.owner, this.query.owner]);
    keyed(this.owner, choices, ([value]) => value, ([value, name]) => h("option", { value }, name), () => {});
    this.owner.value = this.query.owner;
    this.owner.hidden = !owners.length;
  }

  typed() {
    clearTimeout(this.waiting);
    this.waiting = setTimeout(() => this.narrow({ text: this.search.value.trim() }), 150);
  }

  toggle(status) {
    const on = this.query.status;
    this.narrow({ status: !status ? [] : on.includes(status) ? on.filter((s) => s !== status) : [...on, status] });
  }

  narrow(change) {
    Object.assign(this.query, change);
    if ("text" in change && this.search.value.trim() !== change.text) this.search.value = change.text;
    this.page = 1;
    this.rows.chosen = null;
    this.moved();
  }

  turn(by) {
    this.page = Math.min(Math.max(1, this.page + by), this.last ?? 1);
    this.rows.chosen = null;
    this.moved();
    scrollTo(0, 0);
  }

  /** Keep the address in step, so that a reload and a link show the same. */
  moved() {
    const parameters = new URLSearchParams();
    for (const status of this.query.status) parameters.append("status", status);
    for (const name of ["owner", "text"]) if (this.query[name]) parameters.set(name, this.query[name]);
    if (this.page > 1) parameters.set("page", String(this.page));
    history.replaceState(null, "", parameters.size ? `#/?${parameters}` : "#/");
    this.reload();
  }

  key(key) {
    if (this.rows.key(key)) return true;
    if (key === "/") this.search.select();
    else if (key === "n") this.turn(1);
    else if (key === "p") this.turn(-1);
    else if (key === "Escape" && (this.filtered || this.rows.chosen)) this.narrow({ status: [], owner: "", text: "" });
    else return false;
    return true;
  }

  close() {
    clearTimeout(this.waiting);
  }
}

/** A bar with its words, for a cell. */
export const bar = () => [h("progress", { max: 1, value: 0, "aria-label": "Progress" }), h("span")];

export function showProgress(cell, { status, step, total_steps }) {
  const [line, steps] = cell.children;
  const going = status && !ended(status) && total_steps;
  line.hidden = !going;
  if (going) line.value = step / total_steps;
  text(steps, going ? `${number(step)} / ${number(total_steps)}` : step ? `${number(step)} steps` : "");
}

/** How long a job took, or has left. */
export function time(job) {
  if (job.finished_at) return duration(job.finished_at - job.created_at);
  const left = !ended(job.status) && job.estimated_finish ? job.estimated_finish - Date.now() / 1000 : 0;
  return left > 0 ? `${duration(left)} left` : NOTHING;
}

function line(job, rows) {
  const cells = ["name", "state", "progress", "loss n", "model", "owner", "created n", "took n"].map((kind) => h("td", { class: kind }));
  const row = h("tr", { "data-id": job.id, onclick: rows.opens(job.id) }, cells);
  const [name, , progress] = cells;
  name.append(h("a", { href: address(job.id) }), h("small"));
  progress.append(...bar());
  return row;
}

function fill(row, job) {
  const [name, state, progress, loss, model, owner, created, took] = row.children;
  text(name.firstChild, job.name ?? job.id);
  text(name.lastChild, job.name ? job.id : "");
  if (state.dataset.status !== job.status) {
    state.dataset.status = job.status;
    state.replaceChildren(badge(job.status));
  }
  showProgress(progress, job);
  text(loss, measure(job.loss));
  text(model, job.model);
  model.title = job.fine_tuned_model ? `${job.fine_tuned_model}, from ${job.model}` : job.model;
  text(owner, job.owner ?? "");
  owner.title = job.owner ?? "";
  text(created, ago(job.created_at));
  created.title = timestamp(job.created_at);
  text(took, time(job));
}
