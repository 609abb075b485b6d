"""Every attempt at a spec: its jobs, newest first, each with the commit, the data and the losses that belong to it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from reconciler.api.concurrently import concurrently
from reconciler.cache import Cache
from reconciler.errors import PermanentError
from reconciler.history.commits import Content, Past, Version
from reconciler.history.losses import Losses, read_losses
from reconciler.observe.state import FileInfo, Observed, ObservedJob
from reconciler.plan.planner import bind
from reconciler.spec.desired import Desired

if TYPE_CHECKING:
    from reconciler.api.client import Client


@dataclass(frozen=True, slots=True)
class Data:
    """The data of a job.

    ``digest`` is its SHA-256: 64 hex digits where a commit has the file, 16 where only its name on the server tells,
    None where nothing does. ``path`` is where the spec found it.
    """

    file_id: str
    digest: str | None = None
    path: str | None = None


@dataclass(frozen=True, slots=True)
class Origin:
    """What a job was made from; ``version`` is None where no spec is known to have its revision."""

    job: ObservedJob
    version: Version | None
    training: Data | None
    validation: Data | None


@dataclass(frozen=True, slots=True)
class Attempt:
    """A job with its origin and its losses."""

    origin: Origin
    losses: Losses

    @property
    def job(self) -> ObservedJob:
        """The job itself."""
        return self.origin.job


def jobs_of(name: str, desired: Sequence[Desired], observed: Observed) -> list[ObservedJob]:
    """Return our jobs of a name, newest first, and the one that counts for its spec whatever it was called."""
    jobs = {job.id: job for job in observed.by_name.get(name, ())}
    counting = bind(desired, observed).get(name)
    if counting:
        jobs[counting.id] = counting
    return sorted(jobs.values(), key=lambda job: (job.created_at, job.attempt, job.id), reverse=True)


async def read_attempts(client: Client, jobs: Sequence[ObservedJob], past: Past, cache: Cache) -> list[Attempt]:
    """Find out all about jobs.

    Raises:
        ApiError: the server failed to answer.
    """
    origins = await read_origins(client, jobs, past)
    losses = await read_losses(client, jobs, cache)
    return [Attempt(origin, losses[origin.job.id]) for origin in origins]


async def read_origins(client: Client, jobs: Sequence[ObservedJob], past: Past) -> list[Origin]:
    """Find out what jobs were made from; a file's name on the server is asked for where no commit knows the data.

    Raises:
        ApiError: the server failed to answer.
    """
    versions = {job.id: past.find(job.name, job.revision, job.created_at) for job in jobs}
    digests = await _digests(client, sorted({file for job in jobs for file in _unknown(job, versions[job.id])}))
    return [_origin(job, versions[job.id], digests) for job in jobs]


def _unknown(job: ObservedJob, version: Version | None) -> Iterator[str]:
    """Yield the files that no commit has: a spec may name one by its id."""
    if job.training_file and not (version and version.training):
        yield job.training_file
    if job.validation_file and not (version and version.validation):
        yield job.validation_file


async def _digests(client: Client, file_ids: Sequence[str]) -> dict[str, str]:
    async def look(file_id: str) -> str | None:
        try:
            file = await client.file(file_id)
        except PermanentError:
            return None
        return FileInfo(file.filename, file.bytes).digest

    found = zip(file_ids, await concurrently(look, file_ids), strict=True)
    return {file_id: digest for file_id, digest in found if digest is not None}


def _origin(job: ObservedJob, version: Version | None, digests: Mapping[str, str]) -> Origin:
    return Origin(
        job,
        version,
        _data(job.training_file, version.training if version else None, digests),
        _data(job.validation_file, version.validation if version else None, digests),
    )


def _data(file_id: str | None, content: Content | None, digests: Mapping[str, str]) -> Data | None:
    if file_id is None:
        return None
    return Data(file_id, content[1], content[0]) if content else Data(file_id, digests.get(file_id))
