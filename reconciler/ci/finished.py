"""How a run ended: everything that a comment, a summary, annotations and outputs are made from. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from reconciler.apply.model import Outcome
from reconciler.apply.permissions import Granted
from reconciler.ci.surroundings import Command
from reconciler.errors import Problem, ReconcilerError
from reconciler.history.losses import Losses
from reconciler.observe.state import ObservedJob
from reconciler.plan.drift import Drift
from reconciler.plan.model import Action, Difference, Plan
from reconciler.spec.desired import Desired


@dataclass(frozen=True, slots=True)
class Trained:
    """A job that an apply has made or waited for, and how its losses went as far as that is known."""

    name: str
    job: ObservedJob
    losses: Losses


@dataclass(frozen=True, slots=True, kw_only=True)
class Finished:
    """A run and its end; what it did not come to is None or empty.

    ``warnings`` are of specs and data, their files relative to the repository's root. ``problems`` say what has not
    converged; ``models`` maps names of specs to what they produced so far. ``offline`` says why no server was asked;
    ``settings`` are those that a pull request changes in ``reconciler.yaml``, and that do not count for it yet.
    ``written`` says what became of the lock file, empty where nothing differed.
    """

    command: Command
    owner: str
    environment: str | None = None
    desired: tuple[Desired, ...] = ()
    warnings: tuple[Problem, ...] = ()
    plan: Plan | None = None
    outcomes: tuple[Outcome, ...] = ()
    granted: tuple[Granted, ...] = ()
    problems: tuple[str, ...] = ()
    trained: tuple[Trained, ...] = ()
    drift: tuple[Drift, ...] | None = None
    models: Mapping[str, str | None] | None = None
    error: ReconcilerError | None = None
    offline: str = ""
    settings: tuple[Difference, ...] = ()
    written: str | None = None

    @property
    def blocked(self) -> bool:
        """Whether a spec needs somebody before it can go on."""
        return self.plan is not None and self.plan.summary[Action.BLOCKED] > 0

    @property
    def says_something(self) -> bool:
        """Whether a reviewer would miss it: an error, something to apply now or later, something blocked or refused."""
        plan = self.plan
        return self.error is not None or (plan is not None and (plan.intends or self.blocked or bool(plan.unsafe)))

    @property
    def failed(self) -> bool:
        """Whether anything that was to be done was not."""
        ends = [o.result for o in self.outcomes] + [g.result for g in self.granted]
        return self.error is not None or bool(self.problems) or any(end == "failed" for end in ends)
