"""What a watch has said and done, kept for those who look later: the newest lines, and no more."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from reconciler.watch.voice import Write

_KEPT = 500


@dataclass(frozen=True, slots=True)
class Line:
    """One thing that was said, at a time in Unix seconds. ``number`` counts from 1."""

    number: int
    at: float
    level: str
    message: str
    event: str | None = None
    spec: str | None = None
    job: str | None = None


class History:
    """Remembers lines. ``clean`` takes out of a message what nobody may read."""

    def __init__(self, clean: Callable[[str], str] = str, *, now: Callable[[], float] = time.time) -> None:
        self._clean, self._now = clean, now
        self._lines: deque[Line] = deque(maxlen=_KEPT)
        self.count = 0

    def before(self, write: Write) -> Write:
        """Return what remembers a line, then writes it."""

        def both(message: str, level: str, fields: Mapping[str, Any]) -> None:
            self.hear(message, level, fields)
            write(message, level, fields)

        return both

    def hear(self, message: str, level: str, fields: Mapping[str, Any]) -> None:
        """Remember a line."""
        self.count += 1
        about = {key: str(fields[key]) for key in ("event", "spec", "job") if fields.get(key)}
        self._lines.appendleft(Line(self.count, self._now(), level, self._clean(message), **about))

    @property
    def lines(self) -> Sequence[Line]:
        """The lines, newest first."""
        return list(self._lines)
