// Which spec starts from which other's model: a picture of the chains, and the specs that stand alone.

import { data } from "./data.js";
import { h, svg } from "./dom.js";
import { tone, words } from "./format.js";
import { address } from "./specs.js";

const [WIDTH, HEIGHT, ACROSS, DOWN] = [220, 48, 280, 64];

export class Graph {
  constructor() {
    this.title = "Graph";
    this.place = h("div", { class: "inside table" });
    this.alone = h("p", { class: "count" });
    this.element = h("div", { class: "page" },
      h("section", { class: "card" }, h("header", {}, h("h2", {}, "Chains")), this.place), this.alone);
  }

  async refresh() {
    const { specs = [] } = await data.overview();
    const shown = JSON.stringify(specs.map((spec) => [spec.name, spec.base, spec.checkpoint, spec.desired, spec.job?.status]));
    if (shown === this.shown) return;
    this.shown = shown;
    const bases = new Set(specs.map((spec) => spec.base).filter(Boolean));
    const chained = specs.filter((spec) => spec.base || bases.has(spec.name));
    this.place.replaceChildren(chained.length ? picture(chained) : h("p", { class: "empty" }, "No spec starts from another's model."));
    const alone = specs.length - chained.length;
    this.alone.textContent = alone ? `${alone} ${alone === 1 ? "spec starts" : "specs start"} from a base model and ${alone === 1 ? "leads" : "lead"} to no other.` : "";
  }

  key() {
    return false;
  }

  close() {}
}

/** Trees from left to right: a spec has one model at most that it starts from. */
function picture(specs) {
  const below = Map.groupBy(specs, (spec) => spec.base ?? "");
  const places = new Map();
  let rows = 0;
  const put = (spec, depth) => {
    const inner = below.get(spec.name) ?? [];
    const first = rows;
    for (const child of inner) put(child, depth + 1);
    if (!inner.length) rows += 1;
    places.set(spec.name, { spec, x: depth * ACROSS, y: ((first + rows - 1) / 2) * DOWN });
  };
  for (const root of below.get("") ?? []) put(root, 0);
  const placed = [...places.values()];
  const width = Math.max(...placed.map(({ x }) => x)) + WIDTH + 2;
  const height = rows * DOWN - (DOWN - HEIGHT) + 2;
  const edges = placed.filter(({ spec }) => places.has(spec.base)).map(({ spec, x, y }) => {
    const from = places.get(spec.base);
    const [x1, y1, y2, half] = [from.x + WIDTH, from.y + HEIGHT / 2, y + HEIGHT / 2, (x - from.x - WIDTH) / 2];
    return svg("path", { class: "edge", d: `M${x1} ${y1}C${x1 + half} ${y1} ${x1 + half} ${y2} ${x} ${y2}` },
      svg("title", {}, `${spec.name} starts from the ${spec.checkpoint === "last" ? "last model" : spec.checkpoint === "best" ? "best checkpoint" : `step ${spec.checkpoint}`} of ${spec.base}`));
  });
  return svg("svg", { class: "graph", role: "group", "aria-label": "Chains of specs", viewBox: `-1 -1 ${width} ${height}`, width, height }, ...edges, ...placed.map(node));
}

const cut = (words, most) => (words.length > most ? `${words.slice(0, most - 1)}…` : words);

function node({ spec, x, y }) {
  const status = spec.job?.status;
  return svg("a", { href: address(spec.name), class: `node ${status ? tone(status) : "over"}`, transform: `translate(${x} ${y})` },
    svg("title", {}, spec.name),
    svg("rect", { width: WIDTH, height: HEIGHT, rx: 8 }),
    svg("circle", { cx: 16, cy: 18, r: 4.5 }),
    svg("text", { x: 30, y: 22 }, cut(spec.name, 24)),
    svg("text", { x: 30, y: 39, class: "soft" }, cut(`${status ? words(status) : "no job"}${spec.desired === "running" ? "" : `, wanted ${spec.desired}`}`, 28)));
}
