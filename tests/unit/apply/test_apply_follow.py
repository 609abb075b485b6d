"""Following jobs to their end, and what waited for them."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest
from apply_support import LIMITED, LOST, A, B, C, Fault, Scene, metrics, results, spec

from reconciler.api.types import CreateJob, Event, Job
from reconciler.apply.execute import execute
from reconciler.apply.follow import Poll, View, failures, follow
from reconciler.apply.model import Outcome
from reconciler.apply.world import World
from reconciler.errors import InvalidRequest, NotAuthenticated, ServerFault, TransientError, Unsupported
from reconciler.plan.model import Plan
from reconciler.plan.planner import Options
from reconciler.spec.desired import Upstream
from reconciler.spec.policy import MaxActive, Policy

POLL = Poll(1.0, 10.0)
TRAINS = ["running", "running", "succeeded"]


def ending(scene: Scene, *ends: list[str]) -> None:
    """Let the jobs that are created go through these statuses, in turn; the last one for all that follow."""
    queue = list(ends)

    def made(_: CreateJob) -> None:
        number = len(scene.server.jobs) + 1
        scene.server.script[f"ftjob-{number}"] = list(queue.pop(0) if len(queue) > 1 else queue[0])

    scene.server.on_create = made


async def converge(scene: Scene, poll: Poll = POLL, world: World | None = None) -> tuple[Plan, list[Outcome]]:
    """Apply with --wait, as the command does."""
    world = world or scene.world()
    view = await scene.look()
    outcomes = await execute(world, view.plan)
    plan, later = await follow(world, scene.look, frozenset(j.id for j in view.observed.jobs), poll)
    return plan, outcomes + later


def created(scene: Scene) -> list[str]:
    return [name for _, name in scene.server.sent("create")]


async def test_a_job_is_followed_to_its_end() -> None:
    scene = Scene([spec()])
    ending(scene, TRAINS)
    plan, outcomes = await converge(scene)
    assert results(outcomes) == [("create", "triage", "done")]
    assert not plan.has_changes
    assert failures(plan, outcomes) == []
    assert scene.told.jobs == [("triage", s) for s in ("creating", "queued", "running", "running", "succeeded")]


async def test_nothing_to_follow_ends_at_once() -> None:
    scene = Scene([spec(), spec("p", state="paused")])
    scene.server.own("triage", "succeeded")
    scene.server.own("p", "paused")
    plan, outcomes = await converge(scene)
    assert (outcomes, scene.time.now, failures(plan, outcomes)) == ([], 0, [])


async def test_a_chain_goes_on_link_by_link() -> None:
    names = ["one", "two", "three"]
    scene = Scene([spec("one"), spec("two", B, model=Upstream("one")), spec("three", C, model=Upstream("two"))])
    ending(scene, TRAINS)
    view = await scene.look()
    world = scene.world()
    await execute(world, view.plan)

    async def look() -> View:
        for job in scene.server.jobs.values():
            if job.status == "succeeded" and not job.fine_tuned_model:
                scene.server.jobs[job.id] = job.model_copy(update={"fine_tuned_model": f"ft:{job.id}"})
        return await scene.look()

    plan, _ = await follow(world, look, frozenset(), POLL)
    assert created(scene) == names
    assert [j.model for j in scene.server.jobs.values()] == ["m", "ft:ftjob-1", "ft:ftjob-2"]
    assert all(c.reason == "converged" for c in plan.changes)


async def test_a_free_slot_is_taken_by_the_next() -> None:
    scene = Scene([spec(f"s{i}") for i in range(5)], policy=Policy(max_active=MaxActive(total=2)))
    ending(scene, TRAINS)
    most = 0

    async def look() -> View:
        nonlocal most
        most = max(most, sum(not j.terminal for j in scene.server.jobs.values()))
        return await scene.look()

    world, view = scene.world(), await scene.look()
    await execute(world, view.plan)
    await follow(world, look, frozenset(), POLL)
    assert sorted(created(scene)) == [f"s{i}" for i in range(5)]
    assert most == 2


def failing(scene: Scene, code: str = "server_error") -> Any:
    async def look() -> View:
        for job in scene.server.jobs.values():
            if job.status == "failed" and not job.error:
                update = {"error": {"code": code, "message": "boom"}}
                scene.server.jobs[job.id] = type(job).model_validate(job.model_dump() | update)
        return await scene.look()

    return look


@pytest.mark.parametrize(("limit", "ends", "creates"), [(0, 1, 1), (1, 2, 2), (2, 3, 3), (2, 2, 2)])
async def test_a_transient_failure_is_retried_within_its_limit(limit: int, ends: int, creates: int) -> None:
    scene = Scene([spec(retry_limit=limit)])
    lost: list[list[str]] = [["running", "failed"]] * (ends if ends > limit else ends - 1)
    ending(scene, *lost, TRAINS)
    world, view = scene.world(), await scene.look()
    outcomes = await execute(world, view.plan)
    plan, later = await follow(world, failing(scene), frozenset(), POLL)
    assert len(created(scene)) == creates
    assert bool(failures(plan, outcomes + later)) is (ends > limit)


async def test_a_failed_job_is_a_failure_in_its_own_words() -> None:
    scene = Scene([spec()])
    ending(scene, ["failed"])
    world, view = scene.world(), await scene.look()
    outcomes = await execute(world, view.plan)
    plan, later = await follow(world, failing(scene, "invalid_training_file"), frozenset(), POLL)
    assert failures(plan, outcomes + later) == ["triage: failed (invalid_training_file): boom"]


async def test_recreate_buys_one_more_attempt_not_one_after_another() -> None:
    scene = Scene([spec()], options=Options(recreate=frozenset({"triage"})))
    scene.server.own("triage", "failed")
    ending(scene, ["failed"])
    plan, outcomes = await converge(scene)
    assert created(scene) == ["triage"]
    (problem,) = failures(plan, outcomes)
    assert problem.endswith("create is left to the next run")


async def test_a_server_that_cancels_every_job_is_not_fed_for_ever() -> None:
    scene = Scene([spec(retry_limit=2)], policy=Policy(on_cancelled="recreate"))
    ending(scene, ["cancelled"])
    await converge(scene)
    assert len(created(scene)) == 3


@pytest.mark.parametrize("error", [LOST, LIMITED, InvalidRequest("no", status=400)])
async def test_a_create_that_failed_is_not_tried_again_in_the_same_run(error: Exception) -> None:
    scene = Scene([spec("a"), spec("b")])
    ending(scene, TRAINS)
    scene.server.faults["create"] = [Fault("before", error)]
    plan, outcomes = await converge(scene)
    assert sorted(created(scene)) == ["a", "b"]
    (problem,) = failures(plan, outcomes)
    assert problem.startswith(("a: ", "b: "))
    assert str(error) in problem


@pytest.mark.parametrize("lag", [5.0, 100.0])
async def test_a_job_that_the_listing_does_not_show_yet_is_waited_for(lag: float) -> None:
    scene = Scene([spec()])
    ending(scene, TRAINS)
    scene.server.lag = lag
    plan, _ = await converge(scene)
    assert created(scene) == ["triage"]
    assert [c.reason for c in plan.changes] == ["converged"]


@pytest.mark.parametrize("slow", [0.4, 3.0])
async def test_a_job_that_appears_while_a_slow_listing_is_read_is_waited_for(slow: float) -> None:
    scene = Scene([spec()])
    scene.server.lag = 2.0
    ending(scene, TRAINS)

    async def slow_look() -> View:
        view = await scene.look()
        await scene.time.sleep(slow)
        return view

    world = scene.world()
    await execute(world, (await scene.look()).plan)
    plan, outcomes = await follow(world, slow_look, frozenset(), POLL)
    assert scene.server.jobs["ftjob-1"].status == "succeeded"
    assert failures(plan, outcomes) == []


async def test_a_resumed_job_that_the_listing_still_shows_as_paused_is_waited_for() -> None:
    scene = Scene([spec()])
    scene.server.own("triage", "paused")
    scene.server.script["ftjob-1"] = list(TRAINS)
    before = await scene.look()

    async def late_look() -> View:
        return before if scene.time.now < 3 else await scene.look()

    world = scene.world(lag=3.0)
    await execute(world, before.plan)
    plan, outcomes = await follow(world, late_look, frozenset(), POLL)
    assert scene.server.sent() == [("resume", "ftjob-1")]
    assert scene.server.jobs["ftjob-1"].status == "succeeded"
    assert failures(plan, outcomes) == []


async def test_a_job_that_the_listing_never_shows_is_not_bought_again() -> None:
    scene = Scene([spec()])
    scene.server.lag = 10_000
    plan, outcomes = await converge(scene, world=scene.world(lag=20.0))
    assert created(scene) == ["triage"]
    assert failures(plan, outcomes) == [
        "triage: no job of revision aaaaaaaa exists; create is left to the next run",
    ]


async def test_a_pause_that_has_no_effect_is_sent_once() -> None:
    scene = Scene([spec(state="paused")])
    scene.server.own("triage")
    world, view = scene.world(), await scene.look()
    await execute(world, view.plan)
    scene.server.status("ftjob-1", "running")
    scene.server.script["ftjob-1"] = TRAINS.copy()
    await follow(world, scene.look, frozenset({"ftjob-1"}), POLL)
    assert scene.server.sent() == [("pause", "ftjob-1")]


async def test_a_server_that_cannot_pause_is_told_of_once_and_hinders_nothing_else() -> None:
    names = ["a", "b", "c"]
    scene = Scene([spec(name, state="paused") for name in names])
    jobs = [
        scene.server.own(name, status) for name, status in zip(names, ["running", "running", "queued"], strict=True)
    ]
    gone = scene.server.own("gone", "running")
    for job in jobs:
        scene.server.script[job.id] = TRAINS.copy()
    scene.server.faults["pause"] = [Fault("before", Unsupported("This server cannot pause jobs", status=405))] * 9
    view, world = await scene.look(), scene.world(concurrency=1)
    outcomes = await execute(world, view.plan)
    plan, later = await follow(world, scene.look, frozenset(j.id for j in view.observed.jobs), POLL)
    skipped = [("pause", "a", "skipped"), ("pause", "b", "skipped"), ("cancel", "gone", "done")]
    assert results(outcomes) == skipped
    assert results(later) == [("pause", "c", "skipped")]
    assert {o.detail for o in (*outcomes, *later)} == {"", "blocked: This server cannot pause jobs (HTTP 405)"}
    assert scene.server.sent() == [("pause", jobs[0].id), ("cancel", gone.id)]
    assert [note for note in scene.told.notes if "cannot pause" in note] == ["This server cannot pause jobs (HTTP 405)"]
    assert {j.status for j in scene.server.jobs.values()} == {"succeeded", "cancelled"}
    assert not plan.has_changes


async def test_a_paused_job_that_is_shown_as_queued_is_not_waited_for() -> None:
    scene = Scene([spec(state="paused"), spec("other", B)])
    paused = scene.server.own("triage")
    other = scene.server.own("other", revision=B)
    scene.server.script[other.id] = TRAINS.copy()

    async def pause_job(job_id: str) -> Job:
        scene.server.calls.append(("pause", job_id))
        return scene.server.status(job_id, "queued")

    scene.server.pause_job = pause_job  # type: ignore[method-assign]
    plan, outcomes = await converge(scene)
    assert scene.server.sent() == [("pause", paused.id)]
    assert scene.server.jobs[other.id].status == "succeeded"
    assert (plan.has_changes, failures(plan, outcomes)) == (False, [])


@pytest.mark.parametrize("statuses", [["pausing", "pausing", "paused"], ["running", "pausing", "paused"]])
async def test_a_job_that_takes_its_time_to_pause_is_waited_for(statuses: list[str]) -> None:
    scene = Scene([spec(state="paused")])
    job = scene.server.own("triage")

    async def pause_job(job_id: str) -> Job:
        scene.server.calls.append(("pause", job_id))
        scene.server.script[job_id] = statuses.copy()
        return scene.server.status(job_id, statuses[0])

    scene.server.pause_job = pause_job  # type: ignore[method-assign]
    plan, outcomes = await converge(scene)
    assert scene.server.sent() == [("pause", job.id)]
    assert scene.server.jobs[job.id].status == "paused"
    assert (plan.has_changes, failures(plan, outcomes)) == (False, [])


async def test_a_job_that_is_pausing_is_resumed_once_it_has_paused_and_followed_through_the_queue() -> None:
    scene = Scene([spec()])
    job = scene.server.own("triage", "pausing")
    scene.server.script[job.id] = ["pausing", "paused", "resuming", "queued", "running", "succeeded"]
    await converge(scene)
    assert scene.server.sent() == [("resume", job.id)]
    assert scene.server.jobs[job.id].status == "succeeded"


async def test_a_job_to_be_paused_is_paused_once_it_runs() -> None:
    scene = Scene([spec(state="paused")])
    scene.server.own("triage", "queued")
    scene.server.script["ftjob-1"] = ["queued", "running"]
    plan, outcomes = await converge(scene)
    assert results(outcomes) == [("pause", "triage", "done")]
    assert [c.reason for c in plan.changes] == ["paused"]


async def test_a_predecessor_that_is_waited_for_is_replaced_once_it_ends() -> None:
    scene = Scene([spec(replace="wait")])
    scene.server.own("triage", "running", B)
    scene.server.script["ftjob-1"] = TRAINS.copy()
    ending(scene, TRAINS)
    await converge(scene)
    assert created(scene) == ["triage"]
    assert scene.server.jobs["ftjob-1"].status == "succeeded"


async def test_jobs_that_the_approved_plan_did_not_see_are_never_cancelled() -> None:
    scene = Scene([spec(), spec("slow", B)])
    ending(scene, TRAINS)
    world, view = scene.world(), await scene.look()
    await execute(world, view.plan)
    scene.server.own("triage", "succeeded", C)
    scene.server.own("newer", "succeeded", C)
    scene.server.jobs["ftjob-3"] = scene.server.status("ftjob-3", "paused")
    scene.server.jobs["ftjob-4"] = scene.server.status("ftjob-4", "paused")
    await follow(world, scene.look, frozenset(), POLL)
    assert scene.server.sent("cancel") == []


async def test_a_create_whose_predecessor_may_not_be_cancelled_is_left_to_the_next_run() -> None:
    scene = Scene([spec(retry_limit=1)])
    ending(scene, ["failed"])
    world, view = scene.world(), await scene.look()
    outcomes = await execute(world, view.plan)
    scene.server.own("triage", "paused", B)
    plan, later = await follow(world, failing(scene), frozenset(), POLL)
    assert created(scene) == ["triage"]
    assert failures(plan, outcomes + later)[0].endswith("create is left to the next run")


async def test_a_cancel_without_the_create_it_follows_is_left_out_too() -> None:
    scene = Scene([spec()], options=Options(recreate=frozenset({"triage"})))
    old = scene.server.own("triage", "paused", B)
    world = scene.world()
    view = await scene.look()
    await execute(world, replace(view.plan, changes=view.plan.changes[:1]))
    scene.server.status("ftjob-2", "failed")
    await follow(world, scene.look, frozenset({old.id}), POLL)
    assert scene.plans[-1].summary["cancel"] == 1
    assert scene.server.sent() == [("create", "triage")]


async def test_after_an_error_nothing_is_cancelled_in_later_rounds_either() -> None:
    scene = Scene([spec("a"), spec("b", B, model=Upstream("a"))])
    scene.server.own("gone", "paused", C)
    ending(scene, TRAINS)
    scene.server.faults["create"] = [Fault("before", InvalidRequest("no", status=400))]
    await converge(scene)
    assert scene.server.sent("cancel") == []


async def test_an_error_that_stops_everything_ends_following() -> None:
    scene = Scene([spec("a"), spec("b")])
    scene.server.own("other", "running", C)
    scene.server.faults["create"] = [Fault("before", NotAuthenticated("wrong key", status=401))]
    plan, outcomes = await converge(scene, world=scene.world(concurrency=1))
    assert len(created(scene)) == 1
    assert scene.time.now == 0
    assert failures(plan, outcomes)[0] == "a: wrong key (HTTP 401)"


# Polling


async def test_looking_slows_down_while_nothing_changes() -> None:
    scene = Scene([spec()])
    ending(scene, ["queued"] * 30 + ["succeeded"])
    await converge(scene, Poll(1.0, 4.0))
    assert 30 * 4 > scene.time.now > 25 * 4


async def test_a_silent_server_is_asked_again() -> None:
    scene = Scene([spec()])
    ending(scene, TRAINS)
    scene.server.faults["job"] = [Fault("before", ServerFault("down", status=503))] * 4
    plan, _ = await converge(scene)
    assert [c.reason for c in plan.changes] == ["converged"]
    assert scene.told.notes == ["no answer (down (HTTP 503)); looking again"] * 4


async def test_a_server_that_stays_silent_is_left_with_its_jobs() -> None:
    scene = Scene([spec()])
    scene.server.faults["job"] = [Fault("before", ServerFault("down", status=503))] * 99
    with pytest.raises(TransientError) as caught:
        await converge(scene)
    assert "The jobs go on without this command" in caught.value.hint
    assert scene.server.jobs["ftjob-1"].status == "queued"


async def test_a_listing_that_fails_for_a_while_does_not_end_following() -> None:
    scene = Scene([spec()])
    ending(scene, TRAINS)
    world, view = scene.world(), await scene.look()
    await execute(world, view.plan)
    silent = [ServerFault("down", status=503)] * 3

    async def look() -> View:
        if silent:
            raise silent.pop()
        return await scene.look()

    plan, _ = await follow(world, look, frozenset(), POLL)
    assert [c.reason for c in plan.changes] == ["converged"]


async def test_a_job_that_is_no_longer_shown_is_not_bought_again() -> None:
    scene = Scene([spec()])
    scene.server.own("triage")
    world = scene.world()

    async def look() -> View:
        view = await scene.look()
        scene.server.jobs.clear()
        return view

    plan, outcomes = await follow(world, look, frozenset(), POLL)
    assert scene.server.sent() == []
    assert failures(plan, outcomes) == ["triage: no job of revision aaaaaaaa exists; create is left to the next run"]


async def test_step_loss_and_finish_are_told_while_a_job_runs() -> None:
    scene = Scene([spec()])
    scene.server.own("triage", "queued", estimated_finish=500)
    scene.server.script["ftjob-1"] = TRAINS.copy()
    other = Event(id="e0", created_at=1, type="message", message="hello")
    odd = metrics(7, total_steps="many", train_loss=True)
    answers = [[other, metrics(5, total_steps=10, train_loss=0.25)], [odd]]

    async def events(_: str) -> list[Event]:
        return answers.pop(0)

    await converge(scene, Poll(1.0, 10.0, events))
    assert scene.told.jobs == [
        ("triage", "running", 5, 10, 0.25, 500),
        ("triage", "running", 7, 500),
        ("triage", "succeeded", 500),
    ]


async def test_events_that_cannot_be_read_do_not_disturb() -> None:
    scene = Scene([spec()])
    ending(scene, TRAINS)

    async def events(_: str) -> list[Event]:
        raise InvalidRequest("no events here", status=400)

    plan, _ = await converge(scene, Poll(1.0, 10.0, events))
    assert [c.reason for c in plan.changes] == ["converged"]


@pytest.mark.parametrize("after", [0, 3, 10])
async def test_an_interrupt_leaves_the_jobs_running(after: int) -> None:
    scene = Scene([spec("a"), spec("b", A, model="other")])
    ending(scene, ["running"] * 1000)
    moment = asyncio.Event()
    scene.server.on_call = lambda: moment.set() if len(scene.server.calls) == 4 + after else None
    task = asyncio.create_task(converge(scene))
    await moment.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert scene.server.sent() == [("create", "a"), ("create", "b")]
    assert {j.status for j in scene.server.jobs.values()} <= {"queued", "running"}
