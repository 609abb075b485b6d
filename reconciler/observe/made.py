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
from reconciler.api.types import Job
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
        self._made: dict[str, float] = {}
        self._unfound: list[float] = []

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
        """Return for how many more seconds a list may miss what was made from here; 0 where it would show all."""
        now, longest = self._now(), lag + _ON_ITS_WAY
        sent = self._cache.load(self._sent)
        shown = {_key(job) for job in listed} if sent else ()
        times = {key: at for key, at in sent.items() if key not in shown and isinstance(at, int | float)}
        if early := {key: now for key, at in times.items() if at > now}:  # the clock was set back
            self._cache.store(self._sent, early)
        left = {key: min(at, now) + longest - now for key, at in times.items()}
        self._cache.forget(self._sent, [key for key in sent if left.get(key, 0.0) <= 0])
        return max([0.0, *left.values(), *(at + longest - now for at in self._unfound)])

    def add(self, job_id: str) -> None:
        """Remember a job that was just made."""
        self._made[job_id] = self._now()
        self._cache.store(self._kind, {job_id: self._made[job_id]})

    async def unlisted(self, client: Client, owner: str, listed: Collection[str]) -> dict[str, ObservedJob]:
        """Retrieve the jobs that a list did not show; those that it did, are gone or are not ours are forgotten.

        One that is not found as soon as this after it was made is not gone: it is doubted as long as lists may lag.

        Raises:
            ApiError: the server refused or failed; nothing may be concluded.
        """
        known = self._known()
        since = self._now() - client.server.lag - _ON_ITS_WAY
        new = {job_id: at for job_id, at in known.items() if since < at <= self._now()}

        async def retrieve(job_id: str) -> Job | None:
            try:
                return await client.job(job_id)
            except NotFound:
                return None

        wanted = sorted(job_id for job_id in known if job_id not in listed)
        found = dict(zip(wanted, await concurrently(retrieve, wanted), strict=True))
        rows = {job_id: classify(job, owner) for job_id, job in found.items() if job is not None}
        jobs = {job_id: row for job_id, row in rows.items() if isinstance(row, ObservedJob)}
        unfound = {job_id for job_id, job in found.items() if job is None and job_id in new}
        self._unfound = [new[job_id] for job_id in sorted(unfound)]
        settled = known.keys() - jobs.keys() - unfound
        self._made = {job_id: at for job_id, at in self._made.items() if job_id not in settled}
        self._cache.forget(self._kind, settled)
        return jobs

    def _known(self) -> dict[str, float]:
        """Return when each job was made, by its id."""
        return self._made | {
            job_id: at if isinstance(at, int | float) else 0.0 for job_id, at in self._cache.load(self._kind).items()
        }


def _key(what: Ownership | ObservedJob) -> str:
    return f"{what.name} {what.revision}.{what.attempt}"
