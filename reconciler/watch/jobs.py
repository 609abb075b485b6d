"""The jobs of a watch as its dashboard shows them: as the newest look saw them, and a job's own page as it is now."""

from __future__ import annotations

import time
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterable, Iterator, Sequence

from reconciler.api.client import Client
from reconciler.api.concurrently import concurrently
from reconciler.api.types import Event
from reconciler.errors import ApiError
from reconciler.observe.ownership import OWNER
from reconciler.observe.state import Observed, ObservedJob
from reconciler.ui.source import UNOWNED, Details, Document, Entry, Events, Listing, Query

_FRESH = 2.0
"""Seconds for which a job's newest step is not asked for again."""
_KEPT_LOGS = 16
_TEXTS = ("id", "name", "model", "fine_tuned_model", "suffix")


class Jobs:
    """Answers for the jobs that ``observed`` holds at the moment; no other job is ever shown."""

    def __init__(
        self, client: Client, observed: Callable[[], Observed], *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._client, self._observed, self._clock = client, observed, clock
        self._progress: dict[str, tuple[float, Document]] = {}
        self._logs: OrderedDict[str, list[Event]] = OrderedDict()

    async def listing(self, query: Query) -> Listing:
        """Return the jobs that match, newest first."""
        matching = [job for job in reversed(self._observed().jobs) if _matches(job, query)]
        chosen = [job for job in matching if not query.statuses or job.status in query.statuses]
        shown = chosen[query.offset : query.offset + query.limit]
        progress = await self.progress(shown)
        owners = {str(job.metadata[OWNER]) for job in self._observed().jobs if OWNER in job.metadata}
        return Listing(
            [Entry(document(job), progress.get(job.id, {})) for job in shown],
            Counter(job.status for job in matching),
            sorted(owners),
        )

    async def progress(self, jobs: Iterable[ObservedJob]) -> dict[str, Document]:
        """Return the newest step of each job that runs, asked for once in a while."""
        running = [job.id for job in jobs if job.status == "running"]
        now = self._clock()
        due = [i for i in running if i not in self._progress or now - self._progress[i][0] >= _FRESH]

        async def ask(job_id: str) -> None:
            try:
                newest = (await self._client.events(job_id, limit=5)).data
            except ApiError:
                newest = []
            known = self._progress.get(job_id, (now, {}))[1]
            self._progress[job_id] = (now, next(_steps(newest), known))

        await concurrently(ask, due)
        active = {job.id for job in self._observed().jobs if job.active}
        self._progress = {i: found for i, found in self._progress.items() if i in active}
        return {i: self._progress[i][1] for i in running}

    async def details(self, job_id: str) -> Details | None:
        """Read a job of ours as it is now."""
        if job_id not in self._observed().by_id:
            return None
        job = await self._client.job(job_id)
        steps = list(_steps(await self._log(job_id)))[::-1]
        checkpoints = [point.model_dump() for point in await self._client.checkpoints(job_id)]
        return Details(Entry(job.model_dump(), steps[-1] if steps else {}), steps, checkpoints[::-1], ())

    async def events(self, job_id: str, *, after: str | None, limit: int, steps: bool) -> Events | None:
        """Return a job's events, newest first."""
        if job_id not in self._observed().by_id:
            return None
        log = [event for event in await self._log(job_id) if steps or event.type != "metrics"]
        first = next((i + 1 for i, event in enumerate(log) if event.id == after), 0)
        shown = log[first : first + limit]
        return Events([event.model_dump() for event in shown], first + limit < len(log))

    async def _log(self, job_id: str) -> Sequence[Event]:
        """Return all events, newest first; only what is new is asked for."""
        known = self._logs.pop(job_id, [])
        fresh = await self._client.events_since(job_id, known[0].id if known else None)
        self._logs[job_id] = [*reversed(fresh), *known]
        while len(self._logs) > _KEPT_LOGS:
            self._logs.popitem(last=False)
        return self._logs[job_id]


def _steps(newest: Iterable[Event]) -> Iterator[Document]:
    return (event.data for event in newest if event.type == "metrics" and event.data)


def _matches(job: ObservedJob, query: Query) -> bool:
    owner = job.metadata.get(OWNER)
    if query.owner is not None and (owner is not None if query.owner == UNOWNED else owner != query.owner):
        return False
    texts = [str(getattr(job, name) or "") for name in _TEXTS] + list(map(str, job.metadata.values()))
    return not query.text or any(query.text.lower() in text.lower() for text in texts)


def document(job: ObservedJob) -> Document:
    """Return a job in the wire's words, as far as a list needs them."""
    names = ("id", "status", "model", "fine_tuned_model", "created_at", "finished_at", "estimated_finish")
    return {
        **{name: getattr(job, name) for name in names},
        "trained_tokens": job.trained_tokens,
        "metadata": job.metadata,
        "user_provided_suffix": job.suffix,
    }
