"""Whose word a new run needs: nobody's, that of a person at the terminal, or that of somebody who is not here."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Sequence

from reconciler.plan.model import Action, Change, Plan
from reconciler.report.words import costs
from reconciler.watch.restraint import Bought, bought
from reconciler.watch.voice import Voice, some

_TOO_QUICK = 1.0
"""Seconds: an answer that comes sooner was meant for the question before."""


class Asking:
    """Knows which new runs may be started; a run's retries and what waits for it are part of it.

    With ``auto`` all may. ``pose`` shows a question to a person, whose line comes in at ``answer``; None where nobody
    can be asked.
    """

    def __init__(
        self,
        voice: Voice,
        *,
        auto: bool = False,
        pose: Callable[[str], None] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._voice, self._auto, self._pose, self._clock = voice, auto, pose, clock
        self._approved: set[Bought] = set()
        self._declined: set[Bought] = set()
        self._asked: dict[Bought, Change] = {}
        self._open: frozenset[Bought] = frozenset()
        self._asked_at = 0.0

    @property
    def approved(self) -> Collection[Bought] | None:
        """What may be bought; None is everything."""
        return None if self._auto else self._approved

    @property
    def open(self) -> Collection[Bought]:
        """What waits for leave, declined or not."""
        return self._open

    def waiting(self, changes: Sequence[Change]) -> list[Change]:
        """Return those changes that wait for leave."""
        return [change for change in changes if change.buys and bought(change) in self._open]

    def approve(self, runs: Collection[Bought]) -> bool:
        """Take leave given elsewhere, as far as it is still waited for; return whether any was."""
        given = self._open & set(runs)
        self._open -= given
        self._approved |= given
        self._declined -= given
        return bool(given)

    def about(self, changes: Sequence[Change]) -> None:
        """Ask about what is neither approved nor declined, unless just that has been asked."""
        if self._auto:
            return
        waiting = {bought(c): c for c in changes if c.buys and bought(c) not in self._approved}
        self._open = frozenset(waiting)
        open_ = {run: c for run, c in waiting.items() if run not in self._declined}
        if open_.keys() == self._asked.keys():
            return
        self._asked, self._asked_at = open_, self._clock()
        cost = costs(Plan.of("", "", open_.values()))
        names = some(change.name for change in open_.values()) + (f", about {cost}" if cost else "")
        if not any(c.action is Action.CREATE for c in open_.values()):
            self._asked = {}
        elif self._pose is None:
            self._voice.say(
                f"New runs wait for approval, and there is no terminal to ask on: {names}. "
                "Start this with --auto-approve, or run: reconciler apply",
                "warning",
                event="approval",
            )
        else:
            for change in open_.values():
                self._voice.say(f"{change.name}: {change.reason}", event="approval", spec=change.name)
            self._pose(f"Start {len(open_)} new {'run' if len(open_) == 1 else 'runs'} ({names})?")

    def answer(self, line: str) -> bool:
        """Take a person's line; return whether anything may be started now that could not be before."""
        asked, self._asked = self._asked, {}
        if not asked:
            return False
        if self._clock() - self._asked_at < _TOO_QUICK:
            return True  # asked again by the next look
        if line.strip().lower() in ("y", "yes"):
            self._approved |= asked.keys()
            return True
        self._declined |= asked.keys()
        self._voice.say(
            "Not started. They are asked about again once their specs change, or after a restart.", event="answer"
        )
        return False
