"""Jobs that were made from here and that no list has shown yet.

A list may lag behind a create, and what it does not show is not what does not exist: a run that took it for that would
buy the job again. So the id of every job that was made is remembered until a list has shown it, and the job is
retrieved by its id meanwhile. Of a create that was sent and whose answer nobody has heard, since the run was killed,
there is no id: then a list counts only once it is late enough to show the job. The cache remembers both; a lost cache
loses no more than that.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable
from typing import TYPE_CHECKING

from reconciler.api.concurrently import concurrently
from reconciler.cache import Cache
from reconciler.errors import NotFound
from reconciler.observe.listing import classify
from reconciler.observe.ownership import Ownership
from reconciler.observe.state import ObservedJob

if TYPE_CHECKING:
    from reconciler.api.client import Client
    from reconciler.api.server import Server

_ON_ITS_WAY = 2.0
"""Seconds that a create may need to have its effect once nobody waits for its answer any more."""


class Made:
    """Remembers jobs of one owner on one server, as long as a process lives and in the cache; ``now``: Unix seconds."""

    def __init__(self, cache: Cache | None = None, kind: str = "made", *, now: Callable[[], float] = time.time) -> None:
        self._cache, self._kind, self._now = cache or Cache(None), kind, now
        self._sent = f"{kind} sent"
        self._ids: set[str] = set()

    @classmethod
    def on(cls, server: Server, owner: str, cache: Cache) -> Made:
        """Return what remembers the jobs of an owner on a server."""
        return cls(cache, f"made {owner} {server.base_url} {server.organization} {server.project}")

    def sends(self, own: Ownership) -> None:
        """Remember that a create leaves."""
        self._cache.store(self._sent, {_key(own): self._now()})

    def settled(self, own: Ownership) -> None:
        """Forget that again: what came of it is known, or would be listed by now."""
        sent = self._cache.load(self._sent)
        if sent.pop(_key(own), None) is not None:
            self._cache.store(self._sent, sent, replace=True)

    def doubt(self, listed: Iterable[ObservedJob], lag: float) -> float:
        """Return for how many more seconds a list may miss a job whose create was sent; 0 where it would show all."""
        sent = self._cache.load(self._sent)
        if not sent:
            return 0.0
        shown = {_key(job) for job in listed}
        times = [at for key, at in sent.items() if key not in shown and isinstance(at, int | float)]
        longest = lag + _ON_ITS_WAY
        left = min(max(times, default=0.0) + longest - self._now(), longest)  # a clock may have been set back
        if left <= 0:
            self._cache.store(self._sent, {}, replace=True)
        return max(left, 0.0)

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


def _key(what: Ownership | ObservedJob) -> str:
    return f"{what.name} {what.revision}.{what.attempt}"
