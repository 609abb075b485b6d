"""Shows a run in every place at once, and can never hold it up or fail it: each has a thread of its own."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Mapping, Sequence

from reconciler.server.trainers.trl.faults import said
from reconciler.server.trainers.trl.order import Order
from reconciler.server.trainers.trl.tracking.mlflow import Mlflow
from reconciler.server.trainers.trl.tracking.service import Run, Service, Shown, Status
from reconciler.server.trainers.trl.tracking.settings import MlflowTarget
from reconciler.server.trainers.trl.tracking.tensorboard import TensorBoard
from reconciler.server.trainers.trl.tracking.wandb import Wandb

_FINISH_SECONDS = 30.0
_AWAY_SECONDS = 5.0
_AGAIN = 30.0
"""Seconds after which a service that failed is called again."""


def services(order: Order, history: Mapping[int, Mapping[str, float]]) -> list[Service]:
    """Return what shows an order's run: what its job names, and what the server's owner does.

    ``history`` has the numbers of the steps before those that are to come.
    """
    settings = {key: value for key, value in order.card.items() if key != "entry"}
    step = order.state.step if order.state else 0
    run = Run(order.job_id, settings, order.metadata, step, history)
    return [
        *(Wandb(each["wandb"], run, order.tracking) for each in order.integrations if each["type"] == "wandb"),
        *(Mlflow(each, run) if isinstance(each, MlflowTarget) else TensorBoard(each, run) for each in order.track),
    ]


class Tracker:
    """Shows one run by all of its services. ``note`` is told where, or why not."""

    def __init__(self, services: Sequence[Service], note: Callable[[str], None]) -> None:
        self._followers = [_Follower(service, note) for service in services]

    def show(self, step: int, numbers: Mapping[str, float]) -> None:
        """Pass on the numbers of a step."""
        shown = Shown(step, dict(numbers), time.time())
        for follower in self._followers:
            follower.tell(shown)

    def finish(self, status: Status) -> None:
        """Pass on what is left, for as long as half a minute; less where a service was away."""
        began = time.monotonic()
        for follower in self._followers:
            follower.tell(status)
        for follower in self._followers:
            follower.wait(began)


class _Follower:
    """Tells one service, in a thread."""

    def __init__(self, service: Service, note: Callable[[str], None]) -> None:
        self._service = service
        self._note = note
        self._queue: queue.SimpleQueue[Shown | Status] = queue.SimpleQueue()
        self._begun = self._failing = False
        self._thread = threading.Thread(target=self._work, daemon=True)
        self._thread.start()

    def tell(self, what: Shown | Status) -> None:
        """Pass on a step, or the end."""
        if self._thread.is_alive():
            self._queue.put(what)

    def wait(self, began: float) -> None:
        """Wait until it has told all, for some seconds since ``began``."""
        seconds = _AWAY_SECONDS if self._failing else _FINISH_SECONDS
        self._thread.join(max(0.0, began + seconds - time.monotonic()))
        if self._thread.is_alive() and not self._failing:
            self._note(f"{self._service.title} does not have all of this run: it took too long.")

    def _work(self) -> None:
        steps: list[Shown] = []
        status: Status | None = None
        again = 0.0
        while True:
            if status is not None or time.monotonic() >= again:
                try:
                    self._pass_on(steps, status)
                except BaseException as error:  # noqa: BLE001 - whatever it is, training goes on
                    self._fail(error)
                    if not self._service.retries:
                        return
                    again = time.monotonic() + _AGAIN
            if status is not None:
                return
            status = self._take(steps)

    def _pass_on(self, steps: list[Shown], status: Status | None) -> None:
        if not self._begun:
            if words := self._service.begin():
                self._note(words)
            self._begun, self._failing = True, False
        if steps:
            self._service.log(steps)
            steps.clear()
        if self._failing:
            self._failing = False
            self._note(f"{self._service.title} follows this run again.")
        if status is not None:
            self._service.finish(status)

    def _take(self, steps: list[Shown]) -> Status | None:
        """Wait for one, and take all that there are; return the end, where it is among them."""
        what = self._queue.get()
        while isinstance(what, Shown):
            steps.append(what)
            if self._queue.empty():
                return None
            what = self._queue.get()
        return what

    def _fail(self, error: BaseException) -> None:
        """Say so, once."""
        if not self._failing:
            self._failing = True
            self._note(f"{self._service.title} does not follow this run: {reason(error)}")


def reason(error: BaseException) -> str:
    """Say in a line what went wrong; of a request that failed, what the network said. No key is in it."""
    root = error
    while (inner := root.__cause__ or root.__context__) is not None:
        root = inner
    told = root if isinstance(root, OSError) else error
    return f"{type(told).__name__}: {said(told, 200)}"
