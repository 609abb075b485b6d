"""A grader of any type, run on one case.

What can go wrong with a case is data in its :class:`Graded`; what this server cannot run at all is refused before
anything runs.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from reconciler.api.types import (
    Grader,
    GraderErrors,
    LabelModelGrader,
    MultiGrader,
    PythonGrader,
    ScoreModelGrader,
    StringCheckGrader,
    TextSimilarityGrader,
)
from reconciler.errors import ReconcilerError
from reconciler.server.graders.case import Case, GraderFault, Usage
from reconciler.server.graders.formula import evaluate
from reconciler.server.graders.models import ask_model
from reconciler.server.graders.sandbox import run_python
from reconciler.server.graders.settings import KEY_VARIABLE, PYTHON_VARIABLE, URL_VARIABLE, GraderSettings
from reconciler.server.graders.similarity import similarity
from reconciler.server.graders.templates import render

AnyGrader = Grader | LabelModelGrader
"""What may stand alone or within ``multi``."""


_AT_ONCE = 8


class GraderRefused(ReconcilerError):
    """This server does not run such a grader. ``name`` is the grader's within ``multi``, else None."""

    def __init__(self, message: str, *, code: str, hint: str, name: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.code = code
        self.name = name


@dataclass(frozen=True, slots=True)
class Graded:
    """A reward, and how it came about. A case that failed has the reward 0 and ``failed``."""

    reward: float
    errors: GraderErrors = field(default_factory=GraderErrors)
    sub_rewards: Mapping[str, float] = field(default_factory=dict)
    usage: tuple[Usage, ...] = ()

    @property
    def failed(self) -> bool:
        """Whether something went wrong, so that the reward says nothing of the sample."""
        return any(value is True for value in self.errors.model_dump().values())


class Graders:
    """Runs graders as a server's owner allows. Safe to use from several threads at once.

    ``sleep`` waits, in seconds, before a model grader's server is asked again.
    """

    def __init__(self, settings: GraderSettings | None = None, *, sleep: Callable[[float], None] = time.sleep) -> None:
        self._settings = settings or GraderSettings()
        self._sleep = sleep
        self._processes = threading.BoundedSemaphore(os.cpu_count() or 1)
        self._can_isolate: bool | None = None

    def check(self, grader: AnyGrader) -> None:
        """Make sure that this server can run a grader, each one within ``multi`` too.

        Raises:
            GraderRefused: it cannot.
        """
        for name, each in parts(grader):
            if isinstance(each, PythonGrader):
                self._check_python(name)
            elif isinstance(each, ScoreModelGrader | LabelModelGrader) and self._settings.model_url is None:
                raise GraderRefused(
                    f"This server has no model for {each.type} graders.",
                    code="model_grader_not_configured",
                    hint=f"Its owner names a server of chat completions by {URL_VARIABLE}, with {KEY_VARIABLE}.",
                    name=name,
                )

    def _check_python(self, name: str | None) -> None:
        if self._settings.python == "off" or sys.platform == "win32":
            raise GraderRefused(
                "This server does not run python graders: they are code that clients send.",
                code="python_grader_not_allowed",
                hint=f"Its owner allows them with {PYTHON_VARIABLE}=isolated, on Linux.",
                name=name,
            )
        if self._settings.python == "isolated" and not self._isolates():
            raise GraderRefused(
                "python graders cannot be isolated on this machine: it grants no user namespaces, or is not Linux.",
                code="python_grader_not_isolated",
                hint=f"{PYTHON_VARIABLE}=limited runs them without; only for sources that its owner trusts.",
                name=name,
            )

    def _isolates(self) -> bool:
        """Try it once."""
        if self._can_isolate is None:
            probe = Case("")
            try:
                self._can_isolate = run_python("def grade(sample, item): return 1", probe, self._settings) == 1
            except GraderFault as fault:
                self._can_isolate = False if fault.kind == "isolation" else None
        return self._can_isolate is not False

    def grade(self, grader: AnyGrader, case: Case) -> Graded:
        """Grade one case. The grader has been checked.

        Raises:
            MissingExtra: a library that it needs is not installed.
        """
        if isinstance(grader, MultiGrader):
            return self._multi(grader, case)
        try:
            return self._single(grader, case)
        except GraderFault as fault:
            return Graded(0.0, errors_of(fault))

    def grade_all(self, grader: AnyGrader, cases: Sequence[Case]) -> list[Graded]:
        """Grade many cases, in their order; those that wait for a process or a model, several at once.

        Raises:
            MissingExtra: a library that it needs is not installed.
        """
        if all(isinstance(each, StringCheckGrader | TextSimilarityGrader) for _, each in parts(grader)):
            return [self.grade(grader, case) for case in cases]
        with ThreadPoolExecutor(max_workers=_AT_ONCE) as pool:
            return list(pool.map(lambda case: self.grade(grader, case), cases))

    def _single(self, grader: AnyGrader, case: Case) -> Graded:
        match grader:
            case StringCheckGrader():
                return Graded(_holds(grader.operation, render(grader.input, case), render(grader.reference, case)))
            case TextSimilarityGrader():
                text, reference = render(grader.input, case), render(grader.reference, case)
                return Graded(similarity(grader.evaluation_metric, text, reference))
            case PythonGrader():
                with self._processes:
                    return Graded(run_python(grader.source, case, self._settings))
            case ScoreModelGrader() | LabelModelGrader():
                reward, used = ask_model(grader, case, self._settings, self._sleep)
                return Graded(reward, usage=(used,))
        raise AssertionError(grader.type)

    def _multi(self, grader: MultiGrader, case: Case) -> Graded:
        """Combine the rewards. Where one is missing there is no reward: ``1 - missing`` would be the highest."""
        graded = {name: self.grade(each, case) for name, each in parts(grader) if name is not None}
        rewards = {name: each.reward for name, each in graded.items()}
        usage = tuple(used for each in graded.values() for used in each.usage)
        errors = merged({name: each.errors for name, each in graded.items()})
        if any(each.failed for each in graded.values()):
            return Graded(0.0, errors, rewards, usage)
        try:
            return Graded(evaluate(grader.calculate_output, rewards), errors, rewards, usage)
        except GraderFault as fault:
            return Graded(0.0, errors_of(fault), rewards, usage)


def parts(grader: AnyGrader) -> Iterator[tuple[str | None, AnyGrader]]:
    """Yield the graders of a ``multi`` by name, or the one grader without."""
    if not isinstance(grader, MultiGrader):
        yield None, grader
    elif isinstance(grader.graders, dict):
        yield from grader.graders.items()
    else:
        yield grader.graders.name, grader.graders


def errors_of(fault: GraderFault) -> GraderErrors:
    """Say what went wrong in the API's terms."""
    found: dict[str, bool | str | None] = {fault.flag: True, "details": fault.details}
    if fault.flag == "python_grader_server_error":
        found["python_grader_server_error_type"] = fault.kind
    if fault.flag in {"python_grader_runtime_error", "model_grader_server_error"}:
        found[f"{fault.flag}_details"] = fault.details
    return GraderErrors.model_validate(found)


def merged(errors: Mapping[str, GraderErrors]) -> GraderErrors:
    """Join what went wrong with several graders: every flag, and of texts the first."""
    found: dict[str, bool | str | None] = {}
    for name, each in errors.items():
        for key, value in each.model_dump().items():
            if value and not found.get(key):
                found[key] = f"{name}: {value}" if isinstance(value, str) and key != _TYPE else value
    return GraderErrors.model_validate(found)


_TYPE = "python_grader_server_error_type"


def _holds(operation: str, text: str, reference: str) -> float:
    match operation:
        case "eq":
            holds = text == reference
        case "ne":
            holds = text != reference
        case "like":
            holds = reference in text
        case _:
            holds = reference.casefold() in text.casefold()
    return float(holds)
