"""Creating a job exactly once.

The API knows no idempotency key, so a create is never repeated blindly: after an unknown outcome the listing is read
by owner, name and revision until its lag bound has passed. What is found is ours; what is not found is reported, and
the next run decides anew. A job that comes back without our metadata is cancelled at once.
"""

from __future__ import annotations

import contextlib

from reconciler.api.types import CreateJob, Job
from reconciler.apply.body import create_body, keeps_ownership, mismatches
from reconciler.apply.model import Outcome
from reconciler.apply.world import World
from reconciler.errors import ApiError, NotFound, OwnershipLost, PermanentError, ReconcilerError, TransientError
from reconciler.observe.ownership import Ownership, stamp
from reconciler.plan.model import Change

_LEAST_LAG = 1.0
"""Seconds to look for a job after an unknown outcome, even where a listing never lags."""


async def create(world: World, change: Change) -> Outcome:
    """Upload what is missing, create the job, and make sure that it is ours.

    Raises:
        OwnershipLost: the server does not keep metadata; the job was cancelled and nothing more may be bought.
        ReconcilerError: anything else that went wrong; no job of this attempt is known to exist.
    """
    spec = world.specs[change.name]
    ownership = Ownership(world.owner, change.name, change.revision or spec.revision, change.attempt or 1)
    file_ids = {file.digest: await world.files.ensure(file) for file in spec.files}
    body = create_body(spec, change.model or "", ownership, file_ids)
    world.follower.job(change.name, "creating")
    try:
        job = await world.api.create_job(body)
    except TransientError as error:
        job = await _look(world, ownership, error)
    await _verify(world, job, body, ownership)
    world.follower.job(change.name, job.status)
    return Outcome(change, "done", job_id=job.id)


async def _look(world: World, ownership: Ownership, error: TransientError) -> Job:
    """Find out whether a create with an unknown outcome made its job."""
    bound = max(world.lag, _LEAST_LAG)
    world.follower.note(f"{ownership.name}: no clear answer to the create; looking for its job for up to {bound:.0f} s")
    deadline = world.clock() + bound
    pause = 0.1
    while True:
        if jobs := await owned(world, ownership):
            return min(jobs, key=lambda j: (j.created_at, j.id))
        if world.clock() >= deadline:
            error.hint = (
                f"Whether the job was made is unknown: none was seen for {bound:.0f} s. It was not sent again. "
                "Run the same command once more: it looks first."
            )
            raise error
        await world.sleep(pause)
        pause = min(pause * 2, 5.0)


async def owned(world: World, ownership: Ownership) -> list[Job]:
    """List the jobs that carry exactly this ownership, whether or not the server filters."""
    found: list[Job] = []
    after: str | None = None
    while True:
        page = await world.api.jobs_page(after=after, metadata=stamp(ownership))
        found += [job for job in page.data if keeps_ownership(job, ownership)]
        if not page.has_more or not page.data or page.data[-1].id == after:
            return found
        after = page.data[-1].id


async def _verify(world: World, job: Job, body: CreateJob, ownership: Ownership) -> None:
    if not keeps_ownership(job, ownership) and not keeps_ownership(await _again(world, job), ownership):
        ended = await _undo(world, job)
        raise OwnershipLost(
            f"The server dropped the metadata of job {job.id}, made for {ownership.name}: {ended}",
            hint="Jobs on this server cannot be owned, so nothing more is created. Use a server that keeps metadata, "
            "or ask its operator to store it.",
        )
    if wrong := list(mismatches(job, body)):
        ended = await _undo(world, job)
        raise OwnershipLost(
            f"The server made another job than asked for {ownership.name}: {job.id}: {'; '.join(wrong)}: {ended}",
            hint="Nothing more is created. Ask the server's operator why it changes what it is sent.",
        )


async def _again(world: World, job: Job) -> Job:
    """Retrieve a job: some servers answer a create with less than they store."""
    try:
        return await world.api.job(job.id)
    except (NotFound, TransientError):
        return job


async def _undo(world: World, job: Job) -> str:
    try:
        await world.api.cancel_job(job.id)
    except ReconcilerError as error:
        return f"cancelling it failed too ({error}); cancel it by hand."
    return "it was cancelled at once."


async def resolve_duplicate(world: World, outcome: Outcome) -> Outcome:
    """After a create, give way to a racing reconciler whose job of the same attempt is older.

    Both sides follow the same rule, so exactly one job stays. A listing that cannot be read changes nothing: the next
    run sees both jobs and cancels one.
    """
    change = outcome.change
    ownership = Ownership(world.owner, change.name, change.revision or "", change.attempt or 1)
    with contextlib.suppress(ApiError):
        jobs = [job for job in await owned(world, ownership) if job.status != "cancelled"]
        keeper = min(jobs, key=lambda j: (j.created_at, j.id), default=None)
        if keeper and keeper.id != outcome.job_id and outcome.job_id in {job.id for job in jobs}:
            with contextlib.suppress(PermanentError):
                await world.api.cancel_job(outcome.job_id)
            detail = f"another reconciler was first: {keeper.id} counts, {outcome.job_id} was cancelled"
            return Outcome(change, "done", job_id=keeper.id, detail=detail)
    return outcome
