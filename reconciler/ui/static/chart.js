// Curves over steps, drawn by uPlot in the palette's colours, with checkpoints marked.

import { h, text } from "./dom.js";
import { measure, number } from "./format.js";

const HEIGHT = 230;
/** How many digits tell a tick from the next. */
const decimals = (step) => Math.min(6, (String(step).split(".")[1] ?? "").length);
const color = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

const PAIRS = [
  { title: "Loss", train: "train_loss", valid: "valid_loss", full: "full_valid_loss" },
  { title: "Accuracy", train: "train_mean_token_accuracy", valid: "valid_mean_token_accuracy", full: "full_valid_mean_token_accuracy" },
  { title: "Reward", train: "train_reward_mean", valid: "valid_reward_mean", full: "full_valid_reward_mean" },
];

/** The charts that a job's numbers allow. */
export const chartsFor = (curves) => PAIRS.filter((pair) => (curves[pair.train] ?? curves[pair.valid])?.some((v) => v !== null));

export class Chart {
  constructor(pair) {
    this.pair = pair;
    this.reading = { step: h("span"), train: h("b"), valid: h("b") };
    this.place = h("div", { class: "plot" });
    this.summary = h("p", { class: "unseen" });
    this.element = h("section", { class: "card chart", "aria-label": pair.title },
      h("header", {},
        h("h2", {}, pair.title),
        h("ul", { class: "key" },
          h("li", { class: "step" }, this.reading.step),
          h("li", {}, h("i", { class: "train" }), "train ", this.reading.train),
          this.valid = h("li", {}, h("i", { class: "valid" }), "validation ", this.reading.valid))),
      this.place, this.summary);
    this.watcher = new ResizeObserver(() => this.plot?.setSize({ width: this.place.clientWidth, height: HEIGHT }));
    this.watcher.observe(this.place);
  }

  show(curves, checkpoints) {
    const { train, valid, full } = this.pair;
    const gaps = curves.step.map(() => null);
    this.columns = [curves.step, curves[train] ?? gaps, curves[valid] ?? gaps];
    this.marks = checkpoints.filter((c) => c.step !== null).map((c) => ({ step: c.step, value: c.metrics[full] ?? c.metrics[valid] ?? null }));
    this.valid.hidden = !this.columns[2].some((v) => v !== null);
    if (this.plot) this.plot.setData(this.columns);
    else this.draw();
    if (this.plot.cursor.idx === null || this.plot.cursor.idx === undefined) this.read(null);
    this.describe();
  }

  /** Draw anew, in the colours of the moment. */
  draw() {
    this.plot?.destroy();
    const axis = { stroke: color("--soft"), grid: { stroke: color("--line"), width: 1 }, ticks: { show: false }, font: "12px system-ui, sans-serif" };
    const line = (name) => ({ stroke: color(name), width: 2, spanGaps: true, points: { show: (_, __, first, last) => last - first < 2 } });
    this.plot = new uPlot({
      width: this.place.clientWidth || 300,
      height: HEIGHT,
      legend: { show: false },
      scales: { x: { time: false } },
      cursor: { y: false, points: { size: 7 } },
      padding: [10, 12, 0, 0],
      axes: [
        { ...axis, grid: { show: false }, size: 28, values: (_, ticks) => ticks.map((t) => (Number.isInteger(t) ? number(t) : "")) },
        { ...axis, size: 46, values: (_, ticks, __, ___, step) => ticks.map((t) => t.toFixed(decimals(step))) },
      ],
      series: [{}, line("--s1"), line("--s8")],
      hooks: { draw: [() => this.mark()], setCursor: [(plot) => this.read(plot.cursor.idx)] },
    }, this.columns, this.place);
  }

  mark() {
    const { ctx, bbox } = this.plot;
    const ratio = devicePixelRatio;
    ctx.save();
    ctx.strokeStyle = color("--soft");
    ctx.fillStyle = color("--s8");
    ctx.lineWidth = ratio;
    for (const { step, value } of this.marks) {
      const x = Math.round(this.plot.valToPos(step, "x", true));
      if (x < bbox.left || x > bbox.left + bbox.width) continue;
      ctx.setLineDash([3 * ratio, 4 * ratio]);
      ctx.beginPath();
      ctx.moveTo(x, bbox.top);
      ctx.lineTo(x, bbox.top + bbox.height);
      ctx.stroke();
      const y = value === null ? bbox.top : this.plot.valToPos(value, "y", true);
      if (value === null || y < bbox.top || y > bbox.top + bbox.height) continue;
      ctx.setLineDash([]);
      ctx.beginPath();
      ctx.arc(x, y, 4 * ratio, 0, 2 * Math.PI);
      ctx.fill();
    }
    ctx.restore();
  }

  /** Show the numbers at a step; without one, the newest. */
  read(index) {
    const last = (column) => column.findLast((v) => v !== null);
    const [steps, train, valid] = this.columns;
    const here = index !== null && index !== undefined;
    text(this.reading.step, steps.length ? `step ${number(here ? steps[index] : steps.at(-1))}` : "");
    text(this.reading.train, measure(here ? train[index] : last(train)));
    text(this.reading.valid, measure(here ? valid[index] : last(valid)));
  }

  describe() {
    const ends = (column) => column.filter((v) => v !== null);
    const said = [["training", this.columns[1]], ["validation", this.columns[2]]]
      .map(([name, column]) => [name, ends(column)])
      .filter(([, values]) => values.length)
      .map(([name, values]) => `${name} from ${measure(values[0])} to ${measure(values.at(-1))}`);
    text(this.summary, `${this.pair.title} over ${this.columns[0].length} steps: ${said.join(", ")}.`);
  }

  close() {
    this.watcher.disconnect();
    this.plot?.destroy();
  }
}
