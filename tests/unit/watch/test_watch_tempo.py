"""When to look again."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.observe.state import ObservedJob
from reconciler.watch.tempo import Tempo

NOW = 10_000.0
TEMPO = Tempo(interval=30, shortest=2)


def job(status: str = "running", finish: int | None = None) -> ObservedJob:
    return ObservedJob("ftjob-1", "a", "a" * 16, 1, status, 100, estimated_finish=finish)


@pytest.mark.parametrize(("since", "pause"), [(0, 2), (8, 2), (40, 10), (120, 30), (10_000, 30)])
def test_after_a_change_looks_come_often_and_then_ever_less(since: float, pause: float) -> None:
    assert TEMPO.pause(NOW, NOW - since, [], 0.0) == pause


@pytest.mark.parametrize(
    ("left", "status", "pause"),
    [
        (10, "running", 10),
        (500, "running", 30),
        (1, "running", 2),
        (-60, "running", 2),
        (-600, "running", 30),
        (10, "paused", 30),
        (10, "succeeded", 30),
    ],
)
def test_near_its_estimated_end_a_job_is_looked_at_in_time(left: int, status: str, pause: float) -> None:
    assert TEMPO.pause(NOW, 0.0, [job(), job(status, int(NOW) + left)], 0.0) == pause


@pytest.mark.parametrize(("failures", "pause"), [(1, 2), (2, 4), (4, 16), (5, 30), (10_000, 30)])
def test_failures_are_followed_by_ever_longer_pauses_up_to_the_interval(failures: int, pause: float) -> None:
    assert TEMPO.after_failures(failures, 0.0) == pause


@given(st.floats(0, 1e9), st.floats(0, 0.999), st.lists(st.integers(0, 2_000_000_000), max_size=3))
def test_no_pause_is_longer_than_the_interval(changed: float, chance: float, finishes: list[int]) -> None:
    assert 0 < TEMPO.pause(1e9, changed, [job(finish=f) for f in finishes], chance) <= 30
