"""Where each job stands: a table for people, a document for programs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from reconciler.report.escape import clean
from reconciler.report.figures import duration
from reconciler.report.layout import Page, Row, table, table_sizes
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
    wide = [Row([*_cells(row, now), *_ids(row)], _error(row)) for row in rows]
    if page.width is None or sum(table_sizes(_WIDE, wide)) + 2 * (len(_WIDE) - 1) <= page.width:
        table(page, _WIDE, wide)
    else:
        table(page, _NARROW, [Row(_cells(row, now), [*_ids_below(row), *_error(row)]) for row in rows])
    page.blank()
    page.line((_conclusion(rows), "title"))
    return str(page)


_NARROW = ("NAME", "STATUS", "WANTED", "DONE", "REVISION", "LEFT")
_WIDE = (*_NARROW, "JOB", "MODEL")


def _cells(row: StatusRow, now: float) -> list[Span]:
    left = duration(row.estimated_finish - now) if row.estimated_finish and not row.fine_tuned_model else ""
    return [
        (clean(row.name), "title"),
        (clean(row.status), status_style(row.status)) if row.status else ("no job", "dim"),
        (clean(row.desired), "") if row.desired else ("no spec", "warn"),
        ("yes", "good") if row.converged else ("no", "warn"),
        (clean(revision(row.revision, row.attempt)), "dim"),
        (left, ""),
    ]


def _ids(row: StatusRow) -> list[Span]:
    return [(clean(row.job_id or ""), "dim"), (clean(row.fine_tuned_model or ""), "good")]


def _ids_below(row: StatusRow) -> list[list[Span]]:
    return [[(label, "dim"), span] for label, span in zip(("job    ", "model  "), _ids(row), strict=True) if span[0]]


def _error(row: StatusRow) -> list[list[Span]]:
    return [[("error  ", "dim"), (clean(row.error), "bad")]] if row.error else []


def _conclusion(rows: Sequence[StatusRow]) -> str:
    """Return ``12 specs: 9 succeeded, 2 running, 1 not created; 9 converged.``"""
    counts = Counter(clean(row.status) if row.status else "not created" for row in rows)
    said = ", ".join(f"{count} {status}" for status, count in sorted(counts.items(), key=lambda c: (-c[1], c[0])))
    converged = sum(row.converged for row in rows)
    return f"{len(rows)} {'spec' if len(rows) == 1 else 'specs'}: {said}; {converged} converged."
