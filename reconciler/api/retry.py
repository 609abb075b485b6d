"""How long to keep trying: bounded in attempts and in time, with jitter, honouring what the server asks.

What is worth another try is the caller's to say. Clock, sleep and random are arguments, so that a test of an
hour's patience takes no time.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeVar

from reconciler.errors import ApiError, Conflict, TransientError

T = TypeVar("T")
Clock = Callable[[], float]
Sleep = Callable[[float], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Retry:
    """A wait about to begin: what went wrong, and how many seconds until the next attempt."""

    error: ApiError
    delay: float

    def __str__(self) -> str:
        """Say so to a person."""
        return f"{self.error} Trying again in {self.delay:.1f} s."


OnRetry = Callable[[Retry], None]


@dataclass(frozen=True, slots=True)
class Backoff:
    """The bounds. Times are in seconds; ``total`` covers a call from its first attempt on."""

    attempts: int = 6
    first: float = 0.5
    ceiling: float = 20.0
    total: float = 180.0

    def delay(self, failures: int, asked: float | None, jitter: float) -> float:
        """Seconds to wait after ``failures`` attempts, never less than the server asked; ``jitter`` is in [0, 1)."""
        own = min(self.ceiling, self.first * 2.0 ** min(failures - 1, 30)) * (1 + jitter) / 2
        return own if asked is None else asked + own * jitter


@dataclass(frozen=True, slots=True)
class Retrier:
    """The bounds together with the effects. ``on_retry`` is told of each wait before it begins."""

    clock: Clock
    sleep: Sleep
    random: Callable[[], float]
    on_retry: OnRetry | None = None
    backoff: Backoff = Backoff()

    def patience(self) -> Patience:
        """Begin the allowance of one call."""
        return Patience(self, self.clock())

    async def read(self, call: Callable[[], Awaitable[T]]) -> T:
        """Make a call that changes nothing, again after every fault that may pass."""
        patience = self.patience()
        while True:
            try:
                return await call()
            except (TransientError, Conflict) as error:
                await patience.after(error)


@dataclass(slots=True)
class Patience:
    """What is left of one call's allowance."""

    retrier: Retrier
    started: float
    failures: int = 0

    async def after(self, error: ApiError) -> None:
        """Wait before the next attempt.

        Raises:
            ApiError: the error itself, where no attempt or not enough time is left.
        """
        retrier, bounds = self.retrier, self.retrier.backoff
        self.failures += 1
        delay = bounds.delay(self.failures, getattr(error, "retry_after", None), retrier.random())
        if self.failures >= bounds.attempts or retrier.clock() - self.started + delay > bounds.total:
            raise error
        if retrier.on_retry is not None:
            retrier.on_retry(Retry(error, delay))
        await retrier.sleep(delay)
