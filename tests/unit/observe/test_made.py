"""What was made from here counts before a list shows it, and what was sent is doubted as long as one may miss it."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
from fleet import NOW, OURS, REVISION, Fleet, Live

from reconciler.cache import Cache
from reconciler.errors import ServerFault
from reconciler.loop import Reconciler
from reconciler.observe.made import Made
from reconciler.observe.ownership import Ownership
from reconciler.observe.read import observe
from reconciler.observe.state import ObservedJob
from reconciler.plan.planner import Options
from reconciler.spec.policy import Policy

HIDDEN = Live("new", NOW, "queued", visible=NOW + 10)


async def ids(fleet: Fleet, made: Made, cache: Cache | None = None) -> list[str]:
    fleet.calls.clear()
    async with fleet.client() as client:
        observed = await observe(client, OURS, [], cache=cache or Cache(None), now=lambda: fleet.now, made=made)
    return [job.id for job in observed.jobs]


async def test_a_job_that_was_made_and_is_not_listed_is_retrieved_until_it_is() -> None:
    fleet, made = Fleet(Live("old", NOW - 100), HIDDEN), Made()
    made.add("new")
    for _ in range(2):
        assert await ids(fleet, made) == ["old", "new"]
        assert fleet.calls == ["list", "/new"]
    fleet.now += 20
    assert await ids(fleet, made) == ["old", "new"]
    assert fleet.calls == ["list"]
    fleet.jobs = fleet.jobs[:1]
    assert await ids(fleet, made) == ["old"]


async def test_a_cache_remembers_it_over_a_run_that_was_killed(tmp_path: Path) -> None:
    fleet, cache = Fleet(HIDDEN), Cache(tmp_path / "cache.db")
    async with fleet.client() as client:
        server = client.server
    Made.on(server, OURS, cache).add("new")
    assert await ids(fleet, Made.on(server, "somebody/else", cache), cache) == []
    for _ in range(3):
        assert await ids(fleet, Made.on(server, OURS, cache), cache) == ["new"]
    fleet.now += 20
    assert await ids(fleet, Made.on(server, OURS, cache), cache) == ["new"]
    fleet.jobs = []
    assert await ids(fleet, Made.on(server, OURS, Cache(tmp_path / "cache.db"))) == []


@pytest.mark.parametrize("job", [None, replace(HIDDEN, owner=None), replace(HIDDEN, revision="?")])
async def test_one_that_is_gone_or_lost_its_metadata_is_forgotten(job: Live | None) -> None:
    fleet = Fleet(*([job] if job else []))
    made = Made(now=lambda: fleet.now)
    made.add("new")
    fleet.now += 12
    assert await ids(fleet, made) == []
    assert await ids(fleet, made) == []
    assert fleet.calls == ["list"]


async def test_one_that_cannot_be_found_yet_is_waited_for_and_not_forgotten(tmp_path: Path) -> None:
    """Where lists lag, what is asked for by its id may lag, too."""

    class Behind(Fleet):
        def __call__(self, request: httpx.Request) -> httpx.Response:
            self.jobs = [HIDDEN] if self.now >= NOW + 10 else []
            return super().__call__(request)

    fleet, cache = Behind(), Cache(tmp_path / "cache.db")
    Made(cache, now=lambda: fleet.now).add("new")
    fleet.now += 4
    async with fleet.client() as client:
        facts = (client, "server", OURS, (), Policy(), Options(), Cache(None), lambda: fleet.now)
        reconciler = Reconciler(*facts, made=Made(cache, now=lambda: fleet.now))
        assert [job.id for job in (await reconciler.look()).observed.jobs] == ["new"]
    assert (fleet.calls, fleet.now) == (["list", "/new", "list"], NOW + 12)


async def test_one_that_cannot_be_retrieved_fails_the_observation_and_is_kept() -> None:
    class Failing(Fleet):
        def answer(self, body: dict[str, Any], status: int = 200) -> httpx.Response:
            return super().answer(body, 500 if self.calls[-1] == "/new" else status)

    made = Made()
    made.add("new")
    with pytest.raises(ServerFault):
        await ids(Failing(HIDDEN), made)
    assert await ids(Fleet(HIDDEN), made) == ["new"]


# Sent, and never answered

OWN = Ownership(OURS, "triage", REVISION, 1)
JOB = ObservedJob("new", "triage", REVISION, 1, "queued", NOW)


class Clock:
    """Unix seconds, as a test says."""

    now = float(NOW)

    def __call__(self) -> float:
        return self.now


def remembering(path: Path, clock: Clock | None = None) -> tuple[Made, Clock]:
    clock = clock or Clock()
    return Made(Cache(path / "cache.db"), now=clock, sleep=lambda _: asyncio.sleep(0)), clock


async def test_a_create_that_was_not_answered_is_doubted_until_a_list_is_sure_to_show_its_job(tmp_path: Path) -> None:
    made, clock = remembering(tmp_path)
    made.sends(OWN)
    again = remembering(tmp_path)[0]
    assert again.doubt([], lag=10) == 12
    clock.now += 5
    assert made.doubt([replace(JOB, attempt=2), replace(JOB, name="other")], lag=10) == 7
    clock.now += 7
    assert made.doubt([], lag=10) == 0
    clock.now -= 12
    assert made.doubt([], lag=10) == 0


async def test_what_a_list_shows_or_is_settled_is_not_doubted(tmp_path: Path) -> None:
    made, _ = remembering(tmp_path)
    made.sends(OWN)
    assert made.doubt([JOB], lag=10) == 0
    made.sends(OWN)
    made.sends(replace(OWN, name="other"))
    made.settled(OWN)
    assert made.doubt([replace(JOB, name="other")], lag=10) == 0


async def test_a_create_that_is_under_way_for_long_is_doubted_from_when_its_run_was_killed(tmp_path: Path) -> None:
    made, clock = remembering(tmp_path)
    async with made.sending(OWN):
        clock.now += 100
        for _ in range(5):
            await asyncio.sleep(0)
        assert remembering(tmp_path, clock)[0].doubt([], lag=10) == 12
    assert made.doubt([], lag=10) == 0


async def test_a_clock_that_was_set_back_makes_no_doubt_longer(tmp_path: Path) -> None:
    made, clock = remembering(tmp_path)
    made.sends(OWN)
    clock.now -= 86_400
    assert made.doubt([], lag=10) == 12
    clock.now += 12
    assert made.doubt([], lag=10) == 0


async def test_what_another_command_remembers_meanwhile_stays(tmp_path: Path) -> None:
    other, path = replace(OWN, name="other"), tmp_path / "cache.db"

    class Meanwhile(Cache):
        """Whenever it is read, another command makes a job, and sends a create."""

        def load(self, kind: str) -> dict[str, Any]:
            found = super().load(kind)
            Made(Cache(path), now=clock).add("new")
            Made(Cache(path), now=clock).sends(other)
            return found

    clock = Clock()
    made = Made(Meanwhile(path), now=clock)
    made.add("gone")
    made.sends(OWN)
    clock.now += 12
    assert await ids(Fleet(HIDDEN), made) == []
    made.doubt([], lag=10)
    made.settled(OWN)
    again = Made(Cache(path), now=clock)
    assert await ids(Fleet(HIDDEN), again) == ["new"]
    assert again.doubt([], lag=10) == 12


async def test_a_plan_waits_until_a_list_shows_what_was_sent_and_says_so(tmp_path: Path) -> None:
    fleet, said = Fleet(HIDDEN), list[str]()
    made = Made(Cache(tmp_path / "cache.db"), now=lambda: fleet.now)
    made.sends(OWN)
    async with fleet.client() as client:
        facts = (client, "server", OURS, (), Policy(), Options(), Cache(None), lambda: fleet.now)
        reconciler = Reconciler(*facts, made=made, note=said.append)
        for _ in range(2):
            assert [job.id for job in (await reconciler.look()).observed.jobs] == ["new"]
    assert (fleet.calls, fleet.now) == (["list"] * 3, NOW + 12)
    assert said == ["A new job may not be listed yet: waiting up to 12 s for a list that would show it."]


async def test_a_memory_that_is_damaged_is_none(tmp_path: Path) -> None:
    cache = Cache(tmp_path / "cache.db")
    cache.store("made sent", {"triage": "soon"})
    assert Made(cache).doubt([], lag=10) == 0
