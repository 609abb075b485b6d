"""TensorBoard, where the server's owner names it: event files, in a directory for each job."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from reconciler.server.trainers.trl.tracking.service import LOADING, Run, Shown, Status
from reconciler.server.trainers.trl.tracking.settings import TensorBoardTarget

_CURVES = ("train_loss", "valid_loss", "train_reward_mean", "valid_reward_mean")
"""What its table of hyperparameters shows beside them, as far as a job has it."""

_GIVEN = "hyperparameters."


class TensorBoard:
    """One job's directory; a job that goes on writes there, too, in place of the steps that it repeats."""

    retries = False
    title = "TensorBoard"

    def __init__(self, target: TensorBoardTarget, run: Run) -> None:
        self._root = target.directory
        self._run = run
        self._name = f"{re.sub(r'[^A-Za-z0-9._-]+', '-', run.name)[:80].strip('-.') or 'run'}-{run.job_id}"
        if run.name == run.job_id:
            self._name = run.job_id
        self._writer: Any = None

    def begin(self) -> str:
        """Open a file of events. What those before it have of later steps does not count any more."""
        with LOADING:
            from torch.utils.tensorboard import SummaryWriter  # noqa: PLC0415 - loads for a second
            from torch.utils.tensorboard.summary import hparams  # noqa: PLC0415

        place = self._root / self._name
        new = not any(place.glob("events.*"))
        self._writer = SummaryWriter(str(place), purge_step=None if new else self._run.step + 1)
        if new:
            self._writer.add_text("job", _table(self._run), 0)
            experiment, start, _ = hparams(_chosen(self._run), dict.fromkeys(_CURVES, 0))
            for summary in (experiment, start):
                self._writer.file_writer.add_summary(summary, 0)
            self.log(self._run.past)
        return f"TensorBoard: `tensorboard --logdir {self._root}` shows this run as {self._name}."

    def log(self, steps: Sequence[Shown]) -> None:
        """Write steps to the disk."""
        for shown in steps:
            for name, value in shown.metrics.items():
                self._writer.add_scalar(name, value, shown.step, walltime=shown.at)
        self._writer.flush()

    def finish(self, status: Status) -> None:  # noqa: ARG002 - files say nothing of that
        """Close the file."""
        self._writer.close()


def _chosen(run: Run) -> dict[str, str | int | float]:
    """Return what runs are compared by."""
    named = {name.removeprefix(_GIVEN): value for name, value in run.facts.items() if name.startswith(_GIVEN)}
    return {name: run.facts[name] for name in ("base", "method", "seed") if name in run.facts} | named


def _table(run: Run) -> str:
    """Return what the job is, as a table in markdown."""
    lines = [f"| {_cell(name)} | {_cell(value)} |" for name, value in {**run.facts, **run.metadata}.items()]
    return "\n".join(["| | |", "| --- | --- |", *lines])


def _cell(value: str | float) -> str:
    return " ".join(str(value).replace("|", r"\|").split())
