"""A plan becomes outcomes: in order, bounded, and never destructive after an error."""

from __future__ import annotations

from typing import Any

import pytest
from apply_support import LIMITED, LOST, A, B, C, Fault, Scene, results, spec

from reconciler.api.types import CreateJob
from reconciler.apply.execute import STOPS_ALL, execute
from reconciler.apply.model import Outcome
from reconciler.errors import (
    ApiError,
    Conflict,
    DailyLimit,
    InvalidRequest,
    NotAuthenticated,
    NotFound,
    NotThisApi,
    ServerFault,
    TrainingNotAvailable,
)
from reconciler.spec.policy import MaxActive, Policy

DOWN = ServerFault("down", status=503)


def busy() -> Scene:
    """Return a scene in which everything is to be done at once."""
    scene = Scene([spec("new"), spec("replaced"), spec("paused", state="paused"), spec("resumed")])
    server = scene.server
    server.own("replaced", "running", B, job_id="ftjob-old")
    server.own("paused", "running", job_id="ftjob-p")
    server.own("resumed", "paused", job_id="ftjob-r")
    server.own("gone", "running", C, job_id="ftjob-gone")
    return scene


async def applied(scene: Scene, **world: Any) -> list[Outcome]:
    return await execute(scene.world(**world), (await scene.look()).plan)


async def test_creates_come_first_and_cancels_last() -> None:
    scene = busy()
    outcomes = await applied(scene)
    verbs = [verb for verb, _ in scene.server.sent()]
    assert verbs[:2] == ["create", "create"]
    assert set(verbs[2:4]) == {"resume", "pause"}
    assert verbs[4:] == ["cancel", "cancel"]
    assert [o.result for o in outcomes] == ["done"] * 6
    assert not (await scene.look()).plan.has_changes


async def test_outcomes_come_in_the_plans_order_with_their_request_ids() -> None:
    scene = busy()
    plan = (await scene.look()).plan
    outcomes = await execute(scene.world(), plan)
    assert [o.change for o in outcomes] == [c for c in plan.changes if c.action.acts]
    assert all(o.request_id and o.job_id for o in outcomes)


async def test_an_empty_plan_sends_nothing() -> None:
    scene = Scene([])
    assert await applied(scene) == []
    assert scene.server.calls == []


@pytest.mark.parametrize("verb", ["create", "pause", "resume"])
@pytest.mark.parametrize("error", [DOWN, LIMITED, InvalidRequest("no", status=400), LOST])
async def test_after_any_error_nothing_is_cancelled(verb: str, error: ApiError) -> None:
    scene = busy()
    scene.server.faults[verb] = [Fault("before", error)]
    outcomes = await applied(scene)
    assert scene.server.sent("cancel") == []
    skipped = [o for o in outcomes if o.result == "skipped"]
    assert {o.change.job_id for o in skipped} == {"ftjob-old", "ftjob-gone"}
    assert {o.detail for o in skipped} == {"skipped: after an error nothing is cancelled"}


async def test_after_an_error_not_even_a_duplicate_is_cancelled() -> None:
    scene = Scene([spec("a"), spec("b")])

    def step_in(body: CreateJob) -> None:
        if (body.metadata or {})["reconciler.name"] == "b":
            scene.server.own("b", "queued", job_id="ftjob-0", created_at=-5)

    scene.server.on_create = step_in
    scene.server.faults["create"] = [Fault("before", InvalidRequest("no", status=400))]
    await applied(scene)
    assert scene.server.sent("cancel") == []


async def test_an_error_does_not_keep_other_creates_from_running() -> None:
    scene = Scene([spec("a"), spec("b"), spec("c")])
    scene.server.faults["create"] = [Fault("before", InvalidRequest("no", status=400))]
    assert sorted(r for _, _, r in results(await applied(scene))) == ["done", "done", "failed"]


async def test_a_cancel_that_fails_stops_the_cancels_after_it() -> None:
    scene = Scene([spec("keep"), *(spec(f"k{i}") for i in range(4))])
    for name in ("x", "y", "z"):
        scene.server.own(name, "running", C)
    scene.server.faults["cancel"] = [Fault("before", DOWN)]
    outcomes = [o for o in await applied(scene, concurrency=1) if o.change.action == "cancel"]
    assert [o.result for o in outcomes] == ["failed", "skipped", "skipped"]
    assert scene.server.sent("cancel") == [("cancel", "ftjob-1")]


@pytest.mark.parametrize(
    "error",
    [
        NotAuthenticated("wrong key", status=401),
        TrainingNotAvailable("no", status=403),
        DailyLimit("tomorrow", status=429),
        NotThisApi("a web page", status=200),
    ],
)
async def test_an_error_that_every_change_would_meet_stops_everything(error: ApiError) -> None:
    assert isinstance(error, STOPS_ALL)
    scene = busy()
    scene.server.faults["create"] = [Fault("before", error)]
    outcomes = await applied(scene, concurrency=1)
    assert [o.result for o in outcomes] == ["failed", *["skipped"] * 5]
    assert scene.server.sent() == [("create", "new")]
    assert outcomes[1].detail == "skipped: every change would meet the same error"


async def test_an_unproven_server_gets_its_first_create_alone() -> None:
    scene = Scene([spec(f"s{i}") for i in range(5)])
    seen: list[int] = []
    scene.server.on_create = lambda _: seen.append(scene.server.under_way)
    outcomes = await applied(scene, proven=False)
    assert [o.result for o in outcomes] == ["done"] * 5
    assert seen[0] == 0
    assert scene.server.calls[:2] == [("create", "s0"), ("create", "s1")]
    assert scene.server.most_under_way == 4


@pytest.mark.parametrize("error", [LOST, InvalidRequest("no", status=400), LIMITED])
async def test_creates_go_one_by_one_until_one_has_proved_the_server(error: ApiError) -> None:
    scene = Scene([spec(f"s{i}") for i in range(5)])
    scene.server.keeps = lambda _: {}
    scene.server.faults["create"] = [Fault("before", error)] * 2
    outcomes = await applied(scene, proven=False)
    assert [o.result for o in outcomes] == ["failed"] * 3 + ["skipped"] * 2
    assert [name for _, name in scene.server.sent("create")] == ["s0", "s1", "s2"]
    assert len(scene.server.jobs) == 1


@pytest.mark.parametrize("concurrency", [1, 3, 8])
async def test_no_more_changes_run_at_once_than_asked_for(concurrency: int) -> None:
    scene = Scene([spec(f"s{i:02}") for i in range(20)])
    outcomes = await applied(scene, concurrency=concurrency)
    assert len(outcomes) == 20
    assert scene.server.most_under_way == concurrency


async def test_creates_never_exceed_the_slots() -> None:
    scene = Scene([spec(f"s{i:02}") for i in range(20)], policy=Policy(max_active=MaxActive(total=3)))
    await applied(scene)
    assert len(scene.server.jobs) == 3


@pytest.mark.parametrize("verb", ["pause", "resume", "cancel"])
@pytest.mark.parametrize("error", [InvalidRequest("has ended", status=400), Conflict("has ended", status=409)])
@pytest.mark.parametrize("status", ["succeeded", "failed", "cancelled"])
async def test_a_job_that_ended_meanwhile_needs_nothing_more(verb: str, error: ApiError, status: str) -> None:
    state = {"pause": "paused", "resume": "running", "cancel": "cancelled"}[verb]
    scene = Scene([spec(state=state)])
    scene.server.own("triage", "paused" if verb == "resume" else "running")
    view = await scene.look()
    scene.server.status("ftjob-1", status)
    scene.server.faults[verb] = [Fault("before", error)]
    (outcome,) = await execute(scene.world(), view.plan)
    assert (outcome.result, outcome.detail) == ("done", f"had ended before: {status}")


@pytest.mark.parametrize("error", [InvalidRequest("no", status=400), NotFound("gone", status=404)])
async def test_a_pause_that_is_refused_is_a_failed_outcome(error: ApiError) -> None:
    error.request_id = "req-7"
    scene = Scene([spec(state="paused")])
    scene.server.own("triage")
    scene.server.faults["pause"] = [Fault("before", error)]
    (outcome,) = await applied(scene)
    assert (outcome.result, outcome.error, outcome.request_id) == ("failed", error, "req-7")
    assert scene.told.jobs[-1] == ("triage", "failed")


async def test_what_happens_is_told_while_it_happens() -> None:
    scene = Scene([spec("a"), spec("p", A, state="paused")])
    scene.server.own("p")
    await applied(scene)
    assert scene.told.jobs == [("a", "creating"), ("a", "queued"), ("p", "paused")]
