"""A plan as a value: its order, its summary, its fingerprint."""

from __future__ import annotations

from dataclasses import replace
from itertools import permutations
from typing import Any

import pytest
from plan_support import OWNER, SERVER, B, C, job, plan, spec

from reconciler.plan.model import Action, Change, Plan
from reconciler.plan.words import short

CREATE = Change("a", Action.CREATE, "why", revision="r", attempt=1, model="m")
CANCEL = Change("a", Action.CANCEL, "why", job_id="1", revision="q", attempt=1)
WAIT = Change("b", Action.WAIT, "why")


def made(*changes: Change, owner: str = OWNER, server: str = SERVER) -> Plan:
    return Plan.of(owner, server, changes)


def test_changes_come_in_the_order_they_are_applied() -> None:
    for order in permutations([CREATE, CANCEL, WAIT, replace(CREATE, name="0")]):
        assert [(c.action, c.name) for c in made(*order).changes] == [
            (Action.CREATE, "0"),
            (Action.CREATE, "a"),
            (Action.CANCEL, "a"),
            (Action.WAIT, "b"),
        ]


def test_the_summary_names_every_action() -> None:
    assert made(CREATE, CANCEL).summary == {
        "create": 1, "resume": 0, "pause": 0, "cancel": 1, "wait": 0, "hold": 0, "blocked": 0, "none": 0
    }  # fmt: skip


@pytest.mark.parametrize("action", list(Action))
def test_only_four_actions_change_anything(action: Action) -> None:
    assert made(replace(WAIT, action=action)).has_changes is (action in {"create", "resume", "pause", "cancel"})


@pytest.mark.parametrize(
    "other",
    [
        made(replace(CREATE, reason="other words", notes=("note",)), WAIT),
        made(CREATE),
        made(CREATE, replace(WAIT, action=Action.NONE)),
    ],
)
def test_the_fingerprint_ignores_words_and_what_does_not_act(other: Plan) -> None:
    assert other.fingerprint == made(CREATE, WAIT).fingerprint


@pytest.mark.parametrize(
    "other",
    [
        made(CREATE, owner="other"),
        made(CREATE, server="https://other"),
        made(CREATE, CANCEL),
        made(),
        made(replace(CREATE, name="b")),
        made(replace(CREATE, model="n")),
        made(replace(CREATE, attempt=2)),
        made(replace(CREATE, revision="s")),
        made(replace(CREATE, action=Action.CANCEL)),
        made(replace(CREATE, job_id="1")),
    ],
)
def test_the_fingerprint_knows_everything_that_would_be_done(other: Plan) -> None:
    assert other.fingerprint != made(CREATE).fingerprint


def test_the_fingerprint_survives_a_job_moving_on() -> None:
    specs = [spec("a"), spec("b", B)]
    moving: list[Any] = [job("1", status, name="a", estimated_finish=99_999) for status in ("queued", "running")]
    assert len({plan(specs, each).fingerprint for each in moving}) == 1


def test_equal_inputs_in_any_order_give_equal_plans() -> None:
    specs = [spec("a", replace="wait"), spec("b", B), spec("c", C)]
    jobs = [
        job("1", name="a", revision=C, model="newer"),
        job("2", name="a", revision=B, model="older", created_at=99),
        job("3", name="z", revision="f" * 16),
    ]
    plans = {plan(s, *j) for s in permutations(specs) for j in permutations(jobs)}
    assert len(plans) == 1


def test_a_revision_is_shown_by_its_first_eight_digits() -> None:
    assert (short("0123456789abcdef"), short(None)) == ("01234567", "")
