"""A plan as a comment on a pull request: markdown as GitHub, GitLab and Forgejo show it."""

from __future__ import annotations

from collections.abc import Sequence

from reconciler.plan.model import Action, Change, Plan
from reconciler.report.access import access_markdown
from reconciler.report.escape import code, exact, md
from reconciler.report.style import LOOKS
from reconciler.report.words import conclusion, estimate, matching, revision, rows_changed, sides

LONGEST = 60_000
"""Characters of a whole comment; hosts refuse one of 65,536."""

_LONGEST_TEXT = 400
_LONGEST_NAME = 200
_MOST_ALERTS = 40
_RESERVED = 800
"""Characters kept free for what counts the rest."""


def plan_markdown(plan: Plan, limit: int = LONGEST) -> str:
    """Render a plan in at most ``limit`` characters (one of 4,000 or more), blocked changes first.

    Foreign text in it cannot make markup, links, mentions or references. What does not fit is counted: differences go
    first, then permissions, then rows, the least important first.
    """
    shown = sorted(filter(plan.shows, plan.changes), key=_blocked_first)
    quiet = len(plan.changes) - len(shown)
    lines = [f"### {conclusion(plan)}", "", _where(plan)]
    lines += ["", *_alerts(plan, limit // 4)]
    room = limit - _RESERVED - sum(size(line) + 1 for line in lines)
    rows, room = fitting([_row(c) for c in shown], room)
    access, room = fitting(access_markdown(plan.access), room)
    blocks = [block for c in shown[: len(rows)] if (block := _details(c))]
    details, _ = fitting(blocks, room)
    if rows:
        lines += ["| | Job | Action | Revision | Why |", "|:-:|:--|:--|:--|:--|", *rows, ""]
    lines += left_out(len(shown) - len(rows), "more change", "more changes")
    lines += details
    lines += left_out(len(blocks) - len(details), "difference", "differences")
    lines += [*access, ""] if access else []
    lines += left_out(len(access_markdown(plan.access)) - len(access), "more model", "more models with permissions")
    if quiet and shown:
        lines += [f"{matching(quiet)}.", ""]
    lines += [] if plan.compared else [f"<sub>Fingerprint <code>{plan.fingerprint}</code></sub>"]
    return "\n".join(lines) + "\n"


def _where(plan: Plan) -> str:
    where = "; no server was asked" if plan.compared else f" on {code(plan.server, _LONGEST_NAME)}"
    return f"{code(plan.owner, _LONGEST_NAME)}{where}"


def size(text: str) -> int:
    """Return how long hosts take a text to be, at most: in UTF-16, where an emoji counts twice."""
    return len(text) + sum(character > "\uffff" for character in text)


def fitting(texts: Sequence[str], room: int) -> tuple[list[str], int]:
    """Return the texts that fit into so many characters, from the first, and the room that is left."""
    kept: list[str] = []
    for text in texts:
        if size(text) + 1 > room:
            return kept, 0
        kept.append(text)
        room -= size(text) + 1
    return kept, room


def left_out(count: int, one: str, many: str) -> list[str]:
    """Return the lines that count what did not fit; none where nothing is left out."""
    return [f"… and {count} {one if count == 1 else many}, too many to show here.", ""] if count else []


def _alerts(plan: Plan, room: int) -> list[str]:
    """Return what is unsafe and what is warned of, as far as it fits, the rest counted."""
    alerts = [("CAUTION", text) for text in plan.unsafe] + [("WARNING", text) for text in plan.warnings]
    blocks = [f"> [!{marker}]\n> {md(text, _LONGEST_TEXT)}\n" for marker, text in alerts[:_MOST_ALERTS]]
    kept, _ = fitting(blocks, room)
    return [*kept, *left_out(len(alerts) - len(kept), "more warning", "more warnings")]


def _blocked_first(change: Change) -> bool:
    return change.action is not Action.BLOCKED


def _row(change: Change) -> str:
    look = LOOKS[change.action]
    why = md(change.reason, _LONGEST_TEXT)
    if change.job_id:
        why += f"<br>job {code(change.job_id)}"
    if change.cost:
        why += f"<br>{md(estimate(change.cost))}"
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
