"""What things look like: the one table of symbols, colours and words.

Symbols are ASCII and every state has its word, so a report reads the same without colour and in any encoding.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from reconciler.plan.model import Action

Span = tuple[str, str]
"""A text and the name of its style; the empty name is plain."""

SGR = {
    "": "",
    "title": "1",
    "dim": "2",
    "good": "32",
    "bad": "31",
    "alarm": "1;31",
    "warn": "33",
    "calm": "36",
    "odd": "35",
}
"""Terminal codes by style. Only the sixteen base colours: they follow the reader's own theme, dark or light."""


@dataclass(frozen=True, slots=True)
class Look:
    """How an action is shown: a symbol, a style, and how one or many of it are counted in a summary."""

    symbol: str
    style: str
    one: str
    many: str


LOOKS: Mapping[Action, Look] = {
    Action.CREATE: Look("+", "good", "to create", "to create"),
    Action.RESUME: Look(">", "good", "to resume", "to resume"),
    Action.PAUSE: Look("=", "warn", "to pause", "to pause"),
    Action.CANCEL: Look("-", "bad", "to cancel", "to cancel"),
    Action.WAIT: Look("~", "calm", "waits", "wait"),
    Action.HOLD: Look(".", "calm", "on hold", "on hold"),
    Action.BLOCKED: Look("!", "alarm", "blocked", "blocked"),
    Action.NONE: Look(" ", "dim", "unchanged", "unchanged"),
}

RESULTS = {"done": "good", "failed": "alarm", "skipped": "warn"}
"""Styles of outcomes."""

LEVELS = {"info": "", "warn": "warn", "error": "alarm"}
"""Styles of event levels."""

_STATUSES = {
    "succeeded": "good",
    "failed": "alarm",
    "cancelled": "dim",
    "running": "calm",
    "paused": "warn",
}


def status_style(status: str) -> str:
    """Return the style of a job's status; one that nobody knows stands out."""
    waiting = {"validating_files", "queued", "pending", "pausing", "resuming"}
    return _STATUSES.get(status, "" if status in waiting else "odd")


def paint(line: list[Span], *, color: bool) -> str:
    """Render a line; without colour the same words come out bare."""
    if not color:
        return "".join(text for text, _ in line)
    return "".join(f"\x1b[{SGR[style]}m{text}\x1b[0m" if SGR[style] and text else text for text, style in line)
