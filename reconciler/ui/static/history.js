// What the watch said and did, and why, newest first.

import { data } from "./data.js";
import { h, keyed } from "./dom.js";
import { clock, timestamp } from "./format.js";
import { address } from "./specs.js";

export class History {
  constructor() {
    this.title = "History";
    this.search = h("input", { type: "search", placeholder: "Filter", "aria-label": "Filter", oninput: () => this.show() });
    this.list = h("ol", { class: "events tall", role: "log", "aria-label": "History" });
    this.lines = [];
    this.element = h("div", { class: "page" },
      h("h1", { class: "unseen" }, "History"),
      h("div", { class: "filters" }, this.search), h("p", { class: "count" }, "Since this watch was started; what came before stands in git and in the jobs."),
      h("section", { class: "card" }, this.list));
  }

  async refresh() {
    this.lines = (await data.history()).lines;
    this.show();
  }

  show() {
    const wanted = this.search.value.trim().toLowerCase();
    const shown = this.lines.filter((line) => `${line.message} ${line.spec ?? ""} ${line.job ?? ""}`.toLowerCase().includes(wanted));
    keyed(this.list, shown, (line) => line.number, (line) => h("li", { class: line.level === "error" ? "bad" : line.level === "warning" ? "held" : "" },
      h("time", { title: timestamp(line.at) }, clock(line.at)),
      h("span", {}, line.spec ? h("a", { href: address(line.spec) }, line.message) : line.message)), () => {});
  }

  key(key) {
    if (key === "/") this.search.select();
    else if (key === "Escape" && this.search.value) {
      this.search.value = "";
      this.show();
    } else return false;
    return true;
  }

  close() {}
}
