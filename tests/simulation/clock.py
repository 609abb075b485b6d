"""An event loop whose clock jumps: nothing waits, no thread runs, no socket opens."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any


class StandsStill(Exception):
    """Every task waits for another one, so nothing will ever happen again."""


class VirtualLoop(asyncio.BaseEventLoop):
    """Time, in seconds from 0, passes only where every task sleeps, and then at once.

    What would run in a thread runs right away, so equal inputs take equal steps.
    """

    def __init__(self) -> None:
        super().__init__()
        self._passed = 0.0
        self._selector = self  # the base class asks it to wait

    def time(self) -> float:
        return self._passed

    def select(self, timeout: float | None) -> list[Any]:
        if timeout is None:
            raise StandsStill
        self._passed += timeout
        return []

    def run_in_executor(self, executor: Any, func: Callable[..., Any], *args: Any) -> Any:  # type: ignore[override]  # noqa: ARG002
        future = self.create_future()
        try:
            future.set_result(func(*args))
        except Exception as error:  # noqa: BLE001 - handed on, as a thread would
            future.set_exception(error)
        return future

    def _process_events(self, events: list[Any]) -> None:
        """Nothing happens outside."""

    def _write_to_self(self) -> None:
        """No thread sleeps that would need waking."""
