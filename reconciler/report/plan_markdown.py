"""A plan as a comment on a pull request: markdown as GitHub, GitLab and Forgejo show it."""

from __future__ import annotations

from collections.abc import Sequence

from reconciler.plan.model import Action, Change, Plan
from reconciler.report.access import access_markdown
from reconciler.report.escape import code, exact, md
from reconciler.report.style import LOOKS
from reconciler.report.words import conclusion, matching, revision, rows_changed, sides

LONGEST = 60_000
"""Characters of a whole comment; hosts refuse one of 65,536."""

_LONGEST_TEXT = 400
_MOST_ALERTS = 20


def plan_markdown(plan: Plan, limit: int = LONGEST) -> str:
    """Render a plan in at most about ``limit`` characters, blocked changes first.

    Foreign text in it cannot make markup, links, mentions or references. What does not fit is counted at the end:
    differences go first, then rows.
    """
    shown = sorted((c for c in plan.changes if c.action is not Action.NONE), key=_blocked_first)
    quiet = len(plan.changes) - len(shown)
    head = [f"### {conclusion(plan)}", "", f"{code(plan.owner)} on {code(plan.server)}", ""]
    for marker, texts in (("CAUTION", plan.unsafe), ("WARNING", plan.warnings)):
        for text in texts[:_MOST_ALERTS]:
            head += [f"> [!{marker}]", f"> {md(text, _LONGEST_TEXT)}", ""]
    room = limit - sum(map(len, head)) - 400
    rows, room = _fitting([_row(c) for c in shown], room)
    details, _ = _fitting([block for c in shown[: len(rows)] if (block := _details(c))], room)
    lines = [*head]
    if rows:
        lines += ["| | Job | Action | Revision | Why |", "|:-:|:--|:--|:--|:--|", *rows, ""]
    if len(rows) < len(shown):
        lines += [f"… and {len(shown) - len(rows)} more changes, too many to show here.", ""]
    lines += details
    lines += access_markdown(plan.access)
    if quiet and shown:
        lines += [f"{matching(quiet)}.", ""]
    lines += [f"<sub>Fingerprint <code>{plan.fingerprint}</code></sub>"]
    return "\n".join(lines) + "\n"


def _blocked_first(change: Change) -> bool:
    return change.action is not Action.BLOCKED


def _fitting(texts: Sequence[str], room: int) -> tuple[list[str], int]:
    """Return the texts that fit into so many characters, from the first, and the room that is left."""
    kept: list[str] = []
    for text in texts:
        if len(text) + 1 > room:
            return kept, 0
        kept.append(text)
        room -= len(text) + 1
    return kept, room


def _row(change: Change) -> str:
    look = LOOKS[change.action]
    why = md(change.reason, _LONGEST_TEXT)
    if change.job_id:
        why += f"<br>job {code(change.job_id)}"
    for note in change.notes:
        why += f"<br>note: {md(note, _LONGEST_TEXT)}"
    action = f"**{change.action.value}**" if change.action is Action.BLOCKED else change.action.value
    digest = code(revision(change.revision, change.attempt)) if change.revision else ""
    return f"| <code>{look.symbol}</code> | {code(change.name)} | {action} | {digest} | {why} |"


def _details(change: Change) -> str:
    """Return a folded block with what differs, or nothing."""
    if not change.diff:
        return ""
    lines = []
    for d in change.diff:
        old, new = sides(d)
        field = exact(d.field)
        lines += [f"- {field}: {old}", f"+ {field}: {new}{rows_changed(d)}"]
    body = "\n".join(lines)
    fence = "`" * max(3, _longest_run(body) + 1)
    title = f"{code(change.name)}: {len(change.diff)} field{'s' if len(change.diff) > 1 else ''} changed"
    return f"<details><summary>{title}</summary>\n\n{fence}diff\n{body}\n{fence}\n\n</details>\n"


def _longest_run(text: str) -> int:
    """Return the length of the longest run of backticks."""
    longest = run = 0
    for character in text:
        run = run + 1 if character == "`" else 0
        longest = max(longest, run)
    return longest
