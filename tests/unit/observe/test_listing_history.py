"""Whatever happened on a server before: a reading that builds on others equals a reading from nothing."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path

from fleet import OURS, Fleet, Live
from hypothesis import given, settings
from hypothesis import strategies as st

from reconciler.cache import Cache
from reconciler.observe.listing import list_jobs
from reconciler.observe.memory import Reading

LAG = 10
ENDED = ("succeeded", "failed", "cancelled")

statuses = st.sampled_from(["queued", "running", "paused", "dreaming", *ENDED, *ENDED])
owners = st.sampled_from([OURS, OURS, OURS, "github.com/other/models", None])


@dataclass(frozen=True)
class Round:
    """What happens between two readings: jobs move on, time passes, jobs are created, a little more time passes."""

    moves: list[tuple[int, str]]
    pause: int
    created: list[tuple[str | None, str, int, bool]]
    delay: int
    event: str


rounds = st.builds(
    Round,
    moves=st.lists(st.tuples(st.integers(0, 1000), statuses), max_size=3),
    pause=st.sampled_from([0, 1, 11, 60]),
    created=st.lists(st.tuples(owners, statuses, st.integers(0, LAG - 1), st.booleans()), max_size=8),
    delay=st.sampled_from([0, 0, 1, 9, 12]),
    event=st.sampled_from(["", "", "", "", "", "reset", "forget"]),
)


def happen(fleet: Fleet, cache: Cache, between: Round) -> None:
    if between.event == "reset":
        fleet.jobs = []
    if between.event == "forget":
        cache.store(f"jobs {OURS} https://host.test/v1 None None", {}, replace=True)
    for which, status in between.moves:
        if active := [job.id for job in fleet.jobs if job.status not in ENDED]:
            fleet.move(active[which % len(active)], status)
    fleet.now += between.pause
    for owner, status, lag, sane in between.created:
        fleet.made += 1
        fleet.add(
            Live(
                f"ftjob-{fleet.made * 7919 % 100:02}-{fleet.made}",
                int(fleet.now),
                status,
                owner,
                revision="0123456789abcdef.1" if sane else "odd",
                visible=int(fleet.now) + lag,
            )
        )
    fleet.now += between.delay


async def listed(fleet: Fleet, cache: Cache) -> Reading:
    async with fleet.client(lag=LAG) as client:
        return await list_jobs(client, OURS, cache=cache, now=lambda: fleet.now)


@settings(max_examples=60, deadline=None)
@given(
    history=st.lists(rounds, min_size=4, max_size=8),
    filters=st.booleans(),
    cap=st.integers(2, 5),
    dated=st.booleans(),
)
async def test_what_is_cached_never_changes_what_is_read(
    history: list[Round], filters: bool, cap: int, dated: bool
) -> None:
    fleet = Fleet(filters=filters, cap=cap, dated=dated)
    with tempfile.TemporaryDirectory() as directory:
        cache = Cache(Path(directory) / "cache.db")
        for between in history:
            happen(fleet, cache, between)
            warm = await listed(fleet, cache)
            assert warm.rows == (await listed(fleet, Cache(None))).rows
        cache.close()
