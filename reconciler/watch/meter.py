"""What a watch counts: for whoever wants numbers, and for nobody."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from reconciler.apply.model import Outcome
from reconciler.loop import Reconciler
from reconciler.observe.state import Observed
from reconciler.plan.model import Plan


class Meter(Protocol):
    """Is told what happens. Calls are cheap, and raise nothing."""

    def looked(self, seconds: float, *, seen: bool, now: float) -> None:
        """A look has ended; ``seen`` says whether the server could be read, ``now`` is in Unix seconds."""

    def saw(self, reconciler: Reconciler, plan: Plan, observed: Observed) -> None:
        """A look saw this, and planned that."""

    def did(self, outcomes: Sequence[Outcome]) -> None:
        """Changes have come to their ends."""


class NoMeter:
    """Counts nothing."""

    def looked(self, seconds: float, *, seen: bool, now: float) -> None:
        """Count nothing."""

    def saw(self, reconciler: Reconciler, plan: Plan, observed: Observed) -> None:
        """Count nothing."""

    def did(self, outcomes: Sequence[Outcome]) -> None:
        """Count nothing."""
