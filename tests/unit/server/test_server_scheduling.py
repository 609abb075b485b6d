"""Several engines on one directory, an engine that ends, and trainers that misbehave."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Self

import pytest
from fastapi.testclient import TestClient
from serving import SETTINGS, Engines, Serve, create, everything, reach, retrieve, story, upload, wait, wait_for_step

from reconciler.server import jobs, lease, results
from reconciler.server.jobs import JobRow
from reconciler.server.lease import LeaseLost
from reconciler.server.progress import Ledger
from reconciler.server.store import StorageFull, Store
from reconciler.server.trainers.base import (
    Control,
    Note,
    Progress,
    Saved,
    Step,
    Trainer,
    TrainerOptions,
    TrainingFailed,
    TrainingRun,
)
from reconciler.server.trainers.simulated import SimulatedTrainer


def test_a_command_that_ends_leaves_its_jobs_to_the_next_one(
    serve: Serve, engines: Engines, tmp_path: Path, unbroken: dict[str, Any]
) -> None:
    engine, client = engines.alone(SimulatedTrainer(speed=0.05))
    file = upload(client)
    job_id = create(client, file, validation_file=file, **SETTINGS)["id"]
    wait_for_step(client, job_id)
    engine.stop()
    assert retrieve(client, job_id)["status"] == "running"
    client = serve(tmp_path)
    assert story(client, reach(client, job_id, "succeeded")) == unbroken


def test_of_two_engines_on_one_directory_one_trains(engines: Engines) -> None:
    now = time.time()  # it stands still, so no lease runs out by itself
    first, _ = engines.start(clock=lambda: now)
    second, _ = engines.start(clock=lambda: now)
    time.sleep(0.6)
    assert not second.training
    engines.end(first)
    wait(lambda: second.training)


def test_an_engine_that_lost_its_lease_stops_its_trainers_and_takes_its_turn_again(
    serve: Serve, engines: Engines, store: Store, tmp_path: Path, unbroken: dict[str, Any]
) -> None:
    engine, client = engines.alone(SimulatedTrainer(speed=0.05))
    file = upload(client)
    job_id = create(client, file, validation_file=file, **SETTINGS)["id"]
    wait_for_step(client, job_id)
    with store.write() as db:
        thief = lease.take(db, "thief|1|x", time.time() + lease.SECONDS)  # when ours has run out
    assert thief is not None
    wait(lambda: not engine.training)
    with store.write() as db:
        lease.release(db, thief)
    wait(lambda: engine.training)
    engine.stop()
    client = serve(tmp_path)
    assert story(client, reach(client, job_id, "succeeded")) == unbroken


def test_a_stale_holder_cannot_write_progress(store: Store, client: TestClient) -> None:
    job_id = create(client, upload(client))["id"]
    stale = Ledger(store, lease.Lease("gone|1|x", 0))
    step = Step(1, 2, {"train_loss": 1.0})
    writes: list[Callable[[], object]] = [
        lambda: stale.stepped(job_id, step, now=0, finish=None),
        lambda: stale.saved(job_id, Saved(1, {}, b"", epoch=1), now=0),
        lambda: stale.noted(job_id, Note("hello"), 0),
        lambda: stale.started(job_id, "", 0),
        lambda: stale.failed(job_id, {"code": "x", "message": "x", "param": None}, now=0),
    ]
    for write in writes:
        with pytest.raises(LeaseLost):
            write()


def at_work(store: Store, names: str = "a") -> tuple[Ledger, JobRow]:
    """Jobs in training, what writes of them, and the last of them."""
    document = {"model": "m", "user_provided_suffix": None, "hyperparameters": {"n_epochs": 1}, "metadata": None}
    with store.write() as db:
        made = [jobs.insert(db, {"id": name, "created_at": 1, "status": "running", **document}) for name in names]
        taken = lease.take(db, lease.new_holder(), time.time())
    assert taken is not None
    return Ledger(store, taken), made[-1]


def test_what_lets_files_go_for_good_survives_a_power_cut(store: Store) -> None:
    ledger, _ = at_work(store, "ab")
    file = results.write(store, "a", [], 1)
    step = Step(1, 2, {"train_loss": 1.0})
    writes: list[tuple[Callable[[], object], bool]] = [
        (lambda: ledger.stepped("a", step, now=0, finish=None), False),
        (lambda: ledger.saved("a", Saved(1, {}, b"1"), now=0), True),
        (lambda: ledger.noted("a", Note("hello"), 0), False),
        (lambda: ledger.succeeded("a", file, tokens=1, now=0), True),
        (lambda: ledger.failed("b", {"code": "x", "message": "x", "param": None}, now=0), True),
    ]
    for write, durable in writes:
        write()
        (synchronous,) = store._writer.execute("PRAGMA synchronous").fetchone()
        assert (synchronous == 2) == durable


def test_the_checkpoint_of_a_pause_goes_once_training_goes_on_from_a_later_one(store: Store) -> None:
    ledger, job = at_work(store)

    def listed() -> int:
        with store.read() as db:
            return len(jobs.checkpoints(db, job.seq, limit=10, after=None).texts)

    with store.write() as db:
        jobs.update(db, job, status="paused")
    ledger.saved("a", Saved(5, {}, b"5"), now=0)
    with store.write() as db:
        jobs.update(db, job, status="running")
    assert listed() == 1
    ledger.saved("a", Saved(5, {}, b"5"), now=0)
    assert listed() == 1
    ledger.saved("a", Saved(7, {}, b"7"), now=0)
    assert listed() == 0


def test_steps_that_looked_at_the_validation_file_are_shown_however_many_there_are(store: Store) -> None:
    ledger, job = at_work(store)
    for step in range(1, 5):
        more = {"valid_loss": 0.5} if step == 3 else {}
        ledger.stepped("a", Step(step, 1000, {"train_loss": 1.0, **more}), now=0, finish=None)
    with store.read() as db:
        assert [each["step"] for each in jobs.metrics(db, job.seq)] == [2, 3, 4]


def test_a_loss_of_nearly_nothing_is_said_without_a_sign(store: Store) -> None:
    ledger, job = at_work(store)
    ledger.stepped("a", Step(1, 2, {"train_loss": -1e-9}), now=0, finish=None)
    with store.read() as db:
        assert jobs.has_event(db, job.seq, "Step 1/2: training loss=0.0000")


class Scripted(Trainer):
    """A trainer that does what a test says."""

    def __init__(self, script: Callable[[TrainingRun, Control], Iterator[Progress]]) -> None:
        self._script = script

    @classmethod
    def start(cls, options: TrainerOptions) -> Self:
        raise NotImplementedError

    def train(self, run: TrainingRun, control: Control) -> Iterator[Progress]:
        return self._script(run, control)


def new_job(client: TestClient, **more: Any) -> str:
    return str(create(client, upload(client), **more)["id"])


def test_a_trainer_that_breaks_fails_its_job_and_no_other(engines: Engines, serve: Serve, tmp_path: Path) -> None:
    def script(run: TrainingRun, _: Control) -> Iterator[Progress]:
        yield Step(1, 2, {"train_loss": 1.0})
        if run.seed == 13:
            raise ZeroDivisionError("a secret detail")
        yield Step(2, 2, {"train_loss": 0.5})

    engines.start(Scripted(script))
    client = serve(tmp_path)
    bad, good = new_job(client, seed=13), new_job(client)
    error = reach(client, bad, "failed")["error"]
    assert error == {"code": "server_error", "message": "The trainer broke: ZeroDivisionError.", "param": None}
    reach(client, good, "succeeded")


def test_a_trainer_may_fail_a_job_with_its_own_code(engines: Engines, serve: Serve, tmp_path: Path) -> None:
    def script(_: TrainingRun, __: Control) -> Iterator[Progress]:
        raise TrainingFailed("out_of_memory", "The model is too large.", "model")

    engines.start(Scripted(script))
    client = serve(tmp_path)
    job = reach(client, new_job(client), "failed")
    assert job["error"] == {"code": "out_of_memory", "message": "The model is too large.", "param": "model"}


def test_a_full_disk_in_training_delays_the_job_and_does_not_fail_it(
    engines: Engines, serve: Serve, tmp_path: Path
) -> None:
    tries: list[int] = []

    def script(run: TrainingRun, _: Control) -> Iterator[Progress]:
        tries.append(1)
        if len(tries) == 1:
            raise StorageFull(run.workdir)
        yield Step(1, 1, {"train_loss": 1.0})

    engines.start(Scripted(script))
    client = serve(tmp_path)
    job = reach(client, new_job(client), "succeeded")
    assert len(tries) == 2
    assert len([e for e in everything(client, job["id"], "events") if e["message"] == "Fine-tuning job started"]) == 1


@pytest.mark.parametrize(("verb", "dropped"), [("cancel", True), ("pause", False)])
def test_nothing_is_wanted_of_a_run_that_was_cancelled_and_its_state_of_one_that_was_paused(
    engines: Engines, serve: Serve, tmp_path: Path, verb: str, dropped: bool
) -> None:
    found: list[bool] = []

    def script(_: TrainingRun, control: Control) -> Iterator[Progress]:
        yield Step(1, 2, {"train_loss": 1.0})
        while not control.stopping:
            time.sleep(0.01)
        time.sleep(0.1)
        found.append(control.dropped)

    engines.start(Scripted(script))
    client = serve(tmp_path)
    job_id = new_job(client)
    wait_for_step(client, job_id)
    client.post(f"fine_tuning/jobs/{job_id}/{verb}")
    wait(lambda: found)
    assert found == [dropped]


def test_no_more_jobs_train_at_once_than_allowed(engines: Engines, serve: Serve, tmp_path: Path) -> None:
    active: list[str] = []
    most: list[int] = []
    two = threading.Event()

    def script(run: TrainingRun, control: Control) -> Iterator[Progress]:
        active.append(run.job_id)
        most.append(len(active))
        if len(active) == 2:
            two.set()
        two.wait(20)
        control.wait(0.05)
        active.remove(run.job_id)
        yield Step(1, 1, {"train_loss": 1.0})

    engines.start(Scripted(script), concurrency=2)
    client = serve(tmp_path)
    file = upload(client)
    for job_id in [create(client, file)["id"] for _ in range(8)]:
        reach(client, job_id, "succeeded")
    assert max(most) == 2


def test_places_are_shared_fairly_by_owner_and_in_an_owners_own_order(store: Store) -> None:
    wanted = [("a", 0), ("a", 0), ("a", 5), ("b", 0), ("", 0), ("c", 0), ("c", -1), ("b", 9)]
    with store.write() as db:
        for number, (owner, priority) in enumerate(wanted):
            metadata = {"reconciler.owner": owner, "priority": str(priority)} if owner else None
            document = {"id": f"{owner or 'nobody'}{number}", "status": "queued", "created_at": 1, "metadata": metadata}
            jobs.insert(db, document)
        db.execute("UPDATE jobs SET status = 'running' WHERE id = 'b3'")
        assert jobs.queue(db, "", 10) == ["a2", "nobody4", "c5", "a0", "c6", "b7", "a1"]
        assert jobs.queue(db, "", 2) == ["a2", "nobody4"]


def test_a_long_run_keeps_about_five_hundred_steps(engines: Engines, serve: Serve, tmp_path: Path) -> None:
    def script(_: TrainingRun, __: Control) -> Iterator[Progress]:
        for step in range(1, 4002):
            yield Step(step, 4001, {"train_loss": 1.0})

    engines.start(Scripted(script))
    client = serve(tmp_path)
    job = reach(client, new_job(client), "succeeded")
    steps = [e["data"]["step"] for e in everything(client, job["id"], "events") if e["type"] == "metrics"]
    assert 400 < len(steps) <= 501
    assert steps[-1] == 4001


def test_steps_that_a_trainer_repeats_are_recorded_once(engines: Engines, serve: Serve, tmp_path: Path) -> None:
    def script(run: TrainingRun, control: Control) -> Iterator[Progress]:
        yield Note("Hello.")
        for step in range(1, 5):
            yield Step(step, 4, {"train_loss": 1.0})
            if step == 2 and run.state is None and not (run.workdir / "seen").exists():
                (run.workdir / "seen").touch()
                raise StorageFull(run.workdir)
        assert not control.stopping

    engines.start(Scripted(script))
    client = serve(tmp_path)
    job = reach(client, new_job(client), "succeeded")
    events = everything(client, job["id"], "events")
    assert [e["data"]["step"] for e in events if e["type"] == "metrics"] == [1, 2, 3, 4]
    assert [e["message"] for e in events].count("Hello.") == 1


def test_a_job_resumed_before_its_trainer_has_stopped_goes_on_from_what_the_pause_saved(
    engines: Engines, serve: Serve, tmp_path: Path
) -> None:
    states: list[bytes | None] = []
    resumed = threading.Event()

    def script(run: TrainingRun, control: Control) -> Iterator[Progress]:
        states.append(run.state)
        if run.state is None:
            yield Step(1, 3, {"train_loss": 1.0})
            control.wait(20)
            resumed.wait(20)
            yield Note("It saves.")
            yield Step(2, 3, {"train_loss": 0.8})
            yield Saved(2, {"train_loss": 0.8}, b"2")
        else:
            yield Step(3, 3, {"train_loss": 0.5})

    engines.start(Scripted(script))
    client = serve(tmp_path)
    job_id = new_job(client)
    wait_for_step(client, job_id)
    for verb in ("pause", "resume"):
        assert client.post(f"fine_tuning/jobs/{job_id}/{verb}").status_code == 200
    resumed.set()
    reach(client, job_id, "succeeded")
    assert states == [None, b"2"]
    events = everything(client, job_id, "events")
    assert [e["data"]["step"] for e in events if e["type"] == "metrics"] == [1, 2, 3]
    assert "It saves." in [e["message"] for e in events]


def test_an_engine_waits_out_a_full_disk(engines: Engines, serve: Serve, tmp_path: Path) -> None:
    engine, store = engines.start()
    client = serve(tmp_path)
    with store.write() as db:
        (pages,) = db.execute("PRAGMA page_count").fetchone()
        db.execute(f"PRAGMA max_page_count = {pages + 3}")
    job_id = new_job(client, hyperparameters={"n_epochs": 4, "batch_size": 4})
    time.sleep(1.5)
    assert retrieve(client, job_id)["status"] in {"validating_files", "queued", "running"}
    assert engine.alive
    with store.write() as db:
        db.execute("PRAGMA max_page_count = 1000000")
    reach(client, job_id, "succeeded")


def test_data_that_the_disk_does_not_give_holds_up_no_other_job(serve: Serve, tmp_path: Path) -> None:
    client = serve(tmp_path)
    unreadable = upload(client)
    (tmp_path / "files" / unreadable).unlink()
    (tmp_path / "files" / unreadable).mkdir()
    waiting, fine = create(client, unreadable)["id"], create(client, upload(client))["id"]
    reach(client, fine, "succeeded")
    assert retrieve(client, waiting)["status"] == "validating_files"
    (tmp_path / "files" / unreadable).rmdir()
    assert reach(client, waiting, "failed")["error"]["code"] == "file_not_found"
