"""What can go, and what went: a table for people, a document for programs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from reconciler.apply.collect import Collected, Heap, Result
from reconciler.plan.garbage import Garbage
from reconciler.report.escape import clean
from reconciler.report.fault import messages
from reconciler.report.figures import size, timestamp
from reconciler.report.layout import Page, Row, table
from reconciler.report.plan_json import error_json

_HEAD = ("KIND", "NAME", "SIZE", "CREATED", "ID")
_LOOKS: Mapping[Result, str] = {"deleted": "good", "kept": "warn", "failed": "alarm", "skipped": "warn"}


def garbage_json(heap: Heap, ends: Sequence[Collected] | None) -> dict[str, Any]:
    """Return the document of ``gc --format json``. ``ends`` is None where nothing was to be deleted."""
    found = {end.item: end for end in ends or ()}
    return {
        "garbage": [_item_json(item, found.get(item)) for item in heap.items],
        "bytes": heap.size,
        "approved": ends is not None,
    }


def _item_json(item: Garbage, end: Collected | None) -> dict[str, Any]:
    return {
        "kind": item.kind,
        "id": item.id,
        "name": item.name,
        "bytes": item.size,
        "created_at": item.created_at,
        "job_id": item.job_id,
        "reason": item.reason,
        "outcome": end.result if end else "listed",
        "detail": end.detail if end else "",
        "error": error_json(end.error) if end and end.error else None,
    }


def render_garbage(heap: Heap, *, color: bool, width: int | None) -> str:
    """Render a row for all that can go, why below it, and what it comes to."""
    page = Page(color=color, width=width)
    if not heap.items:
        page.line(("Nothing can go: all that is ours is needed, or too new to tell.", "title"))
        return str(page)
    rows = [
        Row(
            [
                (item.kind, "dim"),
                (clean(item.name), "title"),
                (size(item.size) if item.size is not None else "-", ""),
                (timestamp(item.created_at), "dim"),
                (clean(item.id), "dim"),
            ],
            [[(clean(item.reason), "")]],
        )
        for item in heap.items
    ]
    table(page, _HEAD, rows, right={2}, spill=2)
    page.blank()
    page.line((f"{_counted(heap.items)} can go ({size(heap.size)}).", "title"))
    return str(page)


def _counted(items: Sequence[Garbage]) -> str:
    counts = Counter(item.kind for item in items)
    words = {"file": ("data file", "data files"), "model": ("checkpoint", "checkpoints")}
    return " and ".join(f"{counts[k]} {words[k][counts[k] > 1]}" for k in ("file", "model") if counts[k])


def render_collected(ends: Sequence[Collected], *, color: bool, width: int | None) -> str:
    """Render what was not deleted and why, and last what was."""
    page = Page(color=color, width=width)
    for end in ends:
        if end.result == "deleted":
            continue
        page.line("  ", (end.result, _LOOKS[end.result]), f"  {clean(end.item.id)}  {clean(end.detail)}", hang=4)
        for line in messages(end.error) if end.error else ():
            page.line("    ", (line, "bad"), hang=4)
    counts = Counter(end.result for end in ends)
    said = ", ".join(f"{counts[result]} {result}" for result in _LOOKS if counts[result])
    freed = sum(end.item.size or 0 for end in ends if end.result == "deleted")
    page.line((f"Collected: {said} ({size(freed)} freed).", "title"))
    return str(page)
