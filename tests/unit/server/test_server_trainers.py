"""Whose a job is: one that a trainer accepted is trained by no other, and nothing of it is lost meanwhile."""

from __future__ import annotations

import logging
import threading
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Self

import pytest
from fastapi.testclient import TestClient
from serving import create, everything, reach, retrieve, upload, wait, wait_for_step

from reconciler.server.app import create_app
from reconciler.server.engine import Engine
from reconciler.server.store import Store
from reconciler.server.trainers.base import (
    Control,
    Progress,
    Saved,
    Step,
    Trainer,
    TrainerOptions,
    TrainingRun,
    load_trainer,
)

WAITS = "This job waits for a server that trains with real."


class Real(Trainer):
    """Saves after a step, trains until it is asked to stop, and is done when it goes on; its state is no number."""

    name = "real"

    def __init__(self) -> None:
        self.states: list[bytes | None] = []

    @classmethod
    def start(cls, options: TrainerOptions) -> Self:
        raise NotImplementedError

    def reads(self, state: bytes) -> bool:
        return state.startswith(b"{")

    def train(self, run: TrainingRun, control: Control) -> Iterator[Progress]:
        self.states.append(run.state)
        if run.state is None:
            (run.workdir / "weights").touch()
            yield Saved(1, {"train_loss": 1.0}, b'{"step": 1}', epoch=1)
            yield Step(1, 2, {"train_loss": 1.0})
            control.wait(30)
        else:
            yield Step(2, 2, {"train_loss": 0.5})


@contextmanager
def served(directory: Path, trainer: Trainer) -> Iterator[TestClient]:
    store = Store(directory)
    engine = Engine(store, trainer)
    engine.start()
    try:
        with TestClient(create_app(store, engine), base_url="http://test/v1/") as client:
            wait(lambda: engine.training)
            yield client
    finally:
        engine.stop()
        store.close()


def simulated(directory: Path) -> Trainer:
    return load_trainer("simulated", TrainerOptions(directory, speed=100))


def left_running(directory: Path) -> str:
    """A job whose server has ended while it trained."""
    with served(directory, Real()) as client:
        job_id = str(create(client, upload(client))["id"])
        wait_for_step(client, job_id)
    return job_id


def said(client: TestClient, job_id: str, words: str = WAITS) -> int:
    return [event["message"] for event in everything(client, job_id, "events")].count(words)


def others_have_had_their_turn(client: TestClient) -> None:
    """Wait until a job of the server's own, made now, has ended."""
    reach(client, create(client, upload(client))["id"], "succeeded")


def change(directory: Path, sql: str) -> None:
    store = Store(directory)
    with store.write() as db:
        db.execute(sql)
    store.close()


def test_a_job_that_another_trainer_began_is_left_alone_and_goes_on_with_it(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    job_id = left_running(tmp_path)
    caplog.set_level(logging.WARNING, "reconciler")
    for _ in range(2):
        with served(tmp_path, simulated(tmp_path)) as client:
            others_have_had_their_turn(client)
            assert retrieve(client, job_id)["status"] == "running"
            assert said(client, job_id) == 1
    assert (tmp_path / "work" / job_id / "weights").exists()
    assert caplog.text.count(f"{job_id} waits for a server that trains with real.") == 2
    real = Real()
    with served(tmp_path, real) as client:
        reach(client, job_id, "succeeded")
    assert real.states == [b'{"step": 1}']


def test_a_job_that_another_trainer_accepted_is_not_even_checked(tmp_path: Path) -> None:
    store = Store(tmp_path)
    with TestClient(create_app(store, Engine(store, Real())), base_url="http://test/v1/") as client:
        new, queued = (create(client, upload(client))["id"] for _ in range(2))
    with store.write() as db:
        db.execute("UPDATE jobs SET status = 'queued' WHERE id = ?", (queued,))
    store.close()
    with served(tmp_path, simulated(tmp_path)) as client:
        others_have_had_their_turn(client)
        assert [retrieve(client, job_id)["status"] for job_id in (new, queued)] == ["validating_files"] * 2
        assert [said(client, job_id) for job_id in (new, queued)] == [1, 1]
        assert {job["id"] for job in client.get("fine_tuning/jobs").json()["data"]} > {new, queued}


def test_a_job_that_waits_for_its_trainer_can_be_paused_resumed_and_cancelled(tmp_path: Path) -> None:
    job_id = left_running(tmp_path)
    with served(tmp_path, simulated(tmp_path)) as client:
        for verb, status in {"pause": "paused", "resume": "queued"}.items():
            assert client.post(f"fine_tuning/jobs/{job_id}/{verb}").json()["status"] == status
        others_have_had_their_turn(client)
        assert retrieve(client, job_id)["status"] == "queued"
    real = Real()
    with served(tmp_path, real) as client:
        reach(client, job_id, "succeeded")
    assert real.states == [b'{"step": 1}']
    cancelled = left_running(tmp_path)
    with served(tmp_path, simulated(tmp_path)) as client:
        assert client.post(f"fine_tuning/jobs/{cancelled}/cancel").json()["status"] == "cancelled"


def test_of_jobs_that_name_no_trainer_those_are_left_whose_state_is_anothers(tmp_path: Path) -> None:
    job_id = left_running(tmp_path)
    change(tmp_path, "UPDATE jobs SET trainer = NULL")
    with served(tmp_path, simulated(tmp_path)) as client:
        others_have_had_their_turn(client)
        assert retrieve(client, job_id)["status"] == "running"
        assert said(client, job_id, "This job waits for a server with the trainer that began it.") == 1
    with served(tmp_path, Real()) as client:
        reach(client, job_id, "succeeded")


def test_a_job_that_names_no_trainer_and_has_not_begun_is_any_trainers(tmp_path: Path) -> None:
    store = Store(tmp_path)
    with TestClient(create_app(store, Engine(store, Real())), base_url="http://test/v1/") as client:
        job_id = create(client, upload(client))["id"]
    store.close()
    change(tmp_path, "UPDATE jobs SET trainer = NULL")
    with served(tmp_path, simulated(tmp_path)) as client:
        reach(client, job_id, "succeeded")


def test_what_was_saved_and_cannot_be_read_any_more_makes_a_job_begin_anew(tmp_path: Path) -> None:
    job_id = left_running(tmp_path)
    change(tmp_path, "UPDATE jobs SET state = x'00'")
    real = Real()
    with served(tmp_path, real) as client:
        wait(lambda: real.states)
        assert retrieve(client, job_id)["status"] == "running"
        begun = "What was saved of this job cannot be read by this server, so its training begins anew."
        wait(lambda: said(client, job_id, begun))
    assert real.states == [None]
    assert (tmp_path / "work" / job_id / "weights").exists()


@pytest.mark.parametrize(("state", "own"), [(b"30", True), (b'{"step":30,"total":60,"tokens":9,"micro":1}', False)])
def test_the_trainers_tell_their_states_apart(tmp_path: Path, state: bytes, own: bool) -> None:
    assert simulated(tmp_path).reads(state) is own


def test_a_trainer_that_breaks_before_the_first_run_ends_no_engine(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    class Shaky(Real):
        broken = 0

        def keep_only(self, job_ids: Collection[str]) -> None:  # noqa: ARG002 - it breaks before it looks
            self.broken += 1
            if self.broken == 1:
                raise RuntimeError("can't start new thread")

    shaky = Shaky()
    with served(tmp_path, shaky) as client:
        job_id = create(client, upload(client))["id"]
        wait_for_step(client, job_id)
    assert shaky.broken == 2
    assert caplog.text.count("The engine goes on after a fault.") == 1


def test_threads_that_cannot_be_had_put_a_job_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    starts = [0]
    start = threading.Thread.start

    def refuse(thread: threading.Thread) -> None:
        if thread.name == "checker" or thread.name.startswith("ftjob-"):
            starts[0] += 1
            if starts[0] in {1, 3}:
                raise RuntimeError("can't start new thread")
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", refuse)
    with served(tmp_path, simulated(tmp_path)) as client:
        reach(client, create(client, upload(client))["id"], "succeeded")
    assert starts == [4]
