// One job: its curves, what happened to it, its facts and its checkpoints.

import { Chart, chartsFor } from "./chart.js";
import { data } from "./data.js";
import { confirm, h, keyed, text } from "./dom.js";
import { ago, clock, duration, ended, measure, NOTHING, number, timestamp, tone, words } from "./format.js";
import { badge } from "./jobs.js";

const PAGE = 50;
const ACTS = {
  pause: { title: "Pause" },
  resume: { title: "Resume" },
  cancel: { title: "Cancel", question: "Cancel this job?", detail: "It ends for good, without a model. This cannot be undone.", yes: "Cancel the job" },
};

export class Job {
  constructor(id) {
    this.id = id;
    this.title = id;
    this.charts = new Map();
    this.events = [];
    this.older = false;
    this.build();
  }

  build() {
    this.name = h("h1");
    this.state = h("span");
    this.buttons = h("div", { class: "buttons" });
    this.note = h("p", { class: "trouble", role: "alert", hidden: true });
    this.error = h("p", { class: "error", role: "alert", hidden: true });
    this.bar = h("progress", { max: 1, value: 0, "aria-label": "Progress" });
    this.far = h("span");
    this.progress = h("div", { class: "far", hidden: true }, this.bar, this.far);
    this.plots = h("div", { class: "charts" });
    this.blank = h("p", { class: "card empty" });
    this.log = h("ol", { class: "events", role: "log", "aria-label": "Events", tabIndex: 0 });
    this.steps = h("input", { type: "checkbox", onchange: () => this.startOver() });
    this.more = h("button", { type: "button", hidden: true, onclick: () => this.earlier() }, "Earlier events");
    this.facts = h("dl");
    this.points = h("tbody");
    this.saved = h("section", { class: "card", hidden: true },
      h("header", {}, h("h2", {}, "Checkpoints")),
      h("div", { class: "table" }, h("table", { class: "points" },
        h("thead", {}, h("tr", {}, [["Step", "n"], ["Train loss", "n"], ["Validation loss", "n"], ["Accuracy or reward", "n"], ["Saved", "n"], ["Model"]].map(([t, kind]) => h("th", { scope: "col", class: kind }, t)))),
        this.points)));
    this.element = h("div", { class: "page job" },
      h("a", { class: "back", href: "#/" }, "← All jobs"),
      h("div", { class: "head" }, h("div", {}, this.name, h("p", {}, this.state, this.sub = h("code"))), this.buttons),
      this.note, this.error, this.progress, this.plots, this.blank,
      h("div", { class: "columns" },
        h("section", { class: "card" },
          h("header", {}, h("h2", {}, "Events"), h("label", {}, this.steps, " every step")),
          this.log, this.more),
        h("section", { class: "card" }, h("header", {}, h("h2", {}, "Facts")), this.facts)),
      this.saved);
  }

  async refresh() {
    const [job] = await Promise.all([data.job(this.id), this.newer()]);
    this.show(job);
  }

  show(job) {
    this.title = job.name ?? job.id;
    if (!job.verbs.length && job.revision && document.querySelector("#tabs a")) {
      keyed(this.buttons, [job.name], (name) => name, (name) => h("a", { href: `#/specs/${encodeURIComponent(name)}` }, "Its spec"), () => {});
    }
    text(this.name, this.title);
    text(this.sub, job.name ? job.id : "");
    if (this.state.dataset.status !== job.status) {
      this.state.dataset.status = job.status;
      this.state.replaceChildren(badge(job.status));
    }
    const error = job.error?.message || job.error?.code;
    this.error.hidden = !error;
    text(this.error, error ? [job.error.code, job.error.message].filter(Boolean).join(": ") : "");
    this.showActs(job);
    this.showProgress(job);
    this.showCharts(job);
    facts(this.facts, job);
    this.saved.hidden = !job.checkpoints.length;
    keyed(this.points, job.checkpoints, (c) => c.id, () => h("tr", {}, ["n", "n", "n", "n", "n", "model"].map((kind) => h("td", { class: kind }))), point);
  }

  showActs(job) {
    if (!job.verbs.length && this.buttons.querySelector("a")) return;
    keyed(this.buttons, Object.keys(ACTS).filter((verb) => job.verbs.includes(verb)), (verb) => verb,
      (verb) => h("button", { type: "button", class: verb === "cancel" ? "danger" : "", onclick: () => this.act(verb) }, ACTS[verb].title),
      () => {});
  }

  showProgress(job) {
    const going = !ended(job.status) && job.total_steps;
    this.progress.hidden = !going;
    if (!going) return;
    this.bar.value = job.step / job.total_steps;
    const left = job.estimated_finish ? job.estimated_finish - Date.now() / 1000 : 0;
    text(this.far, `step ${number(job.step)} of ${number(job.total_steps)}${left > 0 && job.status === "running" ? `, about ${duration(left)} left` : ""}`);
  }

  showCharts(job) {
    const wanted = chartsFor(job.curves);
    keyed(this.plots, wanted, (pair) => pair.title, (pair) => {
      const chart = new Chart(pair);
      this.charts.set(pair.title, chart);
      return chart.element;
    }, () => {});
    for (const pair of wanted) this.charts.get(pair.title).show(job.curves, job.checkpoints);
    this.blank.hidden = wanted.length > 0;
    text(this.blank, ended(job.status) ? "No step of it was recorded." : "Curves appear with the first step.");
  }

  recolour() {
    for (const chart of this.charts.values()) chart.draw();
  }

  async act(verb) {
    const asked = ACTS[verb];
    if (asked.question && !(await confirm(asked.question, asked.yes, { detail: asked.detail, danger: true }))) return;
    for (const button of this.buttons.children) button.disabled = true;
    this.note.hidden = true;
    try {
      await data.act(this.id, verb);
      await this.reload();
    } catch (error) {
      text(this.note, error.message);
      this.note.hidden = false;
    }
    for (const button of this.buttons.children) button.disabled = false;
  }

  // Events

  get query() {
    return { limit: PAGE, steps: this.steps.checked ? "true" : "" };
  }

  /** Add what is new; after a gap of more than a page, begin again with the newest. */
  async newer() {
    const query = this.query;
    const page = await data.events(this.id, query);
    if (query.steps !== this.query.steps) return;
    const known = new Set(this.events.map((event) => event.id));
    const fresh = page.events.filter((event) => !known.has(event.id));
    if (fresh.length === page.events.length) {
      this.events = page.events;
      this.older = page.has_more;
    } else this.events = [...fresh, ...this.events];
    this.tell();
  }

  async earlier() {
    const page = await data.events(this.id, { ...this.query, after: this.events.at(-1)?.id });
    this.events = [...this.events, ...page.events];
    this.older = page.has_more;
    this.tell();
  }

  startOver() {
    this.events = [];
    this.reload();
  }

  tell() {
    this.more.hidden = !this.older;
    keyed(this.log, this.events, (event) => event.id, (event) => h("li", { class: event.level === "info" ? "" : event.level === "error" ? "bad" : "held" },
      h("time", { dateTime: new Date(event.created_at * 1000).toISOString?.() ?? "", title: timestamp(event.created_at) }, clock(event.created_at)),
      h("span", {}, event.level === "info" ? event.message : `${event.level}: ${event.message}`)), () => {});
  }

  key(key) {
    if (key !== "Escape") return false;
    history.length > 1 && this.cameFromList ? history.back() : (location.hash = "#/");
    return true;
  }

  close() {
    for (const chart of this.charts.values()) chart.close();
  }
}

function point(row, { step, metrics, created_at, model }) {
  const full = (name) => metrics[`full_${name}`] ?? metrics[name];
  const right = full("valid_reward_mean") ?? metrics.train_reward_mean ?? full("valid_mean_token_accuracy") ?? metrics.train_mean_token_accuracy;
  const values = [number(step), measure(metrics.train_loss), measure(full("valid_loss")), measure(right), ago(created_at), model];
  values.forEach((value, i) => text(row.children[i], value));
  row.children[4].title = timestamp(created_at);
}

/** The facts, in the order in which people ask for them; what a job does not have is left out. */
function facts(list, job) {
  const kind = job.method?.type ?? "supervised";
  const settings = job.method?.[kind]?.hyperparameters ?? job.hyperparameters ?? {};
  const labels = Object.entries(job.metadata ?? {}).filter(([key]) => !key.startsWith("reconciler."));
  const when = (seconds) => (seconds ? timestamp(seconds) : null);
  const rows = [
    ["Model", job.fine_tuned_model],
    ["Base model", job.model],
    ["Method", kind],
    ...Object.entries(settings).map(([key, value]) => [words(key), typeof value === "number" ? number(value) : String(value)]),
    ["Seed", job.seed === null || job.seed === undefined ? null : String(job.seed)],
    ["Training data", job.training_file],
    ["Validation data", job.validation_file],
    ["Owner", job.owner],
    ["Revision", job.revision && (job.attempt > 1 ? `${job.revision}, attempt ${job.attempt}` : job.revision)],
    ["Created", when(job.created_at)],
    ["Finished", when(job.finished_at)],
    ["Took", job.finished_at ? duration(job.finished_at - job.created_at) : null],
    ["Estimated finish", ended(job.status) ? null : when(job.estimated_finish)],
    ["Trained tokens", job.trained_tokens === null ? null : number(job.trained_tokens)],
    ...(job.integrations ?? []).map((each) => [each.type, [each.wandb?.entity, each.wandb?.project, each.wandb?.name].filter(Boolean).join(" / ")]),
    ...labels.map(([key, value]) => [key, value]),
  ].filter(([, value]) => value).map((row, i) => [`${i} ${row[0]}`, ...row]);
  keyed(list, rows, ([key]) => key,
    ([, title]) => h("div", {}, h("dt", {}, title), h("dd")),
    (element, [, , value]) => text(element.lastChild, String(value)));
}
