"""Weights & Biases is told what a job says, and never in the way."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from reconciler.server.trainers.trl.tracking import Tracker

PLACE = {"type": "wandb", "wandb": {"project": "p", "entity": "acme", "name": "n", "tags": ["a"], "run_id": "ftjob-x"}}


class Wandb:
    """Stands in for the library: notes what it is told, or breaks."""

    def __init__(self, *, key: str | None = None, fault: Exception | None = None) -> None:
        self.api = SimpleNamespace(api_key=key)
        self.began: list[dict[str, Any]] = []
        self.steps: list[tuple[int, dict[str, float]]] = []
        self.finished = 0
        self._fault = fault
        self.Settings = SimpleNamespace

    def init(self, **settings: Any) -> Any:
        if self._fault:
            raise self._fault
        self.began.append(settings)
        return SimpleNamespace(url="https://wandb.example/run", dir="d/run/files", log=self._log, finish=self._finish)

    def _log(self, numbers: dict[str, float], step: int) -> None:
        self.steps.append((step, numbers))

    def _finish(self) -> None:
        self.finished += 1


def told(wandb: Wandb, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, *places: dict[str, Any]) -> list[str]:
    """Track a run of one step; return the notes."""
    monkeypatch.setitem(sys.modules, "wandb", wandb)
    monkeypatch.delenv("WANDB_MODE", raising=False)
    notes: list[str] = []
    tracker = Tracker(places, run_id="ftjob-x", config={"seed": 1}, directory=tmp_path, note=notes.append)
    tracker.show(3, {"train_loss": 0.5})
    tracker.finish()
    return notes


def test_a_run_is_shown_where_the_job_says(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    wandb = Wandb(key="k")
    notes = told(wandb, monkeypatch, tmp_path, PLACE)
    (began,) = wandb.began
    assert [began[name] for name in ("project", "entity", "name", "tags")] == ["p", "acme", "n", ["a"]]
    assert (began["id"], began["mode"], began["config"]) == ("ftjob-x", "online", {"seed": 1})
    assert (wandb.steps, wandb.finished) == ([(3, {"train_loss": 0.5})], 1)
    assert notes == ["Weights & Biases shows this run: https://wandb.example/run"]


def test_without_a_key_a_run_is_kept_for_later(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    wandb = Wandb()
    notes = told(wandb, monkeypatch, tmp_path, PLACE)
    assert wandb.began[0]["mode"] == "offline"
    assert notes == ["Weights & Biases has no key here: `wandb sync d/run` sends this run."]


def test_a_fault_is_noted_and_nothing_more(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    notes = told(Wandb(fault=ConnectionError("no\nnetwork")), monkeypatch, tmp_path, PLACE)
    assert notes == ["Weights & Biases does not follow this run: ConnectionError: no network"]


def test_a_job_without_integrations_loads_nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    wandb = Wandb()
    assert told(wandb, monkeypatch, tmp_path) == []
    assert wandb.began == []
