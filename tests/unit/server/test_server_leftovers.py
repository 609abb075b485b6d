"""Weights that nothing names any more: found of ended jobs, and never of others."""

from __future__ import annotations

from collections.abc import Callable, Collection
from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from serving import LASTING, Serve, create, everything, reach, trained, upload, wait

from reconciler.errors import StoreError
from reconciler.server import leftovers
from reconciler.server.app import create_app
from reconciler.server.engine import Engine
from reconciler.server.store import Store
from reconciler.server.trainers.simulated import SimulatedTrainer


class Keeper(SimulatedTrainer):
    """Notes what it is to delete."""

    def __init__(self) -> None:
        super().__init__(speed=100.0)
        self.deleted: list[str] = []
        self.swept: list[str | None] = []

    def delete(self, model: str) -> None:
        self.deleted.append(model)

    def sweep(self, named: Callable[[str], Collection[str] | None], model: str | None = None) -> None:
        self.swept.append(model)
        named("ftjob-nobody")


def test_the_names_of_an_ended_job_are_those_that_were_not_deleted(client: TestClient, store: Store) -> None:
    job = trained(client, hyperparameters={"n_epochs": 2, "batch_size": 20})
    trained(client, hyperparameters={"n_epochs": 1})
    model, checkpoints = job["fine_tuned_model"], [f"{job['fine_tuned_model']}:ckpt-step-{step}" for step in (2, 4)]
    assert leftovers.names(store, job["id"]) == {model, *checkpoints}
    client.delete(f"models/{checkpoints[0]}")
    assert leftovers.names(store, job["id"]) == {model, checkpoints[1]}
    client.delete(f"models/{model}")
    assert leftovers.names(store, job["id"]) == {checkpoints[1]}


def test_a_job_that_may_make_more_and_one_that_is_not_known_have_no_leftovers(
    serve: Serve, store: Store, tmp_path: Path
) -> None:
    client = serve(tmp_path, speed=1)
    job_id = create(client, upload(client), **LASTING)["id"]
    reach(client, job_id, "running")
    assert leftovers.names(store, job_id) is None
    client.post(f"fine_tuning/jobs/{job_id}/pause")
    assert leftovers.names(store, job_id) is None
    assert leftovers.names(store, "ftjob-nobody") is None
    client.post(f"fine_tuning/jobs/{job_id}/cancel")
    kept = {each["fine_tuned_model_checkpoint"] for each in everything(client, job_id, "checkpoints")}
    assert leftovers.names(store, job_id) == kept


def test_what_is_deleted_again_is_swept_and_not_found(store: Store) -> None:
    keeper = Keeper()
    engine = Engine(store, keeper)
    client = TestClient(create_app(store, engine), base_url="http://test/v1/")
    assert client.delete("models/ft:m:local::gone").status_code == 404
    assert (keeper.deleted, keeper.swept) == ([], ["ft:m:local::gone"])
    assert client.delete("models/gpt-4o-mini").status_code == 403
    assert keeper.deleted == []


def test_an_engine_sweeps_all_of_its_trainer(store: Store) -> None:
    keeper = Keeper()
    engine = Engine(store, keeper)
    engine.start()
    try:
        wait(lambda: keeper.swept == [None])
    finally:
        engine.stop()


def test_what_cannot_be_read_is_left_for_the_next_time(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    store = Store(tmp_path)
    store.close()
    with pytest.raises(StoreError):
        leftovers.names(store, "ftjob-nobody")
    leftovers.sweep_weights(store, Keeper())
    assert "are deleted later" in caplog.text
