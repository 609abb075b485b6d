// The row that is chosen in a table: j and k move it, Enter opens it.

export class Rows {
  /** Rows of `body` carry what they stand for in `data-id`; `address` says where that is shown. */
  constructor(body, address) {
    this.body = body;
    this.address = address;
    this.chosen = null;
  }

  key(key) {
    const rows = [...this.body.children];
    const at = rows.findIndex((row) => row.dataset.id === this.chosen);
    if (key === "j" || key === "k") {
      const next = rows[at < 0 ? 0 : Math.min(Math.max(0, at + (key === "j" ? 1 : -1)), rows.length - 1)];
      if (next) this.choose(next);
    } else if (key === "Enter" && at >= 0) location.hash = this.address(this.chosen);
    else return false;
    return true;
  }

  choose(row) {
    this.chosen = row.dataset.id;
    this.mark();
    row.querySelector("a").focus({ preventScroll: true });
    row.scrollIntoView({ block: "nearest" });
  }

  mark() {
    for (const row of this.body.children) row.classList.toggle("chosen", row.dataset.id === this.chosen);
  }

  /** What a click anywhere on a row does, unless text is being selected. */
  opens(id) {
    return (event) => {
      if (!event.target.closest("a, button") && !getSelection().toString()) location.hash = this.address(id);
    };
  }
}
