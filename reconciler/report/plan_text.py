"""A plan as a person reads it in a terminal or a log."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from reconciler.plan.model import Action, Change, Difference, Plan
from reconciler.report.access import put_access
from reconciler.report.escape import clean, exact
from reconciler.report.layout import Page, cells, pad, widest
from reconciler.report.style import LOOKS, Span
from reconciler.report.words import conclusion, estimate, matching, revision, rows_changed, sides

_LONGEST_NAME = 32
_NARROWEST_REASON = 60
_NAMES_LISTED = 5


@dataclass(frozen=True, slots=True)
class Columns:
    """Where the columns of changes stand. ``beside``: reasons fit to the right; else they go below."""

    name: int
    action: int
    revision: int
    beside: bool

    @classmethod
    def of(cls, changes: Sequence[Change], width: int | None) -> Columns:
        """Measure changes for a page of a width, None for one without end."""
        name = widest((clean(c.name) for c in changes), _LONGEST_NAME)
        action = widest(c.action.value for c in changes)
        digest = widest(clean(revision(c.revision, c.attempt)) for c in changes)
        columns = cls(name, action, digest, beside=True)
        return cls(name, action, digest, beside=width is None or width - columns.reason >= _NARROWEST_REASON)

    @property
    def reason(self) -> int:
        """The cells left of a reason that stands beside its name."""
        return 4 + self.name + 2 + self.action + 2 + self.revision + 2

    @property
    def detail(self) -> int:
        """The cells left of what stands below a change."""
        return self.reason if self.beside else 6


def render_plan(plan: Plan, *, color: bool, width: int | None, verbose: bool = False) -> str:
    """Render a plan, ending in a line that sums it up.

    ``width`` is in terminal cells, None where nothing may be folded. Unless ``verbose``, jobs that are as they
    should be become one line, with what is worth noting about them.
    """
    page = Page(color=color, width=width)
    quiet = [] if verbose else [c for c in plan.changes if not plan.shows(c)]
    shown = plan.changes if verbose else [c for c in plan.changes if plan.shows(c)]
    if plan.changes:
        where: list[Span | str] = [(" on ", "dim"), (clean(plan.server), "title")]
        where = [(" against the base branch; no server was asked", "dim")] if plan.compared else where
        page.line(("Plan for ", "dim"), (clean(plan.owner), "title"), *where)
        page.blank()
    columns = Columns.of(shown, page.width)
    for change in shown:
        put_change(page, change, columns)
    page.blank()
    if shown and quiet:
        page.line("    ", (matching(len(quiet)), "dim"))
    _put_notes(page, quiet)
    put_access(page, plan.access)
    page.blank()
    for warning in plan.warnings:
        page.line(("Warning: ", "warn"), clean(warning), hang=9)
    for reason in plan.unsafe:
        page.line(("Unsafe: ", "alarm"), clean(reason), hang=8)
    page.blank()
    page.line((conclusion(plan), "title"))
    return str(page)


def heading(change: Change, columns: Columns) -> list[Span]:
    """Return the first columns of a change: symbol, name, action and revision, padded."""
    look = LOOKS[change.action]
    return [
        (f"  {look.symbol} ", look.style),
        (pad(clean(change.name), columns.name) + "  ", "" if change.action is Action.NONE else "title"),
        (pad(change.action.value, columns.action) + "  ", look.style),
        (pad(clean(revision(change.revision, change.attempt)), columns.revision) + "  ", "dim"),
    ]


def put_change(page: Page, change: Change, columns: Columns) -> None:
    """Put a change on a page: its columns, the reason, and below them what it sends and what differs."""
    why: list[Span] = [(clean(change.reason), "")]
    if change.job_id and not _names(change.reason, change.job_id):
        why.append((f"  {clean(change.job_id)}", "dim"))
    if columns.beside:
        page.line(*heading(change, columns), *why, hang=columns.reason)
    else:
        page.line(*heading(change, columns), hang=4)
        page.line("    ", *why, hang=4)
    facts: list[tuple[str, str | Difference]] = [
        *_facts(change),
        *((exact(d.field), d) for d in change.diff),
        *(("note", note) for note in change.notes),
    ]
    label = widest((name for name, _ in facts), 40)
    for name, value in facts:
        left: list[Span | str] = [" " * columns.detail, (pad(name, label) + "  ", "dim")]
        hang = columns.detail + label + 2
        if isinstance(value, Difference):
            _put_difference(page, value, left, hang)
        else:
            page.line(*left, clean(value), hang=hang)
    if facts:
        page.blank()


def _names(reason: str, job: str) -> bool:
    """Whether a reason says this very id: part of a longer one is another job's."""
    return re.search(rf"(?<![\w-]){re.escape(job)}(?![\w-])", reason) is not None


def _facts(change: Change) -> Iterator[tuple[str, str]]:
    if change.model and change.action is Action.CREATE and all(d.field != "model" for d in change.diff):
        yield "model", change.model
    if change.cost:
        yield "cost", f"{estimate(change.cost)}, for about {change.cost.tokens:,} tokens"
    if change.requires:
        yield "after", "its successor exists" if change.requires == change.name else f"{change.requires} has its job"


def _put_difference(page: Page, difference: Difference, left: list[Span | str], hang: int) -> None:
    old, new = sides(difference)
    before: Span = (old, "dim" if difference.old is None else "bad")
    after: Span = (new, "dim" if difference.new is None else "good")
    rows = rows_changed(difference)
    arrow: Span = ("-> ", "dim")
    if page.width is None or hang + cells(old) + 4 + cells(new) + len(rows) <= page.width:
        page.line(*left, before, " ", arrow, after, rows)
    else:
        page.line(*left, before, hang=hang)
        page.line(" " * hang, arrow, after, rows, hang=hang + 3)


def _put_notes(page: Page, quiet: Sequence[Change]) -> None:
    """Say what is worth noting of changes that are not shown: each note once, with the names it is about."""
    names: dict[str, list[str]] = defaultdict(list)
    for change in quiet:
        for note in change.notes:
            names[note].append(clean(change.name))
    for note, about in names.items():
        more = len(about) - _NAMES_LISTED
        listed = ", ".join(about[:_NAMES_LISTED]) + (f" and {more} more" if more > 0 else "")
        page.line("    ", (f"{listed}: ", "dim"), clean(note), hang=6)
