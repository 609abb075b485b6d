"""Steps and losses of the jobs on the screen: a request a job, for few at a time, and none for what stands still."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from reconciler.api.client import Client
from reconciler.api.concurrently import concurrently
from reconciler.api.types import Checkpoint, Event
from reconciler.errors import ApiError, PermanentError, RateLimited
from reconciler.history.losses import measured as curves_of
from reconciler.observe.state import ObservedJob
from reconciler.report.figures import measured
from reconciler.tui.plot import Point
from reconciler.tui.rows import Steps

AT_ONCE = 10
"""How many jobs are read in one round."""
_NEWEST = 20
_MOST_EVENTS = 1_000
_PAGE = 100
_DEFAULT_WAIT = 30.0


class Reader:
    """Reads events. ``every`` is the least time between two rounds, in seconds; ``clock`` is monotonic."""

    def __init__(self, client: Client, every: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._client, self._every, self._clock = client, every, clock
        self.steps: dict[str, Steps] = {}
        self._read_at: dict[str, float] = {}
        self._next = 0.0

    def due(self, jobs: Iterable[ObservedJob]) -> bool:
        """Whether it is time for another round, and there is anything to read."""
        return self._clock() >= self._next and any(job.status == "running" for job in jobs)

    async def round(self, jobs: Iterable[ObservedJob]) -> None:
        """Read the newest events of those jobs that run, the longest unread first.

        What fails is left for a later round: nothing depends on it.
        """
        running = [job for job in jobs if job.status == "running"]
        due = sorted(running, key=lambda job: self._read_at.get(job.id, 0.0))[:AT_ONCE]
        self._next = self._clock() + self._every
        await concurrently(self._read, due)

    async def _read(self, job: ObservedJob) -> None:
        self._read_at[job.id] = self._clock()
        try:
            self.learn(job.id, (await self._client.events(job.id, limit=_NEWEST)).data)
        except ApiError as error:
            if isinstance(error, RateLimited):
                self._next = self._clock() + (error.retry_after or _DEFAULT_WAIT)

    def learn(self, job_id: str, events: Iterable[Event]) -> None:
        """Remember the numbers of steps; events come in any order, and may be known already."""
        steps = self.steps.setdefault(job_id, Steps())
        known = dict(steps.losses)
        for event in events:
            data = event.data or {}
            step, total, loss = (measured(data.get(key)) for key in ("step", "total_steps", "train_loss"))
            if event.type != "metrics" or step is None:
                continue
            if steps.step is None or step >= steps.step:
                steps.step, steps.total = int(step), int(total) if total else steps.total
            if loss is not None:
                known[int(step)] = loss
        steps.losses.clear()
        steps.losses.extend(sorted(known.items()))


@dataclass
class Story:
    """A job's events, oldest first, and its curves; the oldest of very many events are left out."""

    client: Client
    job_id: str
    events: list[Event] = field(default_factory=list)
    checkpoints: list[Checkpoint] = field(default_factory=list)
    cut: bool = False

    async def read(self) -> list[Event]:
        """Read what is new, and return it.

        Raises:
            ApiError: the server failed to answer.
        """
        fresh = await (self._newer() if self.events else self._first())
        self.events += fresh
        if any(event.type != "metrics" for event in fresh):
            try:
                self.checkpoints = await self.client.checkpoints(self.job_id)
            except PermanentError:
                self.checkpoints = []
        return fresh

    async def _first(self) -> list[Event]:
        """Read the newest events, page by page."""
        found: list[Event] = []
        after: str | None = None
        while len(found) < _MOST_EVENTS:
            page = await self.client.events(self.job_id, after, _PAGE)
            found += page.data
            if not page.has_more or not page.data:
                return found[::-1]
            after = page.data[-1].id
        self.cut = True
        return found[::-1]

    async def _newer(self) -> list[Event]:
        return await self.client.events_since(self.job_id, self.events[-1].id)

    @property
    def curves(self) -> tuple[tuple[Point, ...], tuple[Point, ...]]:
        """The training loss and the validation loss."""
        rows = [event.data for event in self.events if event.data]
        rows += [{**c.metrics.model_dump(), "step": c.step_number} for c in self.checkpoints]
        losses = curves_of(rows)
        return losses.train, losses.valid
