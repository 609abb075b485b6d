"""Jobs in training: what is recorded, and that no interruption changes the result."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from serving import (
    LASTING,
    SETTINGS,
    Engines,
    Serve,
    create,
    everything,
    idle,
    reach,
    retrieve,
    rows,
    steps,
    story,
    trained,
    upload,
    wait,
    wait_for_step,
)

from reconciler.server import files, jobs
from reconciler.server.leftovers import sweep_workdirs
from reconciler.server.store import Store
from reconciler.server.trainers.simulated import SimulatedTrainer


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
    client = serve(tmp_path, speed=1)
    job_id = create(client, upload(client), **LASTING)["id"]
    wait(lambda: retrieve(client, job_id)["estimated_finish"])
    job = retrieve(client, job_id)
    assert job["created_at"] <= job["estimated_finish"] < job["created_at"] + 86_400


def test_paused_and_resumed_again_and_again_it_ends_as_an_unbroken_run_does(
    serve: Serve, engines: Engines, tmp_path: Path, unbroken: dict[str, Any]
) -> None:
    engine, client = engines.alone(SimulatedTrainer(speed=0.05))
    file = upload(client)
    job_id = create(client, file, validation_file=file, **SETTINGS)["id"]
    for _ in range(3):
        wait_for_step(client, job_id, after=steps(client, job_id))
        paused = client.post(f"fine_tuning/jobs/{job_id}/pause").json()
        assert paused["status"] == "paused"
        wait(lambda: idle(engine))
        assert client.post(f"fine_tuning/jobs/{job_id}/resume").json()["status"] == "queued"
        reach(client, job_id, "running")
    engine.stop()
    client = serve(tmp_path)
    assert story(client, reach(client, job_id, "succeeded")) == unbroken


def test_a_pause_saves_a_checkpoint_that_can_be_used(serve: Serve, tmp_path: Path) -> None:
    client = serve(tmp_path, speed=0.2)
    job_id = create(client, upload(client), **LASTING)["id"]
    wait_for_step(client, job_id)
    assert client.post(f"fine_tuning/jobs/{job_id}/pause").status_code == 200
    wait(lambda: everything(client, job_id, "checkpoints"))
    saved = everything(client, job_id, "checkpoints")
    assert client.get(f"models/{saved[0]['fine_tuned_model_checkpoint']}").status_code == 200
    assert retrieve(client, job_id)["status"] == "paused"


def test_a_paused_job_stays_paused_when_the_server_starts_again(serve: Serve, tmp_path: Path) -> None:
    client = serve(tmp_path, speed=1)
    job_id = create(client, upload(client), **LASTING)["id"]
    reach(client, job_id, "running")
    client.post(f"fine_tuning/jobs/{job_id}/pause")
    again = serve(tmp_path, speed=1)
    time.sleep(0.4)
    assert retrieve(again, job_id)["status"] == "paused"


def test_a_cancelled_job_records_nothing_more(serve: Serve, tmp_path: Path) -> None:
    client = serve(tmp_path, speed=1)
    job_id = create(client, upload(client), **LASTING)["id"]
    wait_for_step(client, job_id)
    cancelled = client.post(f"fine_tuning/jobs/{job_id}/cancel").json()
    assert cancelled["status"] == "cancelled"
    assert cancelled["finished_at"] is not None
    before = everything(client, job_id, "events")
    wait(lambda: idle(client.app.state.context.engine))  # type: ignore[attr-defined]
    assert everything(client, job_id, "events") == before
    assert before[-1]["message"] == "The job has been cancelled"
    assert retrieve(client, job_id) == cancelled
    assert not (tmp_path / "work" / job_id).exists()


def test_files_that_expired_go_and_those_that_a_job_needs_stay(store: Store, serve: Serve, tmp_path: Path) -> None:
    client = serve(tmp_path, speed=1)
    form = {"purpose": "fine-tune", "expires_after[anchor]": "created_at", "expires_after[seconds]": "3600"}
    ids = [client.post("files", data=form, files={"file": ("a.jsonl", rows())}).json()["id"] for _ in range(2)]
    create(client, ids[0], **LASTING)
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


def test_working_directories_of_jobs_that_ended_without_a_worker_are_swept_away(serve: Serve, tmp_path: Path) -> None:
    client = serve(tmp_path, speed=1)
    file = upload(client)
    cancelled, unfinished = (create(client, file, **LASTING)["id"] for _ in range(2))
    for job_id in (cancelled, unfinished):
        wait_for_step(client, job_id)
        client.post(f"fine_tuning/jobs/{job_id}/pause")
    work, elsewhere = tmp_path / "work", tmp_path / "elsewhere"
    unknown, busy, link = (f"ftjob-{letter * 24}" for letter in "abc")
    for path in (elsewhere, work / unknown, work / busy, work / "ftjob-of-somebody", work / "notes"):
        path.mkdir()
    (work / link).symlink_to(elsewhere, target_is_directory=True)
    wait(lambda: idle(client.app.state.context.engine))  # type: ignore[attr-defined]
    client.post(f"fine_tuning/jobs/{cancelled}/cancel")
    before = {path.name for path in work.iterdir()}
    store = client.app.state.context.store  # type: ignore[attr-defined]
    with store.write() as db:
        db.execute("ALTER TABLE jobs RENAME TO away")
    sweep_workdirs(store, {busy})
    assert {path.name for path in work.iterdir()} == before
    with store.write() as db:
        db.execute("ALTER TABLE away RENAME TO jobs")
    sweep_workdirs(store, {busy})
    assert before - {path.name for path in work.iterdir()} == {cancelled, unknown}


def test_a_server_that_starts_sweeps_working_directories(serve: Serve, tmp_path: Path) -> None:
    left = tmp_path / "work" / f"ftjob-{'a' * 24}"
    left.mkdir(parents=True)
    serve(tmp_path)
    wait(lambda: not left.exists())


def test_ids_of_many_jobs_are_listed_in_order_even_when_the_clock_is_set_back(store: Store) -> None:
    times = [100, 300, 200]
    template = {"status": "cancelled", "metadata": None}
    with store.write() as db:
        made = [jobs.insert(db, {"id": f"j{t}", "created_at": t, **template}).document["created_at"] for t in times]
    assert made == [100, 300, 300]
