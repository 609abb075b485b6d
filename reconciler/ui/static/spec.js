// One spec: as it is written, how its job differs, its state with buttons that edit it, and all its jobs.

import { data } from "./data.js";
import { confirm, h, keyed, text } from "./dom.js";
import { ago, measure, number, timestamp } from "./format.js";
import { address as jobAddress, badge, time } from "./jobs.js";
import { act, address, differences, money } from "./specs.js";

const STATES = { running: "Resume", paused: "Pause", cancelled: "Cancel" };

/** A unified diff, a line each, coloured by its first sign. */
function patch(diff) {
  return h("pre", { class: "patch" }, diff.split("\n").map((line) => h("span", { class: /^(\+\+\+|---|@@)/.test(line) ? "soft" : line.startsWith("+") ? "new" : line.startsWith("-") ? "old" : "" }, `${line}\n`)));
}

export class Spec {
  constructor(name) {
    this.name = this.title = name;
    this.state = h("p");
    this.buttons = h("div", { class: "buttons" });
    this.note = h("p", { class: "trouble", role: "alert", hidden: true });
    this.written = h("pre");
    this.place = h("code");
    this.next = h("div", { class: "inside" });
    this.jobs = h("tbody");
    this.had = h("section", { class: "card", hidden: true },
      h("header", {}, h("h2", {}, "Jobs")),
      h("div", { class: "table" }, h("table", { class: "points" },
        h("thead", {}, h("tr", {}, [["Job"], ["Status"], ["Created", "n"], ["Time", "n"], ["Tokens", "n"], ["Model"]].map(([t, kind]) => h("th", { scope: "col", class: kind }, t)))),
        this.jobs)));
    this.element = h("div", { class: "page spec" },
      h("a", { class: "back", href: "#/specs" }, "← All specs"),
      h("div", { class: "head" }, h("div", {}, h("h1", {}, name), this.state), this.buttons),
      this.note,
      h("div", { class: "columns even" },
        h("section", { class: "card" }, h("header", {}, h("h2", {}, "Spec"), this.place), this.written),
        h("section", { class: "card" }, h("header", {}, h("h2", {}, "What comes next")), this.next)),
      this.had);
  }

  async refresh() {
    this.show(await data.spec(this.name));
  }

  show(spec) {
    const { job, change } = spec;
    const shown = JSON.stringify([job?.status, spec.desired, spec.step, change, spec.held, spec.waits]);
    if (shown !== this.shown) {
      this.shown = shown;
      this.state.replaceChildren(job ? badge(job.status) : h("span", { class: "status over" }, "no job"), h("span", { class: "soft" }, `wanted: ${spec.desired}`),
        ...(spec.base ? [h("a", { href: address(spec.base), class: "soft" }, `from ${spec.base} (${spec.checkpoint})`)] : []),
        ...(spec.total_steps ? [h("span", { class: "soft" }, `step ${number(spec.step)} of ${number(spec.total_steps)}, loss ${measure(spec.loss)}`)] : []));
      this.next.replaceChildren(...this.comes(spec));
    }
    text(this.written, spec.text);
    text(this.place, spec.source);
    const states = spec.fixed ? [] : Object.keys(STATES).filter((state) => state !== spec.desired);
    keyed(this.buttons, states, (state) => state, (state) => h("button", { type: "button", class: state === "cancelled" ? "danger" : "", onclick: () => this.edit(state) }, STATES[state]), () => {});
    this.had.hidden = !spec.jobs.length;
    keyed(this.jobs, spec.jobs, (each) => each.id,
      (each) => h("tr", {}, h("td", {}, h("a", { href: jobAddress(each.id) }, h("code", {}, each.id))), ["state", "n", "n", "n", "model"].map((kind) => h("td", { class: kind }))),
      (row, each) => {
        const [, status, created, took, tokens, model] = row.children;
        if (status.dataset.status !== each.status) {
          status.dataset.status = each.status;
          status.replaceChildren(badge(each.status));
        }
        text(created, ago(each.created_at));
        created.title = timestamp(each.created_at);
        text(took, time(each));
        text(tokens, number(each.trained_tokens));
        text(model, each.fine_tuned_model ?? "");
      });
  }

  comes({ change, held, waits, job, fixed }) {
    if (!change) return [h("p", {}, "Nothing is known of it yet.")];
    return [
      h("p", { class: "verdict" }, act(change), h("span", {}, [change.reason, held].filter(Boolean).join("; "))),
      change.cost && h("p", { class: "soft" }, `About ${money({ [change.cost.currency]: change.cost.amount })}, for about ${number(change.cost.tokens)} tokens.`),
      waits && h("p", {}, h("a", { href: "#/specs" }, "It waits for approval.")),
      ...change.notes.map((note) => h("p", { class: "soft" }, note)),
      change.diff.length ? differences(change.diff) : job && h("p", { class: "soft" }, "Its job is of this revision: nothing differs."),
      job && h("p", {}, h("a", { href: jobAddress(job.id) }, "Curves and events of its job")),
      fixed && h("p", { class: "soft" }, `Not edited here. ${fixed}`),
    ].filter(Boolean);
  }

  /** Show what would be written, and write it once it is agreed to. */
  async edit(state) {
    this.note.hidden = true;
    try {
      const { diff } = await data.edit(this.name, state, false);
      if (!(await confirm(`${STATES[state]} ${this.name}?`, "Write it", { detail: diff ? patch(diff) : "The file says so already.", danger: state === "cancelled" }))) return;
      await data.edit(this.name, state, true);
      await this.reload();
    } catch (error) {
      text(this.note, error.message);
      this.note.hidden = false;
    }
  }

  key(key) {
    if (key !== "Escape") return false;
    location.hash = "#/specs";
    return true;
  }

  close() {}
}
