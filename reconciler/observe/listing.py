"""All jobs of one owner, from a listing that is checked, and read no further than it must be.

A reading is complete or it raises. Pages overlap by one job: the next page must begin with the last job of the
page before, which a cursor that skips, repeats or is unknown to the server cannot bring about.

What a reading learns is cached. The next one stops at a page that holds only known jobs, each older than the last
reading by more than the lag bound: all that follows was visible then. Of what it did not reach, ended jobs never
change, and active ones are retrieved one by one. With or without the cache, the result is the same.
"""

from __future__ import annotations

import logging
import math
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import aclosing
from typing import TYPE_CHECKING

from reconciler.api.answers import clean
from reconciler.api.concurrently import concurrently
from reconciler.api.types import Job
from reconciler.cache import Cache
from reconciler.errors import InvalidRequest, NotFound, UnreliableListing
from reconciler.observe.memory import Reading, Row, recall, remember
from reconciler.observe.ownership import OWNER, parse
from reconciler.observe.state import ObservedJob

if TYPE_CHECKING:
    from reconciler.api.client import Client

log = logging.getLogger(__name__)

PAGE = 100
_READINGS = 3
_MISSING_CHECKED = 20


class _Again(Exception):
    """This reading proves nothing: read from the start, without stopping early."""


class _Contradiction(_Again):
    """The listing contradicts itself."""


async def list_jobs(client: Client, owner: str, *, cache: Cache, now: Callable[[], float]) -> Reading:
    """Read all jobs, ours reduced to what planning needs.

    Raises:
        UnreliableListing: the listing contradicted itself three times.
        ApiError: the server refused or failed; nothing may be concluded.
    """
    kind = f"jobs {owner} {client.server.base_url} {client.server.organization} {client.server.project}"
    known = recall(cache, kind)
    for attempt in range(_READINGS):
        try:
            fresh, complete = await _read(client, owner, known, now, trusting=attempt == 0)
        except _Contradiction as fault:
            await _before_another(client, fault, attempt)
        except _Again:
            continue
        else:
            reading = fresh if complete else Reading({**known.rows, **fresh.rows}, fresh.time)
            remember(cache, kind, known, reading)
            return reading
    raise AssertionError("unreachable: only the first reading trusts the cache")


async def list_anyones(client: Client, metadata: Mapping[str, str], *, since: float = -math.inf) -> list[Job]:
    """Read all jobs that carry these pairs, whosesoever and whole, oldest first.

    With ``since`` (Unix seconds) those made before may be missing, and are not read on purpose.

    Raises:
        UnreliableListing: the listing contradicted itself three times.
        ApiError: the server refused or failed; nothing may be concluded.
    """
    for attempt in range(_READINGS):
        try:
            async with aclosing(_pages(client, metadata)) as pages:
                read: list[list[Job]] = []
                async for page in pages:
                    read.append(page)
                    if page and page[-1].created_at < since:
                        break
        except _Contradiction as fault:
            await _before_another(client, fault, attempt)
        else:
            jobs = [job for page in read for job in page]
            _log_listing(len(read), len(jobs))
            return [job for job in reversed(jobs) if metadata.items() <= (job.metadata or {}).items()]
    raise AssertionError("unreachable: the last contradiction is raised")


def _log_listing(pages: int, jobs: int) -> None:
    fields = {"pages": pages, "jobs": jobs}
    words = [f"{n} {noun}{'' if n == 1 else 's'}" for n, noun in ((pages, "page"), (jobs, "job"))]
    log.info("Listing read: %s, %s.", *words, extra=fields)


async def _before_another(client: Client, fault: _Contradiction, attempt: int) -> None:
    """Wait before the next reading; after the last one, give up."""
    if attempt + 1 == _READINGS:
        raise UnreliableListing(
            f"The list of jobs at {client.server.base_url} contradicts itself: {clean(fault, client.server.key)}.",
            hint="Nothing was concluded from it and nothing changed. Run again later; if it stays so, "
            "this server's list cannot be used.",
        ) from fault
    await client.sleep(max(1.0, attempt * client.server.lag))


async def _read(
    client: Client, owner: str, known: Reading, now: Callable[[], float], *, trusting: bool
) -> tuple[Reading, bool]:
    """Read once; return what was read, and whether that is everything.

    Raises:
        _Again: the reading cannot be used.
    """
    fresh = Reading()
    settled = known.time - client.server.lag
    bottom = -math.inf
    complete = True
    count = 0
    async with aclosing(_pages(client, {OWNER: owner})) as pages:
        async for jobs in pages:
            count += 1
            if not fresh.rows:
                fresh.time = _server_time(client, jobs, now)
            for job in jobs:
                fresh.rows[job.id] = classify(job, owner)
                trusting = trusting and (job.id in known.rows or job.created_at >= settled)
            if trusting and jobs and jobs[0].created_at < settled:  # so every job of this page is known
                pages_left = math.ceil((len(known.rows) - len(fresh.rows)) / (PAGE - 1))
                if len(_unread(known, fresh)) <= max(pages_left, 1):
                    complete, bottom = False, jobs[-1].created_at
                    break
    _log_listing(count, len(fresh.rows))
    await (_check_missing(client, known, fresh) if complete else _complete(client, owner, known, fresh, bottom))
    return fresh, complete


async def _pages(client: Client, metadata: Mapping[str, str]) -> AsyncGenerator[list[Job]]:
    """Yield the jobs that each page adds, newest first, until the listing ends.

    Raises:
        _Contradiction: a page repeats, skips, is out of order, or does not go on as promised.
    """
    order: list[str] = []
    seen: set[str] = set()
    newest: float = math.inf
    while True:
        cursor = order[-2] if len(order) > 1 else order[-1] if order else None
        jobs, more = await _page(client, metadata, cursor)
        if len(order) > 1:
            if not jobs or jobs[0].id != order[-1]:
                raise _Contradiction("a page did not go on where the page before it had ended")
            jobs = jobs[1:]
        for job in jobs:
            if job.id in seen:
                raise _Contradiction(f"{job.id} is in it twice")
            if job.created_at > newest:
                raise _Contradiction(f"{job.id} is newer than the job before it")
            newest = job.created_at
            seen.add(job.id)
            order.append(job.id)
        if more and not jobs:
            raise _Contradiction("it says that more follows, and nothing does")
        yield jobs
        if more is False or not jobs:
            return


async def _page(client: Client, metadata: Mapping[str, str], cursor: str | None) -> tuple[list[Job], bool | None]:
    """Read a page; return its jobs and whether more follow, None where the server does not say."""
    try:
        page = await client.jobs_page(cursor, PAGE, metadata)
    except (NotFound, InvalidRequest) as error:
        if cursor is None:
            raise
        raise _Contradiction(f"it no longer knows {cursor}, which it had just named ({error})") from error
    return page.data, page.has_more if "has_more" in page.model_fields_set else None


def classify(job: Job, owner: str) -> Row:
    """Decide whose a job is. A server may ignore the filter, so this is what counts."""
    try:
        own = parse(job.metadata)
    except ValueError as error:
        return str(error) if (job.metadata or {}).get(OWNER) == owner else None
    if own is None or own.owner != owner:
        return None
    return ObservedJob.of(job, own.name, own.revision, own.attempt)


def _server_time(client: Client, first_page: list[Job], now: Callable[[], float]) -> float:
    """Date a reading by the server's clock. Too early is safe: the next reading then reads further."""
    if client.server.app is not None:
        return math.floor(now())
    if client.server_time is not None:
        return client.server_time
    return first_page[0].created_at if first_page else -math.inf


def _unread(known: Reading, fresh: Reading) -> list[str]:
    """Known jobs that may have changed and were not on the pages read."""
    return [i for i, row in known.rows.items() if isinstance(row, ObservedJob) and row.active and i not in fresh.rows]


async def _complete(client: Client, owner: str, known: Reading, fresh: Reading, bottom: float) -> None:
    """Retrieve what an early stop left open: active jobs, and any that should have been on the pages read."""
    wanted = set(_unread(known, fresh))
    wanted.update(
        i
        for i, row in known.rows.items()
        if isinstance(row, ObservedJob) and row.created_at > bottom and i not in fresh.rows
    )
    try:
        jobs = await concurrently(client.job, sorted(wanted))
    except NotFound as error:
        raise _Again("a known job is gone") from error
    for job in jobs:
        row = classify(job, owner)
        if not isinstance(row, ObservedJob) or job.created_at > bottom:
            raise _Again("a known job was not where the listing should have had it")
        fresh.rows[job.id] = row


async def _check_missing(client: Client, known: Reading, fresh: Reading) -> None:
    """Insist that jobs of ours which a listing to the end no longer shows are really gone."""
    missing = [row for i, row in known.rows.items() if isinstance(row, ObservedJob) and i not in fresh.rows]
    missing.sort(key=lambda row: row.created_at, reverse=True)

    async def exists(row: ObservedJob) -> bool:
        try:
            await client.job(row.id)
        except NotFound:
            return False
        return True

    newest = missing[:_MISSING_CHECKED]
    for row, still in zip(newest, await concurrently(exists, newest), strict=True):
        if still:
            raise _Contradiction(f"{row.id} exists and is missing from it")
