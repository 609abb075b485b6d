"""Who may use which model: what changes in it, for people."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from reconciler.apply.permissions import Granted
from reconciler.plan.model import Access
from reconciler.report.escape import clean, code, md
from reconciler.report.fault import messages
from reconciler.report.layout import Page
from reconciler.report.style import RESULTS, Span


def put_access(page: Page, planned: Sequence[Access]) -> None:
    """Put what changes on a page; what others granted is worth no line."""
    shown = [access for access in planned if access.acts or access.blocked]
    if shown:
        page.blank()
        page.line(("Permissions:", "dim"))
    for access in shown:
        page.line("  ", *_spans(access), hang=6)


def _spans(access: Access) -> Iterator[Span]:
    yield clean(access.name), "title"
    for project in access.grant:
        yield f"  + {clean(project)}", "good"
    for project, _ in access.revoke:
        yield f"  - {clean(project)}", "bad"
    if access.blocked:
        yield f"  ! {clean(access.blocked)}", "alarm"
    yield f"  {clean(access.model)}", "dim"


def access_markdown(planned: Sequence[Access]) -> list[str]:
    """Return a line for each model whose permissions change."""
    lines = []
    for access in planned:
        words = [f"grant {code(project)}" for project in access.grant]
        words += [f"revoke {code(project)}" for project, _ in access.revoke]
        words += [md(access.blocked)] if access.blocked else []
        if words:
            lines.append(f"- Permissions of {code(access.name)} ({code(access.model)}): {', '.join(words)}")
    return lines


def render_granted(granted: Sequence[Granted], *, color: bool, width: int | None) -> str:
    """Render what became of permissions, a line a model."""
    page = Page(color=color, width=width)
    for end in granted:
        detail: list[Span] = [(f"  {clean(end.detail)}", "")] if end.detail else []
        page.line("  ", *_spans(end.access), (f"  {end.result}", RESULTS[end.result]), *detail, hang=6)
        for line in messages(end.error) if end.error else ():
            page.line("      ", (line, "bad"), hang=6)
    return str(page)
