"""What one run may do to what is there: read from its clone's specs and the server's own record, not from its plan."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase

from reconciler.observe.ownership import OWNER, Ownership, parse
from reconciler.plan.table import adopts
from reconciler.spec.desired import Desired
from reconciler.spec.policy import Policy

from .server import LiveJob, Server

OURS = "acme/models"
"""The one owner that every reconciler here works for."""
_BY_CONTENT = re.compile(r".+\.([0-9a-f]{16})\.jsonl")


def owner_of(job: LiveJob) -> Ownership | None:
    """Read whose a job is; None for every job that is not clearly ours."""
    try:
        own = parse(job.metadata)
    except ValueError:
        return None
    return own if own and own.owner == OURS else None


def adoptable(job: LiveJob) -> bool:
    """Whether a spec may adopt a job: nobody else's, unless it has ended, and none that claims to be ours."""
    claimed = job.metadata.get(OWNER)
    return claimed is None or (claimed != OURS and not job.live)


def is_for(job: LiveJob, spec: Desired) -> bool:
    """Whether a job was made for a spec as it is, or is adopted by it as it is."""
    own = owner_of(job)
    made = own is not None and (own.name, own.revision) == (spec.name, spec.revision)
    return made or (adopts(spec) == job.id and adoptable(job))


def adopter(job: LiveJob, desired: Sequence[Desired]) -> Desired | None:
    """Find the spec that names a job made elsewhere, whatever its revision."""
    if owner_of(job) or not adoptable(job):
        return None
    return next((spec for spec in desired if spec.adopt and spec.adopt.job == job.id), None)


def asks(spec: Desired, verb: str, job: LiveJob, server: Server) -> bool:
    """Whether a spec asks to cancel, pause or resume the job that it adopts."""
    counts = adopts(spec) == job.id
    if verb != "cancel":
        return counts and spec.state == {"pause": "paused", "resume": "running"}[verb]
    beside = any(other is not job and is_for(other, spec) for other in server.all_jobs())
    replaced = beside if counts else spec.replace == "cancel"
    return not spec.protect and (spec.state == "cancelled" or replaced)


def protects(job: LiveJob, desired: Sequence[Desired]) -> bool:
    """Whether a spec forbids that a job is cancelled."""
    own = owner_of(job)
    named = {spec.name: spec for spec in desired if spec.protect}
    return (own is not None and own.name in named) or any(is_for(job, spec) for spec in named.values())


def needs_of_file(server: Server, file_id: str, desired: Sequence[Desired], looked: float) -> Iterator[str]:
    """Say why a data file must not go, as far as a listing begun at ``looked`` could tell."""
    jobs = [job for job in server.all_jobs() if job.shown <= looked and file_id in job.uses]
    yield from (f"{job.id}, which is {job.status}, uses it" for job in jobs if job.live)
    yield from (f"{job.id} is not ours and uses it" for job in jobs if not owner_of(job))
    if not any(owner_of(job) for job in jobs):
        yield "no job of ours uses it"
    match = _BY_CONTENT.fullmatch(server.files[file_id]["filename"])
    if not match:
        yield "its name is not one of ours"
    digests = {file.digest[:16]: spec.name for spec in desired for file in spec.files}
    if match and match[1] in digests:
        yield f"{digests[match[1]]} names it"


def needs_of_model(server: Server, model: str, desired: Sequence[Desired], looked: float) -> Iterator[str]:
    """Say why a model must not go, as far as a listing begun at ``looked`` could tell."""
    using = [job for job in server.all_jobs() if job.live and job.shown <= looked and model in job.uses]
    yield from (f"{job.id}, which is {job.status}, starts from it" for job in using)
    maker = server.maker(model)
    own = owner_of(maker)
    if model == maker.model:
        yield f"it is what {maker.id} was made for"
    if own is None:
        yield f"{maker.id} is not ours"
    elif own.name not in {spec.name for spec in desired}:
        yield f"{own.name} has no spec"
    if protects(maker, desired):
        yield "its spec is protected"
    yield from (f"{maker.id} is what {spec.name} converged to" for spec in desired if is_for(maker, spec))


def managed(project: str, policy: Policy) -> bool:
    """Whether specs alone decide on a project's access."""
    return any(fnmatchcase(project, pattern) for pattern in policy.permissions)


def wants_access(server: Server, model: str, project: str, desired: Sequence[Desired]) -> bool:
    """Whether a spec wants that a project may use a model: one that the model's job is for, also once renamed."""
    maker = server.maker(model)
    own = owner_of(maker)
    names = {spec.name for spec in desired}
    renamed = own is not None and own.name not in names
    return any(
        project in spec.permissions
        and (is_for(maker, spec) or (renamed and own is not None and own.revision == spec.revision))
        for spec in desired
    )


def surely_wants_access(server: Server, model: str, project: str, desired: Sequence[Desired]) -> bool:
    """Whether that spec is certain: a job made under a name without a spec may count for any of its revision."""
    maker = server.maker(model)
    own = owner_of(maker)
    sure = [spec for spec in desired if is_for(maker, spec)]
    if not sure and own is not None and own.name not in {spec.name for spec in desired}:
        same = [spec for spec in desired if spec.revision == own.revision]
        return bool(same) and all(project in spec.permissions for spec in same)
    return any(project in spec.permissions for spec in sure)
