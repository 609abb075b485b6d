"""The job summary: everything that a comment says, in more room, and after an apply its outcome. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from reconciler.ci import sections
from reconciler.ci.comment import body
from reconciler.ci.finished import Finished
from reconciler.report.escape import md

LARGEST = 1024 * 1024
"""Bytes that GitHub takes of one step."""

_ROOM = 160_000
"""Characters for each part: four bytes each, and all parts together stay below the limit."""


def summary(finished: Finished, notes: Sequence[str]) -> str:
    """Render a run; ``notes`` are what it could not do for its reviewers (a comment that GitHub refused)."""
    parts = []
    if finished.command == "apply" and finished.plan is not None:
        parts += [sections.applied(finished, _ROOM // 2), sections.trained(finished, _ROOM // 8)]
    parts.append(body(finished, _ROOM // 2))
    parts += [sections.chains(finished.desired, _ROOM // 8), sections.produced(finished, _ROOM // 4)]
    parts += [f"{md(finished.written, 400)}\n"] if finished.written else []
    parts += [f"> [!NOTE]\n> {md(note, 400)}\n" for note in notes[:20]]
    return "\n".join(part for part in parts if part) + "\n"
