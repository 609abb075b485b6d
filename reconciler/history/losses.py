"""How the loss of a job went: read from its events and its checkpoints, and read once where the job has ended."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from reconciler.api.concurrently import concurrently
from reconciler.cache import Cache
from reconciler.errors import PermanentError
from reconciler.observe.state import ObservedJob

if TYPE_CHECKING:
    from reconciler.api.client import Client

MOST_POINTS = 400
"""How many points of one curve are kept; a page has hardly more pixels."""

Point = tuple[float, float]
"""A step, and the loss there."""


@dataclass(frozen=True, slots=True)
class Losses:
    """The losses of one job by step, in order, thinned to at most ``MOST_POINTS``; the first and the last are kept.

    ``final_valid`` is the last loss over the whole validation file, else over a batch of it.
    """

    train: tuple[Point, ...] = ()
    valid: tuple[Point, ...] = ()
    final_valid: float | None = None

    @property
    def final_train(self) -> float | None:
        """The last training loss."""
        return self.train[-1][1] if self.train else None


async def read_losses(client: Client, jobs: Sequence[ObservedJob], cache: Cache) -> dict[str, Losses]:
    """Read the losses of jobs, by id; empty ones where the server keeps none.

    Raises:
        ApiError: the server failed to answer.
    """
    server = client.server
    kind = f"losses/1 {server.base_url} {server.organization} {server.project}"
    known = {key: found for key, value in cache.load(kind).items() if (found := _recall(value)) is not None}
    wanted = [job for job in jobs if job.id not in known]

    async def read(job: ObservedJob) -> Losses:
        return measured([*await _event_data(client, job.id), *await _checkpoint_data(client, job.id)])

    fresh = dict(zip((job.id for job in wanted), await concurrently(read, wanted), strict=True))
    cache.store(kind, {job.id: asdict(fresh[job.id]) for job in wanted if not job.active})
    return {job.id: fresh[job.id] if job.id in fresh else known[job.id] for job in jobs}


async def _event_data(client: Client, job_id: str) -> list[Mapping[str, Any]]:
    try:
        return [event.data for event in await client.events_since(job_id) if event.data]
    except PermanentError:
        return []


async def _checkpoint_data(client: Client, job_id: str) -> list[Mapping[str, Any]]:
    try:
        return [{**c.metrics.model_dump(), "step": c.step_number} for c in await client.checkpoints(job_id)]
    except PermanentError:
        return []


def measured(rows: Sequence[Mapping[str, Any]]) -> Losses:
    """Make curves of what was measured at steps; of several rows of one step the first that has a number counts.

    Of the two losses that a server may measure on the validation file, over all of it (dear, so seldom) and over a
    batch, the curve shows the one that was measured more often.
    """
    full, batch = _curve(rows, "full_valid_loss"), _curve(rows, "valid_loss")
    last = full or batch
    return Losses(_curve(rows, "train_loss"), max(full, batch, key=len), last[-1][1] if last else None)


def _curve(rows: Sequence[Mapping[str, Any]], key: str) -> tuple[Point, ...]:
    points: dict[float, float] = {}
    for row in rows:
        step, loss = _finite(row.get("step")), _finite(row.get(key))
        if step is not None and loss is not None:
            points.setdefault(step, loss)
    return _thinned(sorted(points.items()))


def _finite(value: object) -> float | None:
    """Return a number that can be drawn; what diverged cannot."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if math.isfinite(number) else None


def _thinned(points: Sequence[Point]) -> tuple[Point, ...]:
    count = min(len(points), MOST_POINTS)
    if count < 2:
        return tuple(points)
    return tuple(points[i * (len(points) - 1) // (count - 1)] for i in range(count))


def _recall(value: object) -> Losses | None:
    match value:
        case {"train": [*train], "valid": [*valid], "final_valid": float() | None as final}:
            try:
                return Losses(_points(train), _points(valid), final)
            except (TypeError, ValueError):
                return None
    return None


def _points(stored: Sequence[Any]) -> tuple[Point, ...]:
    return tuple((float(step), float(loss)) for step, loss in stored)
