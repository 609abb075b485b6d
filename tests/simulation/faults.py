"""What goes wrong on the way to a server and back, and how often."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum


class Fault(StrEnum):
    """Each either leaves the server untouched, or strikes after the request had its effect."""

    REFUSED = "connection refused"
    LOST = "dropped before the effect"
    BROKEN = "500 before the effect"
    LIMITED = "429"
    DAILY = "429 for today"
    DROPPED = "dropped after the effect"
    SPOILED = "500 after the effect"
    LATE = "dropped, and the effect comes later"
    SLOW = "an answer slower than anyone waits"
    TRUNCATED = "truncated JSON"
    PAGE = "HTML instead of JSON"
    UNFILTERED = "filter ignored"
    SHIFTED = "pages that shift"
    DOUBLED = "a row twice"
    HALF = "no has_more"


BEFORE = frozenset({Fault.REFUSED, Fault.LOST, Fault.BROKEN, Fault.LIMITED, Fault.DAILY})
"""After these the server is as it was."""
PROOF = frozenset({Fault.REFUSED, Fault.LIMITED, Fault.DAILY})
"""These tell the client so: the only ones after which a create may be sent again."""
ANY = (
    Fault.REFUSED,
    Fault.LOST,
    Fault.BROKEN,
    Fault.LIMITED,
    Fault.DROPPED,
    Fault.SPOILED,
    Fault.TRUNCATED,
    Fault.PAGE,
)
CREATES = (*ANY, Fault.LATE, Fault.DROPPED, Fault.SPOILED, Fault.SLOW, Fault.DAILY)
LISTINGS = (
    *ANY,
    Fault.SLOW,
    Fault.UNFILTERED,
    Fault.SHIFTED,
    Fault.DOUBLED,
    Fault.HALF,
    Fault.UNFILTERED,
    Fault.SHIFTED,
)


@dataclass
class Faults:
    """Draws a fault, or none, for each request. ``rate`` is the share of requests that meet one."""

    random: random.Random
    rate: float = 0.0
    met: Counter[str] = field(default_factory=Counter)

    def draw(self, method: str, path: str, params: Mapping[str, str]) -> Fault | None:
        if self.random.random() >= self.rate:
            return None
        jobs = path.endswith("/fine_tuning/jobs")
        fault = self.random.choice(CREATES if jobs and method == "POST" else LISTINGS if jobs else ANY)
        if fault is Fault.SHIFTED and "after" not in params:
            return None
        self.met[fault.value] += 1
        return fault
