"""Where each job stands: a table for people, a document for programs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from reconciler.api.types import TERMINAL
from reconciler.report.escape import clean
from reconciler.report.figures import duration
from reconciler.report.layout import Page, Row, table
from reconciler.report.style import Span, status_style
from reconciler.report.words import revision


@dataclass(frozen=True, slots=True)
class StatusRow:
    """One spec, or one job that has lost its spec, and where it stands.

    ``status`` is the server's word, None while there is no job; ``desired`` is the spec's state, None where the spec
    is gone. ``estimated_finish`` is in Unix seconds.
    """

    name: str
    job_id: str | None
    status: str | None
    desired: str | None
    revision: str | None
    attempt: int | None
    fine_tuned_model: str | None
    converged: bool
    estimated_finish: int | None = None
    trained_tokens: int | None = None
    error: str | None = None


def status_json(rows: Sequence[StatusRow]) -> dict[str, Any]:
    """Return the document of ``status --format json``."""
    return {"jobs": [asdict(row) for row in rows]}


def render_status(rows: Sequence[StatusRow], *, now: float, color: bool, width: int | None) -> str:
    """Render the rows as a table; where it is too wide, job and model go below each row. Errors always do.

    ``now`` is in Unix seconds: finishing times are shown as what is left.
    """
    page = Page(color=color, width=width)
    if not rows:
        page.line("No jobs.")
        return str(page)
    table(page, _HEAD, [Row(_cells(row, now), _error(row)) for row in rows], spill=3)
    page.blank()
    page.line((_conclusion(rows), "title"))
    return str(page)


_HEAD = ("NAME", "STATUS", "WANTED", "CONVERGED", "REVISION", "LEFT", "JOB", "MODEL")


def _cells(row: StatusRow, now: float) -> list[Span]:
    left = duration(row.estimated_finish - now) if row.estimated_finish and row.status not in TERMINAL else ""
    return [
        (clean(row.name), "title"),
        (clean(row.status), status_style(row.status)) if row.status else ("no job", "dim"),
        (clean(row.desired), "") if row.desired else ("no spec", "warn"),
        ("yes", "good") if row.converged else ("no", "warn"),
        (clean(revision(row.revision, row.attempt)), "dim"),
        (left, ""),
        (clean(row.job_id or ""), "dim"),
        (clean(row.fine_tuned_model or ""), "good"),
    ]


def _error(row: StatusRow) -> list[list[Span]]:
    return [[("error  ", "dim"), (clean(row.error), "bad")]] if row.error else []


def _conclusion(rows: Sequence[StatusRow]) -> str:
    """Return ``12 in all: 9 succeeded, 2 running, 1 no job; 9 converged.``"""
    counts = Counter(clean(row.status) if row.status else "no job" for row in rows)
    said = ", ".join(f"{count} {status}" for status, count in sorted(counts.items(), key=lambda c: (-c[1], c[0])))
    converged = sum(row.converged for row in rows)
    return f"{len(rows)} in all: {said}; {converged} converged."
