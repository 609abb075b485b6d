"""The simulated trainer: plausible numbers in seconds, without an accelerator and without weights.

Everything follows from the seed, the data's digests, the model, the method and the hyperparameters, and each step
from these and its own number alone: a run that is interrupted anywhere goes on to the same result.

Base models that fail on demand, for tests: ``simulated-fail`` (halfway, for good), ``simulated-fail-transient``
(halfway, with ``server_error``), ``simulated-slow`` (trains, twenty times slower).
"""

from __future__ import annotations

import hashlib
import json
import math
import random
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Self

from reconciler.errors import UsageError
from reconciler.server.lifecycle import base_of
from reconciler.server.trainers.base import (
    Control,
    Note,
    Placement,
    Progress,
    Saved,
    Step,
    Trainer,
    TrainerOptions,
    TrainingFailed,
    TrainingRun,
    is_reported,
)

_FAILURES: Mapping[str, tuple[str, str]] = {
    "simulated-fail": ("training_failed", "The simulated training failed, as this model name asks it to."),
    "simulated-fail-transient": ("server_error", "The simulated training was interrupted, as this model name asks."),
}
Noise = Callable[[], float]
_REFERENCE_ROWS = 600
_REFERENCE_SECONDS = 2.0


class SimulatedTrainer(Trainer):
    """Yields the numbers of a training that never was.

    At ``speed`` 1, three epochs over 200 rows take two seconds; time grows with the square root of the rows seen.
    """

    def __init__(self, *, speed: float = 1.0) -> None:
        if not (math.isfinite(speed) and speed > 0):
            raise UsageError(f"--speed must be a number above 0, not {speed}.")
        self._speed = speed

    @classmethod
    def start(cls, options: TrainerOptions) -> Self:
        """Start at the speed that is asked for."""
        if options.placement != Placement():
            raise UsageError(
                "The simulated trainer has no use for --gpus and --executor.", hint="They go with --trainer trl."
            )
        if options.catalogue:
            raise UsageError(
                "The simulated trainer has no use for a catalogue of models.",
                hint="--models (RECONCILER_MODELS) goes with --trainer trl (RECONCILER_TRAINER=trl).",
            )
        if options.track:
            raise UsageError("The simulated trainer's runs are shown nowhere.", hint="--track goes with --trainer trl.")
        return cls(speed=options.speed)

    def reads(self, state: bytes) -> bool:
        """It is the number of a step."""
        return state.isdigit()

    def train(self, run: TrainingRun, control: Control) -> Iterator[Progress]:
        """Yield every reported step, and a checkpoint at the end of each epoch or when asked to stop."""
        base = base_of(run.model)
        curve = Curve(run)
        total, epoch_steps = run.total_steps, run.steps_per_epoch
        done = int(run.state) if run.state else 0
        pause = self._seconds(run) / total
        started = time.monotonic() - done * pause
        yield Note("This training is simulated: the numbers are made up and no model weights are produced.")
        for step in range(done + 1, total + 1):
            reported = is_reported(step, total)
            if (reported or step % epoch_steps == 0) and control.wait(started + step * pause - time.monotonic()):
                yield Saved(step - 1, curve.at(step - 1), str(step - 1).encode())
                return
            if base in _FAILURES and step > total // 2:
                raise TrainingFailed(*_FAILURES[base])
            if reported:
                yield Step(step, total, curve.at(step))
            if step % epoch_steps == 0:
                metrics = {**curve.at(step), **curve.full(step)}
                yield Saved(step, metrics, str(step).encode(), epoch=step // epoch_steps)

    def _seconds(self, run: TrainingRun) -> float:
        seen = run.rows * int(run.hyperparameters["n_epochs"])
        slow = 20.0 if base_of(run.model) == "simulated-slow" else 1.0
        return slow * _REFERENCE_SECONDS * math.sqrt(seen / _REFERENCE_ROWS) / self._speed


class Curve:
    """The numbers of one run, each a function of its step alone."""

    def __init__(self, run: TrainingRun) -> None:
        self._run = run
        data = [run.training_sha256, run.validation_sha256]
        facts = [run.seed, *data, base_of(run.model), run.method, dict(run.hyperparameters)]
        self._key = hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()
        shape = random.Random(run.training_sha256)  # noqa: S311 - a curve, not a secret
        self._start = 1.7 + 0.9 * shape.random()
        self._floor = 0.35 + 0.35 * shape.random() + 0.3 / math.sqrt(1 + run.rows / 100)
        self._rate = 1.0 + 0.8 * shape.random()
        # More rows put off the point from which learning by heart helps training only.
        self._overfits_from = 1.5 + math.log2(1 + run.rows / 100) * (0.7 + 0.6 * shape.random())
        self._rewards = (0.15 + 0.2 * shape.random(), 0.75 + 0.2 * shape.random())
        self._boldness = min(float(run.hyperparameters["learning_rate_multiplier"]), 50.0) / 1.8
        self._batch = int(run.hyperparameters["batch_size"])

    def at(self, step: int) -> dict[str, float]:
        """Return the numbers of one step, as the API names them."""
        noise = random.Random(f"{self._key}:{step}")  # noqa: S311
        scale = (0.05 + 0.05 * max(0.0, self._boldness - 1.0)) / math.sqrt(self._batch)
        return self._numbers(step, lambda: noise.gauss(0.0, scale))

    def full(self, step: int) -> dict[str, float]:
        """Return what the whole validation file shows at the end of an epoch: the same, without a batch's noise."""
        numbers = self._numbers(step, lambda: 0.0)
        return {f"full_{name}": value for name, value in numbers.items() if name.startswith("valid_")}

    def _numbers(self, step: int, noise: Noise) -> dict[str, float]:
        numbers = getattr(self, f"_{self._run.method}")(step / self._run.steps_per_epoch, noise)
        validated = self._run.validation_file is not None
        return {name: round(n, 6) for name, n in numbers.items() if validated or not name.startswith("valid_")}

    def _learnt(self, epochs: float) -> float:
        """From 0 to 1: how much of what can be learnt has been. A timid rate learns slowly, a wild one badly."""
        rate = self._rate * math.sqrt(min(self._boldness, 2.0))
        return (1 - math.exp(-rate * epochs)) / (1 + 0.05 * max(0.0, self._boldness - 2.0))

    def _overfit(self, epochs: float) -> float:
        return 0.06 * math.pow(max(0.0, epochs - self._overfits_from), 1.3)

    def _supervised(self, epochs: float, noise: Noise) -> dict[str, float]:
        learnt, by_heart = self._learnt(epochs), math.exp(-0.18 * epochs)
        train = max(0.01, self._start + (self._floor * by_heart - self._start) * learnt + noise())
        valid = self._start + (self._floor * 1.08 - self._start) * learnt + self._overfit(epochs)
        valid = max(0.01, valid + noise())
        return {
            "train_loss": train,
            "train_mean_token_accuracy": math.exp(-0.45 * train),
            "valid_loss": valid,
            "valid_mean_token_accuracy": math.exp(-0.45 * valid),
        }

    def _dpo(self, epochs: float, noise: Noise) -> dict[str, float]:
        margin = 3.5 * self._learnt(epochs) / (1 + float(self._run.hyperparameters["beta"])) + noise()
        kept = 0.9 * margin - self._overfit(epochs)
        return {
            "train_loss": -math.log(_logistic(margin)),
            "train_mean_token_accuracy": _logistic(margin),
            "rewards/chosen": 0.4 * margin,
            "rewards/rejected": -0.6 * margin,
            "rewards/margins": margin,
            "rewards/accuracies": _logistic(1.5 * margin),
            "valid_loss": -math.log(_logistic(kept)),
            "valid_mean_token_accuracy": _logistic(kept),
        }

    def _reinforcement(self, epochs: float, noise: Noise) -> dict[str, float]:
        first, best = self._rewards
        compute = min(2.0, math.sqrt(float(self._run.hyperparameters["compute_multiplier"])))
        reward = first + (best - first) * (1 - (1 - self._learnt(epochs)) ** compute)
        train, valid = (min(1.0, max(0.0, share * reward + noise())) for share in (1.0, 0.95))
        return {
            "train_loss": 1 - train,
            "train_reward_mean": train,
            "reward_std": 0.25 * (1 - train),
            "valid_loss": 1 - valid,
            "valid_reward_mean": valid,
        }


def _logistic(value: float) -> float:
    return 1 / (1 + math.exp(-value))
