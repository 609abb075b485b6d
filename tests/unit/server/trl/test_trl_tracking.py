"""What shows a run is told what a job says, and never in the way."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from serving import wait

from reconciler.server.trainers.trl.tracking import tracker as tracking
from reconciler.server.trainers.trl.tracking.mlflow import Mlflow
from reconciler.server.trainers.trl.tracking.service import Run, Shown, Status
from reconciler.server.trainers.trl.tracking.settings import MlflowTarget
from reconciler.server.trainers.trl.tracking.tracker import Tracker, reason
from reconciler.server.trainers.trl.tracking.wandb import Wandb

PLACE = {"project": "p", "entity": "acme", "name": "n", "tags": ["a"], "run_id": "ftjob-x"}
RUN = Run("ftjob-x", {"seed": 1, "hyperparameters": {"n_epochs": 2, "beta": None}}, {"reconciler.name": "triage"}, 0)


class WandbLibrary:
    """Stands in for the library: notes what it is told, or breaks."""

    def __init__(self, *, key: str | None = None, fault: Exception | None = None) -> None:
        self.api = SimpleNamespace(api_key=key)
        self.began: list[dict[str, Any]] = []
        self.steps: list[tuple[int, dict[str, float]]] = []
        self.finished: list[int] = []
        self._fault = fault
        self.Settings = SimpleNamespace

    def init(self, **settings: Any) -> Any:
        if self._fault:
            raise self._fault
        self.began.append(settings)
        return SimpleNamespace(url="https://wandb.example/run", dir="d/run/files", log=self._log, finish=self._finish)

    def _log(self, numbers: dict[str, float], step: int) -> None:
        self.steps.append((step, numbers))

    def _finish(self, exit_code: int) -> None:
        self.finished.append(exit_code)


def told(
    wandb: WandbLibrary, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, status: Status = "finished"
) -> list[str]:
    """Track a run of one step; return the notes."""
    monkeypatch.setitem(sys.modules, "wandb", wandb)
    monkeypatch.delenv("WANDB_MODE", raising=False)
    notes: list[str] = []
    tracker = Tracker([Wandb(PLACE, RUN, tmp_path)], notes.append)
    tracker.show(3, {"train_loss": 0.5})
    tracker.finish(status)
    return notes


def test_a_run_is_shown_where_the_job_says(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    wandb = WandbLibrary(key="k")
    notes = told(wandb, monkeypatch, tmp_path)
    (began,) = wandb.began
    assert [began[name] for name in ("project", "entity", "name", "tags")] == ["p", "acme", "n", ["a"]]
    assert (began["id"], began["mode"]) == ("ftjob-x", "online")
    assert began["config"] == {**RUN.settings, "metadata": {"reconciler.name": "triage"}}
    assert wandb.steps == [(3, {"train_loss": 0.5})]
    assert notes == ["Weights & Biases shows this run: https://wandb.example/run"]


@pytest.mark.parametrize(("status", "code"), [("finished", 0), ("failed", 1), ("killed", 0)])
def test_a_run_that_failed_is_shown_as_that(
    status: Status, code: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    wandb = WandbLibrary(key="k")
    told(wandb, monkeypatch, tmp_path, status)
    assert wandb.finished == [code]


def test_without_a_key_a_run_is_kept_for_later(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    wandb = WandbLibrary()
    notes = told(wandb, monkeypatch, tmp_path)
    assert wandb.began[0]["mode"] == "offline"
    assert notes == ["Weights & Biases has no key here: `wandb sync d/run` sends this run."]


def test_a_fault_is_noted_and_nothing_more(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    notes = told(WandbLibrary(fault=ConnectionError("no\nnetwork")), monkeypatch, tmp_path)
    assert notes == ["Weights & Biases does not follow this run: ConnectionError: no network"]


class Flaky:
    """A service that fails as often as it is told to, and keeps what it was told."""

    title = "It"

    def __init__(self, *, begins: int = 0, logs: int = 0, retries: bool = True) -> None:
        self.retries = retries
        self.steps: list[int] = []
        self.ended: Status | None = None
        self._begins, self._logs = begins, logs

    def begin(self) -> str:
        self._begins -= 1
        if self._begins >= 0:
            raise ConnectionRefusedError("nobody there")
        return "It shows this run."

    def log(self, steps: Sequence[Shown]) -> None:
        self._logs -= 1
        if self._logs >= 0:
            raise TimeoutError("too slow")
        self.steps += [shown.step for shown in steps]

    def finish(self, status: Status) -> None:
        self.ended = status


def followed(service: Flaky) -> list[str]:
    notes: list[str] = []
    tracker = Tracker([service], notes.append)
    tracker.show(1, {"train_loss": 1.0})
    wait(lambda: service.steps or any("not follow" in note for note in notes))
    for step in range(2, 6):
        tracker.show(step, {"train_loss": 1.0})
    tracker.finish("killed")
    return notes


@pytest.mark.parametrize("service", [Flaky(begins=1), Flaky(logs=1)], ids=["begin", "log"])
def test_a_service_that_was_away_is_told_all_later(service: Flaky, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tracking, "_AGAIN", 0.0)
    notes = followed(service)
    assert service.steps == [1, 2, 3, 4, 5]
    assert service.ended == "killed"
    assert "It shows this run." in notes
    assert sum("does not follow this run" in note for note in notes) == 1


def test_a_service_that_stays_away_is_said_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tracking, "_AGAIN", 0.0)
    assert followed(Flaky(begins=99)) == ["It does not follow this run: ConnectionRefusedError: nobody there"]


def test_one_that_is_not_to_be_called_again_is_not() -> None:
    service = Flaky(logs=1, retries=False)
    followed(service)
    assert (service.steps, service.ended) == ([], None)


def test_a_service_that_hangs_is_left_behind_and_the_others_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tracking, "_FINISH_SECONDS", 0.2)
    gate = threading.Event()

    class Hangs(Flaky):
        title = "Another"

        def begin(self) -> str:
            gate.wait()
            return ""

    notes: list[str] = []
    well = Flaky()
    tracker = Tracker([Hangs(), well], notes.append)
    tracker.show(1, {"train_loss": 1.0})
    tracker.finish("finished")
    assert "Another does not have all of this run: it took too long." in notes
    wait(lambda: well.ended == "finished")
    assert "It shows this run." in notes
    gate.set()


def test_a_service_that_was_away_is_not_waited_for_as_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tracking, "_AGAIN", 0.0)
    monkeypatch.setattr(tracking, "_AWAY_SECONDS", 0.1)
    gate = threading.Event()

    class HangsThen(Flaky):
        def begin(self) -> str:
            if self._begins <= 0:
                gate.wait()
            return super().begin()

    assert followed(HangsThen(begins=1)) == ["It does not follow this run: ConnectionRefusedError: nobody there"]
    gate.set()


def test_a_reason_is_what_the_network_said_without_any_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", "token-of-somebody")
    refused = ValueError("<HTTPConnection object at 0x7f00> at a very long address")
    refused.__context__ = ConnectionRefusedError(111, "Connection refused")
    assert reason(refused) == "ConnectionRefusedError: [Errno 111] Connection refused"
    said = reason(ValueError("http://me:pass@host refuses token-of-somebody"))
    assert said == "ValueError: http://host refuses [key]"


def test_a_password_in_mlflows_own_variable_goes_where_mlflow_has_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "https://me:p%40ss@mlflow.example:5000/x/")
    for name in ("MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD"):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    service = Mlflow(MlflowTarget(uri=None), RUN)
    assert service.title == "MLflow at https://mlflow.example:5000/x"
    assert os.environ["MLFLOW_TRACKING_USERNAME"] == "me"
    assert os.environ["MLFLOW_TRACKING_PASSWORD"] == "p@ss"
    assert "p%40ss" not in os.environ["MLFLOW_TRACKING_URI"]


def test_a_run_is_known_by_its_spec_and_its_settings_by_their_paths() -> None:
    assert RUN.name == "triage"
    assert Run("ftjob-x", {}, {}, 0).name == "ftjob-x"
    assert RUN.facts == {"seed": 1, "hyperparameters.n_epochs": 2}
