"""What of a plan is done in this tick, and what is held back. Pure.

A loop that nobody looks at must not buy without leave, nor again and again, nor knock on a door that stays shut. So
creates need approval and keep within a budget for each revision, and what has failed waits longer each time. A tick
that leaves a create out cancels neither what it would replace nor what has lost its spec: of one that was renamed and
changed, the old job goes only once the new one is there.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field

from reconciler.apply.model import Outcome
from reconciler.errors import TransientError
from reconciler.plan.model import Action, Change, Plan
from reconciler.spec.desired import Desired

SPARE_CREATES = 2
"""How many jobs of one revision a watch starts beyond the first and those that ``retry`` allows."""
_LONGEST = 3600.0
_FIRST = 2.0

Bought = tuple[str, str]
"""A spec's name and a revision: what a create buys, whatever its attempt."""


@dataclass(frozen=True, slots=True)
class Held:
    """A change that is left out of a tick; ``kind`` says why in a word, ``reason`` in a sentence."""

    change: Change
    kind: str
    reason: str


@dataclass(frozen=True)
class Limits:
    """What a tick may do. ``approved`` None: everything may be bought. ``refused`` is why nothing may be bought now."""

    approved: Collection[Bought] | None = None
    max_create: int | None = None
    refused: str = ""


@dataclass
class _Failure:
    count: int
    until: float
    spec: Desired | None


@dataclass
class Experience:
    """What a watch remembers of its ticks: what it has bought, and what keeps failing. Times are monotonic seconds.

    ``longest`` is how long what may pass by itself is waited for at most.
    """

    longest: float
    bought: Counter[Bought] = field(default_factory=Counter)
    _failures: dict[tuple[str, Action, str], _Failure] = field(default_factory=dict)

    def learn(
        self, outcomes: Iterable[Outcome], lacking: Collection[Action], specs: Mapping[str, Desired], now: float
    ) -> None:
        """Remember what became of a tick's changes; ``lacking`` is what the server cannot do at all."""
        for outcome in outcomes:
            change, key = outcome.change, _key(outcome.change)
            if outcome.result == "done":
                self._failures.pop(key, None)
                self.bought[bought(change)] += change.action is Action.CREATE
            elif outcome.result == "failed" or change.action in lacking:
                count = self._failures[key].count + 1 if key in self._failures else 1
                longest = self.longest if isinstance(outcome.error, TransientError) else _LONGEST
                pause = min(longest, _FIRST * 2.0 ** min(count, 30))
                self._failures[key] = _Failure(count, now + pause, specs.get(change.name))

    def forget_all_but(self, plan: Plan) -> None:
        """Forget the failures of what no plan asks for any more."""
        asked = {_key(change) for change in plan.changes}
        self._failures = {key: failure for key, failure in self._failures.items() if key in asked}

    def wait(self, change: Change, spec: Desired | None, now: float) -> float:
        """Return the seconds for which a change waits because it has failed; a spec that was edited is tried anew."""
        failure = self._failures.get(_key(change))
        return failure.until - now if failure and failure.spec == spec else 0.0

    @property
    def waits_until(self) -> float | None:
        """When the first of what has failed is tried again."""
        return min((failure.until for failure in self._failures.values()), default=None)


def _key(change: Change) -> tuple[str, Action, str]:
    return (
        change.name,
        change.action,
        change.revision or "" if change.action is Action.CREATE else change.job_id or "",
    )


def bought(change: Change) -> Bought:
    """Return what a create buys."""
    return (change.name, change.revision or "")


def restrain(
    plan: Plan, specs: Mapping[str, Desired], experience: Experience, limits: Limits, now: float
) -> tuple[Plan, list[Held]]:
    """Return what of a plan is done now, and what is held back."""
    held: dict[Change, Held] = {}
    creates = 0
    for change in plan.changes:
        spec = specs.get(change.name)
        kind, reason = _why_held(change, spec, experience, limits, now)
        if not kind and change.action is Action.CREATE:
            creates += 1
            if limits.max_create is not None and creates > limits.max_create:
                kind, reason = "max-create", f"waits for the next tick: --max-create {limits.max_create}"
        if kind:
            held[change] = Held(change, kind, reason)
    if unstarted := {change.name for change in held if change.action is Action.CREATE}:
        for change in plan.changes:
            lost = change.name not in specs or change.requires in unstarted
            if change.action is Action.CANCEL and lost and change not in held:
                held[change] = Held(change, "cancel", "waits until every new run has been started")
    done = [change for change in plan.changes if change not in held]
    return Plan.of(plan.owner, plan.server, done, plan.warnings, access=plan.access), list(held.values())


def _why_held(
    change: Change, spec: Desired | None, experience: Experience, limits: Limits, now: float
) -> tuple[str, str]:
    if not change.action.acts:
        return "", ""
    if change.action is Action.CREATE:
        if limits.refused:
            return "policy", limits.refused
        most = 1 + SPARE_CREATES + (spec.retry_limit if spec else 0)
        if experience.bought[bought(change)] >= most:
            return (
                "budget",
                f"was started {most} times by this watch and has not converged; change the spec, or restart",
            )
        if limits.approved is not None and bought(change) not in limits.approved:
            return "approval", "is a new run: waits for approval"
    if experience.wait(change, spec, now) > 0:
        return "failed", "failed before and is tried again later"
    return "", ""
