"""Creating a job exactly once.

The API knows no idempotency key, so a create is never repeated blindly: after an unknown outcome the listing is read
by owner, name and revision until its lag bound has passed. What is found is ours; what is not found is reported, and
the next run decides anew. A job that comes back without our metadata is cancelled at once, one with another's never.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from pydantic import ValidationError

from reconciler.api.client import proves_nothing_happened
from reconciler.api.types import CreateJob, Job
from reconciler.apply.body import belongs_to, create_body, keeps_ownership, mismatches
from reconciler.apply.model import Outcome
from reconciler.apply.world import World
from reconciler.errors import ApiError, OwnershipLost, PlanError, ReconcilerError, TransientError
from reconciler.observe.ownership import Ownership, stamp
from reconciler.observe.state import precedence
from reconciler.plan.model import Change


async def create(world: World, change: Change) -> Outcome:
    """Upload what is missing, create the job, and make sure that it is ours.

    Raises:
        OwnershipLost: the server does not keep metadata; the job was cancelled and nothing more may be bought.
        ReconcilerError: anything else that went wrong; no job of this attempt is known to exist.
    """
    spec = world.specs[change.name]
    ownership = Ownership(world.owner, change.name, change.revision or spec.revision, change.attempt or 1)
    file_ids = {file.digest: await world.files.ensure(file) for file in spec.files}
    try:
        body = create_body(spec, change.model or "", ownership, file_ids)
    except ValidationError as error:
        raise PlanError(f"{change.name} cannot be sent as a job: {_first(error)}") from error
    world.follower.job(change.name, "creating")
    async with world.made.sending(ownership):  # and if this ends here, the next run knows
        job, known = await _send(world, body, ownership)
        world.made.add(job.id)
    if known:
        await _verify(world, job, body, ownership)
    world.follower.job(change.name, job.status)
    return Outcome(change, "done", job_id=job.id)


async def _send(world: World, body: CreateJob, ownership: Ownership) -> tuple[Job, bool]:
    """Send a create once; return its job, and whether that is the answer: else it was looked for."""
    try:
        return await world.api.create_job(body), True
    except TransientError as error:
        if proves_nothing_happened(error):
            raise
        return await _look(world, ownership, error), False


def _first(error: ValidationError) -> str:
    fault = error.errors(include_url=False)[0]
    return f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}"


async def _look(world: World, ownership: Ownership, error: TransientError) -> Job:
    """Find out whether a create with an unknown outcome made its job."""
    bound = world.visible_within
    world.follower.note(f"{ownership.name}: no clear answer to the create; looking for its job for up to {bound:.0f} s")
    deadline = world.clock() + bound
    pause = 0.1
    while True:
        began = world.clock()
        try:
            if job := _keeper(await owned(world, ownership)):
                return job
        except ApiError as silent:
            world.follower.note(f"{ownership.name}: the jobs cannot be listed either ({silent})")
        if began >= deadline:  # a listing shows what was visible when it began
            error.hint = (
                f"Whether the job was made is unknown: none was seen for {bound:.0f} s. It was not sent again. "
                "Run the same command once more: it looks first."
            )
            raise error
        await world.sleep(pause)
        pause = min(pause * 2, 5.0)


async def owned(world: World, ownership: Ownership) -> list[Job]:
    """List the jobs that carry exactly this ownership, whether or not the server filters."""
    seen: dict[str, Job] = {}
    after: str | None = None
    while True:
        page = await world.api.jobs_page(after=after, metadata=stamp(ownership))
        fresh = {job.id: job for job in page.data if job.id not in seen}
        seen |= fresh
        if not (page.has_more and fresh):
            return [job for job in seen.values() if keeps_ownership(job, ownership)]
        after = page.data[-1].id


def _keeper(jobs: Iterable[Job]) -> Job | None:
    """Choose among jobs of one attempt as every plan does."""
    return min(jobs, key=lambda job: precedence(job, 1), default=None)


async def _verify(world: World, job: Job, body: CreateJob, ownership: Ownership) -> None:
    if not keeps_ownership(job, ownership) and not keeps_ownership(found := await _again(world, job), ownership):
        if whose := belongs_to(found, ownership):
            raise OwnershipLost(
                f"The create of {ownership.name} was answered with job {job.id}, which belongs to {whose[:120]}: it "
                "was left alone.",
                hint="Nothing more is created. Ask the server's operator why a create is answered with another job.",
            )
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
    except ApiError:
        return job


async def _undo(world: World, job: Job) -> str:
    try:
        await world.api.cancel_job(job.id)
    except ReconcilerError as error:
        return f"cancelling it failed too ({error}); cancel it by hand."
    return "it was cancelled at once."


async def _once_listed(world: World, ownership: Ownership, ours: str, deadline: float) -> dict[str, Job]:
    """List the jobs of an ownership as soon as a job of it is among them, or its listing has had time enough.

    Raises:
        ApiError: the jobs could not be listed, at the end of that time either.
    """
    pause = 0.1
    while True:
        began = world.clock()
        late = began >= deadline
        try:
            jobs = {job.id: job for job in await owned(world, ownership)}
            if ours in jobs or late:
                return jobs
        except ApiError:
            if late:
                raise
        await world.sleep(pause)
        pause = min(pause * 2, 5.0)


async def resolve_duplicate(world: World, outcome: Outcome, deadline: float) -> Outcome:
    """After a create, settle with a racing reconciler that made a job of the same attempt: the older one stays.

    Both sides follow the same rule, so exactly one job stays. Each decides only once the listing shows its own job: one
    that lags would show neither side the other. That is waited for until ``deadline``, whatever has failed, since who
    looks next would take what is not listed for what does not exist. After an error nothing is cancelled, and a listing
    that cannot be read changes nothing: the next run sees both jobs and cancels one.
    """
    change, ours = outcome.change, outcome.job_id or ""
    ownership = Ownership(world.owner, change.name, change.revision or "", change.attempt or 1)
    try:
        jobs = await _once_listed(world, ownership, ours, deadline)
        keeper = _keeper(jobs.values())
        if ours not in jobs:
            world.follower.note(
                f"{change.name}: no list shows {ours} after {world.visible_within:.0f} s. Another run now may make it "
                f"again: let the server's lag in reconciler.yaml be what its lists need."
            )
        if keeper is None or ours not in jobs or world.run.failed:
            return outcome
        for job in jobs.values():
            # Ours and theirs: a rival may have looked before our job was there, and think that it was alone.
            if job.id != keeper.id and not job.terminal:
                await world.api.cancel_job(job.id)
        if keeper.id == ours or jobs[ours].terminal:
            return outcome
    except ApiError as error:
        world.follower.note(f"{change.name}: whether another reconciler made it too is left to the next run ({error})")
        return outcome
    detail = f"another reconciler was first: {keeper.id} counts, {ours} was cancelled"
    return replace(outcome, job_id=keeper.id, detail=detail)
