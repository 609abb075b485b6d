"""The plan as a value: changes with a total order, a summary, a fingerprint. Pure."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from typing import Any


class Action(StrEnum):
    """What a change does. The order of members is the order in which changes are shown and applied."""

    CREATE = "create"
    RESUME = "resume"
    PAUSE = "pause"
    CANCEL = "cancel"
    WAIT = "wait"
    HOLD = "hold"
    BLOCKED = "blocked"
    NONE = "none"

    @property
    def acts(self) -> bool:
        """Whether it changes anything on the server."""
        return self in _ACTING


_ACTING = frozenset({Action.CREATE, Action.RESUME, Action.PAUSE, Action.CANCEL})
_RANK = {action: rank for rank, action in enumerate(Action)}


@dataclass(frozen=True, slots=True)
class Difference:
    """One field that differs from the newest job of another revision; None is 'left to the server'.

    ``rows_added`` and ``rows_removed`` are there for data files whose contents are both known.
    """

    field: str
    old: str | None
    new: str | None
    rows_added: int | None = None
    rows_removed: int | None = None


@dataclass(frozen=True, slots=True)
class Cost:
    """An estimate of what a job costs: of its training tokens, and of the amount in a currency of three letters."""

    tokens: int
    amount: float
    currency: str


@dataclass(frozen=True, slots=True)
class Change:
    """What happens to one job, or to one spec that has none yet, and why.

    ``revision`` and ``attempt`` are those of the job acted on (for ``create``: of the job to come). ``model`` is the
    base model a create sends, chains resolved. ``requires`` names the spec whose job must exist before this change
    may run: a predecessor is cancelled only once its successor exists. ``notes`` are facts worth a line that change
    nothing. ``cost`` is there for a job to come whose model has a price. ``depth`` is how many models of other specs
    must be made first: a cascade is shown in the order in which it would run.
    """

    name: str
    action: Action
    reason: str
    job_id: str | None = None
    revision: str | None = None
    attempt: int | None = None
    diff: tuple[Difference, ...] = ()
    model: str | None = None
    requires: str | None = None
    notes: tuple[str, ...] = ()
    cost: Cost | None = None
    depth: int = 0

    @property
    def buys(self) -> bool:
        """Whether a job comes of it: now, or once what it waits for is there."""
        return self.action is Action.CREATE or (self.action is Action.WAIT and self.job_id is None)

    @property
    def order(self) -> tuple[int, int, str, str]:
        """The total order of changes: by action, then what must come first, then name, then job."""
        return (_RANK[self.action], self.depth, self.name, self.job_id or "")

    @property
    def key(self) -> tuple[str, str, str, str, int]:
        """Which change this is, whatever its words: no two of one plan share it."""
        return (self.name, self.action.value, self.job_id or "", self.revision or "", self.attempt or 0)

    @property
    def identity(self) -> tuple[str, str, str, str, int, str]:
        """What a reviewer approves: words and volatile status are not part of it."""
        return (*self.key, self.model or "")


@dataclass(frozen=True, slots=True)
class Access:
    """What changes in who may use the model of a spec's job: the projects to let in, and those to shut out.

    ``revoke`` pairs projects with the ids of their permissions. ``left`` names the projects that may use the model
    without a word of ours. ``blocked`` says why nothing can be told.
    """

    name: str
    model: str
    grant: tuple[str, ...] = ()
    revoke: tuple[tuple[str, str], ...] = ()
    left: tuple[str, ...] = ()
    blocked: str = ""

    @property
    def acts(self) -> bool:
        """Whether it changes anything on the server."""
        return bool(self.grant or self.revoke)


@dataclass(frozen=True)
class Plan:
    """Everything that differs between desired and observed, in the order it will be applied.

    ``server`` is the base URL. ``warnings`` are said once, whatever the changes (a malformed job, for example).
    ``unsafe`` is why this plan must not be applied without a flag; empty for a plan that may. ``access`` is what
    changes in who may use models, by name of the spec. ``compared`` says that no server was asked: the changes are
    those against the base branch, and ``server`` is empty.
    """

    owner: str
    server: str
    changes: tuple[Change, ...]
    warnings: tuple[str, ...] = ()
    unsafe: tuple[str, ...] = ()
    access: tuple[Access, ...] = ()
    compared: bool = False

    @classmethod
    def of(
        cls,
        owner: str,
        server: str,
        changes: Iterable[Change],
        warnings: Iterable[str] = (),
        unsafe: Iterable[str] = (),
        access: Iterable[Access] = (),
    ) -> Plan:
        """Make a plan of changes in any order: equal inputs give equal plans."""
        ordered = tuple(sorted(changes, key=lambda c: c.order))
        return cls(owner, server, ordered, tuple(warnings), tuple(unsafe), tuple(sorted(access, key=lambda a: a.name)))

    @cached_property
    def summary(self) -> dict[str, int]:
        """How many changes of each action, every action named."""
        return {a.value: sum(c.action is a for c in self.changes) for a in Action}

    @property
    def has_changes(self) -> bool:
        """Whether applying it would do anything."""
        return any(c.action.acts for c in self.changes) or any(a.acts for a in self.access)

    @property
    def intends(self) -> bool:
        """Whether applying it does anything, or will, once what a spec without a job waits for is there."""
        return self.has_changes or any(c.buys for c in self.changes)

    @cached_property
    def costs(self) -> dict[str, float]:
        """What all jobs to come cost by currency, estimated, as far as their models have a price."""
        totals: dict[str, float] = {}
        for cost in (c.cost for c in self.changes if c.cost):
            totals[cost.currency] = totals.get(cost.currency, 0.0) + cost.amount
        return dict(sorted(totals.items()))

    def shows(self, change: Change) -> bool:
        """Whether a report has a line for a change: one that does nothing has, where settings of the spec differ."""
        return change.action is not Action.NONE or (self.compared and bool(change.diff))

    @cached_property
    def fingerprint(self) -> str:
        """A digest of owner, server and the acting changes: two plans with the same one do the same."""
        acting: list[Any] = [c.identity for c in self.changes if c.action.acts]
        acting += [[a.name, a.model, a.grant, a.revoke] for a in self.access if a.acts]
        text = json.dumps([self.owner, self.server, acting], ensure_ascii=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()[:32]
