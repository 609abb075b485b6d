"""The validation file's numbers, of all of it alike. Loads torch.

TRL takes the mean of batches, of which the last may be one row, and counts a batch of short answers like one of long.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch

_OF_TOKENS = ("mean_token_accuracy",)
"""Names of numbers that are means of tokens, where the others are of rows."""


class Whole:
    """What a trainer of TRL's inherits from before: each batch counts by what it holds."""

    def __init__(self, **given: Any) -> None:  # noqa: ANN401 - transformers is not typed
        self._looked: list[tuple[float, float, float]] = []
        super().__init__(**given)

    def holds(self, inputs: Any) -> tuple[int, int]:  # noqa: ANN401
        """Return what the loss of a batch is a mean of, and how many tokens its accuracy is."""
        raise NotImplementedError

    def prediction_step(self, model: Any, inputs: Any, *args: Any, **given: Any) -> Any:  # noqa: ANN401
        """Note what a batch holds, on all workers together, and its loss."""
        rows, tokens = self.holds(inputs)
        loss, *rest = super().prediction_step(model, inputs, *args, **given)  # type: ignore[misc]
        mine = torch.tensor([[rows, tokens, rows * loss.item()]], device=loss.device)
        rows, tokens, loss_of_all = self.accelerator.gather(mine).sum(dim=0).tolist()  # type: ignore[attr-defined]
        self._looked.append((rows, tokens, loss_of_all / rows))
        return loss, *rest

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Put means of the whole in the place of the batches' numbers."""
        if self._looked:
            rows, tokens, losses = zip(*self._looked, strict=True)
            self._looked = []
            logs["eval_loss"] = _mean(losses, rows)
            for name, numbers in self._metrics["eval"].items():  # type: ignore[attr-defined]
                if len(numbers) == len(rows):
                    numbers[:] = [_mean(numbers, tokens if name in _OF_TOKENS else rows)]
        super().log(logs, start_time)  # type: ignore[misc]


def _mean(numbers: Sequence[float], weights: Sequence[float]) -> float:
    """Return a weighted mean of those that are numbers."""
    known = [(number, weight) for number, weight in zip(numbers, weights, strict=True) if math.isfinite(number)]
    total = sum(weight for _, weight in known)
    return sum(number * weight for number, weight in known) / total if total else math.nan
