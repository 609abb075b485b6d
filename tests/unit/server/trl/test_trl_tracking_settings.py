"""The words of ``--track``, and what is wrong with some."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from pathlib import Path

import pytest

from reconciler.errors import MissingExtra, UsageError
from reconciler.server.local import open_local
from reconciler.server.trainers.base import TrainerOptions
from reconciler.server.trainers.simulated import SimulatedTrainer
from reconciler.server.trainers.trl.tracking.settings import MlflowTarget, Target, TensorBoardTarget, parse

PLACE = Path("/srv/reconciler/tracking")
SECRET = "hunter2"


@pytest.fixture(autouse=True)
def everything_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: True)


def parsed(*words: str, **environment: str) -> tuple[Target, ...]:
    return parse(words, PLACE, environment)


@pytest.mark.parametrize(
    ("word", "environment", "target"),
    [
        ("mlflow", {}, MlflowTarget(uri=f"sqlite:///{PLACE}/mlflow.db")),
        ("mlflow=http://127.0.0.1:5000/", {}, MlflowTarget(uri="http://127.0.0.1:5000")),
        ("mlflow=sqlite:////srv/m.db", {}, MlflowTarget(uri="sqlite:////srv/m.db")),
        ("mlflow=sqlite:///m.db", {}, MlflowTarget(uri=f"sqlite:///{Path('m.db').absolute()}")),
        ("mlflow", {"MLFLOW_TRACKING_URI": "https://mlflow.example"}, MlflowTarget(uri="https://mlflow.example")),
        ("mlflow=http://h", {"MLFLOW_TRACKING_URI": "https://mlflow.example"}, MlflowTarget(uri="http://h")),
        # What holds a key, or what only MLflow understands, stays in the variable.
        ("mlflow", {"MLFLOW_TRACKING_URI": f"https://me:{SECRET}@mlflow.example"}, MlflowTarget(uri=None)),
        ("mlflow", {"MLFLOW_TRACKING_URI": "databricks"}, MlflowTarget(uri=None)),
        ("tensorboard", {}, TensorBoardTarget(directory=PLACE / "tensorboard")),
        ("tensorboard=runs", {}, TensorBoardTarget(directory=Path("runs").absolute())),
    ],
)
def test_a_word_names_a_place_or_takes_the_usual_one(word: str, environment: Mapping[str, str], target: Target) -> None:
    assert parsed(word, **environment) == (target,)


def test_several_places_may_be_named_but_no_kind_twice() -> None:
    assert [target.kind for target in parsed("tensorboard", "mlflow")] == ["tensorboard", "mlflow"]
    assert parsed() == ()
    with pytest.raises(UsageError, match="mlflow twice"):
        parsed("mlflow", "mlflow=http://h")


@pytest.mark.parametrize(
    ("word", "words"),
    [
        ("mlfow", "does not know 'mlfow'"),
        ("wandb", "does not know 'wandb'"),
        ("", "does not know this"),
        ("mlflow=", "mlflow= names no place"),
        ("tensorboard=", "tensorboard= names no place"),
        ("mlflow=mlruns", "names no place of MLflow's"),
        ("mlflow=file:///srv/mlruns", "names no place of MLflow's"),
        ("mlflow=http://", "names no place of MLflow's"),
        ("mlflow=http://host:port", "names no place of MLflow's"),
        ("mlflow=http://[::1", "names no place of MLflow's"),
        ("mlflow=sqlite:///", "names no place of MLflow's"),
        (f"mlflow=http://me:{SECRET}@host", "without a user"),
        (f"mlflow=http://host/?token={SECRET}", "without a user"),
        (f"mlflow=postgresql://me:{SECRET}@host/db", "names no place of MLflow's"),
        (f"http://me:{SECRET}@host", "does not know this"),
    ],
)
def test_a_word_that_means_nothing_is_refused_and_no_key_is_shown(word: str, words: str) -> None:
    with pytest.raises(UsageError) as caught:
        parsed(word)
    assert words in caught.value.message
    assert caught.value.hint
    assert SECRET not in caught.value.message + caught.value.hint


@pytest.mark.parametrize(
    ("word", "missing", "extra"),
    [
        ("mlflow=http://h", "mlflow", "mlflow"),
        ("mlflow", "sqlalchemy", "mlflow"),
        ("tensorboard", "tensorboard", "tensorboard"),
    ],
)
def test_what_is_not_installed_is_said_with_its_command(
    word: str, missing: str, extra: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == missing else True)
    with pytest.raises(MissingExtra) as caught:
        parsed(word)
    assert f"pip install 'finetune-reconciler[{extra}]'" in caught.value.hint


async def test_the_variable_holds_several_words_and_the_simulated_trainer_has_no_use_for_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("RECONCILER_TRAINER", raising=False)
    monkeypatch.setenv("RECONCILER_TRACK", " mlflow=http://h  tensorboard ")
    seen: list[TrainerOptions] = []
    start = SimulatedTrainer.start

    def started(options: TrainerOptions) -> SimulatedTrainer:
        seen.append(options)
        return start(options)

    monkeypatch.setattr(SimulatedTrainer, "start", started)
    with pytest.raises(UsageError) as caught:
        await open_local(tmp_path).__aenter__()
    assert seen[0].track == ["mlflow=http://h", "tensorboard"]
    assert "--trainer trl" in caught.value.hint
