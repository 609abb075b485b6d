"""Whether a world that was left in peace came to rest where its specs want it: read from the server's own record."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping

from reconciler.plan.table import adopts
from reconciler.spec.desired import Desired, Upstream
from reconciler.spec.policy import Policy

from .record import Record
from .rules import adoptable, is_for, managed, owner_of
from .server import TRANSIENT, LiveJob


def judge(record: Record, desired: Mapping[str, Desired], policy: Policy) -> None:
    """Check everything that must hold once faults have stopped and a plan is empty."""
    protected = {spec.name for spec in desired.values() if spec.protect}
    live = Counter((own.name, own.revision) for job in record.ours() if job.live and (own := owner_of(job)))
    twice = [key for key, count in live.items() if count > 1 and key[0] not in protected]
    record.check("one live job of a revision", holds=not twice, words=f"{twice} live twice")
    lost = [job.id for job in record.ours() if job.live and _name(job) not in desired and not _kept(job, desired)]
    record.check("nothing lives without a spec", holds=not lost, words=f"{lost}")
    for spec in desired.values():
        jobs = [j for j in record.server.all_jobs() if _may_count(j, spec, desired)]
        faults = list(_faults(spec, jobs, record, desired, policy))
        record.check("every spec has what it asks for", holds=not faults, words=f"{spec.name}: {faults}")
        made = [j for j in record.server.all_jobs() if j.status == "succeeded" and is_for(j, spec)]
        if len(made) == 1 and (spec.permissions or policy.permissions) and not record.server.quirks.no_permissions:
            _judge_access(record, spec, made[0].model, policy)


def _judge_access(record: Record, spec: Desired, model: str, policy: Policy) -> None:
    """Check that those may use a model whom its spec lets in, and of those that it alone decides on no others."""
    projects = record.server.projects(model)
    missing = set(spec.permissions) - projects
    beyond = {project for project in projects - set(spec.permissions) if managed(project, policy)}
    words = f"{spec.name}, {model}: {missing} are missing, {beyond} too many"
    record.check("who is named is let in", holds=not missing and not beyond, words=words)


def _name(job: LiveJob) -> str:
    own = owner_of(job)
    return own.name if own else ""


def _kept(job: LiveJob, desired: Mapping[str, Desired]) -> bool:
    """Whether a job made under another name counts for a spec of its revision."""
    own = owner_of(job)
    return own is not None and any(spec.revision == own.revision for spec in desired.values())


def _may_count(job: LiveJob, spec: Desired, desired: Mapping[str, Desired]) -> bool:
    """Whether a job is one of a spec's revision: made under its name, or under one that has no spec any more."""
    own = owner_of(job)
    if own is None:
        return is_for(job, spec)
    return own.revision == spec.revision and (own.name == spec.name or own.name not in desired)


def _counts(job: LiveJob, spec: Desired, desired: Mapping[str, Desired]) -> bool:
    """Whether it is so for certain: no other spec of the revision can have it."""
    alone = sum(other.revision == spec.revision for other in desired.values()) == 1
    return is_for(job, spec) or (_may_count(job, spec, desired) and alone)


def _faults(
    spec: Desired, jobs: list[LiveJob], record: Record, desired: Mapping[str, Desired], policy: Policy
) -> Iterator[str]:
    mine = [job for job in record.ours() if _name(job) == spec.name]
    if spec.state == "cancelled":
        if not spec.protect:
            mine += [job for job in jobs if not owner_of(job)]
            yield from (f"{job.id} is {job.status}" for job in mine if job.live)
    elif spec.state == "paused":
        yield from (f"{job.id} is {job.status}" for job in jobs if job.live and job.status != "paused")
    elif not _has_model(jobs) and not _excused(spec, jobs, mine, record, desired, policy):
        yield f"has no model, and nothing explains it: {[(job.id, job.status) for job in jobs]}"


def _has_model(jobs: list[LiveJob]) -> bool:
    return any(job.status == "succeeded" for job in jobs)


def _excused(
    spec: Desired,
    jobs: list[LiveJob],
    mine: list[LiveJob],
    record: Record,
    desired: Mapping[str, Desired],
    policy: Policy,
) -> bool:
    """Whether a spec that wants a model has a reason to be without one."""
    if any(job.status == "failed" and _final(job, spec) for job in jobs):
        return True
    if policy.on_cancelled == "block" and any(job.status == "cancelled" for job in jobs):
        return True
    before = mine + [job for job in record.server.all_jobs() if spec.adopt and job.id == spec.adopt.job]
    if (spec.replace == "wait" or spec.protect) and any(job.status == "paused" for job in before):
        return True  # its predecessor was paused by hand, and may go on one day
    if adopts(spec) and not any(adoptable(job) for job in record.server.all_jobs() if job.id == adopts(spec)):
        return True
    if isinstance(spec.model, Upstream):
        base = desired[spec.model.job]
        waits = any(job.live and is_for(job, base) for job in record.server.all_jobs())
        return waits or not _has_model([j for j in record.server.all_jobs() if _counts(j, base, desired)])
    return False


def _final(job: LiveJob, spec: Desired) -> bool:
    own = owner_of(job)
    return job.course.code != TRANSIENT or (own.attempt if own else 1) > spec.retry_limit
