from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from wire_fixtures import NOW, Time

from reconciler.api.retry import Backoff, Retrier, Retry
from reconciler.errors import ApiError, Conflict, InvalidRequest, NoAnswer, RateLimited, ServerFault

SECONDS = st.floats(min_value=0, max_value=1e6, allow_nan=False)


def limited(asked: float | None) -> RateLimited:
    error = RateLimited("slow down", status=429)
    error.retry_after = asked
    return error


def retrier(time: Time, told: list[Retry] | None = None, backoff: Backoff | None = None) -> Retrier:
    return Retrier(time, time.sleep, lambda: 0.5, None if told is None else told.append, backoff or Backoff())


@pytest.mark.parametrize("error", [NoAnswer("x"), ServerFault("x"), limited(None), Conflict("x")])
async def test_a_read_is_repeated_after_a_fault_that_may_pass(error: ApiError) -> None:
    time, failures = Time(), [error, error]

    async def call() -> str:
        if failures:
            raise failures.pop()
        return "read"

    assert await retrier(time).read(call) == "read"
    assert time.slept == [0.375, 0.75]


async def test_a_read_is_not_repeated_after_a_refusal() -> None:
    time = Time()

    async def call() -> str:
        raise InvalidRequest("no")

    with pytest.raises(InvalidRequest):
        await retrier(time).read(call)
    assert time.slept == []


async def test_the_server_is_not_asked_again_sooner_than_it_wants() -> None:
    time, told, failures = Time(), list[Retry](), [limited(7.0)]

    async def call() -> float:
        if failures:
            raise failures.pop()
        return time.now

    assert await retrier(time, told).read(call) - NOW >= 7.0
    assert str(told[0]).startswith("slow down (HTTP 429) Trying again in 7")


async def test_a_wait_longer_than_the_bound_is_not_begun() -> None:
    time = Time()

    async def call() -> str:
        raise limited(3600.0)

    with pytest.raises(RateLimited):
        await retrier(time).read(call)
    assert time.slept == []


@given(
    asked=st.lists(st.none() | SECONDS, min_size=1, max_size=30),
    jitter=st.floats(min_value=0, max_value=1, exclude_max=True),
    attempts=st.integers(1, 20),
    first=st.floats(min_value=0, max_value=60),
    ceiling=st.floats(min_value=0, max_value=600),
    total=SECONDS,
)
async def test_attempts_and_time_are_bounded_whatever_the_server_says(
    asked: list[float | None], jitter: float, attempts: int, first: float, ceiling: float, total: float
) -> None:
    time, calls = Time(), 0
    backoff = Backoff(attempts, first, ceiling, total)

    async def call() -> None:
        nonlocal calls
        calls += 1
        raise limited(asked[calls % len(asked)])

    with pytest.raises(RateLimited):
        await Retrier(time, time.sleep, lambda: jitter, None, backoff).read(call)
    assert calls <= attempts
    assert time.now - NOW <= total + 1e-6
    assert all(delay >= 0 for delay in time.slept)


@given(st.integers(1, 10_000), st.floats(min_value=0, max_value=1, exclude_max=True))
def test_a_delay_never_passes_the_ceiling(failures: int, jitter: float) -> None:
    assert 0.25 <= Backoff().delay(failures, None, jitter) <= 20.0
