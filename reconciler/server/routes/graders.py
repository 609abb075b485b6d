"""Graders, tried out before a job is bought that trains towards them."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from fastapi import APIRouter
from fastapi.responses import Response

from reconciler.api.types import (
    Grader,
    GraderMetadata,
    GraderRun,
    PythonGrader,
    RunGrader,
    ValidatedGrader,
    ValidateGrader,
)
from reconciler.errors import MissingExtra
from reconciler.server.graders.case import Case
from reconciler.server.graders.grading import Graded, GraderRefused, parts
from reconciler.server.graders.sandbox import fault_of_source
from reconciler.server.problems import Problem, printable
from reconciler.server.routes.shared import Here, answer
from reconciler.server.schemas import ErrorAnswer

router = APIRouter(prefix="/fine_tuning/alpha/graders", tags=["fine-tuning"])

_AT_ONCE = threading.BoundedSemaphore(8)
_REFUSED: dict[int | str, dict[str, Any]] = {
    403: {"model": ErrorAnswer, "description": "The server's owner does not allow such a grader."},
    501: {"model": ErrorAnswer, "description": "A library that the grader needs is not installed."},
}


@router.post("/validate", response_model=ValidatedGrader)
def validate_grader(body: ValidateGrader) -> Response:
    """Check a grader, and show it as it was understood. Nothing of it is run."""
    for name, each in parts(body.grader):
        if isinstance(each, PythonGrader) and (words := fault_of_source(each.source)) is not None:
            param = f"{_param(name)}.source"
            raise Problem(400, f"Invalid value for '{param}': {words}", code="invalid_value", param=param)
    return answer({"grader": body.grader.model_dump(mode="json", exclude_none=True)})


@router.post("/run", response_model=GraderRun, responses=_REFUSED)
def run_grader(here: Here, body: RunGrader) -> Response:
    """Grade one sample. What goes wrong with it stands in the answer's ``metadata.errors``."""
    with one_of_a_few(), _refusals():
        here.graders.check(body.grader)
        started = time.perf_counter()
        graded = here.graders.grade(body.grader, Case(body.model_sample, body.item or {}))
        seconds = time.perf_counter() - started
    return answer(_run(body.grader, graded, seconds).model_dump(mode="json"))


def _run(grader: Grader, graded: Graded, seconds: float) -> GraderRun:
    tokens = [used.prompt + used.completion for used in graded.usage]
    metadata = GraderMetadata(
        name=grader.name,
        type=grader.type,
        errors=graded.errors,
        execution_time=seconds,
        scores=dict(graded.sub_rewards),
        token_usage=sum(tokens) if tokens else None,
        sampled_model_name=graded.usage[0].model if graded.usage else None,
    )
    return GraderRun(
        reward=graded.reward,
        sub_rewards=dict(graded.sub_rewards),
        metadata=metadata,
        model_grader_token_usage_per_model=_usage(graded),
    )


def _usage(graded: Graded) -> dict[str, dict[str, int]]:
    found: dict[str, dict[str, int]] = {}
    for used in graded.usage:
        sums = found.setdefault(used.model, dict.fromkeys(_TOKENS, 0))
        numbers = (used.prompt, used.completion, used.prompt + used.completion, used.cached)
        for kind, number in zip(_TOKENS, numbers, strict=True):
            sums[kind] += number
    return found


_TOKENS = ("prompt_tokens", "completion_tokens", "total_tokens", "cached_tokens")


@contextmanager
def one_of_a_few() -> Iterator[None]:
    """Keep threads free for other requests: a grader may take long.

    Raises:
        Problem: eight run already.
    """
    if not _AT_ONCE.acquire(blocking=False):
        raise Problem(429, "Too many graders run already.", code="rate_limit_exceeded", headers={"Retry-After": "1"})
    try:
        yield
    finally:
        _AT_ONCE.release()


@contextmanager
def _refusals() -> Iterator[None]:
    try:
        yield
    except GraderRefused as error:
        raise Problem(403, f"{error.message} {error.hint}", code=error.code, param=_param(error.name)) from error
    except MissingExtra as error:
        raise Problem(501, f"{error.message} {error.hint}", code="grader_not_installed", param="grader") from error


def _param(name: str | None) -> str:
    return "grader" if name is None else f"grader.graders.{printable(name)}"
