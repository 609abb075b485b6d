"""Many calls at once, within a bound."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import TypeVar

A = TypeVar("A")
R = TypeVar("R")


async def concurrently(call: Callable[[A], Awaitable[R]], items: Iterable[A], *, limit: int = 8) -> list[R]:
    """Call for every item, at most ``limit`` at a time; results come in the order of items.

    The first error is raised as it is, after the calls still under way have been cancelled and have ended. A caller
    that is cancelled meanwhile is told so, even at the moment of an error: what goes on after errors must end then.
    """
    caller = asyncio.current_task()
    gate = asyncio.Semaphore(limit)

    async def one(item: A) -> R:
        async with gate:
            return await call(item)

    tasks = [asyncio.ensure_future(one(item)) for item in items]
    try:
        return await asyncio.gather(*tasks)
    except Exception:
        if caller is not None and caller.cancelling():
            raise asyncio.CancelledError from None
        raise
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
