"""A watch in virtual time: what it does of itself, what it leaves, and what it says."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from reconciler.plan.planner import Options
from reconciler.spec.policy import MaxPrune, Policy
from reconciler.watch.engine import Level, Terms
from reconciler.watch.tempo import Tempo

from .clock import VirtualLoop
from .faults import Fault, Faults
from .server import TRANSIENT, Course, LiveJob, Quirks, Refused
from .specs import Want, write_files
from .watching import Watching, begin, statuses
from .world import Manner, Town

LONG = Course(queued=1, trains=100_000)
SHORT = Course(queued=1, trains=20)
Story = Callable[[Town], Awaitable[None]]


@pytest.fixture
def play(tmp_path: Path) -> Callable[..., Town]:
    """Let a story happen in a town with a quick, honest server."""

    def run(story: Story, course: Course = LONG, policy: Policy | None = None) -> Town:
        async def live() -> Town:
            quirks = Quirks(lag=0.0)
            town = Town(random.Random(1), write_files(tmp_path), tmp_path, quirks, policy or Policy())
            town.server.course = lambda: course
            await story(town)
            return town

        with asyncio.Runner(loop_factory=VirtualLoop) as runner:
            town = runner.run(live())
        assert town.record.broken == []
        return town

    return run


class Down(Faults):
    """A server that nobody reaches."""

    def draw(self, method: str, path: str, params: Mapping[str, str]) -> Fault | None:  # noqa: ARG002
        return Fault.REFUSED if self.rate else None


async def quiet(town: Town) -> Watching:
    """Start with one converged spec, and wait until nothing is new any more."""
    town.server.course = lambda: SHORT
    town.repository.versions.append({"ant": Want()})
    watching = begin(town)
    await asyncio.sleep(600)
    assert statuses(town, "ant") == ["succeeded"]
    return watching


def test_a_saved_spec_is_bought_at_once_and_once(play: Callable[..., Town]) -> None:
    async def story(town: Town) -> None:
        watching = await quiet(town)
        watching.edit(bee=Want(seed=2))
        await asyncio.sleep(2)
        assert statuses(town, "bee") == ["queued"]
        await asyncio.sleep(3600)
        await watching.end()
        assert statuses(town, "bee") == ["succeeded"]

    play(story)


def test_a_file_system_that_stirs_for_nothing_costs_no_request(play: Callable[..., Town]) -> None:
    async def story(town: Town) -> None:
        watching = await quiet(town)
        before = watching.wire.sent
        for _ in range(20):
            watching.watch.stirred()
            await asyncio.sleep(0.1)
        assert watching.wire.sent - before <= 1
        await watching.end()

    play(story)


def test_an_idle_repository_costs_one_request_an_interval(play: Callable[..., Town]) -> None:
    async def story(town: Town) -> None:
        watching = await quiet(town)
        before = watching.wire.sent
        await asyncio.sleep(3000)
        assert watching.wire.sent - before <= 3000 / (30 * 0.9) + 1
        await watching.end()

    play(story)


def test_nothing_is_said_while_nothing_happens(play: Callable[..., Town]) -> None:
    async def story(town: Town) -> None:
        watching = await quiet(town)
        before = list(watching.lines)
        await asyncio.sleep(7200)
        assert watching.lines == before
        await watching.end()

    play(story)


def test_drift_is_healed_within_one_interval(play: Callable[..., Town]) -> None:
    async def story(town: Town) -> None:
        town.repository.versions.append({"ant": Want()})
        watching = begin(town)
        await asyncio.sleep(3600)
        job = town.record.ours()[0]
        town.server.change(job.id, "pause")
        await asyncio.sleep(33)
        assert town.server.job(job.id).status in ("resuming", "queued", "running")
        assert watching.said("resumed ant") == 1
        await watching.end()

    play(story)


def test_a_chain_goes_on_by_itself(play: Callable[..., Town]) -> None:
    async def story(town: Town) -> None:
        town.repository.versions.append({"ant": Want(), "bee": Want(base="ant")})
        watching = begin(town)
        await asyncio.sleep(300)
        assert statuses(town, "bee") == ["succeeded"]
        await watching.end()

    play(story, SHORT)


def test_observing_says_what_drifted_and_changes_nothing(play: Callable[..., Town]) -> None:
    async def story(town: Town) -> None:
        town.repository.versions.append({"ant": Want()})
        first = begin(town)
        await asyncio.sleep(60)
        await first.end()
        before = dict(town.record.counts)
        watching = begin(town, Terms(Level.OBSERVE))
        await asyncio.sleep(60)
        assert watching.said("No drift") == 1
        town.server.change(town.record.ours()[0].id, "pause")
        watching.edit(bee=Want(seed=2))
        await asyncio.sleep(300)
        assert watching.said("drift: ant is paused") == 1
        assert dict(town.record.counts) == before
        await watching.end()

    play(story)


def test_an_outage_ends_nothing_and_is_over_within_an_interval(play: Callable[..., Town]) -> None:
    async def story(town: Town) -> None:
        watching = await quiet(town)
        town.faults = watching.wire.faults = Down(town.chance, rate=1.0)
        watching.edit(bee=Want(seed=2))
        await asyncio.sleep(3600)
        assert statuses(town, "bee") == []
        assert watching.said("Going on trying") == 1
        town.faults.rate = 0.0
        await asyncio.sleep(31)
        assert statuses(town, "bee") != []
        assert watching.said("answers again") == 1
        await watching.end()

    play(story)


def test_an_outage_costs_a_few_requests_an_interval(play: Callable[..., Town]) -> None:
    async def story(town: Town) -> None:
        watching = await quiet(town)
        town.faults = watching.wire.faults = Down(town.chance, rate=1.0)
        await asyncio.sleep(600)
        before = watching.wire.sent
        await asyncio.sleep(3000)
        assert watching.wire.sent - before <= 2 * (3000 / 27 + 1)
        await watching.end()

    play(story)


def test_what_fails_and_is_recreated_is_not_bought_for_ever(play: Callable[..., Town]) -> None:
    async def story(town: Town) -> None:
        town.repository.versions.append({"ant": Want()})
        watching = begin(town)
        for _ in range(40):
            await asyncio.sleep(120)
            for job in town.record.ours():
                if job.live:
                    town.server.change(job.id, "cancel")
        assert len(statuses(town, "ant")) == 3
        assert watching.said("was started 3 times") == 1
        watching.edit(ant=Want(seed=2))
        await asyncio.sleep(60)
        assert len(statuses(town, "ant")) == 4
        await watching.end()

    play(story, policy=Policy(on_cancelled="recreate"))


def test_the_retries_that_a_spec_allows_are_bought(play: Callable[..., Town]) -> None:
    async def story(town: Town) -> None:
        town.repository.versions.append({"ant": Want(retry_limit=5)})
        watching = begin(town)
        await asyncio.sleep(7200)
        assert statuses(town, "ant") == ["failed"] * 6
        await watching.end()

    play(story, Course(queued=1, trains=5, code=TRANSIENT))


def test_no_more_than_max_create_are_started_in_one_look(play: Callable[..., Town]) -> None:
    async def story(town: Town) -> None:
        town.repository.versions.append({name: Want(seed=n % 3, data=n // 3) for n, name in enumerate("abcde")})
        watching = begin(town, Terms(tempo=Tempo(30, 5), max_create=2))
        await asyncio.sleep(4)
        assert len(town.record.ours()) == 2
        await asyncio.sleep(60)
        assert len(town.record.ours()) == 5
        await watching.end()

    play(story)


def test_without_a_terminal_new_runs_wait_and_that_is_said_once(play: Callable[..., Town]) -> None:
    async def story(town: Town) -> None:
        town.repository.versions.append({"ant": Want(), "bee": Want(seed=2)})
        watching = begin(town, auto=False)
        await asyncio.sleep(3600)
        assert town.record.ours() == []
        assert watching.said("wait for approval, and there is no terminal to ask on: ant, bee") == 1
        await watching.end()

    play(story)


def test_a_person_is_asked_once_and_a_yes_covers_the_chain(play: Callable[..., Town]) -> None:
    async def story(town: Town) -> None:
        town.repository.versions.append({"ant": Want(), "bee": Want(base="ant")})
        watching = begin(town, auto=False, interactive=True)
        await asyncio.sleep(60)
        assert watching.questions == ["Start 2 new runs (ant, bee)?"]
        assert watching.asking.answer("y\n")
        watching.watch.soon()
        await asyncio.sleep(300)
        assert statuses(town, "bee") == ["succeeded"]
        assert len(watching.questions) == 1
        await watching.end()

    play(story, SHORT)


def test_what_was_declined_is_asked_about_again_once_its_spec_changes(play: Callable[..., Town]) -> None:
    async def story(town: Town) -> None:
        town.repository.versions.append({"ant": Want()})
        watching = begin(town, auto=False, interactive=True)
        await asyncio.sleep(60)
        assert not watching.asking.answer("\n")
        await asyncio.sleep(600)
        assert len(watching.questions) == 1
        watching.edit(ant=Want(seed=2))
        await asyncio.sleep(5)
        assert len(watching.questions) == 2
        assert town.record.ours() == []
        await watching.end()

    play(story)


def test_a_renamed_and_changed_spec_keeps_its_job_until_the_new_run_is_approved(play: Callable[..., Town]) -> None:
    async def story(town: Town) -> None:
        town.repository.versions.append({"ant": Want()})
        watching = begin(town, auto=False, interactive=True)
        await asyncio.sleep(5)
        watching.approve()
        await asyncio.sleep(60)
        watching.edit(ant=None, bee=Want(seed=2))
        await asyncio.sleep(600)
        assert statuses(town, "ant") == ["running"]
        watching.approve()
        await asyncio.sleep(60)
        assert (statuses(town, "ant"), statuses(town, "bee")) == (["cancelled"], ["running"])
        await watching.end()

    play(story)


def test_a_run_that_was_replaced_is_cancelled_while_others_wait(play: Callable[..., Town]) -> None:
    async def story(town: Town) -> None:
        town.repository.versions.append({"ant": Want()})
        watching = begin(town, auto=False, interactive=True)
        await asyncio.sleep(5)
        watching.approve()
        await asyncio.sleep(60)
        watching.edit(ant=Want(seed=2))
        await asyncio.sleep(5)
        assert statuses(town, "ant") == ["running"]
        watching.asking.answer("y")
        watching.edit(bee=Want(data=1))
        await asyncio.sleep(5)
        assert statuses(town, "ant")[0] == "cancelled"
        assert statuses(town, "bee") == []
        await watching.end()

    play(story)


def test_a_spec_that_says_cancelled_is_obeyed_while_new_runs_wait(play: Callable[..., Town]) -> None:
    async def story(town: Town) -> None:
        town.repository.versions.append({"ant": Want()})
        watching = begin(town, auto=False, interactive=True)
        await asyncio.sleep(5)
        watching.approve()
        await asyncio.sleep(60)
        watching.edit(ant=Want(state="cancelled"), bee=Want(seed=2))
        await asyncio.sleep(5)
        assert statuses(town, "ant") == ["cancelled"]
        await watching.end()

    play(story)


def test_a_lost_spec_is_pruned_only_once_it_is_certain_to_be_gone(play: Callable[..., Town]) -> None:
    async def story(town: Town) -> None:
        town.repository.versions.append({"ant": Want(), "bee": Want(seed=2)})
        watching = begin(town)
        await asyncio.sleep(60)
        watching.files.unsure = ("specs has vanished",)
        watching.edit(bee=None)
        await asyncio.sleep(600)
        assert statuses(town, "bee") == ["running"]
        assert watching.said("specs has vanished") == 1
        watching.files.unsure = ()
        await asyncio.sleep(60)
        assert statuses(town, "bee") == ["cancelled"]
        await watching.end()

    play(story)


def test_beyond_the_limits_on_destruction_the_rest_is_done(play: Callable[..., Town]) -> None:
    async def story(town: Town) -> None:
        names = ("ant", "bee", "cat", "dog")
        town.repository.versions.append({name: Want(seed=n % 3, data=n // 3) for n, name in enumerate(names)})
        watching = begin(town, manner=Manner(options=Options(max_prune=MaxPrune(count=2, share=1))))
        await asyncio.sleep(60)
        watching.edit(ant=None, bee=None, cat=None, elk=Want(seed=1, data=3))
        await asyncio.sleep(600)
        assert [statuses(town, name) for name in (*names, "elk")] == [["running"]] * 5
        assert watching.said("--max-prune 3") == 1
        await watching.end()

    play(story)


def test_what_a_server_refuses_is_tried_ever_less_often(play: Callable[..., Town]) -> None:
    async def story(town: Town) -> None:
        tries: list[float] = []

        def refuse(*_: object, **__: object) -> LiveJob:
            tries.append(town.loop.time())
            raise Refused(400, "invalid_request", "Not this one.")

        town.server.create = refuse  # type: ignore[method-assign]
        town.repository.versions.append({"ant": Want()})
        watching = begin(town)
        await asyncio.sleep(4 * 3600)
        assert 8 <= len(tries) <= 16
        assert watching.said("create ant failed") == 1
        watching.edit(ant=Want(retry_limit=1))
        await asyncio.sleep(3)
        assert tries[-1] > 4 * 3600
        await watching.end()

    play(story)


def refusing(town: Town, seed: int) -> None:
    """Let the server refuse every create with this seed."""
    create = town.server.create

    def refuse(body: Mapping[str, Any], **facts: bool) -> LiveJob:
        if body["seed"] == seed:
            raise Refused(400, "invalid_request", "Not this one.")
        return create(body, **facts)

    town.server.create = refuse  # type: ignore[method-assign]


@pytest.mark.parametrize("promised", [10.0, 0.0])
def test_what_a_list_does_not_show_yet_is_not_bought_again_while_another_create_fails(
    play: Callable[..., Town], promised: float
) -> None:
    async def story(town: Town) -> None:
        town.server.quirks = replace(town.server.quirks, lag=10.0)
        town.server.late = lambda: 1.0
        town.quirks = replace(town.quirks, lag=promised)
        refusing(town, seed=7)
        town.repository.versions.append({"ant": Want(), "bad": Want(seed=7)})
        watching = begin(town)
        await asyncio.sleep(600)
        assert statuses(town, "ant") == ["running"]
        assert watching.said("create bad failed") == 1
        await watching.end()

    play(story)


def test_a_server_that_cannot_pause_is_asked_ever_less_often_and_that_is_said_once(play: Callable[..., Town]) -> None:
    async def story(town: Town) -> None:
        town.server.quirks = replace(town.server.quirks, no_pause=501)
        town.repository.versions.append({"ant": Want(state="running")})
        watching = begin(town)
        await asyncio.sleep(60)
        watching.edit(ant=Want(state="paused"))
        before = watching.wire.sent
        await asyncio.sleep(3600)
        assert watching.said("pause ant") == 1
        assert watching.wire.sent - before < 3600 / 27 + 60
        await watching.end()

    play(story)


def test_a_job_that_shows_no_change_is_retrieved_now_and_then(play: Callable[..., Town]) -> None:
    async def story(town: Town) -> None:
        town.repository.versions.append({"ant": Want()})
        watching = begin(town)
        await asyncio.sleep(600)
        before = watching.wire.sent
        await asyncio.sleep(3000)
        assert 3000 / 30 + 9 <= watching.wire.sent - before <= 3000 / 27 + 11
        await watching.end()

    play(story)


def test_a_watch_that_is_stopped_ends_between_looks(play: Callable[..., Town]) -> None:
    async def story(town: Town) -> None:
        watching = await quiet(town)
        before = town.loop.time()
        await watching.end()
        assert town.loop.time() - before < 1

    play(story)


def test_faults_on_the_way_buy_nothing_twice(play: Callable[..., Town]) -> None:
    async def story(town: Town) -> None:
        town.faults = Faults(town.chance, rate=0.3)
        watching = begin(town)
        for n, name in enumerate(("ant", "bee", "cat", "dog", "elk")):
            watching.edit(**{name: Want(seed=n % 3, data=n // 3)})
            await asyncio.sleep(40)
        town.faults.rate = 0.0
        await asyncio.sleep(1200)
        assert all(statuses(town, name).count("succeeded") == 1 for name in ("ant", "bee", "cat", "dog", "elk"))
        await watching.end()

    play(story, replace(SHORT, trains=60))
