"""What shows runs: the one interface to it, and what it is told."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from reconciler.server import lifecycle

LOADING = threading.Lock()
"""Held while a library loads: several share parts, which must not load in two threads at once."""

Status = Literal["finished", "failed", "killed"]
"""How a run's process ended: with its model made, by a fault, or stopped. A stopped one may go on later."""


@dataclass(frozen=True, slots=True)
class Run:
    """A job's run. ``settings`` may hold others, in depth.

    ``step`` is what it goes on from, 0 for its beginning, and ``history`` are the numbers of the steps up to that.
    """

    job_id: str
    settings: Mapping[str, Any]
    metadata: Mapping[str, str]
    step: int = 0
    history: Mapping[int, Mapping[str, float]] = field(default_factory=dict)

    @property
    def past(self) -> list[Shown]:
        """The steps up to that which it goes on from, as if they were known now."""
        now = time.time()
        return [Shown(step, metrics, now) for step, metrics in self.history.items()]

    @property
    def name(self) -> str:
        """What people know it by: its spec's name, else the job's id."""
        return self.metadata.get(lifecycle.NAME) or self.job_id

    @property
    def facts(self) -> dict[str, str | int | float]:
        """The settings, each by its path; those that are not set are left out."""
        return dict(_flat(self.settings))


@dataclass(frozen=True, slots=True)
class Shown:
    """The numbers of a step under the API's names, and when they were known, in Unix seconds."""

    step: int
    metrics: Mapping[str, float]
    at: float


class Service(Protocol):
    """Shows one run; it is called from one thread. What it raises is said in an event, and is no fault of the run.

    ``retries`` says whether it may be called again after it raised: with the same steps, and those since.
    """

    retries: bool

    @property
    def title(self) -> str:
        """What it is called."""

    def begin(self) -> str:
        """Open the run, or the same one again where the job was stopped; return words on where it is shown, or none."""

    def log(self, steps: Sequence[Shown]) -> None:
        """Show steps, in their order."""

    def finish(self, status: Status) -> None:
        """Close the run."""


def _flat(settings: Mapping[str, Any], before: str = "") -> list[tuple[str, str | int | float]]:
    found: list[tuple[str, str | int | float]] = []
    for key, value in settings.items():
        if isinstance(value, Mapping):
            found += _flat(value, f"{before}{key}.")
        elif value is not None:
            found.append((f"{before}{key}", value if isinstance(value, int | float) else str(value)))
    return found
