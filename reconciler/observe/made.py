"""Jobs that were made from here and that no list has shown yet.

A list may lag behind a create, and what it does not show is not what does not exist: a run that took it for that would
buy the job again. So the id of every job that was made is remembered until a list has shown it, and the job is
retrieved by its id meanwhile. Of a create that was sent and whose answer nobody has heard, since the run was killed,
there is no id: then a list counts only once it is late enough to show the job. The cache remembers both; a lost cache
loses no more than that. Several commands share it, so each forgets only what it knows to be over.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Collection, Iterable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from reconciler.api.concurrently import concurrently
from reconciler.api.retry import Sleep
from reconciler.cache import Cache
from reconciler.errors import NotFound, ReconcilerError
from reconciler.observe.listing import classify
from reconciler.observe.ownership import Ownership
from reconciler.observe.state import ObservedJob

if TYPE_CHECKING:
    from reconciler.api.client import Client
    from reconciler.api.server import Server

_ON_ITS_WAY = 2.0
"""Seconds that a create may need to have its effect once nobody waits for its answer any more."""
_BEAT = 0.5
"""Seconds after which a create that is still under way is remembered anew."""


class Made:
    """Remembers jobs of one owner on one server, as long as a process lives and in the cache; ``now``: Unix seconds."""

    def __init__(
        self,
        cache: Cache | None = None,
        kind: str = "made",
        *,
        now: Callable[[], float] = time.time,
        sleep: Sleep = asyncio.sleep,
    ) -> None:
        self._cache, self._kind, self._now, self._sleep = cache or Cache(None), kind, now, sleep
        self._sent = f"{kind} sent"
        self._ids: set[str] = set()

    @classmethod
    def on(cls, server: Server, owner: str, cache: Cache) -> Made:
        """Return what remembers the jobs of an owner on a server."""
        return cls(cache, f"made {owner} {server.base_url} {server.organization} {server.project}")

    @asynccontextmanager
    async def sending(self, own: Ownership) -> AsyncIterator[None]:
        """Remember that a create is under way, until the block ends in success or in an error of ours.

        It is remembered again and again: it may wait its turn for minutes, and nobody says when a run is killed.
        """
        self.sends(own)
        beat = asyncio.ensure_future(self._go_on(own))
        try:
            yield
        except ReconcilerError:
            self.settled(own)
            raise
        except BaseException:
            self.sends(own)
            raise
        else:
            self.settled(own)
        finally:
            beat.cancel()

    async def _go_on(self, own: Ownership) -> None:
        while True:
            await self._sleep(_BEAT)
            self.sends(own)

    def sends(self, own: Ownership) -> None:
        """Remember that a create leaves."""
        self._cache.store(self._sent, {_key(own): self._now()})

    def settled(self, own: Ownership) -> None:
        """Forget that again: what came of it is known, or would be listed by now."""
        self._cache.forget(self._sent, [_key(own)])

    def doubt(self, listed: Iterable[ObservedJob], lag: float) -> float:
        """Return for how many more seconds a list may miss a job whose create was sent; 0 where it would show all."""
        sent = self._cache.load(self._sent)
        if not sent:
            return 0.0
        now, longest, shown = self._now(), lag + _ON_ITS_WAY, {_key(job) for job in listed}
        times = {key: at for key, at in sent.items() if key not in shown and isinstance(at, int | float)}
        if early := {key: now for key, at in times.items() if at > now}:  # the clock was set back
            self._cache.store(self._sent, early)
        left = {key: min(at, now) + longest - now for key, at in times.items()}
        self._cache.forget(self._sent, [key for key in sent if left.get(key, 0.0) <= 0])
        return max([0.0, *left.values()])

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
            self._ids -= settled
            self._cache.forget(self._kind, settled)
        return jobs

    def _known(self) -> set[str]:
        return self._ids | self._cache.load(self._kind).keys()


def _key(what: Ownership | ObservedJob) -> str:
    return f"{what.name} {what.revision}.{what.attempt}"
