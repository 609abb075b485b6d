"""The job summary: everything that a comment says, in more room, and after an apply its outcome. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from reconciler.ci import sections
from reconciler.ci.comment import body
from reconciler.ci.finished import Finished
from reconciler.report.escape import md

LARGEST = 1024 * 1024
"""Bytes that GitHub takes of one step."""

_ROOMS = (1_280_000, 640_000, 320_000, 160_000)
"""Characters that the parts have shares of, tried in turn; of the last no text makes more bytes than GitHub takes."""
_GRAPH = 20_000


def summary(finished: Finished, notes: Sequence[str]) -> str:
    """Render a run; ``notes`` are what it could not do for its reviewers (a comment that GitHub refused)."""
    texts = (_within(room, finished, notes) for room in _ROOMS)
    return next(text for text in texts if len(text.encode()) <= LARGEST)


def _within(room: int, finished: Finished, notes: Sequence[str]) -> str:
    parts = []
    if finished.command == "apply" and finished.plan is not None:
        parts += [sections.applied(finished, room // 2), sections.trained(finished, room // 8)]
    parts.append(body(finished, room // 2))
    parts += [sections.chains(finished.desired, _GRAPH), sections.produced(finished, room // 4)]
    parts += [f"{md(finished.written, 400)}\n"] if finished.written else []
    parts += [f"> [!NOTE]\n> {md(note, 400)}\n" for note in notes[:20]]
    return "\n".join(part for part in parts if part) + "\n"
