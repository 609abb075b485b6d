"""What an import came to: a table for people, a document for programs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from reconciler.adopt.importing import Result
from reconciler.report.escape import clean
from reconciler.report.layout import Page, Row, table
from reconciler.report.style import Span, status_style
from reconciler.report.words import revision

_HEAD = ("NAME", "STATUS", "REVISION", "SPEC", "JOB")


def imported_json(result: Result) -> dict[str, Any]:
    """Return the document of ``import --format json``."""
    return {
        "imported": [
            {
                "name": each.name,
                "job_id": each.job_id,
                "status": each.status,
                "revision": each.revision,
                "file": str(each.file),
                "left_out": list(each.left_out),
            }
            for each in result.imported
        ],
        "skipped": [{"job_id": i, "reason": why} for i, why in result.skipped.items()],
        "known": [{"job_id": i, "reason": why} for i, why in result.known.items()],
        "missing_files": [{"file_id": i, "reason": why} for i, why in result.missing.items()],
        "foreign": result.foreign,
    }


def render_imported(result: Result, *, color: bool, width: int | None) -> str:
    """Render a row for every spec written, then what was not as asked."""
    page = Page(color=color, width=width)
    if result.imported:
        rows: list[Row] = []
        for each in result.imported:
            cells: list[Span] = [
                (clean(each.name), "title"),
                (clean(each.status), status_style(each.status)),
                (revision(each.revision, 1), "dim"),
                (clean(str(each.file)), ""),
                (clean(each.job_id), "dim"),
            ]
            left_out = clean(f"left out: {', '.join(each.left_out)}")
            rows.append(Row(cells, [[(left_out, "warn")]] if each.left_out else []))
        table(page, _HEAD, rows, spill=3)
        page.blank()
    for words, style in _rest(result):
        page.line((clean(words), style))
    count = len(result.imported)
    page.line((f"{count} {'spec' if count == 1 else 'specs'} written.", "title"))
    return str(page)


def _rest(result: Result) -> Iterator[Span]:
    for job_id, why in result.skipped.items():
        yield f"skipped {job_id}: {why}", "bad"
    for job_id, why in result.known.items():
        yield f"{job_id}: {why} already", "dim"
    for file_id, why in result.missing.items():
        yield f"{file_id} was not saved, so its specs keep the id: {why}", "warn"
    if result.foreign:
        yield f"{result.foreign} of other owners passed over; see --take-over", "dim"
