"""What was reviewed, as a line of a comment, and what counts as another plan than that."""

from __future__ import annotations

from dataclasses import replace

import pytest

from reconciler.ci.review import LARGEST, Review, unreviewed
from reconciler.plan.model import Access, Action, Change, Plan
from reconciler.spec.desired import Desired

CREATE = Change("a", Action.CREATE, "why", revision="r1", attempt=1)
RUNNING = Change("a", Action.NONE, "is running", job_id="j1", revision="r1", attempt=1)
PAUSE = Change("a", Action.PAUSE, "why", job_id="j1", revision="r1", attempt=1)
CANCEL = Change("a", Action.CANCEL, "why", job_id="j0", revision="r0", attempt=1)


def plan(*changes: Change, **more: object) -> Plan:
    return Plan.of("o", "s", changes, **more)  # type: ignore[arg-type]


def spec(*permissions: str) -> Desired:
    return Desired("a", "r1", "m", "file-1", permissions=permissions)


def differs(then: Plan, now: Plan, before: Desired | None = None, after: Desired | None = None) -> list[str]:
    """Say what differs between a plan that was reviewed, by way of a comment, and one to be applied."""
    line = Review.of(then, [before] if before else [], "c" * 40).line()
    review = Review.read(f"<!-- reconciler 00 -->\n<!-- now x -->\n{line}\n\ntext")
    assert review is not None
    return unreviewed(review, now, [after] if after else [])


@pytest.mark.parametrize(
    ("then", "now"),
    [
        (CREATE, CREATE),
        (CREATE, replace(CREATE, reason="other words", model="resolved", notes=("x",))),
        (CREATE, RUNNING),
        (replace(CREATE, action=Action.WAIT), CREATE),
        (CREATE, replace(CREATE, action=Action.WAIT)),
        (replace(PAUSE, action=Action.WAIT), PAUSE),
        (PAUSE, replace(PAUSE, action=Action.NONE)),
        (CANCEL, RUNNING),
        (CREATE, CANCEL),
    ],
)  # fmt: skip
def test_how_far_jobs_have_come_is_no_difference(then: Change, now: Change) -> None:
    assert differs(plan(then), plan(now, RUNNING) if now is CANCEL else plan(now)) == []


@pytest.mark.parametrize(
    ("then", "now", "said"),
    [
        (RUNNING, CREATE, "a: create was not reviewed"),
        (CREATE, replace(CREATE, revision="r2"), "a: create was reviewed for another revision or attempt"),
        (CREATE, replace(CREATE, attempt=2), "a: create was reviewed for another revision or attempt"),
        (CREATE, replace(CREATE, action=Action.BLOCKED), "a: create was reviewed, and is no longer to come"),
        (RUNNING, PAUSE, "a: pause was not reviewed"),
        (CANCEL, replace(CANCEL, job_id="j9"), "a: cancel was reviewed for another job"),
        (RUNNING, CANCEL, "a: cancel was not reviewed"),
        (RUNNING, replace(RUNNING, action=Action.RESUME), "a: resume was not reviewed"),
    ],
)
def test_what_differs_is_named(then: Change, now: Change, said: str) -> None:
    assert differs(plan(then), plan(now)) == [said]


def test_permissions_are_held_to_what_the_spec_said() -> None:
    granting = plan(RUNNING, access=[Access("a", "m", grant=("proj_x",))])
    assert differs(plan(CREATE), granting, spec("proj_x"), spec("proj_x")) == []
    assert differs(plan(CREATE), granting, None, spec("proj_x")) == ["a: permissions was not reviewed"]
    assert differs(plan(CREATE), granting, spec("proj_y"), spec("proj_x")) == [
        "a: permissions was reviewed for other projects"
    ]
    assert differs(plan(CREATE), plan(RUNNING), None, spec("proj_x")) == []


def test_a_plan_too_large_to_keep_is_held_to_its_digest() -> None:
    import hashlib  # noqa: PLC0415

    many = [replace(CREATE, name=hashlib.sha256(bytes([i % 256, i // 256])).hexdigest()) for i in range(900)]
    assert len(Review.of(plan(*many), [], "c" * 40).line()) <= LARGEST
    assert differs(plan(*many), plan(*many)) == []
    assert differs(plan(*many), plan(*many[1:])) == ["the changes are others; they were too many to keep a list of"]


def test_three_hundred_changes_are_kept_by_name() -> None:
    many = [replace(CREATE, name=f"triage-seed-{i}", revision=f"{i:016x}") for i in range(300)]
    assert differs(plan(*many), plan(*many[1:])) == ["triage-seed-0: create was reviewed, and is no longer to come"]


@pytest.mark.parametrize("text", ["", "AAAA", "eJw=", "eJyrVjJUsgIAA5IBHw==", "!"])
def test_a_damaged_line_says_nothing(text: str) -> None:
    assert Review.read(f"<!-- reviewed {text} -->") is None


def test_a_line_further_down_says_nothing() -> None:
    assert Review.read("\n\n\n" + Review.of(plan(CREATE), [], "c" * 40).line()) is None
