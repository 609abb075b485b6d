"""Which jobs are imported: those named, or all that a selection finds."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from reconciler.api.concurrently import concurrently
from reconciler.api.types import Job
from reconciler.errors import NotFound
from reconciler.observe.listing import list_anyones
from reconciler.observe.ownership import OWNER, refusal

if TYPE_CHECKING:
    from reconciler.api.client import Client


@dataclass(frozen=True, slots=True)
class Selection:
    """What to import: jobs by id, or all that carry ``metadata``, without an owner or of one in ``take_over``."""

    ids: tuple[str, ...] = ()
    metadata: Mapping[str, str] = field(default_factory=dict)
    take_over: tuple[str, ...] = ()


@dataclass(slots=True)
class Chosen:
    """The jobs to import; by id why others are not; and how many of other owners a selection passed over."""

    jobs: list[Job] = field(default_factory=list)
    skipped: dict[str, str] = field(default_factory=dict)
    known: dict[str, str] = field(default_factory=dict)
    foreign: int = 0


async def choose(client: Client, owner: str, selection: Selection, taken: Mapping[str, str]) -> Chosen:
    """Read the jobs. ``taken`` says by id for which spec a job counts already.

    Jobs that a selection finds are passed over where they are ours, since specs made them, and where they are
    another owner's that is not taken over. Those named are skipped with the reason.

    Raises:
        ApiError: the server refused or failed.
        UnreliableListing: the list of jobs contradicts itself.
    """
    chosen = Chosen()
    if selection.ids:
        await _by_id(client, selection.ids, chosen)
    else:
        chosen.jobs = await list_anyones(client, selection.metadata)
    jobs, chosen.jobs = chosen.jobs, []
    for job in jobs:
        whose = (job.metadata or {}).get(OWNER)
        if job.id in taken:
            chosen.known[job.id] = taken[job.id]
        elif why := _refused(job, owner, selection.take_over):
            if whose == owner or selection.ids:
                chosen.skipped[job.id] = why
            else:
                chosen.foreign += 1
        elif selection.ids or _wanted(whose, selection.take_over):
            chosen.jobs.append(job)
    return chosen


def _wanted(whose: str | None, take_over: Collection[str]) -> bool:
    return whose in take_over if take_over else whose is None


def _refused(job: Job, owner: str, take_over: Sequence[str]) -> str | None:
    """Say why a job may not be imported: unlike ``adopt`` by hand, this asks for the flag for ended jobs too."""
    why = refusal(job.metadata, owner, status=job.status, ended=False, take_over=take_over)
    return why and why.removeprefix("which ")


async def _by_id(client: Client, ids: Sequence[str], chosen: Chosen) -> None:
    async def look(job_id: str) -> Job | None:
        try:
            return await client.job(job_id)
        except NotFound as error:
            chosen.skipped[job_id] = error.message
            return None

    found = await concurrently(look, dict.fromkeys(ids))
    chosen.jobs = [job for job in found if job is not None]
