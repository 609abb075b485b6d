"""From a model's name back to the job that made it, what that was made from, and the models that came before it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from reconciler.api.concurrently import concurrently
from reconciler.api.types import Job
from reconciler.cache import Cache
from reconciler.errors import PermanentError
from reconciler.history.attempts import Origin, read_origins
from reconciler.history.commits import Past
from reconciler.observe.listing import list_anyones
from reconciler.observe.ownership import OWNER, parse
from reconciler.observe.state import Observed, ObservedJob

if TYPE_CHECKING:
    from reconciler.api.client import Client

_TUNED = "ft:"
_CHECKPOINT = ":ckpt-step-"
_AT_ONCE = 8


@dataclass(frozen=True, slots=True)
class Generation:
    """A model, and what it was made from.

    ``step`` is that of a checkpoint, None for the model at a job's end. ``owner`` is who the job's metadata says it
    belongs to, None where it says nothing; ``ours`` whether it counts as ours.
    """

    model: str
    step: int | None
    owner: str | None
    ours: bool
    origin: Origin


async def trace(client: Client, model: str, observed: Observed, past: Past, cache: Cache) -> list[Generation]:
    """Follow a model to the job that made it, and on through the models that were started from.

    Returns:
        The model itself first; nothing where no job that the key can see made it.

    Raises:
        UnreliableListing: the list of jobs contradicts itself.
        ApiError: the server failed to answer.
    """
    finder = _Finder(client, observed, cache)
    line: list[_Found] = []
    name = model
    while name not in {found.model for found in line}:
        found = await finder.find(name, asked=not line)
        if found is None:
            break
        line.append(found)
        name = found.job.model
    origins = await read_origins(client, [found.job for found in line], past)
    ours = observed.by_id
    return [
        Generation(f.model, f.step, f.job.metadata.get(OWNER), f.job.id in ours, origin)
        for f, origin in zip(line, origins, strict=True)
    ]


@dataclass(frozen=True, slots=True)
class _Found:
    model: str
    step: int | None
    job: ObservedJob


@dataclass
class _Finder:
    """Looks among our jobs first, then among everybody's; at checkpoints where no job ended with the model."""

    client: Client
    observed: Observed
    cache: Cache
    _others: dict[str, ObservedJob] | None = field(default=None)

    async def find(self, model: str, *, asked: bool) -> _Found | None:
        """Find who made a model. Unless a person ``asked`` for it, a base model is not looked for on the server."""
        ours = sorted(self.observed.by_id.values(), key=_newest_first)
        if job := _made(model, ours):
            return _Found(model, None, job)
        if not asked and not model.startswith(_TUNED):
            return None
        if found := await self._checkpoint(model, _likely(model, ours)):
            return found
        others = await self._anyones()
        if job := _made(model, others):
            return _Found(model, None, job)
        return await self._checkpoint(model, [*_likely(model, others), *(ours if _CHECKPOINT in model else ())])

    async def _anyones(self) -> Sequence[ObservedJob]:
        if self._others is None:
            jobs = await list_anyones(self.client, {})
            self._others = {job.id: _reduced(job) for job in jobs if job.id not in self.observed.by_id}
        return sorted(self._others.values(), key=_newest_first)

    async def _checkpoint(self, model: str, jobs: Sequence[ObservedJob]) -> _Found | None:
        """Look for a model among the checkpoints of jobs, some at a time, until it is found."""
        server = self.client.server
        kind = f"steps/1 {server.base_url} {server.organization} {server.project}"
        known = self.cache.load(kind)

        async def read(job: ObservedJob) -> Mapping[str, int]:
            if isinstance(steps := known.get(job.id), dict):
                return steps
            try:
                checkpoints = await self.client.checkpoints(job.id)
            except PermanentError:
                return {}
            return {c.fine_tuned_model_checkpoint: c.step_number for c in checkpoints}

        for start in range(0, len(jobs), _AT_ONCE):
            some = jobs[start : start + _AT_ONCE]
            found = await concurrently(read, some)
            ended = {job.id: steps for job, steps in zip(some, found, strict=True) if not job.active and steps}
            self.cache.store(kind, {job_id: steps for job_id, steps in ended.items() if job_id not in known})
            for job, steps in zip(some, found, strict=True):
                if model in steps:
                    return _Found(model, steps[model], job)
        return None


def _newest_first(job: ObservedJob) -> tuple[int, str]:
    return (-job.created_at, job.id)


def _made(model: str, jobs: Iterable[ObservedJob]) -> ObservedJob | None:
    return next((job for job in jobs if job.fine_tuned_model == model), None)


def _likely(model: str, jobs: Iterable[ObservedJob]) -> list[ObservedJob]:
    """Return the jobs whose last model a checkpoint's name begins with, as it does on most servers."""
    stem, mark, _ = model.rpartition(_CHECKPOINT)
    return [job for job in jobs if mark and job.fine_tuned_model == stem]


def _reduced(job: Job) -> ObservedJob:
    try:
        own = parse(job.metadata)
    except ValueError:
        own = None
    return ObservedJob.of(job, own.name, own.revision, own.attempt) if own else ObservedJob.of(job, "", "", 0)
