"""Graders as the reward function of reinforcement."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from pydantic import TypeAdapter

from reconciler.api.types import Grader, PythonGrader
from reconciler.server.graders.case import Case
from reconciler.server.graders.grading import Graded, Graders, parts
from reconciler.server.graders.settings import from_environment
from reconciler.server.trainers.trl.dialogue import calls_in
from reconciler.server.trainers.trl.faults import Failure

_NOT_ITS_FAULT = ("model_grader_server_error", "python_grader_server_error", "other_error")


def reward_function(
    grader: Mapping[str, Any], note: Callable[[str], None], learns: Callable[[], bool]
) -> Callable[..., list[float | None]]:
    """Return the function that TRL calls with answers and the rows that they answer.

    An answer that cannot be graded gets 0, as the API has it. Where the grader itself failed the answer gets no
    reward, and is left out of the comparison; the first such fault of a kind is noted, and so is an ``image_tag``,
    which says nothing to this server. ``learns`` says whether the answers are a step's, or the validation file's.

    Raises:
        Failure: raised by the function where the grader failed for every answer of a step.
    """
    graders = Graders(from_environment(os.environ))
    parsed: Grader = TypeAdapter(Grader).validate_python(grader)
    noted: set[str] = set()
    for _, each in parts(parsed):
        if isinstance(each, PythonGrader) and each.image_tag is not None:
            note(
                f"The python grader {each.name} runs with the Python and the packages that are installed here: its "
                f"image_tag {each.image_tag} is not used."
            )

    def reward(completions: Sequence[str], item: Sequence[str], **_: object) -> list[float | None]:
        cases = []
        for completion, row in zip(completions, item, strict=True):
            text, calls = calls_in(completion)
            cases.append(Case(text, json.loads(row), calls))
        graded = graders.grade_all(parsed, cases)
        for each in graded:
            if each.failed and (words := _words(each)) not in noted and len(noted) < 5:
                noted.add(words)
                note(f"The grader could not grade an answer: {words}")
        if learns() and all(map(_is_ours, graded)):
            raise Failure("grader_error", f"The grader failed for every answer: {_words(graded[0])}", "method")
        return [None if _is_ours(each) else each.reward for each in graded]

    return reward


def _is_ours(graded: Graded) -> bool:
    return any(getattr(graded.errors, flag) is True for flag in _NOT_ITS_FAULT)


def _words(graded: Graded) -> str:
    flags = [name for name, value in graded.errors.model_dump().items() if value is True]
    return " ".join(f"{graded.errors.details or ''} ({', '.join(flags)})".split())[:300]
