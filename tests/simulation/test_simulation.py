"""Schedules by the hundred, and bugs planted to see that they would be noticed."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from reconciler.api.client import Client
from reconciler.api.types import CreateJob, Job, Page
from reconciler.apply.collect import Heap, find_garbage
from reconciler.apply.permissions import Granted
from reconciler.apply.world import Run
from reconciler.cache import Cache
from reconciler.errors import ApiError, TransientError
from reconciler.observe.made import Made
from reconciler.observe.ownership import OWNER, Ownership
from reconciler.observe.state import Observed
from reconciler.plan.model import Access
from reconciler.spec.desired import DataFile, Desired
from reconciler.spec.policy import Policy

from .__main__ import failures, play_on_all_cores, summary
from .clock import StandsStill, VirtualLoop
from .faults import Fault
from .rules import OURS, owner_of
from .schedule import Result, play, play_all, result_of
from .server import Course, Quirks
from .specs import Want, write_files
from .world import Machine, Manner, Parts, Town

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("first", range(0, 200, 50))
def test_no_schedule_breaks_a_rule(first: int) -> None:
    assert list(failures(play_all(range(first, first + 50)))) == []


@pytest.mark.parametrize("seed", [120_643, 130_892])
def test_a_schedule_that_broke_a_rule_breaks_none_any_more(seed: int) -> None:
    assert list(failures(play_all([seed]))) == []


@pytest.mark.timeout(3600)
@pytest.mark.parametrize(
    "last", [pytest.param(600, marks=pytest.mark.slow), pytest.param(10_000, marks=pytest.mark.soak)]
)
def test_none_of_many_more_schedules_breaks_a_rule(last: int) -> None:
    total = Result()
    for part in play_on_all_cores(range(200, last), os.cpu_count() or 1):
        total.add(part)
    assert list(failures(total)) == []


async def _race(seed: int, files: Sequence[DataFile], root: Path) -> Counter[str]:
    """Let four reconcilers start at once, twice; count the jobs of each name that nobody cancelled."""
    town = Town(random.Random(seed), files, root, Quirks(lag=10.0), Policy())
    town.server.course = lambda: Course(queued=0, trains=3600)
    for _ in range(3):
        town.repository.add()
    machines = [Machine() for _ in range(4)]
    for _ in range(2):
        errors = await asyncio.gather(*(town.reconcile(machine, Manner()) for machine in machines))
        assert errors == [None] * 4
        await asyncio.sleep(town.quirks.lag)
    assert town.record.broken == []
    return Counter(own.name for job in town.record.ours() if job.status != "cancelled" and (own := owner_of(job)))


@pytest.mark.parametrize("first", range(0, 100, 25))
def test_four_reconcilers_at_once_on_a_lagging_list_leave_one_job_a_spec(first: int, tmp_path: Path) -> None:
    files = write_files(tmp_path)
    for seed in range(first, first + 25):
        with asyncio.Runner(loop_factory=VirtualLoop) as runner:
            kept = runner.run(_race(seed, files, tmp_path))
        assert sorted(kept.values()) == [1, 1, 1]


class ForgetsWhatItMade(Made):
    """Leaves what was made to the next list."""

    def sends(self, own: Ownership) -> None: ...
    def add(self, job_id: str) -> None: ...


async def _killed(machine: Machine, moment: float, parts: Parts, root: Path) -> int:
    """End a run at a moment, and run again at once. Return how many jobs were made; one of them is left."""
    town = Town(random.Random(1), write_files(root), root, Quirks(lag=10.0), Policy(), parts)
    town.server.course, town.server.late = (lambda: Course(queued=0, trains=3600)), lambda: 1.0
    town.repository.versions.append({"ant": Want()})
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(moment):
            await town.reconcile(machine, Manner())
    assert town.kills == 1
    await town.reconcile(machine, Manner())
    await asyncio.sleep(town.quirks.lag)
    await town.reconcile(machine, Manner())
    assert [job.status for job in town.record.ours() if job.live] == ["running"]
    if parts.made is Made:
        assert town.record.broken == []
    return len(town.record.ours())


@pytest.mark.parametrize(
    ("cached", "parts", "most"),
    [(True, Parts(), 1), (True, Parts(made=ForgetsWhatItMade), 2), (False, Parts(), 2)],
    ids=["remembers", "forgets", "has no cache"],
)
def test_a_run_killed_at_any_moment_leaves_one_job_and_with_a_memory_buys_no_second(
    cached: bool, parts: Parts, most: int, tmp_path: Path
) -> None:
    made = set()
    for moment in (1.0, *(n / 20 for n in range(40, 70)), 9.0):
        machine = Machine() if cached else Machine(Cache(None))
        with asyncio.Runner(loop_factory=VirtualLoop) as runner:
            made.add(runner.run(_killed(machine, moment, parts, tmp_path)))
    assert max(made) == most


class Repeats(Client):
    """Sends a create again after an unknown outcome, without looking."""

    async def create_job(self, body: CreateJob) -> Job:
        while True:
            try:
                return await super().create_job(body)
            except TransientError:
                await self.sleep(1)


class TakesFailureForNothing(Client):
    """Takes a listing that failed for an empty one."""

    async def jobs_page(self, *args: Any, **kwargs: Any) -> Page[Job]:
        try:
            return await super().jobs_page(*args, **kwargs)
        except ApiError:
            return Page[Job](object="list", data=[], has_more=False)


class IgnoresOwners(Client):
    """Takes every job for ours."""

    async def jobs_page(self, *args: Any, **kwargs: Any) -> Page[Job]:
        page = await super().jobs_page(*args, **kwargs)
        jobs = [j.model_copy(update={"metadata": {**(j.metadata or {}), OWNER: OURS}}) for j in page.data]
        return page.model_copy(update={"data": jobs})


class ForgetsErrors(Run):
    """Goes on destroying after an error."""

    @property
    def failed(self) -> bool:
        return False


async def finds_all(client: Client, owner: str, _: Sequence[Desired], observed: Observed, *, before: float) -> Heap:
    """Takes what specs name for garbage."""
    return await find_garbage(client, owner, [], observed, before=before)


async def shuts_everybody_out(client: Client, planned: Sequence[Access], *, revoke: bool) -> list[Granted]:
    """Takes back what others gave."""
    for access in planned if revoke else ():
        for permission in await client.permissions(access.model):
            if permission.project_id in access.left:
                await client.revoke(access.model, permission.id)
    return []


def unprotected(spec: Desired) -> Desired:
    return replace(spec, protect=False)


def unadopted(spec: Desired) -> Desired:
    return replace(spec, adopt=None)


@pytest.mark.parametrize(
    ("planted", "caught"),
    [
        (Parts(find=finds_all), "no file goes that is needed"),
        (Parts(access=shuts_everybody_out), "who is let in by others stays"),
        (Parts(reads=unprotected), "what is protected is not cancelled"),
        (Parts(reads=unadopted), "what is adopted is not bought again"),
        (Parts(client=Repeats), "a create is never repeated"),
        (Parts(client=TakesFailureForNothing), "what a listing showed is not created again"),
        (Parts(client=IgnoresOwners), "foreign jobs are left alone"),
        (Parts(tries=ForgetsErrors), "nothing is destroyed after an error"),
    ],
    ids=[
        "collects what specs name",
        "takes back what others gave",
        "ignores protect",
        "ignores adopt",
        "repeats a create",
        "takes a failed listing for an empty one",
        "ignores owners",
        "destroys after an error",
    ],
)
def test_a_planted_bug_is_caught_within_two_hundred_schedules(planted: Parts, caught: str, tmp_path: Path) -> None:
    files = write_files(tmp_path)
    for seed in range(200):
        town = play(seed, files, tmp_path, planted)
        if any(words.startswith(caught) for words in town.record.broken):
            assert f"--seed {seed}" in "\n".join(failures(result_of(town, seed)))
            return
    pytest.fail("200 schedules did not notice")


@pytest.mark.parametrize("seed", [3, 626])
def test_a_seed_always_plays_the_same(seed: int, tmp_path: Path) -> None:
    files = write_files(tmp_path)
    first, again = (play(seed, files, tmp_path).record.trace for _ in range(2))
    assert first == again
    assert len(first) > 3


def test_one_command_plays_a_seed_again() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.simulation", "--seed", "3"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert "create" in done.stdout
    assert done.stdout.endswith("everything held\n")


def test_one_command_plays_many_in_processes_of_their_own() -> None:
    command = [sys.executable, "-m", "tests.simulation", "--schedules", "2", "--workers", "2"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.endswith("0 of 2 schedules broke a rule\n")


def test_every_fault_and_rule_stands_in_the_documentation() -> None:
    page = (ROOT / "docs" / "simulation.md").read_text()
    played = play_all(range(40))
    missing = [name for name in (*Fault, *played.checks) if name not in page]
    assert missing == []
    assert set(played.faults) <= set(Fault)
    assert "40 schedules" in summary(played, 1)


def test_time_passes_at_once_where_everybody_sleeps() -> None:
    async def sleeper() -> float:
        await asyncio.gather(asyncio.sleep(86_400), asyncio.to_thread(str))
        return asyncio.get_running_loop().time()

    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        assert runner.run(sleeper()) == pytest.approx(86_400)


def test_a_world_in_which_everybody_waits_for_another_says_so() -> None:
    async def stuck() -> None:
        await asyncio.get_running_loop().create_future()

    loop = VirtualLoop()
    waiting = loop.create_task(stuck())
    with pytest.raises(StandsStill):
        loop.run_until_complete(waiting)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        loop.run_until_complete(waiting)
    loop.close()
