"""A run's process, from its start to its end, as the trainer follows it."""

from __future__ import annotations

import time
from collections.abc import Iterator

from reconciler.server.trainers.base import Control, Note, Progress, Saved, Step
from reconciler.server.trainers.trl import faults
from reconciler.server.trainers.trl.executor import Process
from reconciler.server.trainers.trl.order import DROP, STOP, Order, State, Told, kept
from reconciler.server.trainers.trl.origin import published

_LOOK_EVERY = 0.1
_GOING = 20.0
"""Seconds that a process may take to exit once it has said its last."""
_DROPPED = 10.0
"""Seconds that a process may take to exit once nothing of it is wanted, so that what shows its run learns of it."""


class Attempt:
    """One process, from its start to its end. ``state`` is the last one saved.

    ``outcome`` is ``done``, ``stopped``, what it said of its failure, or in words how it died. ``killed`` says whether
    others killed it: whoever does so where memory runs out leaves no word. So one that is killed ``again``, and got no
    further, has run out of memory, too.
    """

    def __init__(self, order: Order, process: Process, *, again: bool = False) -> None:
        self.state = order.state
        self.outcome: Told | str = "stopped"
        self.killed = False
        self._again = again
        self._order = order
        self._process = process
        self._began = False
        self._asked = ""
        self._until = 0.0

    def follow(self, control: Control) -> Iterator[Progress]:
        """Yield what happens. Before the first step there is nothing to save: asked to stop, it is ended at once."""
        child = self._process
        ended = False
        try:
            while (line := child.hear(_LOOK_EVERY)) is not None:
                if line:
                    yield from self._told(Told.model_validate_json(line))
                if (control.leaving and child.leave()) or (control.stopping and self._is_over(control)):
                    return
            ended = True
        except GeneratorExit:  # the engine lost its lease, or its disk: somebody goes on with the job
            child.leave()
            raise
        finally:
            code = child.end(patience=_GOING if ended else 0)
        if self.outcome == "stopped" and not (self._asked and code == 0):
            self.outcome = self._died(code)

    def _is_over(self, control: Control) -> bool:
        """Tell the process that it is to end, and how; return whether to wait for it no longer."""
        wish = DROP if control.dropped else STOP
        if self._began and wish != self._asked:
            self._process.tell(wish)
            self._asked, self._until = wish, time.monotonic() + _DROPPED
        return not self._began or (control.dropped and time.monotonic() > self._until)

    def _died(self, code: int) -> Told | str:
        starved = self._process.starved()
        self.killed = starved is not False
        if starved or (self.killed and self._again and self.state == self._order.state):
            return Told(kind="failed", code=faults.MEMORY, message=faults.ENDED_FOR_MEMORY)
        if code == 0:
            return "was told to end, and not by this server"
        if code < 0:
            return f"was ended by signal {-code}"
        return f"ended with code {code} ({self._process.last_words()})"

    def _told(self, told: Told) -> Iterator[Progress]:
        match told.kind:
            case "began":
                self._began = True
            case "note":
                yield Note(told.message)
            case "step":
                yield Step(told.step, told.total, told.metrics, told.at)
            case "saved":
                order = self._order
                entry = published(order.place) or order.entry  # a cluster's process may be of a server before this one
                self.state = State(
                    step=told.step, total=told.total, tokens=told.tokens, micro=order.recipe.held, entry=entry
                )
                yield Saved(told.step, told.metrics, self.state.model_dump_json().encode(), epoch=told.epoch)
                self._process.tell(kept(told.step))  # it has been recorded
            case "done":
                self.outcome = "done"
            case _:
                self.outcome = told
