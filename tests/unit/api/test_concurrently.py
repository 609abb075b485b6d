"""Many calls at once: bounded, in order, and over when the caller is."""

from __future__ import annotations

import asyncio

import pytest

from reconciler.api.concurrently import concurrently


async def test_results_come_in_the_order_of_items_and_never_more_than_the_limit_at_once() -> None:
    under_way = most = 0

    async def call(item: int) -> int:
        nonlocal under_way, most
        under_way += 1
        most = max(most, under_way)
        for _ in range(5 - item):
            await asyncio.sleep(0)
        under_way -= 1
        return item * 10

    assert await concurrently(call, range(5), limit=2) == [0, 10, 20, 30, 40]
    assert most == 2


async def test_the_first_error_ends_the_calls_still_under_way() -> None:
    ended: list[int] = []

    async def call(item: int) -> None:
        try:
            await asyncio.sleep(0 if item == 1 else 3600)
            raise ValueError(item)
        finally:
            ended.append(item)

    with pytest.raises(ValueError, match="1"):
        await concurrently(call, range(3))
    assert sorted(ended) == [0, 1, 2]


async def test_a_caller_cancelled_at_the_moment_of_an_error_is_cancelled() -> None:
    async def fail_while_cancelled(_: int) -> None:
        caller.cancel()
        raise ValueError("the call under way fails in the same step")

    caller = asyncio.ensure_future(concurrently(fail_while_cancelled, [1]))
    with pytest.raises(asyncio.CancelledError):
        await caller
