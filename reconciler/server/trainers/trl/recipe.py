"""What a job's hyperparameters mean here, in numbers. Pure.

::

    learning rate    the catalogue's rate for the method, times learning_rate_multiplier; it falls to 0 in a line
    batch_size       rows a step (reinforcement: prompts), shared by the workers; each holds ``micro`` at a time
    n_epochs         passes over the training file, shuffled by the seed
    beta             DPO's: how dear it is to leave the model that training started from
    generations      reinforcement: answers a prompt, the catalogue's number times compute_multiplier, at least 2
    eval_interval    reinforcement: steps between two looks at the validation file; else each epoch's end
    eval_samples     reinforcement: answers to each row of the validation file
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict

from reconciler.api.types import MethodType
from reconciler.server.trainers.trl.catalogue import Entry


class Recipe(BaseModel):
    """The numbers of one run."""

    model_config = ConfigDict(frozen=True)

    learning_rate: float
    epochs: int
    batch: int
    micro: int
    workers: int = 1
    beta: float = 0.1
    generations: int = 1
    eval_interval: int | None = None
    eval_samples: int = 1
    reasoning_effort: str | None = None

    @property
    def accumulate(self) -> int:
        """How many micro batches make a worker's share of a step."""
        return self.batch // self.workers // self.micro

    def holding(self, most: int) -> Recipe:
        """Return the same training with at most so many rows in a worker's memory at once."""
        return self.model_copy(update={"micro": _divisor(self.batch // self.workers, most)})

    def smaller(self) -> Recipe | None:
        """Return the same training with half as much in memory at once; None where it is one row already."""
        return None if self.micro == 1 else self.holding(self.micro // 2)


def recipe(method: MethodType, given: Mapping[str, Any], entry: Entry, rows: int) -> Recipe:
    """Work out the numbers of a run from hyperparameters that are numbers already.

    A batch that the workers do not divide becomes the next that they do.
    """
    batch, workers = int(given["batch_size"]), entry.resources.workers
    generations, held = 1, entry.micro_batch
    if method == "reinforcement":
        batch = min(batch, rows)  # a batch that is never full would never train
        generations = max(2, round(entry.generations * float(given["compute_multiplier"])))
        held = max(1, held // generations)
    batch = -(-batch // workers) * workers
    if method == "reinforcement" and batch > rows >= workers:
        batch -= workers
    effort = given.get("reasoning_effort", "default")
    return Recipe(
        learning_rate=getattr(entry.learning_rate, method) * float(given["learning_rate_multiplier"]),
        epochs=int(given["n_epochs"]),
        batch=batch,
        micro=_divisor(batch // workers, held),
        workers=workers,
        beta=float(given.get("beta", 0.1)),
        generations=generations,
        eval_interval=given.get("eval_interval"),
        eval_samples=int(given.get("eval_samples", 1)),
        reasoning_effort=None if effort == "default" else effort,
    )


def _divisor(number: int, most: int) -> int:
    """Return the largest divisor of a number that is at most ``most``."""
    return next(size for size in range(min(number, most), 0, -1) if number % size == 0)
