"""An error as a person reads it: what happened, then what to do next."""

from __future__ import annotations

from collections.abc import Callable

from reconciler.errors import ReconcilerError, SpecError
from reconciler.report.escape import clean
from reconciler.report.layout import Page

_MOST_LINES = 200


def render_error(error: ReconcilerError, *, color: bool, width: int | None, hide: Callable[[str], str] = str) -> str:
    """Render an error with its hint. Lines of the message stay lines: a spec error has one a problem.

    ``hide`` takes secrets out, before anything is cut or folded.
    """
    page = Page(color=color, width=width)
    first, *rest = messages(error, hide)
    if isinstance(error, SpecError):
        for line in (first, *rest):
            page.line(line, hang=4)  # from the first column on: editors jump to such places
        count = len(error.problems)
        first, rest = f"{count} {'problem' if count == 1 else 'problems'}. Nothing was changed.", []
    page.line(("Error: ", "alarm"), first, hang=7)
    for line in rest:
        page.line("       ", line, hang=9)
    if error.hint:
        page.line((" Hint: ", "calm"), clean(hide(error.hint)), hang=7)
    return str(page)


def messages(error: ReconcilerError, hide: Callable[[str], str] = str) -> list[str]:
    """Return the lines of an error's message, each harmless; those over a limit are counted, not shown.

    A problem of a spec is one line, whatever its file is called: no name of a file can forge another problem.
    """
    texts = map(str, error.problems) if isinstance(error, SpecError) else str(error).splitlines()
    lines = [line for text in texts if (line := clean(hide(text)))] or [type(error).__name__]
    more = len(lines) - _MOST_LINES
    return [*lines[:_MOST_LINES], f"... and {more} more"] if more > 0 else lines
