"""Which columns fit, and what stands in them: the least important go first, and no line is ever folded. Pure."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate

from reconciler.report.escape import clean
from reconciler.report.figures import duration, number, sparkline
from reconciler.report.layout import cells, pad, widest
from reconciler.report.style import Span, status_style
from reconciler.report.words import money
from reconciler.tui.rows import NO_JOB, TO_APPROVE, Row, Steps

_GLYPHS = {
    "succeeded": "✓",
    "failed": "✗",
    "blocked": "!",
    TO_APPROVE: "?",
    "running": "●",
    "to start": "+",
    "paused": "‖",
    "on hold": "‖",
    "cancelled": "⊘",
    NO_JOB: " ",
}
_STYLES = {
    "blocked": "alarm",
    TO_APPROVE: "warn",
    "to start": "good",
    "waits": "calm",
    "on hold": "calm",
    NO_JOB: "dim",
}
_SHORT = {"validating_files": "validating"}
_GAP = 2
_CURVE = 8
_LEAST_NOTE = 18
_LONGEST = 200
"""Characters of a note that are looked at: no line is longer."""


@dataclass(frozen=True, slots=True)
class Told:
    """What was said last of a spec: when, in Unix seconds, and the words."""

    at: float
    words: str


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known beside a row: steps by job, what was said last by name, and the time in Unix seconds."""

    steps: Mapping[str, Steps]
    told: Mapping[str, Told]
    now: float

    def of(self, row: Row) -> Steps | None:
        """Return how far a row's job is."""
        return self.steps.get(row.job.id) if row.job else None


@dataclass(frozen=True, slots=True)
class _Column:
    """``need`` 0 is always there; of the others the highest goes first. ``least`` and ``most`` are in cells."""

    title: str
    need: int
    least: int
    most: int
    cell: Callable[[Row, Facts], Span]
    right: bool = False


def _name(row: Row, _: Facts) -> Span:
    return clean(row.name, _LONGEST), "title"


def _wanted(row: Row, _: Facts) -> Span:
    return (row.spec.state, "") if row.spec else ("no spec", "warn")


def status_span(status: str) -> Span:
    """Return a status as a glyph and a word, coloured."""
    word = clean(_SHORT.get(status, status), 40)
    return f"{_GLYPHS.get(status, '○')} {word}", _STYLES.get(status) or status_style(status)


def _step(row: Row, facts: Facts) -> Span:
    steps = facts.of(row)
    if steps is None or steps.step is None:
        return "", ""
    step = steps.total if row.status == "succeeded" and steps.total else steps.step  # the last were not asked for
    return (f"{step}/{steps.total}" if steps.total else str(step)), ""


def _loss(row: Row, facts: Facts) -> Span:
    steps = facts.of(row)
    return (number(steps.losses[-1][1]), "") if steps and steps.losses else ("", "")


def _curve(row: Row, facts: Facts) -> Span:
    steps = facts.of(row)
    return (sparkline([loss for _, loss in steps.losses], _CURVE), "calm") if steps else ("", "")


def _left(row: Row, facts: Facts) -> Span:
    if not row.active or row.job is None or not row.job.estimated_finish or row.job.status == "paused":
        return "", ""
    left = row.job.estimated_finish - facts.now
    return (duration(left), "") if left > 0 else ("soon", "dim")


def _cost(row: Row, facts: Facts) -> Span:
    cost = row.cost(facts.of(row))
    return (money(cost.amount, cost.currency), "") if cost else ("", "")


def _told(row: Row, facts: Facts) -> Span:
    told = facts.told.get(row.name)
    return (f"{clock(told.at)} {clean(told.words, _LONGEST)}", "dim") if told else ("", "")


_COLUMNS = (
    _Column("SPEC", 0, 4, 40, _name),
    _Column("STATUS", 0, 11, 18, lambda row, _: status_span(row.status)),
    _Column("WANTED", 6, 6, 9, _wanted),
    _Column("STEP", 1, 7, 15, _step, right=True),
    _Column("LOSS", 2, 6, 9, _loss, right=True),
    _Column("CURVE", 3, _CURVE, _CURVE, _curve),
    _Column("LEFT", 4, 7, 7, _left, right=True),
    _Column("COST", 5, 9, 16, _cost, right=True),
    _Column("LAST EVENT", 7, 34, 34, _told),
)


class Layout:
    """The columns that fit a width, measured on all rows so that nothing moves while one scrolls.

    What is left of the width is the note: why a row stands still, else what happened last.
    """

    def __init__(self, rows: Sequence[Row], facts: Facts, width: int) -> None:
        names = widest((clean(row.name, _LONGEST) for row in rows), max(12, min(40, width // 4)))
        sizes = {column.title: column.least for column in _COLUMNS}
        sizes["WANTED"] = max(6, widest({_wanted(row, facts)[0] for row in rows}))
        moving = [row for row in rows if row.job and row.job.id in facts.steps]
        sizes["SPEC"] = max(names, 4)
        sizes["STATUS"] = max(11, min(18, widest({status_span(row.status)[0] for row in rows})))
        for column in _COLUMNS[3:5]:
            sizes[column.title] = max(column.least, widest((column.cell(r, facts)[0] for r in moving), column.most))
        priced = any(row.price for row in rows)
        kept = [column for column in _COLUMNS if priced or column.title != "COST"]
        while kept[-1].need or any(column.need for column in kept):
            if sum(sizes[c.title] + _GAP for c in kept) + _LEAST_NOTE <= width:
                break
            kept.remove(max(kept, key=lambda column: column.need))
        self._kept = [(column, sizes[column.title]) for column in kept]
        self._titles = {column.title for column in kept}
        self.note = max(0, width - sum(size + _GAP for _, size in self._kept))

    def head(self) -> list[Span]:
        """Return the titles."""
        spans = [(fit(column.title, size, right=column.right) + " " * _GAP, "dim") for column, size in self._kept]
        return [*spans, (fit("NOTE", self.note), "dim")]

    def line(self, row: Row, facts: Facts) -> list[Span]:
        """Return one row, as wide as the page."""
        spans: list[Span] = []
        for column, size in self._kept:
            text, style = column.cell(row, facts)
            spans += [(fit(text, size, right=column.right), style), (" " * _GAP, "")]
        text, style = self._note(row, facts)
        return [*spans, (fit(text, self.note), style)]

    def _note(self, row: Row, facts: Facts) -> Span:
        words, style = clean(row.why, _LONGEST), "warn" if row.rank <= 1 else ""
        if "LEFT" not in self._titles and (left := _left(row, facts)[0]):
            return f"{left} left{'; ' if words else ''}{words}", style
        if not words and "LAST EVENT" not in self._titles:
            return _told(row, facts)
        return words, style


def fit(text: str, width: int, *, right: bool = False) -> str:
    """Return a text of exactly ``width`` cells: filled with spaces, or cut with an ellipsis."""
    size = cells(text)
    if size > width:
        if width <= 0:
            return ""
        ends = accumulate(map(cells, text))
        text = text[: next(index for index, end in enumerate(ends) if end > width - 1)] + "…"
        size = cells(text)
    return " " * (width - size) + text if right else pad(text, width)


def clock(seconds: float) -> str:
    """Return a time of day, where the reader is."""
    return time.strftime("%H:%M:%S", time.localtime(seconds))
