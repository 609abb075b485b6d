"""What a job's hyperparameters mean here, in numbers. Pure.

::

    learning rate    the catalogue's rate for the method, times learning_rate_multiplier; it falls to 0 in a line
    batch_size       rows a step (reinforcement: prompts), shared by the workers; each holds ``micro`` rows at a time,
                     which are answers in reinforcement
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
    """The numbers of one run. ``held`` is how many rows a worker's memory holds at once, at most."""

    model_config = ConfigDict(frozen=True)

    learning_rate: float
    epochs: int
    batch: int
    held: int
    workers: int = 1
    beta: float = 0.1
    generations: int = 1
    eval_interval: int | None = None
    eval_samples: int = 1
    reasoning_effort: str | None = None

    @property
    def share(self) -> int:
        """How many rows of a step a worker has; in reinforcement these are answers."""
        return self.batch // self.workers * self.generations

    @property
    def micro(self) -> int:
        """How many of them it has in memory at once: parts of a prompt's answers, too, which are compared before."""
        return next(size for size in range(min(self.share, self.held), 0, -1) if self.share % size == 0)

    @property
    def accumulate(self) -> int:
        """How many micro batches make a worker's share of a step."""
        return self.share // self.micro

    @property
    def validated(self) -> int:
        """How many rows of the validation file are in memory at once: in reinforcement all answers to each."""
        return self.eval_samples * max(1, self.held // self.eval_samples)

    def holding(self, most: int) -> Recipe:
        """Return the same training with at most so many rows in a worker's memory at once."""
        return self.model_copy(update={"held": most})

    def smaller(self, *, validates: bool = False) -> Recipe | None:
        """Return the same training with half as much in memory at once; None where it is one row already.

        Where a run ``validates``, fewer rows of the validation file are less, too.
        """
        less = self.holding(max(1, self.micro // 2))
        if less.micro < self.micro or (validates and less.validated < self.validated):
            return less
        return None


def recipe(method: MethodType, given: Mapping[str, Any], entry: Entry, rows: int) -> Recipe:
    """Work out the numbers of a run from hyperparameters that are numbers already.

    A batch that the workers do not divide becomes the next that they do.
    """
    batch, workers = int(given["batch_size"]), entry.resources.workers
    generations = 1
    if method == "reinforcement":
        batch = min(batch, rows)  # a batch that is never full would never train
        generations = max(2, round(entry.generations * float(given["compute_multiplier"])))
    batch = -(-batch // workers) * workers
    if method == "reinforcement" and batch > rows >= workers:
        batch -= workers
    effort = given.get("reasoning_effort", "default")
    return Recipe(
        learning_rate=getattr(entry.learning_rate, method) * float(given["learning_rate_multiplier"]),
        epochs=int(given["n_epochs"]),
        batch=batch,
        held=entry.micro_batch,
        workers=workers,
        beta=float(given.get("beta", 0.1)),
        generations=generations,
        eval_interval=given.get("eval_interval"),
        eval_samples=int(given.get("eval_samples", 1)),
        reasoning_effort=None if effort == "default" else effort,
    )
