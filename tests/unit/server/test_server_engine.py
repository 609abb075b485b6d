"""Jobs in training: what is recorded, and that no interruption changes the result."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import Serve
from fastapi.testclient import TestClient
from serving import create, everything, reach, retrieve, rows, story, upload

from reconciler.server import files, jobs, lease
from reconciler.server.engine import Engine
from reconciler.server.lease import LeaseLost
from reconciler.server.progress import Ledger
from reconciler.server.store import StorageFull, Store
from reconciler.server.trainers.base import Control, Note, Progress, Saved, Step, Trainer, TrainingFailed, TrainingRun
from reconciler.server.trainers.simulated import SimulatedTrainer


def wait(reached: Callable[[], Any], seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not reached():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def trained(client: TestClient, **settings: Any) -> dict[str, Any]:
    file = upload(client)
    return reach(client, create(client, file, validation_file=file, **settings)["id"], "succeeded")


def test_a_job_shows_its_whole_life_in_its_events(client: TestClient) -> None:
    job = trained(client, hyperparameters={"n_epochs": 2, "batch_size": 20})
    messages = [event["message"] for event in everything(client, job["id"], "events")]
    model = job["fine_tuned_model"]
    assert [m for m in messages if not m.startswith("Step")] == [
        f"Created fine-tuning job: {job['id']}",
        f"Validating files: {job['training_file']}, {job['training_file']}",
        "Files validated, moving job to queued state",
        "Fine-tuning job started",
        "This training is simulated: the numbers are made up and no model weights are produced.",
        f"Checkpoint created at step 2 with model name: {model}:ckpt-step-2",
        f"Checkpoint created at step 4 with model name: {model}:ckpt-step-4",
        f"New fine-tuned model created: {model}",
        "The job has successfully completed",
    ]
    assert [m.split(":")[0] for m in messages if m.startswith("Step")] == [f"Step {n}/4" for n in range(1, 5)]


def test_a_job_that_succeeded_names_what_it_made(client: TestClient) -> None:
    job = trained(client, suffix="Mine", hyperparameters={"n_epochs": 2})
    assert job["fine_tuned_model"] == f"ft:gpt-4o-mini-2024-07-18:local:mine:{job['id'][-8:]}"
    assert job["finished_at"] >= job["created_at"]
    assert job["estimated_finish"] is None
    assert job["trained_tokens"] > 0
    assert client.get(f"models/{job['fine_tuned_model']}").json()["owned_by"] == "org-local"


def test_the_result_file_holds_the_numbers_of_every_step(client: TestClient) -> None:
    job = trained(client, hyperparameters={"n_epochs": 2, "batch_size": 20})
    (result,) = job["result_files"]
    assert client.get(f"files/{result}").json()["purpose"] == "fine-tune-results"
    lines = client.get(f"files/{result}/content").text.splitlines()
    assert lines[0] == "step,train_loss,train_mean_token_accuracy,valid_loss,valid_mean_token_accuracy"
    assert [line.split(",")[0] for line in lines[1:]] == ["1", "2", "3", "4"]


def test_the_checkpoints_of_the_last_three_epochs_stay_usable(client: TestClient) -> None:
    job = trained(client, hyperparameters={"n_epochs": 5, "batch_size": 40})
    kept = everything(client, job["id"], "checkpoints")
    assert [c["step_number"] for c in kept] == [3, 4, 5]
    assert all("full_valid_loss" in c["metrics"] for c in kept)
    for step in range(1, 6):
        found = client.get(f"models/{job['fine_tuned_model']}:ckpt-step-{step}").status_code
        assert found == (200 if step >= 3 else 404)


def test_a_checkpoint_and_a_model_can_be_trained_further_and_the_new_model_names_its_root(client: TestClient) -> None:
    first = trained(client, hyperparameters={"n_epochs": 1})
    for base in (
        first["fine_tuned_model"],
        everything(client, first["id"], "checkpoints")[-1]["fine_tuned_model_checkpoint"],
    ):
        second = trained(client, model=base, suffix="two", hyperparameters={"n_epochs": 1})
        assert second["model"] == base
        assert second["fine_tuned_model"] == f"ft:gpt-4o-mini-2024-07-18:local:two:{second['id'][-8:]}"


def test_auto_becomes_numbers_in_both_places(client: TestClient) -> None:
    job = trained(client)
    expected = {"n_epochs": 3, "batch_size": 1, "learning_rate_multiplier": 1.8}
    assert job["hyperparameters"] == expected
    assert job["method"] == {"type": "supervised", "supervised": {"hyperparameters": expected}}


@pytest.mark.parametrize(
    ("content", "code", "words"),
    [
        (rows(20) + b"{not json\n", "invalid_file_format", "line 21"),
        (rows(9), "invalid_n_examples", "10"),
        (b"\xff\xfe\n" * 20, "invalid_file_format", "line 1"),
    ],
)
def test_bad_rows_fail_the_job_and_the_line_is_named(client: TestClient, content: bytes, code: str, words: str) -> None:
    job = reach(client, create(client, upload(client, content))["id"], "failed")
    assert job["error"]["code"] == code
    assert job["error"]["param"] == "training_file"
    assert words in job["error"]["message"]
    assert job["fine_tuned_model"] is None
    assert everything(client, job["id"], "events")[-1]["level"] == "error"


def test_a_bad_validation_file_is_named_as_such(client: TestClient) -> None:
    bad = upload(client, b"[]\n")
    job = reach(client, create(client, upload(client), validation_file=bad)["id"], "failed")
    assert job["error"]["param"] == "validation_file"


@pytest.mark.parametrize(
    ("model", "code"), [("simulated-fail", "training_failed"), ("simulated-fail-transient", "server_error")]
)
def test_some_models_fail_on_demand(client: TestClient, model: str, code: str) -> None:
    job = reach(client, create(client, upload(client), model=model)["id"], "failed")
    assert job["error"]["code"] == code


def test_a_running_job_estimates_its_end(serve: Serve, tmp_path: Path) -> None:
    client = serve(tmp_path, speed=1.0)
    job_id = create(client, upload(client), model="simulated-slow")["id"]
    deadline = time.monotonic() + 10
    while (job := retrieve(client, job_id))["estimated_finish"] is None:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert job["created_at"] < job["estimated_finish"] < job["created_at"] + 60


# Interruptions


def settings(**more: Any) -> dict[str, Any]:
    return {"seed": 11, "hyperparameters": {"n_epochs": 4, "batch_size": 4}, **more}


@pytest.fixture
def unbroken(serve: Serve, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    client = serve(tmp_path_factory.mktemp("unbroken"))
    return story(client, trained(client, **settings()))


def wait_for_step(client: TestClient, job_id: str) -> None:
    deadline = time.monotonic() + 20
    while not any(e["type"] == "metrics" for e in everything(client, job_id, "events")):
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_paused_and_resumed_again_and_again_it_ends_as_an_unbroken_run_does(
    serve: Serve, tmp_path: Path, unbroken: dict[str, Any]
) -> None:
    client = serve(tmp_path, speed=4)
    file = upload(client)
    job_id = create(client, file, validation_file=file, **settings())["id"]
    for _ in range(3):
        wait_for_step(client, job_id)
        paused = client.post(f"fine_tuning/jobs/{job_id}/pause").json()
        assert paused["status"] == "paused"
        time.sleep(0.1)
        assert client.post(f"fine_tuning/jobs/{job_id}/resume").json()["status"] == "queued"
        reach(client, job_id, "running")
    assert story(client, reach(client, job_id, "succeeded")) == unbroken


def test_a_pause_saves_a_checkpoint_that_can_be_used(serve: Serve, tmp_path: Path) -> None:
    client = serve(tmp_path, speed=1)
    job_id = create(client, upload(client), model="simulated-slow")["id"]
    wait_for_step(client, job_id)
    assert client.post(f"fine_tuning/jobs/{job_id}/pause").status_code == 200
    deadline = time.monotonic() + 10
    while not (saved := everything(client, job_id, "checkpoints")):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert client.get(f"models/{saved[0]['fine_tuned_model_checkpoint']}").status_code == 200
    assert retrieve(client, job_id)["status"] == "paused"


def test_a_paused_job_stays_paused_when_the_server_starts_again(serve: Serve, tmp_path: Path) -> None:
    client = serve(tmp_path, speed=1)
    job_id = create(client, upload(client), model="simulated-slow")["id"]
    reach(client, job_id, "running")
    client.post(f"fine_tuning/jobs/{job_id}/pause")
    again = serve(tmp_path, speed=1)
    time.sleep(0.4)
    assert retrieve(again, job_id)["status"] == "paused"


def test_a_cancelled_job_records_nothing_more(serve: Serve, tmp_path: Path) -> None:
    client = serve(tmp_path, speed=1)
    job_id = create(client, upload(client))["id"]
    wait_for_step(client, job_id)
    cancelled = client.post(f"fine_tuning/jobs/{job_id}/cancel").json()
    assert cancelled["status"] == "cancelled"
    assert cancelled["finished_at"] is not None
    before = everything(client, job_id, "events")
    time.sleep(0.5)
    assert everything(client, job_id, "events") == before
    assert before[-1]["message"] == "The job has been cancelled"
    assert retrieve(client, job_id) == cancelled
    assert not (tmp_path / "work" / job_id).exists()


# Engines by hand: several on one directory, one that ends, one whose trainer misbehaves


class Engines:
    """Starts engines on one directory and ends them with the test."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.running: list[tuple[Engine, Store]] = []

    def start(self, trainer: Trainer | None = None, **options: Any) -> tuple[Engine, Store]:
        """Start an engine; the first one of a test is waited for until it trains."""
        store = Store(self.directory)
        engine = Engine(store, trainer or SimulatedTrainer(speed=4), **options)
        engine.start()
        self.running.append((engine, store))
        if len(self.running) == 1:
            wait(lambda: engine.training)
        return engine, store

    def end(self, engine: Engine) -> None:
        (pair,) = [pair for pair in self.running if pair[0] is engine]
        self.running.remove(pair)
        engine.stop()
        pair[1].close()


@pytest.fixture
def engines(tmp_path: Path) -> Iterator[Engines]:
    engines = Engines(tmp_path)
    yield engines
    for engine, _ in list(engines.running):
        engines.end(engine)


def test_a_command_that_ends_leaves_its_jobs_to_the_next_one(
    serve: Serve, engines: Engines, tmp_path: Path, unbroken: dict[str, Any]
) -> None:
    engine, _ = engines.start()
    client = serve(tmp_path)
    file = upload(client)
    job_id = create(client, file, validation_file=file, **settings())["id"]
    wait_for_step(client, job_id)
    engines.end(engine)
    assert retrieve(client, job_id)["status"] == "running"
    assert story(client, reach(client, job_id, "succeeded")) == unbroken


def test_of_two_engines_on_one_directory_one_trains(engines: Engines) -> None:
    first, _ = engines.start()
    second, _ = engines.start()
    time.sleep(0.6)
    assert not second.training
    engines.end(first)
    wait(lambda: second.training, seconds=2)


def test_an_engine_that_lost_its_lease_stops_its_trainers_and_takes_its_turn_again(
    serve: Serve, engines: Engines, tmp_path: Path, unbroken: dict[str, Any]
) -> None:
    engine, store = engines.start()
    client = serve(tmp_path)
    file = upload(client)
    job_id = create(client, file, validation_file=file, **settings())["id"]
    wait_for_step(client, job_id)
    with store.write() as db:
        db.execute("UPDATE lease SET token = token + 1, holder = 'thief|1|x', expires_at = ?", (time.time() + 1,))
    wait(lambda: not engine.training)
    assert story(client, reach(client, job_id, "succeeded")) == unbroken


def test_a_stale_holder_cannot_write_progress(store: Store, client: TestClient) -> None:
    job_id = create(client, upload(client), model="simulated-slow")["id"]
    reach(client, job_id, "running")
    stale = Ledger(store, lease.Lease("gone|1|x", 0))
    step = Step(1, 2, {"train_loss": 1.0})
    writes: list[Callable[[], object]] = [
        lambda: stale.stepped(job_id, step, now=0, finish=None),
        lambda: stale.saved(job_id, Saved(1, {}, b"", epoch=1), now=0),
        lambda: stale.noted(job_id, Note("hello"), 0),
        lambda: stale.started(job_id, 0),
        lambda: stale.failed(job_id, {"code": "x", "message": "x", "param": None}, now=0),
    ]
    for write in writes:
        with pytest.raises(LeaseLost):
            write()


class Scripted:
    """A trainer that does what a test says."""

    def __init__(self, script: Callable[[TrainingRun, Control], Iterator[Progress]]) -> None:
        self.train = script


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


def test_no_more_jobs_train_at_once_than_allowed(engines: Engines, serve: Serve, tmp_path: Path) -> None:
    active: list[str] = []
    most: list[int] = []

    def script(run: TrainingRun, control: Control) -> Iterator[Progress]:
        active.append(run.job_id)
        most.append(len(active))
        control.wait(0.05)
        active.remove(run.job_id)
        yield Step(1, 1, {"train_loss": 1.0})

    engines.start(Scripted(script), concurrency=2)
    client = serve(tmp_path)
    file = upload(client)
    for job_id in [create(client, file)["id"] for _ in range(8)]:
        reach(client, job_id, "succeeded")
    assert max(most) == 2


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


def test_files_that_expired_go_and_those_that_a_job_needs_stay(store: Store, client: TestClient) -> None:
    form = {"purpose": "fine-tune", "expires_after[anchor]": "created_at", "expires_after[seconds]": "3600"}
    ids = [client.post("files", data=form, files={"file": ("a.jsonl", rows())}).json()["id"] for _ in range(2)]
    create(client, ids[0], model="simulated-slow")
    files.sweep(store, time.time() + 3601)
    assert [client.get(f"files/{file_id}").status_code for file_id in ids] == [200, 404]


def test_what_a_crash_left_behind_is_swept_away_after_an_hour(store: Store, client: TestClient) -> None:
    kept = upload(client)
    lost = [store.incoming / "part-x", store.files / "file-unlisted", store.files / "file-recent"]
    for path in [*lost, store.files / kept]:
        path.write_bytes(b"x")
        if path.name != "file-recent":
            os.utime(path, (0, 0))
    files.sweep(store, time.time())
    assert [path.exists() for path in lost] == [False, False, True]
    assert (store.files / kept).exists()


def test_ids_of_many_jobs_are_listed_in_order_even_when_the_clock_is_set_back(store: Store) -> None:
    times = [100, 300, 200]
    template = {"status": "cancelled", "metadata": None}
    with store.write() as db:
        made = [jobs.insert(db, {"id": f"j{t}", "created_at": t, **template}).document["created_at"] for t in times]
    assert made == [100, 300, 300]
