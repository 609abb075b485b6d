"""Graders as the reward of reinforcement: what their own faults mean for a run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest

from reconciler.server.graders.case import Case, GraderFault
from reconciler.server.graders.grading import Graded, Graders, errors_of
from reconciler.server.trainers.trl.faults import Failure
from reconciler.server.trainers.trl.rewards import reward_function

GRADER = {"type": "string_check", "name": "x", "operation": "eq", "input": "{{sample.output_text}}", "reference": "a"}
AWAY = GraderFault("model_grader_server_error", "The model grader's server is away.")
Rewards = Callable[..., list[float | None]]


@pytest.fixture
def grade(monkeypatch: pytest.MonkeyPatch) -> Callable[[bool], tuple[Rewards, list[str]]]:
    """Rewards of a grader that is away for the answer ``away``, and what was noted."""

    def all_of(_: Graders, __: Any, cases: Sequence[Case]) -> list[Graded]:
        return [Graded(0.0, errors_of(AWAY)) if case.text == "away" else Graded(1.0) for case in cases]

    def make(learns: bool) -> tuple[Rewards, list[str]]:
        notes: list[str] = []
        return reward_function(GRADER, notes.append, lambda: learns), notes

    monkeypatch.setattr(Graders, "grade_all", all_of)
    return make


def test_an_answer_that_the_grader_failed_for_is_left_out_and_that_is_said_once(grade: Any) -> None:
    reward, notes = grade(True)
    for _ in range(2):
        assert reward(completions=["a", "away", "away"], item=["{}"] * 3) == [1.0, None, None]
    assert len(notes) == 1
    assert "is away" in notes[0]


def test_a_step_of_which_no_answer_can_be_graded_fails_the_run(grade: Any) -> None:
    reward, _ = grade(True)
    with pytest.raises(Failure, match="every answer") as caught:
        reward(completions=["away", "away"], item=["{}"] * 2)
    assert caught.value.code == "grader_error"


def test_validation_may_hold_one_answer_at_once_and_its_grader_fails_no_run(grade: Any) -> None:
    reward, notes = grade(False)
    assert reward(completions=["away"], item=["{}"]) == [None]
    assert notes
