"""The rules of a chaos file: which requests are struck, by which fault.

Everything follows from the seed and the order of requests: the n-th request that a rule matches is struck, or not,
whatever other rules and clients do.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from reconciler.server.chaos.exchange import Asked, Memory, Moment
from reconciler.server.chaos.faults import AnyFault, Fault
from reconciler.server.settings_file import read_settings


def _bound(value: object) -> object:
    """Read ``5s`` as seconds; a bare number counts requests."""
    if isinstance(value, str) and (match := re.fullmatch(r"(\d+(?:\.\d+)?)s", value)):
        return Bound(seconds=float(match[1]))
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return Bound(count=value)
    raise ValueError("must be a number of requests, or of seconds such as 5s")


@dataclass(frozen=True, slots=True)
class Bound:
    """A point in a rule's life: after so many requests, or so many seconds."""

    count: int | None = None
    seconds: float = 0.0

    def passed(self, number: int, elapsed: float) -> bool:
        """Whether the n-th request, this many seconds after the start, lies beyond it."""
        return elapsed > self.seconds if self.count is None else number > self.count


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


def _several(value: object) -> object:
    return value if isinstance(value, list) else [value]


When = Annotated[Bound, BeforeValidator(_bound)]


class Match(_Strict):
    """Which requests. ``path`` is a regular expression for all of the path below the base URL.

    ``nth``, ``every``, ``after`` and ``until`` count the requests that method and path match, from 1; seconds count
    from the start of the server. Whatever is given must hold.
    """

    method: Annotated[tuple[str, ...], BeforeValidator(_several)] = ()
    path: re.Pattern[str] | None = None
    nth: Annotated[tuple[Annotated[int, Field(ge=1)], ...], BeforeValidator(_several)] = ()
    every: Annotated[int, Field(ge=1)] = 1
    probability: Annotated[float, Field(ge=0, le=1)] = 1.0
    after: When | None = None
    until: When | None = None

    def about(self, asked: Asked) -> bool:
        """Whether method and path match."""
        by_method = not self.method or asked.method in {method.upper() for method in self.method}
        return by_method and (self.path is None or self.path.fullmatch(asked.path) is not None)

    def hits(self, number: int, elapsed: float, chance: Callable[[], float]) -> bool:
        """Whether the n-th request that it is about is struck."""
        return (
            (not self.nth or number in self.nth)
            and number % self.every == 0
            and (self.after is None or self.after.passed(number, elapsed))
            and (self.until is None or not self.until.passed(number, elapsed))
            and (self.probability == 1.0 or chance() < self.probability)
        )


def _short_form(value: object) -> object:
    return {"kind": value} if isinstance(value, str) else value


class Rule(_Strict):
    """A fault and whom it strikes: without ``match``, every request."""

    fault: Annotated[AnyFault, Field(discriminator="kind"), BeforeValidator(_short_form)]
    match: Match = Match()


class ChaosFile(_Strict):
    """The whole file."""

    seed: int = 0
    rules: tuple[Rule, ...]

    def begin(self, now: float) -> Chaos:
        """Let the rules begin at ``now``, in Unix seconds."""
        return Chaos(self.seed, self.rules, now)


@dataclass
class Chaos:
    """Rules at work, as long as they are ``on``, and what came of them so far. ``started`` is in Unix seconds."""

    seed: int
    rules: Sequence[Rule]
    started: float
    on: bool = True
    memory: Memory = field(default_factory=Memory)

    def __post_init__(self) -> None:
        self._matched = [0] * len(self.rules)
        self._struck = [0] * len(self.rules)

    def strike(self, asked: Asked, now: float) -> list[Fault]:
        """Return the faults that strike a request, in the order of the rules."""
        faults: list[Fault] = []
        for place, rule in enumerate(self.rules):
            if not (self.on and rule.match.about(asked)):
                continue
            self._matched[place] += 1
            number = self._matched[place]
            chance = random.Random(f"{self.seed}:{place}:{number}").random  # noqa: S311 - repeatable, no secret
            if rule.match.hits(number, now - self.started, chance):
                self._struck[place] += 1
                faults.append(rule.fault)
        return faults

    def moment(self, now: float) -> Moment:
        """Return what faults may know."""
        return Moment(now, self.memory)

    @property
    def report(self) -> dict[str, Any]:
        """The seed, and for every rule how many requests it was about and how many it struck."""
        counts = zip(self.rules, self._matched, self._struck, strict=True)
        rules = [{"fault": rule.fault.kind, "matched": matched, "struck": struck} for rule, matched, struck in counts]
        return {"seed": self.seed, "rules": rules}


def load_chaos(path: Path, now: float) -> Chaos:
    """Read a chaos file; its rules begin at ``now``, in Unix seconds.

    Raises:
        UsageError: it cannot be read, or says something that means nothing; every fault is named.
    """
    return read_settings(path, ChaosFile, guide="docs/chaos.md").begin(now)
