"""What became of each change, as a person reads it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from reconciler.apply.model import Outcome
from reconciler.report.escape import clean
from reconciler.report.fault import messages
from reconciler.report.layout import Page, pad, widest
from reconciler.report.plan_text import Columns, heading
from reconciler.report.style import RESULTS, Span


def render_outcomes(outcomes: Sequence[Outcome], *, color: bool, width: int | None) -> str:
    """Render outcomes in their order: jobs and request ids, failures in full, and a summary line last."""
    page = Page(color=color, width=width)
    result = widest(o.result for o in outcomes)
    columns = Columns.of([o.change for o in outcomes], page.width and page.width - result - 2)
    for outcome in outcomes:
        _put(page, outcome, columns, result)
    page.blank()
    page.line((_conclusion(outcomes), "title"))
    return str(page)


def _put(page: Page, outcome: Outcome, columns: Columns, width: int) -> None:
    head = [*heading(outcome.change, columns), (pad(outcome.result, width), RESULTS[outcome.result])]
    lines = _lines(outcome)
    hang = columns.reason + width + 2 if columns.beside else 6
    if columns.beside and lines:
        page.line(*head, "  ", *lines.pop(0), hang=hang)
    else:
        page.line(*head, hang=4)
    for line in lines:
        page.line(" " * hang, *line, hang=hang)


def _lines(outcome: Outcome) -> list[list[Span]]:
    """Return what is to be said: the detail and the error, then the job and the request, last the hint."""
    job, request = outcome.job_id or outcome.change.job_id, outcome.request_id
    ids = [clean(job)] if job else []
    if request and request not in str(outcome.error):
        ids.append(f"request {clean(request)}")
    said: list[list[Span]] = [[(clean(outcome.detail), "")]] if outcome.detail else []
    if outcome.error:
        said += [[(line, "bad")] for line in messages(outcome.error)]
    if ids:
        (said or (said := [[]]))[-1].append((f"  {', '.join(ids)}", "dim"))
    if outcome.error and outcome.error.hint:
        said.append([("Hint: ", "calm"), (clean(outcome.error.hint), "")])
    return said


def _conclusion(outcomes: Sequence[Outcome]) -> str:
    counts: Counter[str] = Counter(o.result for o in outcomes)
    if not counts:
        return "Nothing was applied."
    said = ", ".join(f"{counts[result]} {result}" for result in RESULTS if counts[result])
    return f"Applied: {said}."
