"""Simulated training that ends only once a test lets it, in this process or in another."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import ledger

from reconciler.server.lifecycle import base_of
from reconciler.server.trainers.base import Control, Progress, TrainingRun
from reconciler.server.trainers.simulated import SimulatedTrainer

_ENTRIES = "[reconciler.trainers]\nalone = patient:Alone\ntold = patient:Told\n"

Rule = Callable[[TrainingRun], bool]
"""Whether a run that has gone through all its steps may end."""


class Patient(SimulatedTrainer):
    """Goes through its steps as ever, and then trains on until ``may_end`` says that the run may end."""

    def __init__(self, *, speed: float = 1.0, may_end: Rule | None = None) -> None:
        super().__init__(speed=speed)
        self.may_end = may_end or unless_slow

    def train(self, run: TrainingRun, control: Control) -> Iterator[Progress]:
        yield from super().train(run, control)
        while not (control.stopping or self.may_end(run)):
            control.wait(0.02)


def unless_slow(run: TrainingRun) -> bool:
    """Hold what is to outlast its test, however slow the machine is."""
    return base_of(run.model) != "simulated-slow"


def once_alone(run: TrainingRun) -> bool:
    """Hold what a race made until the race is settled: while another job of the spec counts too."""
    name = run.metadata["reconciler.name"]
    same = [job for job in ledger.jobs(_server(run)) if job["metadata"]["reconciler.name"] == name]
    return [job["id"] for job in same if job["status"] != "cancelled"] == [run.job_id]


def once_told(run: TrainingRun) -> bool:
    """Hold everything until there is a file ``may-end`` in the server's directory."""
    return (_server(run) / "may-end").exists()


def _server(run: TrainingRun) -> Path:
    return run.workdir.parents[1]


class Alone(Patient):
    """For a server in another process: see ``once_alone``."""

    def __init__(self, *, speed: float = 1.0) -> None:
        super().__init__(speed=speed, may_end=once_alone)


class Told(Patient):
    """For a server in another process: see ``once_told``."""

    def __init__(self, *, speed: float = 1.0) -> None:
        super().__init__(speed=speed, may_end=once_told)


def elsewhere(directory: Path, trainer: str) -> dict[str, str]:
    """Return the variables with which a command trains with one of these: their entry points are in ``directory``."""
    info = directory / "patient-1.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: patient\nVersion: 1\n")
    (info / "entry_points.txt").write_text(_ENTRIES)
    here = Path(__file__).parent
    return {"PYTHONPATH": os.pathsep.join(map(str, (here, directory, here.parents[1]))), "RECONCILER_TRAINER": trainer}
