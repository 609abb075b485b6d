"""What was looked at and found: a table for people, a document for programs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from reconciler.observe.probe import Check
from reconciler.report.escape import clean
from reconciler.report.layout import Page, Row, table

_STYLES = {"ok": "good", "warning": "warn", "failed": "alarm", "unknown": "dim"}


def doctor_json(checks: Sequence[Check]) -> dict[str, Any]:
    """Return the document of ``doctor --format json``."""
    return {"checks": [asdict(check) for check in checks], "failed": _count(checks)["failed"]}


def render_doctor(checks: Sequence[Check], *, color: bool, width: int | None) -> str:
    """Render a row for each check, and below it what to do."""
    page = Page(color=color, width=width)
    rows = [
        Row(
            [(check.name, "title"), (check.state, _STYLES[check.state]), (clean(check.found), "")],
            [[("-> ", "dim"), (clean(check.hint), "")]] if check.hint else [],
        )
        for check in checks
    ]
    table(page, ("CHECK", "STATE", "FOUND"), rows, spill=1)
    count = _count(checks)
    page.blank()
    words = ", ".join(f"{count[state]} {state}" for state in _STYLES if count[state])
    page.line((f"{words}.", "alarm" if count["failed"] else "title"))
    return str(page)


def _count(checks: Sequence[Check]) -> Counter[str]:
    return Counter(check.state for check in checks)
