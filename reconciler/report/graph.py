"""Which spec starts from which: a tree for people, mermaid for pages, a document for programs."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from reconciler.report.escape import clean
from reconciler.report.layout import Page, Row, table, widest
from reconciler.report.style import Span, status_style
from reconciler.spec.desired import Desired, Upstream

_HEAD = ("NAME", "STARTS FROM", "STATE", "SPEC")
_PLAIN = re.compile(r"[^A-Za-z0-9 ._/()-]")


def graph_json(desired: Sequence[Desired]) -> dict[str, Any]:
    """Return the document of ``graph --format json``: an edge leads from a spec to one that starts from its model."""
    specs = sorted(desired, key=lambda spec: spec.name)
    return {
        "nodes": [
            {
                "name": spec.name,
                "model": spec.model if isinstance(spec.model, str) else None,
                "state": spec.state,
                "source": str(spec.source),
            }
            for spec in specs
        ],
        "edges": [
            {"from": spec.model.job, "to": spec.name, "checkpoint": spec.model.checkpoint}
            for spec in specs
            if isinstance(spec.model, Upstream)
        ],
    }


def render_graph(desired: Sequence[Desired], *, color: bool, width: int | None) -> str:
    """Render a tree: below each spec, those that start from its model. Places are left out where they do not fit."""
    page = Page(color=color, width=width)
    if not desired:
        page.line("No specs.")
        return str(page)
    rows = [_cells(spec, branch) for branch, spec in _tree(desired)]
    sizes = [widest([title, *(row[i][0] for row in rows)]) for i, title in enumerate(_HEAD)]
    columns = len(_HEAD)
    if page.width is not None and sum(sizes) + 2 * (columns - 1) > page.width:
        columns -= 1  # a place below each row would cut through the branches
    table(page, _HEAD[:columns], [Row(row[:columns]) for row in rows])
    return str(page)


def _tree(desired: Sequence[Desired]) -> Iterator[tuple[str, Desired]]:
    """Yield every spec below the one it starts from, with what is drawn before its name."""
    children: Mapping[str | None, list[Desired]] = defaultdict(list)
    for spec in sorted(desired, key=lambda spec: spec.name):
        children[spec.model.job if isinstance(spec.model, Upstream) else None].append(spec)
    waiting = [("", "", spec) for spec in reversed(children[None])]
    while waiting:
        branch, below, spec = waiting.pop()
        yield branch, spec
        inner = children.get(spec.name, [])
        for index, child in enumerate(reversed(inner)):
            last = index == 0
            waiting.append((f"{below}{'`-- ' if last else '|-- '}", f"{below}{'    ' if last else '|   '}", child))


def _cells(spec: Desired, branch: str) -> list[Span]:
    return [
        (branch + clean(spec.name), "title"),
        (clean(spec.model) if isinstance(spec.model, str) else _checkpoint(spec.model), ""),
        (spec.state, status_style(spec.state)),
        (clean(str(spec.source)), "dim"),
    ]


def _checkpoint(model: Upstream) -> str:
    words = {"last": "last model", "best": "best checkpoint"}
    return f"{words.get(str(model.checkpoint)) or f'step {model.checkpoint}'} of {clean(model.job)}"


def mermaid(desired: Sequence[Desired]) -> str:
    """Render a mermaid flowchart: base models are rounded, specs square, and an edge names its checkpoint."""
    specs = sorted(desired, key=lambda spec: spec.name)
    ids = {spec.name: f"s{index}" for index, spec in enumerate(specs)}
    bases = {
        model: f"m{index}" for index, model in enumerate(sorted({s.model for s in specs if isinstance(s.model, str)}))
    }
    lines = ["graph LR"]
    lines += [f'  {ids[spec.name]}["{_label(spec.name)}{_unless_running(spec)}"]' for spec in specs]
    lines += [f'  {base}(["{_label(model)}"])' for model, base in bases.items()]
    for spec in specs:
        if isinstance(spec.model, str):
            lines.append(f"  {bases[spec.model]} --> {ids[spec.name]}")
        else:
            step = spec.model.checkpoint
            word = step if isinstance(step, str) else f"step {step}"
            lines.append(f"  {ids[spec.model.job]} -->|{word}| {ids[spec.name]}")
    return "\n".join(lines) + "\n"


def _unless_running(spec: Desired) -> str:
    return "" if spec.state == "running" else f" ({spec.state})"


def _label(text: str) -> str:
    """Return text that mermaid shows as it is, also inside of markdown."""
    return _PLAIN.sub(lambda found: f"#{ord(found[0])};", clean(text))
