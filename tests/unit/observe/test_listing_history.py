"""Whatever happened on a server before: a reading that builds on others equals a reading from nothing."""

from __future__ import annotations

import tempfile
from pathlib import Path

from fleet import OURS, Fleet, Live
from hypothesis import given, settings
from hypothesis import strategies as st

from reconciler.cache import Cache
from reconciler.observe.listing import Reading, list_jobs

LAG = 10
ENDED = ("succeeded", "failed", "cancelled")

statuses = st.sampled_from(["queued", "running", "paused", "dreaming", *ENDED])
owners = st.sampled_from([OURS, OURS, OURS, "github.com/other/models", None])
creates = st.tuples(
    st.just("create"), owners, statuses, st.integers(0, LAG - 1), st.sampled_from(["0123456789abcdef.1"] * 9 + ["odd"])
)
moves = st.tuples(st.just("move"), st.integers(0, 1000), statuses)
waits = st.tuples(st.just("wait"), st.sampled_from([1, 3, 10, 11, 60, 3600]))
reads = st.tuples(st.just("read"))
rare = st.sampled_from([("reset",), ("forget",), ("read",), ("read",)])
steps = st.lists(st.one_of(creates, creates, creates, moves, waits, reads, rare), min_size=5, max_size=60)


def happen(fleet: Fleet, step: tuple[object, ...], number: int) -> None:
    match step:
        case ("create", owner, status, int(lag), str(revision)) if owner is None or isinstance(owner, str):
            created = int(fleet.now)
            name = f"ftjob-{number * 7919 % 100:02}-{number}"
            fleet.add(Live(name, created, str(status), owner, revision=revision, visible=created + lag))
        case ("move", int(which), status):
            active = [job.id for job in fleet.jobs if job.status not in ENDED]
            if active:
                fleet.move(active[which % len(active)], str(status))
        case ("wait", int(seconds)):
            fleet.now += seconds
        case ("reset",):
            fleet.jobs = []


async def listed(fleet: Fleet, cache: Cache) -> Reading:
    async with fleet.client(lag=LAG) as client:
        return await list_jobs(client, OURS, cache=cache, now=lambda: fleet.now)


@settings(max_examples=200, deadline=None)
@given(steps=steps, filters=st.booleans(), cap=st.integers(2, 5), dated=st.booleans())
async def test_what_is_cached_never_changes_what_is_read(
    steps: list[tuple[object, ...]], filters: bool, cap: int, dated: bool
) -> None:
    fleet = Fleet(filters=filters, cap=cap, dated=dated)
    with tempfile.TemporaryDirectory() as directory:
        cache = Cache(Path(directory) / "cache.db")
        for number, step in enumerate([*steps, ("read",)]):
            happen(fleet, step, number)
            if step == ("forget",):
                cache.store(f"jobs {OURS} https://host.test/v1 None None", {}, replace=True)
            if step == ("read",):
                warm = await listed(fleet, cache)
                assert warm.rows == (await listed(fleet, Cache(None))).rows
        cache.close()
