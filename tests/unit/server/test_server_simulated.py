"""The simulated trainer: the same from the same, plausible, and quick to stop."""

from __future__ import annotations

import time
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from reconciler.api.types import MethodType
from reconciler.errors import UsageError
from reconciler.server.lifecycle import resolve, unresolved
from reconciler.server.trainers.base import (
    REPORTED_STEPS,
    Control,
    Note,
    Progress,
    Saved,
    Step,
    TrainerOptions,
    TrainingFailed,
    TrainingRun,
    is_reported,
    load_trainer,
)
from reconciler.server.trainers.simulated import SimulatedTrainer
from reconciler.server.worker import Pace

FAST = SimulatedTrainer(speed=1e9)


def run(
    kind: MethodType = "supervised",
    *,
    rows: int = 200,
    state: bytes | None = None,
    validation: bool = True,
    **changes: Any,
) -> TrainingRun:
    facts: dict[str, Any] = {"model": "m", "seed": 7, "training_sha256": "a" * 64, **changes}
    given = facts.pop("hyperparameters", {})
    return TrainingRun(
        job_id="ftjob-x",
        output_model="ft:m:local::x",
        method=kind,
        hyperparameters=resolve(kind, unresolved(kind, given), rows),
        settings={},
        training_file=Path("unread"),
        validation_file=Path("unread") if validation else None,
        validation_sha256="b" * 64 if validation else "",
        rows=rows,
        tokens=rows * 10,
        workdir=Path("unused"),
        state=state,
        **facts,
    )


def train(what: TrainingRun) -> list[Progress]:
    return list(FAST.train(what, Control()))


def steps(progress: list[Progress]) -> list[Step]:
    return [p for p in progress if isinstance(p, Step)]


def last(progress: list[Progress], metric: str) -> float:
    return steps(progress)[-1].metrics[metric]


METHODS: list[MethodType] = ["supervised", "dpo", "reinforcement"]


@pytest.mark.parametrize("method", METHODS)
def test_the_same_run_gives_the_same_numbers(method: MethodType) -> None:
    assert train(run(method)) == train(run(method))


@pytest.mark.parametrize(
    "change",
    [
        {"seed": 8},
        {"training_sha256": "c" * 64},
        {"model": "other"},
        {"hyperparameters": {"n_epochs": 4}},
        {"hyperparameters": {"learning_rate_multiplier": 0.1}},
        {"rows": 201},
    ],
)
def test_whatever_training_depends_on_changes_the_numbers(change: dict[str, Any]) -> None:
    assert steps(train(run()))[:20] != steps(train(run(**change)))[:20]


def test_it_says_first_that_it_simulates() -> None:
    first = train(run())[0]
    assert isinstance(first, Note)
    assert "simulated" in first.message
    assert "no model weights" in first.message


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("stop_after", [1, 37, 50, 51, 149])
def test_stopped_anywhere_it_goes_on_to_the_same_numbers(method: MethodType, stop_after: int) -> None:
    whole = train(run(method))
    control = Control()
    before: list[Progress] = []
    for progress in FAST.train(run(method), control):
        before.append(progress)
        if isinstance(progress, Step) and progress.step == stop_after:
            control.stop()
    saved = before[-1]
    assert isinstance(saved, Saved)
    assert (saved.step, saved.epoch) == (stop_after, None) or saved.epoch is not None
    after = train(run(method, state=saved.state))
    assert steps(before) + steps(after) == steps(whole)
    epochs = [[p for p in part if isinstance(p, Saved) and p.epoch] for part in (before, after, whole)]
    assert epochs[0] + epochs[1] == epochs[2]


def test_it_stops_at_once_however_slow_it_is() -> None:
    control = Control()
    slow = SimulatedTrainer(speed=0.001).train(run(), control)
    assert isinstance(next(slow), Note)
    control.stop()
    began = time.monotonic()
    assert isinstance(next(slow), Saved)
    assert time.monotonic() - began < 10  # a step takes 13 seconds


def test_every_epoch_ends_with_a_checkpoint_that_shows_the_whole_validation_file() -> None:
    saved = [p for p in train(run()) if isinstance(p, Saved)]
    assert [(s.step, s.epoch) for s in saved] == [(50, 1), (100, 2), (150, 3)]
    assert all({"train_loss", "valid_loss", "full_valid_loss"} <= set(s.metrics) for s in saved)


def test_checkpoints_of_reinforcement_show_rewards() -> None:
    saved = [p for p in train(run("reinforcement")) if isinstance(p, Saved)]
    names = {"train_reward_mean", "valid_reward_mean", "full_valid_reward_mean"}
    assert all(names <= set(s.metrics) for s in saved)


@pytest.mark.parametrize("method", METHODS)
def test_without_a_validation_file_nothing_is_said_of_one(method: MethodType) -> None:
    names = {name for p in train(run(method, validation=False)) if isinstance(p, Step | Saved) for name in p.metrics}
    assert "train_loss" in names
    assert not [name for name in names if "valid" in name]


@pytest.mark.parametrize("seed", range(5))
def test_training_lowers_the_loss_and_more_epochs_lower_it_further(seed: int) -> None:
    digest = f"{seed:064x}"
    three = train(run(seed=seed, training_sha256=digest))
    ten = train(run(seed=seed, training_sha256=digest, hyperparameters={"n_epochs": 10}))
    assert steps(three)[0].metrics["train_loss"] > last(three, "train_loss") + 0.3
    assert last(ten, "train_loss") < last(three, "train_loss")


def test_too_many_epochs_on_few_rows_overfit() -> None:
    saved = [p.metrics for p in train(run(rows=20, hyperparameters={"n_epochs": 25})) if isinstance(p, Saved)]
    valid = [metrics["full_valid_loss"] for metrics in saved]
    assert valid.index(min(valid)) < len(valid) - 5
    assert saved[-1]["train_loss"] < saved[5]["train_loss"]


def test_a_learning_rate_that_is_too_high_is_noisy() -> None:
    def roughness(rate: float) -> float:
        losses = [
            s.metrics["train_loss"] for s in steps(train(run(hyperparameters={"learning_rate_multiplier": rate})))
        ]
        return sum(abs(a - b) for a, b in pairwise(losses[50:]))

    assert roughness(20) > 3 * roughness(1)


def test_preferences_widen_the_margin_and_rewards_rise() -> None:
    dpo, rft = train(run("dpo")), train(run("reinforcement"))
    assert last(dpo, "rewards/margins") > 1 > steps(dpo)[0].metrics["rewards/margins"]
    assert last(rft, "train_reward_mean") > steps(rft)[0].metrics["train_reward_mean"] + 0.2


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("extreme", [{"learning_rate_multiplier": 1e-9}, {"learning_rate_multiplier": 1e9}])
def test_extreme_hyperparameters_give_finite_numbers(method: MethodType, extreme: dict[str, float]) -> None:
    more = {"beta": 2.0} if method == "dpo" else {}
    for step in steps(train(run(method, rows=10, hyperparameters={"n_epochs": 50, **extreme, **more}))):
        assert all(abs(value) < 1e6 for value in step.metrics.values())


@pytest.mark.parametrize(
    ("model", "code"), [("simulated-fail", "training_failed"), ("simulated-fail-transient", "server_error")]
)
def test_models_that_fail_on_demand_fail_halfway(model: str, code: str) -> None:
    seen: list[Progress] = []

    with pytest.raises(TrainingFailed) as caught:
        seen.extend(FAST.train(run(model=model), Control()))
    assert caught.value.code == code
    assert steps(seen)[-1].step == 75


class Patient(Control):
    """Notes how long it should sleep, and does not."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[float] = []

    def wait(self, seconds: float) -> bool:
        self.asked.append(seconds)
        return False


def test_two_hundred_rows_take_two_seconds() -> None:
    control, began = Patient(), time.monotonic()
    assert len(steps(list(SimulatedTrainer().train(run(), control)))) == 150
    passed = time.monotonic() - began
    assert 2 - passed <= control.asked[-1] <= 2


@pytest.mark.parametrize("total", [1, 499, 500, 501, 1000, 4001, 500_000])
def test_the_steps_that_are_reported_are_bounded_and_hold_the_last(total: int) -> None:
    reported = [step for step in range(1, total + 1) if is_reported(step, total)]
    assert reported[-1] == total
    assert min(total, REPORTED_STEPS // 2) <= len(reported) <= REPORTED_STEPS + 1


def test_a_catalogue_is_not_passed_over(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no use for a catalogue") as caught:
        SimulatedTrainer.start(TrainerOptions(tmp_path, catalogue=tmp_path / "models.yaml"))
    assert "--trainer trl" in caught.value.hint


@pytest.mark.parametrize("speed", [0, -1, float("nan"), float("inf")])
def test_a_speed_that_makes_no_sense_is_refused(speed: float) -> None:
    with pytest.raises(UsageError, match="--speed"):
        load_trainer("simulated", TrainerOptions(Path("unused"), speed=speed))


def test_the_end_is_estimated_from_the_pace_once_a_second() -> None:
    passed = iter([10.0, 10.5, 11.4, 12.0, 13.0])
    pace = Pace(monotonic=lambda: next(passed))
    said = [pace.finish(Step(step, 11, {}), now=1000.0) for step in (1, 2, 3, 4, 6)]
    assert said == [None, 1000 + 9 * 0.5, None, 1000 + 7 * 2.0 / 3, 1000 + 5 * 3.0 / 5]


def test_steps_that_are_heard_of_all_at_once_count_for_the_time_that_they_took() -> None:
    heard = iter([*(number / 1000 for number in range(1000)), *(1.0 + 3.0 * number for number in range(1, 11))])
    pace = Pace(monotonic=lambda: next(heard))
    said = [pace.finish(Step(step, 2000, {}, at=5e8 + 3.0 * step), now=6e8) for step in range(1, 1011)]
    assert [end for end in said if end is not None] == [6e8 + 3.0 * (2000 - step) for step in range(1001, 1011)]
