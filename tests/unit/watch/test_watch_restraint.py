"""What of a plan is done in one look, and what is held back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from reconciler.apply.model import Outcome, Result
from reconciler.errors import InvalidRequest, NoAnswer, ReconcilerError
from reconciler.plan.model import Action, Change, Plan
from reconciler.spec.desired import Desired
from reconciler.watch.restraint import Experience, Limits, restrain

A, B = "a" * 16, "b" * 16
SPECS = {name: Desired(name, A, "m", "file-1", retry_limit=1) for name in ("ant", "bee", "cat")}


def create(name: str) -> Change:
    return Change(name, Action.CREATE, "", revision=A, attempt=1)


def cancel(name: str, requires: str | None = None) -> Change:
    return Change(name, Action.CANCEL, "", job_id=f"job-{name}", revision=B, attempt=1, requires=requires)


def held(
    *changes: Change, experience: Experience | None = None, now: float = 0.0, specs: Any = SPECS, **limits: Any
) -> list[tuple[str, str, str]]:
    """Return what is held back: action, name and kind."""
    plan = Plan.of("", "", changes)
    done, left = restrain(plan, specs, experience or Experience(30), Limits(**limits), now)
    assert sorted([*done.changes, *(h.change for h in left)], key=lambda c: c.order) == list(plan.changes)
    return [(str(h.change.action), h.change.name, h.kind) for h in left]


def experienced(*ends: tuple[Change, Result, ReconcilerError | None], times: int = 1) -> Experience:
    made = Experience(longest=30)
    for _ in range(times):
        made.learn([Outcome(change, result, error=error) for change, result, error in ends], (), SPECS, now=0.0)
    return made


@pytest.mark.parametrize(
    ("changes", "limits", "left"),
    [
        ([create("ant")], {}, []),
        ([create("ant")], {"approved": set()}, [("create", "ant", "approval")]),
        ([create("ant")], {"approved": {("ant", A)}}, []),
        ([create("ant")], {"approved": {("ant", B)}}, [("create", "ant", "approval")]),
        ([create("ant"), create("bee")], {"max_create": 1}, [("create", "bee", "max-create")]),
        ([create("ant")], {"refused": "too much"}, [("create", "ant", "policy")]),
        ([cancel("ant"), cancel("gone")], {"approved": set()}, []),
        (
            [create("ant"), cancel("gone")],
            {"approved": set()},
            [("create", "ant", "approval"), ("cancel", "gone", "cancel")],
        ),
        ([create("ant"), cancel("bee")], {"approved": set()}, [("create", "ant", "approval")]),
        (
            [create("ant"), cancel("ant", requires="ant")],
            {"approved": set()},
            [("create", "ant", "approval"), ("cancel", "ant", "cancel")],
        ),
        (
            [create("ant"), create("bee"), cancel("ant", requires="ant")],
            {"approved": {("ant", A)}},
            [("create", "bee", "approval")],
        ),
    ],
)
def test_what_is_held_back(changes: Sequence[Change], limits: Any, left: list[tuple[str, str, str]]) -> None:
    assert sorted(held(*changes, **limits)) == sorted(left)


def test_a_revision_is_started_no_more_than_its_retries_and_two_spare_ones() -> None:
    assert held(create("ant"), experience=experienced((create("ant"), "done", None), times=3)) == []
    left = held(create("ant"), experience=experienced((create("ant"), "done", None), times=4))
    assert left == [("create", "ant", "budget")]


@pytest.mark.parametrize(
    ("error", "times", "waits"),
    [
        (NoAnswer("x"), 1, 4),
        (NoAnswer("x"), 9, 30),
        (InvalidRequest("x"), 1, 4),
        (InvalidRequest("x"), 3, 16),
        (InvalidRequest("x"), 99, 3600),
    ],
)
def test_what_failed_is_tried_again_ever_later(error: ReconcilerError, times: int, waits: float) -> None:
    experience = experienced((create("ant"), "failed", error), times=times)
    assert held(create("ant"), experience=experience, now=waits - 1) == [("create", "ant", "failed")]
    assert held(create("ant"), experience=experience, now=waits) == []
    assert held(create("bee"), experience=experience) == []


def test_a_spec_that_was_edited_is_tried_at_once() -> None:
    experience = experienced((create("ant"), "failed", InvalidRequest("x")))
    edited = {**SPECS, "ant": Desired("ant", A, "m", "file-1", metadata={"team": "x"})}
    assert held(create("ant"), experience=experience, specs=edited) == []


def test_a_success_forgets_the_failures_before_it() -> None:
    experience = experienced((create("ant"), "failed", InvalidRequest("x")), times=5)
    experience.learn([Outcome(create("ant"), "done")], (), SPECS, 0.0)
    assert held(create("ant"), experience=experience) == []
    assert experience.waits_until is None


def test_what_a_server_cannot_do_counts_as_failed_and_what_was_not_tried_does_not() -> None:
    pause = Change("ant", Action.PAUSE, "", job_id="job-ant", revision=A, attempt=1)
    experience = Experience(longest=30)
    experience.learn([Outcome(pause, "skipped"), Outcome(cancel("bee"), "skipped")], {Action.PAUSE}, SPECS, 0.0)
    assert held(pause, cancel("bee"), experience=experience) == [("pause", "ant", "failed")]


def test_what_no_plan_asks_for_is_forgotten() -> None:
    experience = experienced((create("ant"), "failed", InvalidRequest("x")))
    experience.forget_all_but(Plan.of("", "", [create("bee")]))
    assert experience.waits_until is None
