"""A create is sent once, whatever comes back."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from apply_support import DATA, LIMITED, LOST, OWNER, SENT_NOT, A, C, Crash, Fault, JobServer, Scene, results, spec

from reconciler.api.types import CreateJob, Job, Page
from reconciler.apply.body import create_body, keeps_ownership, mismatches
from reconciler.apply.execute import execute
from reconciler.cache import Cache
from reconciler.errors import (
    DataError,
    InvalidRequest,
    NoAnswer,
    NotPermitted,
    OwnershipLost,
    PlanError,
    ReconcilerError,
    ServerFault,
)
from reconciler.observe.made import Made
from reconciler.observe.ownership import Ownership, parse, stamp
from reconciler.spec.desired import DataFile

OURS = Ownership(OWNER, "triage", A, 1)
UNKNOWN = [LOST, ServerFault("bad gateway", status=502)]


async def applied(scene: Scene, **world: Any) -> Any:
    return await execute(scene.world(**world), (await scene.look()).plan)


async def test_a_create_is_sent_once_with_our_metadata() -> None:
    scene = Scene([spec(metadata={"team": "support"})])
    (outcome,) = await applied(scene)
    assert scene.server.sent() == [("create", "triage")]
    job = scene.server.jobs[outcome.job_id]
    assert job.metadata == {"team": "support", **stamp(OURS)}
    assert (job.training_file, outcome.result, outcome.request_id) == ("file-dddd", "done", f"req-{job.id}")


def test_the_body_says_what_the_spec_says() -> None:
    held = DataFile("v.jsonl", "e" * 64, 9, 1)
    method = {"type": "supervised", "supervised": {"hyperparameters": {"n_epochs": 2}}}
    wandb = {"type": "wandb", "wandb": {"project": "p"}}
    wanted = spec(validation_file=held, suffix="s", seed=7, method=method, integrations=(wandb,))
    body = create_body(wanted, "ft:m", OURS, {DATA.digest: "file-1", held.digest: "file-2"})
    assert body.model_dump(exclude_none=True) == {
        "model": "ft:m",
        "training_file": "file-1",
        "validation_file": "file-2",
        "suffix": "s",
        "seed": 7,
        "method": method,
        "integrations": [wandb],
        "metadata": stamp(OURS),
    }


def test_a_file_known_by_its_id_is_sent_as_it_is() -> None:
    body = create_body(spec(training_file="file-abc"), "m", OURS, {})
    assert (body.training_file, body.validation_file, body.integrations) == ("file-abc", None, None)


@pytest.mark.parametrize(
    ("metadata", "kept"),
    [
        (stamp(OURS), True),
        ({**stamp(OURS), "more": "x"}, True),
        ({}, False),
        (None, False),
        ({**stamp(OURS), "reconciler.owner": "else"}, False),
        ({**stamp(OURS), "reconciler.name": ""}, False),
        ({**stamp(OURS), "reconciler.revision": "x"}, False),
    ],
)
def test_a_job_keeps_ownership_or_does_not(metadata: dict[str, str] | None, kept: bool) -> None:
    job = Job(id="1", created_at=1, model="m", status="queued", metadata=metadata)
    assert keeps_ownership(job, OURS) is kept


@pytest.mark.parametrize(
    ("got", "wrong"),
    [
        ({}, []),
        ({"model": "m-2024-07-18", "seed": None, "training_file": None, "method": None}, []),
        ({"method": {}}, []),
        ({"training_file": "file-2"}, ["training_file is file-2, not file-1"]),
        ({"seed": 8}, ["seed is 8, not 7"]),
        ({"method": {"type": "dpo"}}, ["method is dpo, not supervised"]),
        ({"validation_file": "file-9"}, []),
    ],
)
def test_a_job_that_is_not_the_one_asked_for(got: dict[str, Any], wrong: list[str]) -> None:
    method = {"type": "supervised"}
    body = CreateJob.model_validate({"model": "m", "training_file": "file-1", "seed": 7, "method": method})
    facts = {"training_file": "file-1", "seed": 7, "method": method, **got}
    job = Job.model_validate({"id": "1", "created_at": 1, "model": "m", "status": "queued", **facts})
    assert list(mismatches(job, body)) == wrong


@pytest.mark.parametrize("error", UNKNOWN)
@pytest.mark.parametrize("lag", [0.0, 3.0, 60.0])
async def test_a_job_made_without_an_answer_is_found(error: ReconcilerError, lag: float) -> None:
    scene = Scene([spec()])
    scene.server.lag = lag
    scene.server.faults["create"] = [Fault("after", error)]
    (outcome,) = await applied(scene)
    assert (outcome.result, outcome.job_id) == ("done", "ftjob-1")
    assert scene.server.sent() == [("create", "triage")]
    assert "looking for its job" in scene.told.notes[0]


class SlowServer(JobServer):
    """Its listings are as old as the time they take."""

    async def jobs_page(self, *args: Any, **kwargs: Any) -> Page[Job]:
        page = await super().jobs_page(*args, **kwargs)
        self.time.now += 5
        return page


async def test_a_job_that_appears_while_a_slow_listing_is_read_is_found() -> None:
    scene = Scene([spec()])
    scene.server = SlowServer(scene.time, lag=3.0)
    scene.server.faults["create"] = [Fault("after", LOST)]
    (outcome,) = await applied(scene)
    assert (outcome.result, outcome.job_id) == ("done", "ftjob-1")


@pytest.mark.parametrize("error", UNKNOWN)
@pytest.mark.parametrize("lag", [0.0, 60.0])
async def test_a_create_whose_job_is_not_found_is_not_repeated(error: ReconcilerError, lag: float) -> None:
    scene = Scene([spec()])
    scene.server.lag = lag
    scene.server.faults["create"] = [Fault("before", error)]
    (outcome,) = await applied(scene)
    assert (outcome.result, outcome.error) == ("failed", error)
    assert scene.server.sent() == [("create", "triage")]
    assert scene.time.now >= max(lag, 1)
    assert "It was not sent again" in error.hint


@pytest.mark.parametrize("error", [SENT_NOT, LIMITED, InvalidRequest("no", status=400)])
async def test_a_create_that_certainly_made_nothing_fails_at_once(error: ReconcilerError) -> None:
    scene = Scene([spec()])
    scene.server.faults["create"] = [Fault("before", error)]
    (outcome,) = await applied(scene)
    assert (outcome.result, outcome.error) == ("failed", error)
    assert scene.server.calls == [("create", "triage")]
    assert scene.time.now == 0


async def test_a_listing_that_fails_while_looking_is_looked_at_again() -> None:
    scene = Scene([spec()])
    scene.server.faults["create"] = [Fault("after", LOST)]
    scene.server.faults["list"] = [Fault("before", ServerFault("down", status=503))] * 2
    (outcome,) = await applied(scene)
    assert (outcome.result, outcome.job_id) == ("done", "ftjob-1")


async def test_a_listing_that_keeps_failing_leaves_the_outcome_unknown() -> None:
    scene = Scene([spec()])
    scene.server.faults["create"] = [Fault("after", LOST)]
    scene.server.faults["list"] = [Fault("before", NotPermitted("no", status=403))] * 99
    (outcome,) = await applied(scene)
    assert (outcome.result, outcome.error) == ("failed", LOST)
    assert scene.server.sent() == [("create", "triage")]


@pytest.mark.parametrize("filters", [True, False])
async def test_a_job_is_found_on_a_later_page_whether_or_not_the_server_filters(filters: bool) -> None:
    scene = Scene([spec(), *(spec(f"other{i}") for i in range(7))])
    for i in range(7):
        scene.server.own(f"other{i}", created_at=1000 + i)
    scene.server.filters, scene.server.page_size = filters, 2
    scene.server.faults["create"] = [Fault("after", LOST)]
    (outcome,) = await applied(scene)
    assert outcome.job_id == "ftjob-8"


async def test_a_listing_that_repeats_itself_comes_to_an_end() -> None:
    scene = Scene([spec()])
    scene.server.repeats = True
    scene.server.faults["create"] = [Fault("after", LOST)]
    (outcome,) = await applied(scene)
    assert outcome.job_id == "ftjob-1"


@pytest.mark.parametrize("keeps", [lambda _: {}, lambda m: {k: v for k, v in m.items() if "owner" in k}])
async def test_a_server_that_drops_metadata_loses_its_job_and_stops_everything(keeps: Any) -> None:
    scene = Scene([spec(f"s{i}") for i in range(4)])
    scene.server.own("gone", revision=C)
    view = await scene.look()
    scene.server.keeps = keeps
    outcomes = await execute(scene.world(proven=False), view.plan)
    assert scene.server.sent() == [("create", "s0"), ("cancel", "ftjob-2")]
    assert [o.result for o in outcomes] == ["failed", "skipped", "skipped", "skipped", "skipped"]
    error = outcomes[0].error
    assert isinstance(error, OwnershipLost)
    assert "ftjob-2" in error.message
    assert "it was cancelled at once" in error.message
    assert "keeps metadata" in error.hint


@pytest.mark.parametrize(
    ("metadata", "whose"),
    [
        (stamp(replace(OURS, owner="somebody/else")), "triage of somebody/else"),
        ({"reconciler.owner": "somebody/else"}, "somebody/else"),
        (stamp(replace(OURS, name="other")), f"other of {OWNER}"),
        (stamp(replace(OURS, revision=C)), f"triage of {OWNER}"),
    ],
)
async def test_a_job_of_another_that_comes_back_is_left_alone_and_stops_everything(
    metadata: dict[str, str], whose: str
) -> None:
    scene = Scene([spec("a"), spec("triage")])
    scene.server.keeps = lambda _: metadata
    outcomes = await applied(scene, proven=False)
    assert results(outcomes) == [("create", "a", "failed"), ("create", "triage", "skipped")]
    assert scene.server.sent() == [("create", "a")]
    assert isinstance(outcomes[0].error, OwnershipLost)
    assert f"ftjob-1, which belongs to {whose}: it was left alone" in str(outcomes[0].error)


async def test_a_dropped_job_that_cannot_be_cancelled_is_named() -> None:
    scene = Scene([spec()])
    scene.server.keeps = lambda _: {}
    scene.server.faults["cancel"] = [Fault("before", ServerFault("down", status=500))]
    (outcome,) = await applied(scene)
    assert "cancel it by hand" in outcome.error.message


async def test_an_answer_that_says_less_than_is_stored_is_read_again() -> None:
    scene = Scene([spec()])
    scene.server.answers_in_full = False
    (outcome,) = await applied(scene)
    assert outcome.result == "done"
    assert scene.server.sent() == [("create", "triage")]


@pytest.mark.parametrize("error", [NotPermitted("no", status=403), NoAnswer("gone")])
async def test_a_job_whose_ownership_cannot_be_read_again_is_cancelled(error: ReconcilerError) -> None:
    scene = Scene([spec()])
    scene.server.answers_in_full = False
    scene.server.faults["job"] = [Fault("before", error)]
    (outcome,) = await applied(scene)
    assert isinstance(outcome.error, OwnershipLost)
    assert scene.server.sent() == [("create", "triage"), ("cancel", "ftjob-1")]


async def test_a_job_that_is_not_the_one_asked_for_is_cancelled_and_stops_everything() -> None:
    scene = Scene([spec("a"), spec("b")])
    scene.server.changes = {"training_file": "file-else"}
    outcomes = await applied(scene, proven=False)
    assert results(outcomes) == [("create", "a", "failed"), ("create", "b", "skipped")]
    assert scene.server.sent() == [("create", "a"), ("cancel", "ftjob-1")]
    assert "training_file is file-else, not file-dddd" in str(outcomes[0].error)


async def test_a_file_that_cannot_be_sent_sends_no_create() -> None:
    scene = Scene([spec()])
    scene.files.faults = [DataError("data/train.jsonl changed")]
    (outcome,) = await applied(scene)
    assert isinstance(outcome.error, DataError)
    assert scene.server.calls == []


async def test_a_body_that_the_api_cannot_say_is_an_error_and_sends_no_create() -> None:
    scene = Scene([spec(model="m" * 257)])
    (outcome,) = await applied(scene)
    assert isinstance(outcome.error, PlanError)
    assert "triage cannot be sent as a job: model: String should have at most 256 characters" in str(outcome.error)
    assert scene.server.calls == []


# Racing reconcilers


def rival(scene: Scene, created_at: int, status: str = "queued") -> None:
    """Let another reconciler make the same job just before ours."""

    def step_in(_: CreateJob) -> None:
        scene.server.own("triage", status, job_id="ftjob-0", created_at=created_at)
        scene.server.visible_at["ftjob-0"] = 0

    scene.server.on_create = step_in


async def test_the_younger_of_two_racing_jobs_gives_way() -> None:
    scene = Scene([spec()])
    rival(scene, created_at=-5)
    (outcome,) = await applied(scene)
    assert (outcome.result, outcome.job_id) == ("done", "ftjob-0")
    assert "another reconciler was first" in outcome.detail
    assert scene.server.live("triage") == ["ftjob-0"]


async def test_the_older_of_two_racing_jobs_stays() -> None:
    scene = Scene([spec()])
    rival(scene, created_at=5)
    (outcome,) = await applied(scene)
    assert outcome.job_id != "ftjob-0"
    assert scene.server.live("triage") == [outcome.job_id]


@pytest.mark.parametrize("created_at", [-5, 0, 5])
async def test_both_sides_of_a_race_keep_the_same_job(created_at: int) -> None:
    scene = Scene([spec()])
    rival(scene, created_at)
    (ours,) = await applied(scene)
    scene.server.on_create = lambda _: None
    await execute(scene.world(), (await scene.look()).plan)
    assert len(scene.server.live("triage")) == 1
    assert scene.server.live("triage") == [ours.job_id]


@pytest.mark.parametrize(
    "faults",
    [
        {"list": [Fault("before", ServerFault("down", status=503))] * 99},
        {"cancel": [Fault("before", ServerFault("down", status=503))]},
    ],
)
async def test_a_race_that_cannot_be_settled_is_left_to_the_next_run(faults: dict[str, list[Fault]]) -> None:
    scene = Scene([spec()])
    rival(scene, created_at=-5)
    scene.server.faults.update(faults)
    (outcome,) = await applied(scene)
    assert outcome.result == "done"
    assert "left to the next run" in scene.told.notes[-1]
    scene.server.on_create = lambda _: None
    await execute(scene.world(), (await scene.look()).plan)
    assert scene.server.live("triage") == ["ftjob-0"]


@pytest.mark.parametrize("answer", [None, Fault("after", LOST)])
async def test_a_rivals_job_that_was_cancelled_does_not_count(answer: Fault | None) -> None:
    scene = Scene([spec()])
    rival(scene, created_at=-5, status="cancelled")
    scene.server.faults["create"] = [answer] if answer else []
    (outcome,) = await applied(scene)
    assert (outcome.result, outcome.job_id) == ("done", "ftjob-2")
    assert scene.server.sent("cancel") == []


async def test_a_job_of_ours_that_has_ended_already_gives_way_to_nobody() -> None:
    scene = Scene([spec()])
    rival(scene, created_at=-5)
    scene.server.changes = {"status": "failed"}
    (outcome,) = await applied(scene)
    assert outcome.job_id == "ftjob-2"
    assert scene.server.sent("cancel") == []


async def test_a_race_on_a_listing_that_lags_is_settled_once_both_jobs_are_listed() -> None:
    scene = Scene([spec()])
    rival(scene, created_at=-5)
    scene.server.lag = 30
    (outcome,) = await applied(scene)
    assert (outcome.result, outcome.job_id) == ("done", "ftjob-0")
    assert scene.server.live("triage") == ["ftjob-0"]


async def test_a_job_of_ours_that_is_never_listed_is_left_to_the_next_run() -> None:
    scene = Scene([spec()])
    rival(scene, created_at=-5)
    scene.server.lag = 10_000
    (outcome,) = await execute(scene.world(lag=20.0), (await scene.look()).plan)
    assert (outcome.result, outcome.job_id) == ("done", "ftjob-2")
    assert 20 < scene.time.now < 40
    assert scene.server.sent("cancel") == []
    assert "triage: no list shows ftjob-2 after 20 s" in scene.told.notes[-1]


def refused(scene: Scene, name: str) -> None:
    """Let the server refuse the create of one name."""

    def refuse(body: CreateJob) -> None:
        if (body.metadata or {})["reconciler.name"] == name:
            raise InvalidRequest("not this one", status=400)

    scene.server.on_create = refuse


@pytest.mark.parametrize("concurrency", [1, 8])
async def test_what_was_made_is_listed_before_the_run_ends_though_another_create_failed(concurrency: int) -> None:
    scene = Scene([spec("ant"), spec("bad")])
    scene.server.lag = 30
    refused(scene, "bad")
    for _ in range(3):
        outcomes = await execute(scene.world(concurrency=concurrency), (await scene.look()).plan)
        assert outcomes[-1].result == "failed"
    assert [name for _, name in scene.server.sent("create")].count("ant") == 1


async def test_after_an_error_the_job_of_a_race_is_waited_for_and_none_is_cancelled() -> None:
    scene = Scene([spec("triage"), spec("zoo")])
    scene.server.lag = 30
    refused(scene, "zoo")
    fails = scene.server.on_create
    rival(scene, created_at=-5)
    beside = scene.server.on_create

    def both(body: CreateJob) -> None:
        fails(body)
        beside(body)

    scene.server.on_create = both
    await applied(scene)
    assert len(scene.server.live("triage")) == 2
    assert scene.time.now >= 30
    assert scene.server.sent("cancel") == []


async def test_a_list_that_fails_for_a_while_is_asked_again_until_it_shows_what_was_made() -> None:
    scene = Scene([spec()])
    rival(scene, created_at=-5)
    scene.server.lag = 5
    scene.server.faults["list"] = [Fault("before", ServerFault("down", status=503))] * 4
    (outcome,) = await applied(scene)
    assert outcome.job_id == "ftjob-0"
    assert scene.server.live("triage") == ["ftjob-0"]


async def test_a_rivals_job_found_after_an_unknown_outcome_is_not_judged_by_our_body() -> None:
    scene = Scene([spec()])
    scene.server.faults["create"] = [Fault("before", LOST)]
    view = await scene.look()
    scene.server.own("triage", "queued", training_file="file-of-theirs")
    (outcome,) = await execute(scene.world(), view.plan)
    assert (outcome.result, outcome.job_id) == ("done", "ftjob-1")
    assert scene.server.sent("cancel") == []


# Killed at any moment


@pytest.mark.parametrize(
    ("fault", "doubted"),
    [
        (None, False),
        (Fault("before", InvalidRequest("no", status=400)), False),
        (Fault("before", SENT_NOT), False),
        (Fault("before", LOST), False),
        (Fault("after", LOST), False),
        (Fault("before", Crash()), True),
        (Fault("after", Crash()), True),
    ],
)
async def test_only_a_create_whose_end_nobody_knows_is_doubted_later(
    fault: Fault | None, doubted: bool, tmp_path: Path
) -> None:
    scene, made = Scene([spec()]), Made(Cache(tmp_path / "cache.db"), now=lambda: 0.0)
    scene.server.faults["create"] = [fault] if fault else []
    with contextlib.suppress(Crash):
        await execute(scene.world(made=made), (await scene.look()).plan)
    assert (made.doubt([], lag=10) > 0) is doubted


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("moment", range(12))
async def test_a_kill_at_any_moment_buys_nothing_twice(moment: int, when: Any) -> None:
    scene = Scene([spec("a"), spec("b"), spec("p", state="paused")])
    for status, name, revision in (("running", "a", C), ("running", "p", A), ("queued", "gone", C)):
        scene.server.own(name, status, revision)
    view = await scene.look()
    scene.server.crash_at = (moment, when)
    try:
        await execute(scene.world(proven=False), view.plan)
        crashed = False
    except Crash:
        crashed = True
    assert crashed is (moment < len(scene.server.calls))
    scene.server.crash_at = None
    await execute(scene.world(), (await scene.look()).plan)
    assert not (await scene.look()).plan.has_changes
    made = [o.name for j in scene.server.jobs.values() if (o := parse(j.metadata)) and o.revision == A]
    assert sorted(made) == ["a", "b", "p"]


class Busy(JobServer):
    """Lets a create wait its turn for long; ``waited`` is called while it does."""

    def waited(self) -> None: ...

    async def create_job(self, body: CreateJob) -> Job:
        self.time.now += 100
        for _ in range(5):
            await asyncio.sleep(0)
        self.waited()
        return await super().create_job(body)


@pytest.mark.parametrize("interrupted", [True, False], ids=["interrupted", "killed"])
async def test_the_doubt_about_a_create_begins_with_the_end_of_its_run(interrupted: bool, tmp_path: Path) -> None:
    scene = Scene([spec()])
    scene.server = server = Busy(scene.time)
    doubts: list[float] = []

    def remembered() -> Made:
        return Made(Cache(tmp_path / "cache.db"), now=scene.time.clock, sleep=lambda _: asyncio.sleep(0))

    def waited() -> None:
        if interrupted:
            raise asyncio.CancelledError
        doubts.append(remembered().doubt([], lag=10))  # as the next run, were this one killed now

    server.waited = waited  # type: ignore[method-assign]
    with contextlib.suppress(asyncio.CancelledError):
        await execute(scene.world(made=remembered()), (await scene.look()).plan)
    doubts.append(remembered().doubt([], lag=10))
    assert doubts == ([12] if interrupted else [12, 0])
