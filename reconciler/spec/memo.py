"""Results that are kept as long as what they were made of is the same. Pure."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class Memo(Generic[T]):
    """Results by key, for whoever makes the same again and again, in rounds.

    What a result is made of is compared by value, nothing is taken for the same by its times: a result can be spared,
    and never be out of date. Results are shared, so nobody changes them.
    """

    def __init__(self) -> None:
        self._before: dict[str, tuple[object, T]] = {}
        self._now: dict[str, tuple[object, T]] = {}

    def begin(self) -> None:
        """Begin a round; forget what the one before did not ask for."""
        self._before, self._now = self._now, {}

    def get(self, key: str, made_of: object, make: Callable[[], T]) -> T:
        """Return what was made of an equal thing the last time, or make it."""
        held = self._before.get(key)
        if held is None or held[0] != made_of:
            held = (made_of, make())
        self._now[key] = held
        return held[1]
