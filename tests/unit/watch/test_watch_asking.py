from __future__ import annotations

import pytest
from watch_support import Heard

from reconciler.plan.model import Action, Change
from reconciler.watch.asking import Asking

A, B = (Change(name, Action.CREATE, "no job exists", revision="r1", attempt=1) for name in "ab")
LATER = Change("c", Action.WAIT, "waits for the model of a", revision="r1")
RUNS = {("a", "r1"), ("b", "r1")}


@pytest.fixture
def asking() -> Asking:
    return Asking(Heard().voice, pose=lambda _: None, clock=iter(range(0, 1000, 10)).__next__)


def test_what_buys_is_open_until_somebody_says_yes(asking: Asking) -> None:
    asking.about([A, B, LATER, Change("d", Action.CANCEL, "gone", job_id="ftjob-1", revision="r1")])
    assert set(asking.open) == RUNS | {("c", "r1")}
    assert asking.approve([("a", "r1"), ("a", "another revision"), ("d", "r1")])
    assert asking.approved == {("a", "r1")}
    asking.about([A, B, LATER])
    assert set(asking.open) == {("b", "r1"), ("c", "r1")}


def test_what_is_no_longer_open_is_not_approved(asking: Asking) -> None:
    asking.about([A])
    asking.about([B])
    assert not asking.approve([("a", "r1")])
    assert asking.approved == set()


def test_what_the_terminal_declined_can_still_be_approved_elsewhere(asking: Asking) -> None:
    asking.about([A])
    assert not asking.answer("n")
    asking.about([A])
    assert set(asking.open) == {("a", "r1")}
    assert asking.approve(asking.open)
    assert asking.approved == {("a", "r1")}


def test_with_leave_for_everything_nothing_is_open() -> None:
    asking = Asking(Heard().voice, auto=True)
    asking.about([A, B])
    assert asking.open == frozenset()
    assert asking.approved is None
