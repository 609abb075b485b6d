"""TRL's names of numbers, and the API's. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

from reconciler.api.types import MethodType

_TRAIN: Mapping[MethodType, Mapping[str, str]] = {
    "supervised": {"loss": "train_loss", "mean_token_accuracy": "train_mean_token_accuracy"},
    "dpo": {
        "loss": "train_loss",
        "mean_token_accuracy": "train_mean_token_accuracy",
        "rewards/chosen": "rewards/chosen",
        "rewards/rejected": "rewards/rejected",
        "rewards/margins": "rewards/margins",
        "rewards/accuracies": "rewards/accuracies",
    },
    "reinforcement": {
        "loss": "train_loss",
        "reward": "train_reward_mean",
        "reward_std": "reward_std",
        "completions/mean_length": "completions/mean_length",
        "entropy": "entropy",
    },
}
_VALID: Mapping[MethodType, Mapping[str, str]] = {
    "supervised": {"eval_loss": "valid_loss", "eval_mean_token_accuracy": "valid_mean_token_accuracy"},
    "dpo": {
        "eval_loss": "valid_loss",
        "eval_mean_token_accuracy": "valid_mean_token_accuracy",
        "eval_rewards/accuracies": "valid_rewards/accuracies",
        "eval_rewards/margins": "valid_rewards/margins",
    },
    # An answer is compared with its fellows alone, so the loss of a file that nothing is learnt from says nothing.
    "reinforcement": {"eval_reward": "valid_reward_mean"},
}


def trained(method: MethodType, logs: Mapping[str, object]) -> dict[str, float]:
    """Return the numbers of a training step under the API's names; those that are no number are left out."""
    return _renamed(_TRAIN[method], logs)


def validated(method: MethodType, logs: Mapping[str, object]) -> dict[str, float]:
    """Return the numbers of the validation file. All of it was looked at, so each is the ``full_`` one, too."""
    found = _renamed(_VALID[method], logs)
    return found | {f"full_{name}": value for name, value in found.items()}


def history(method: MethodType, logs: Iterable[Mapping[str, Any]]) -> dict[int, dict[str, float]]:
    """Return the numbers of the steps that TRL's own history of a run has, as they were told step by step."""
    found: dict[int, dict[str, float]] = {}
    for each in logs:
        if "loss" in each:
            found[each["step"]] = trained(method, each)
        elif each["step"] in found:
            found[each["step"]] |= validated(method, each)
    return found


def _renamed(names: Mapping[str, str], logs: Mapping[str, object]) -> dict[str, float]:
    numbers = {
        names[key]: float(value) for key, value in logs.items() if key in names and isinstance(value, int | float)
    }
    return {name: round(value, 6) for name, value in numbers.items() if math.isfinite(value)}
