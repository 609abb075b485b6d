"""What was changed outside the specs: a table for people, a document for programs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from reconciler.plan.drift import Drift
from reconciler.report.escape import clean
from reconciler.report.layout import Page, Row, table
from reconciler.report.style import Span, status_style

_HEAD = ("NAME", "WANTED", "STATUS", "JOB")


def drift_json(drift: Sequence[Drift]) -> dict[str, Any]:
    """Return the document of ``drift --format json``."""
    return {"drift": [asdict(each) for each in drift], "count": len(drift)}


def render_drift(drift: Sequence[Drift], *, color: bool, width: int | None) -> str:
    """Render a row for every job that differs, with the reason below it."""
    page = Page(color=color, width=width)
    if drift:
        table(page, _HEAD, [Row(_cells(each), [[(clean(each.reason), "")]]) for each in drift])
        page.blank()
    page.line((_conclusion(len(drift)), "title"))
    return str(page)


def _cells(drift: Drift) -> list[Span]:
    return [
        (clean(drift.name), "title") if drift.name else ("unreadable", "warn"),
        (drift.desired or "", ""),
        (clean(drift.status), status_style(drift.status)) if drift.status else ("", ""),
        (clean(drift.job_id), "dim"),
    ]


def _conclusion(count: int) -> str:
    if not count:
        return "No drift."
    return (
        f"{count} {'job differs' if count == 1 else 'jobs differ'} from the specs. What apply would do: reconciler plan"
    )
