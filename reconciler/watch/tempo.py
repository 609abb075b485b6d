"""When to look again. Pure.

Often for a while after a change, then slowly less often, up to the interval; near the end that a server has estimated
for a job, and after an error, sooner. An interval is the longest that anything takes to be seen.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from reconciler.observe.state import ObservedJob

_SLOWING = 4.0
"""After a change, the time between looks is the time since then by this."""
_OVERDUE = 120.0
"""Seconds past its estimated end in which a job is looked at often."""
_JITTER = 0.1


@dataclass(frozen=True, slots=True)
class Tempo:
    """The bounds, in seconds: between two looks there are at least ``shortest`` and at most ``interval``."""

    interval: float = 30.0
    shortest: float = 2.0

    def pause(self, now: float, changed_at: float, jobs: Iterable[ObservedJob], chance: float) -> float:
        """Return the seconds until the next look; the last change was at ``changed_at``, both in Unix seconds.

        ``chance`` in [0, 1) spreads those who would look at the same moment.
        """
        pause = self._bounded((now - changed_at) / _SLOWING)
        for job in jobs:
            if job.active and job.status != "paused" and job.estimated_finish is not None:
                left = job.estimated_finish - now
                if left > -_OVERDUE:
                    pause = min(pause, self._bounded(left))
        return self._jittered(pause, chance)

    def after_failures(self, failures: int, chance: float) -> float:
        """Return the seconds until the next try, after as many failures in a row."""
        return self._jittered(self._bounded(self.shortest * 2.0 ** min(failures - 1, 30)), chance)

    def _bounded(self, seconds: float) -> float:
        return min(self.interval, max(self.shortest, seconds))

    def _jittered(self, pause: float, chance: float) -> float:
        """Shorten a pause a little, so that it is never longer than the interval."""
        return pause * (1 - _JITTER * chance)
