"""Jobs that were made from here and that no list has shown yet.

A list may lag behind a create, and what it does not show is not what does not exist: a run that took it for that would
buy the job again. So the id of every job that was made is remembered until a list has shown it, and the job is
retrieved by its id meanwhile. The cache remembers it over a run that was killed; a lost cache loses no more than that.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

from reconciler.api.concurrently import concurrently
from reconciler.cache import Cache
from reconciler.errors import NotFound
from reconciler.observe.listing import classify
from reconciler.observe.state import ObservedJob

if TYPE_CHECKING:
    from reconciler.api.client import Client
    from reconciler.api.server import Server


class Made:
    """Remembers ids of jobs of one owner on one server; a process keeps one of these as long as it lives."""

    def __init__(self, cache: Cache | None = None, kind: str = "made") -> None:
        self._cache, self._kind = cache or Cache(None), kind
        self._ids: set[str] = set()

    @classmethod
    def on(cls, server: Server, owner: str, cache: Cache) -> Made:
        """Return what remembers the jobs of an owner on a server."""
        return cls(cache, f"made {owner} {server.base_url} {server.organization} {server.project}")

    def add(self, job_id: str) -> None:
        """Remember a job that was just made."""
        self._ids.add(job_id)
        self._cache.store(self._kind, {job_id: True})

    async def unlisted(self, client: Client, owner: str, listed: Collection[str]) -> dict[str, ObservedJob]:
        """Retrieve the jobs that a list did not show; those that it did, are gone or are not ours are forgotten.

        Raises:
            ApiError: the server refused or failed; nothing may be concluded.
        """
        known = self._known()
        if not known:
            return {}

        async def retrieve(job_id: str) -> ObservedJob | None:
            try:
                row = classify(await client.job(job_id), owner)
            except NotFound:
                return None
            return row if isinstance(row, ObservedJob) else None

        found = await concurrently(retrieve, sorted(known.difference(listed)))
        jobs = {job.id: job for job in found if job is not None}
        if settled := known - jobs.keys():
            self._ids = self._known() - settled  # another command may have made some meanwhile
            self._cache.store(self._kind, dict.fromkeys(self._ids, True), replace=True)
        return jobs

    def _known(self) -> set[str]:
        return self._ids | self._cache.load(self._kind).keys()
