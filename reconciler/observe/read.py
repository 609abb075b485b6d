"""Observe: everything of a server that one plan needs, and no more."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from reconciler.api.concurrently import concurrently
from reconciler.api.types import Checkpoint, Job, Permission
from reconciler.cache import Cache
from reconciler.errors import NotFound, PermanentError, Unsupported
from reconciler.observe.listing import list_jobs
from reconciler.observe.made import Made
from reconciler.observe.memory import FIELDS, Reading, pack, unpack
from reconciler.observe.ownership import refusal
from reconciler.observe.rows import Pair, changed_rows
from reconciler.observe.state import FileInfo, Observed, ObservedJob
from reconciler.spec.desired import Adopt, DataFile, Desired, Upstream

if TYPE_CHECKING:
    from reconciler.api.client import Client

_MOST_RETRIEVED = 50  # file by file; more of them are cheaper read as a list


async def observe(  # noqa: PLR0913 - what is read is the caller's to say
    client: Client,
    owner: str,
    desired: Sequence[Desired],
    *,
    cache: Cache,
    now: Callable[[], float],
    made: Made | None = None,
    take_over: Sequence[str] = (),
    shared: Collection[str] = (),
    root: Path | None = None,
    files: bool = True,
) -> Observed:
    """Read our jobs, the jobs to adopt, and the checkpoints and files that planning will ask about.

    ``now`` gives Unix seconds. ``made`` remembers jobs that a list may not show yet; they count. ``take_over`` names
    owners whose jobs may count too. ``shared`` names the specs whose models' permissions are read too. With the
    repository's ``root``, the rows of changed data are counted; without ``files`` not even the old files are looked up,
    and diffs know them by their ids alone. Nothing on the server is changed.

    Raises:
        UnreliableListing: the list of jobs contradicts itself.
        ApiError: the server refused or failed: a partial reading is no observation.
    """
    reading = await list_jobs(client, owner, cache=cache, now=now)
    ours = _readable(reading)
    if made is not None:
        ours |= await made.unlisted(client, owner, reading.rows.keys())
    names = [other for other in dict.fromkeys(take_over) if other != owner]
    others = [await list_jobs(client, other, cache=cache, now=now) for other in names]
    adopted, refused = await _adopted(client, desired, ours, _Claims(owner, take_over), cache)
    observed = Observed(
        jobs=_ordered(ours.values()),
        malformed={i: row for i, row in sorted(reading.rows.items()) if isinstance(row, str)},
        adopted=adopted,
        refused=refused,
        taken=_ordered(job for other in others for job in _readable(other).values()),
    )
    missing = [d for d in desired if d.state == "running" and _may_need_a_job(d, observed)]
    found = await _files(client, missing, observed) if files else {}
    return replace(
        observed,
        checkpoints=await _checkpoints(client, missing, desired, observed),
        files=found,
        rows=await changed_rows(client, root, _pairs(missing, observed, found), cache) if root else {},
        permissions=await _permissions(client, [d for d in desired if d.name in shared], observed),
    )


@dataclass(frozen=True, slots=True)
class _Claims:
    """Whose jobs may be adopted."""

    owner: str
    take_over: Sequence[str]

    def refuse(self, job: Job) -> str | None:
        return refusal(job.metadata, self.owner, status=job.status, ended=job.terminal, take_over=self.take_over)


def _readable(reading: Reading) -> dict[str, ObservedJob]:
    return {i: row for i, row in reading.rows.items() if isinstance(row, ObservedJob)}


def _ordered(jobs: Iterable[ObservedJob]) -> tuple[ObservedJob, ...]:
    return tuple(sorted(jobs, key=lambda j: (j.created_at, j.id)))


def _may_need_a_job(spec: Desired, observed: Observed) -> bool:
    """Whether a plan may create a job for a spec: it has none, or one that ended without a model."""
    job = observed.job_for(spec.name, spec.revision)
    if job is None and spec.adopt and spec.adopt.revision == spec.revision:
        job = observed.adopted.get(spec.adopt.job)
    return job is None or job.status in ("failed", "cancelled")


def _candidates(spec: Desired, observed: Observed) -> Iterator[ObservedJob]:
    """Yield the jobs that may count for a spec's revision, renamed and adopted ones included: planning chooses."""
    yield from (job for job in (*observed.jobs, *observed.taken) if job.revision == spec.revision)
    if spec.adopt is not None and spec.adopt.revision == spec.revision and spec.adopt.job in observed.adopted:
        yield observed.adopted[spec.adopt.job]


async def _adopted(
    client: Client, desired: Sequence[Desired], ours: Mapping[str, ObservedJob], claims: _Claims, cache: Cache
) -> tuple[dict[str, ObservedJob], dict[str, str]]:
    """Retrieve the jobs that specs adopt, and say of some why they may not be.

    One that does not exist is left out; one that has ended is read once.
    """
    server = client.server
    kind = f"adopted {server.base_url} {server.organization} {server.project} {' '.join(FIELDS)}"
    ended = _recall(cache, kind)
    refused: dict[str, str] = {}

    async def retrieve(wanted: tuple[str, Adopt]) -> ObservedJob | None:
        name, adopt = wanted
        if known := ours.get(adopt.job) or ended.get(adopt.job):
            return replace(known, name=name, revision=adopt.revision, attempt=1)
        try:
            job = await client.job(adopt.job)
        except NotFound:
            return None
        if why := claims.refuse(job):
            refused[job.id] = why
            return None
        return ObservedJob.of(job, name, adopt.revision, 1)

    found = await concurrently(retrieve, ((d.name, d.adopt) for d in desired if d.adopt is not None))
    adopted = {job.id: job for job in found if job is not None}
    cache.store(kind, {i: pack(job) for i, job in adopted.items() if not job.active and i not in ended})
    return adopted, refused


def _recall(cache: Cache, kind: str) -> dict[str, ObservedJob]:
    try:
        return {i: unpack(values) for i, values in cache.load(kind).items()}
    except (TypeError, ValueError):
        return {}


async def _checkpoints(
    client: Client, missing: Iterable[Desired], desired: Sequence[Desired], observed: Observed
) -> dict[str, tuple[Checkpoint, ...]]:
    """Read the checkpoints of ended jobs that a job yet to come starts from, unless it takes the last model."""
    by_name = {d.name: d for d in desired}
    wanted: set[str] = set()
    for spec in missing:
        if isinstance(spec.model, Upstream) and spec.model.checkpoint != "last" and spec.model.job in by_name:
            bases = _candidates(by_name[spec.model.job], observed)
            wanted.update(job.id for job in bases if not job.active)

    async def read(job_id: str) -> tuple[Checkpoint, ...]:
        try:
            return tuple(await client.checkpoints(job_id))
        except (NotFound, Unsupported):
            return ()

    ids = sorted(wanted)
    return dict(zip(ids, await concurrently(read, ids), strict=True))


async def _permissions(
    client: Client, shared: Iterable[Desired], observed: Observed
) -> dict[str, tuple[Permission, ...] | str]:
    """Read who may use the models that specs have produced. Many keys may not ask: then nothing is known."""
    jobs = (job for spec in shared for job in _candidates(spec, observed) if job.status == "succeeded")
    models = sorted({job.fine_tuned_model for job in jobs if job.fine_tuned_model})

    async def read(model: str) -> tuple[Permission, ...] | str:
        try:
            return tuple(await client.permissions(model))
        except PermanentError as error:
            return str(error)

    return dict(zip(models, await concurrently(read, models), strict=True))


def _newest(spec: Desired, observed: Observed) -> ObservedJob | None:
    """Return the job of another revision that a diff compares with."""
    return max(observed.others(spec), key=lambda j: (j.created_at, j.id), default=None)


def _pairs(missing: Iterable[Desired], observed: Observed, files: Mapping[str, FileInfo]) -> Iterator[Pair]:
    """Yield the data files that take the place of others."""
    for spec in missing:
        newest = _newest(spec, observed)
        if newest is not None:
            both = ((newest.training_file, spec.training_file), (newest.validation_file, spec.validation_file))
            for old, new in both:
                if old and old in files and isinstance(new, DataFile) and not files[old].holds(new.digest):
                    yield Pair(old, files[old], new)


async def _files(client: Client, missing: Iterable[Desired], observed: Observed) -> dict[str, FileInfo]:
    """Look up the data files of the jobs that a diff will compare with: only the diff needs them, so none is vital."""
    wanted: set[str] = set()
    for spec in missing:
        newest = _newest(spec, observed)
        if newest is not None:
            wanted.update(f for f in (newest.training_file, newest.validation_file) if f)
    try:
        if len(wanted) > _MOST_RETRIEVED:
            return {f.id: FileInfo(f.filename, f.bytes) for f in await client.files() if f.id in wanted}
    except PermanentError:
        return {}

    async def look(file_id: str) -> FileInfo | None:
        try:
            file = await client.file(file_id)
        except PermanentError:
            return None
        return FileInfo(file.filename, file.bytes)

    ids = sorted(wanted)
    found = zip(ids, await concurrently(look, ids), strict=True)
    return {i: info for i, info in found if info is not None}
