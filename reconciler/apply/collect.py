"""Collecting garbage: what nothing needs is found in one complete reading, and looked at again before it is deleted.

Jobs can be created at any time, and what one needs must not go. So right before each delete the newest jobs are read
again, back to those that the first reading can have missed: what it did not have is all that can have begun to need
something since.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from reconciler.api.client import Client
from reconciler.api.concurrently import concurrently
from reconciler.api.types import Checkpoint
from reconciler.errors import Conflict, NotFound, ReconcilerError, Unsupported
from reconciler.observe.listing import list_anyones
from reconciler.observe.state import Observed, ObservedJob
from reconciler.plan.garbage import Garbage, Needs, old_checkpoints, old_files, superseded, used_by
from reconciler.spec.desired import Desired

PURPOSE = "fine-tune"

Result = Literal["deleted", "kept", "failed", "skipped"]


@dataclass(frozen=True, slots=True)
class Collected:
    """What became of one thing: ``detail`` says why it was kept or not tried, ``error`` why it failed."""

    item: Garbage
    result: Result
    detail: str = ""
    error: ReconcilerError | None = None


@dataclass(frozen=True)
class Heap:
    """What can go, files first, each by name; and the ids of all jobs there were when this was found.

    ``settled`` is in Unix seconds: of the jobs made before it, the list showed all.
    """

    items: tuple[Garbage, ...]
    jobs: frozenset[str]
    settled: float = -math.inf

    @property
    def size(self) -> int:
        """Bytes that deleting it frees, as far as they are known."""
        return sum(item.size or 0 for item in self.items)


async def find_garbage(
    client: Client, owner: str, desired: Sequence[Desired], observed: Observed, *, before: float
) -> Heap:
    """Find what nothing needs, made before ``before`` (Unix seconds).

    Raises:
        UnreliableListing: the list of jobs contradicts itself.
        ApiError: the server refused or failed: a partial reading proves nothing to be unneeded.
    """
    files = await client.files(PURPOSE)
    jobs = await list_anyones(client, {})  # after the files: a job created meanwhile is among them
    needs = Needs.of(desired, jobs, observed.jobs)
    old = list(old_files(files, jobs, needs, owner=owner, before=before))
    models = await _models(client, superseded(desired, observed), needs, before)
    items = [*sorted(old, key=lambda i: (i.name, i.id)), *models]
    settled = (
        jobs[-1].created_at - client.server.lag if jobs else -math.inf
    )  # a list may lag, and show older ones later
    return Heap(tuple(items), frozenset(job.id for job in jobs), settled)


async def _models(client: Client, jobs: Sequence[ObservedJob], needs: Needs, before: float) -> list[Garbage]:
    async def saved(job: ObservedJob) -> list[Checkpoint]:
        try:
            return await client.checkpoints(job.id)
        except (NotFound, Unsupported):
            return []

    pairs = zip(jobs, await concurrently(saved, jobs), strict=True)
    items = [item for item in old_checkpoints(pairs, needs) if item.created_at < before]
    there = await concurrently(functools.partial(_exists, client), items)  # a list may name what was deleted
    found = [item for item, exists in zip(items, there, strict=True) if exists]
    return sorted(found, key=lambda item: (item.name, item.job_id, item.created_at, item.id))


async def _exists(client: Client, item: Garbage) -> bool:
    try:
        await (client.file(item.id) if item.kind == "file" else client.model(item.id))
    except NotFound:
        return False
    return True


async def collect(client: Client, heap: Heap) -> list[Collected]:
    """Delete, one by one; after the first failure nothing more."""
    done: list[Collected] = []
    failed = False
    for item in heap.items:
        if failed:
            end = Collected(item, "skipped", "after an error nothing more is deleted")
        else:
            end = await _delete(client, item, heap)
            failed = end.result == "failed"
        done.append(end)
    return done


async def _delete(client: Client, item: Garbage, heap: Heap) -> Collected:
    try:
        if user := await _new_user(client, item, heap):
            return Collected(item, "kept", f"{user} needs it now")
        if not await _exists(client, item):
            return Collected(item, "kept", "is gone already")
        await (client.delete_file(item.id) if item.kind == "file" else client.delete_model(item.id))
    except Conflict as error:
        return Collected(item, "kept", str(error))
    except ReconcilerError as error:
        return Collected(item, "failed", error=error)
    return Collected(item, "deleted")


async def _new_user(client: Client, item: Garbage, heap: Heap) -> str | None:
    """Return a job that was not there before and needs this."""
    newest = await list_anyones(client, {}, since=heap.settled)
    return next((job.id for job in newest if job.id not in heap.jobs and item.id in used_by(job)), None)
