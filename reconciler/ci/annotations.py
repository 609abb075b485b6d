"""Annotations: faults shown by GitHub beside the lines they are about. Pure.

GitHub shows at most ten errors and ten warnings of a step, so the tenth says how many more there are.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from reconciler.ci.finished import Finished
from reconciler.errors import Problem, SpecError, UnsafePlan
from reconciler.plan.model import Action
from reconciler.report.escape import clean, exact
from reconciler.report.fault import messages
from reconciler.spec.tree import CONFIG

MOST = 10
"""Annotations that GitHub shows of one kind for one step."""

Kind = Literal["error", "warning"]

SETTINGS_CHANGE = f"{CONFIG} changes here: until that is merged, the base branch's settings count."

_LONGEST = 1_000


@dataclass(frozen=True, slots=True)
class Annotation:
    """One message. ``file`` is relative to what was checked out, None where there is none; 0 is no line or column."""

    kind: Kind
    message: str
    file: str | None = None
    line: int = 0
    column: int = 0

    def __str__(self) -> str:
        """Render as the runner reads it: one line, in which no text can begin another command."""
        places = [f"file={_property(exact(self.file))}"] if self.file else []
        if self.file and self.line:
            places.append(f"line={self.line}")
            places += [f"col={self.column}"] if self.column else []
        head = f"{self.kind} {','.join(places)}" if places else self.kind
        return f"::{head}::{_data(clean(self.message, _LONGEST))}"


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")


def annotate(finished: Finished, *, cwd: Path, root: Path | None, workspace: Path | None) -> list[Annotation]:
    """Return what is worth one, of each kind at most as many as GitHub shows, the rest counted.

    Places of errors are relative to ``cwd``, those of specs to ``root``, the repository's; all become relative to
    ``workspace``, and are left out where they are not inside it.
    """
    within = workspace or root or cwd
    found = [*_errors(finished, cwd, within), *_warnings(finished, root or cwd, within)]
    errors = [a for a in found if a.kind == "error"]
    return [*_shown(errors), *_shown([a for a in found if a.kind == "warning"])]


def _shown(found: Sequence[Annotation]) -> list[Annotation]:
    if len(found) <= MOST:
        return list(found)
    kind, rest = found[0].kind, len(found) - MOST + 1
    return [*found[: MOST - 1], Annotation(kind, f"{rest} more {kind}s: the job summary and the log have them.")]


def _fault(kind: Kind, fault: Problem, base: Path, within: Path) -> Annotation:
    """Return the annotation of a fault whose file is relative to ``base``; outside of ``within`` it says its place."""
    file = _relative(base / fault.file, within)
    return Annotation(kind, fault.message if file else str(fault), file, fault.line, fault.column)


def _errors(finished: Finished, cwd: Path, within: Path) -> Iterator[Annotation]:
    error = finished.error
    if isinstance(error, SpecError):
        for fault in error.problems:
            yield _fault("error", fault, cwd, within)
    elif isinstance(error, UnsafePlan):
        for line in messages(error):
            yield Annotation("error", line)
    elif error:
        yield Annotation("error", " ".join([*messages(error), error.hint]))
    for outcome in finished.outcomes:
        if outcome.result == "failed":
            yield Annotation("error", f"{outcome.change.name}: {outcome.change.action} failed: {outcome.error}")
    for granted in finished.granted:
        if granted.result == "failed":
            yield Annotation("error", f"{granted.access.name}: permissions failed: {granted.error}")
    for problem in finished.problems:
        yield Annotation("error", f"not converged: {problem}")


def _warnings(finished: Finished, root: Path, within: Path) -> Iterator[Annotation]:
    if finished.settings:
        file = _relative(root / CONFIG, within)
        yield Annotation("warning", SETTINGS_CHANGE, file)
    if finished.plan and finished.plan.compared:
        yield Annotation("warning", f"no server was asked: {finished.offline}")
    for odd in finished.warnings:
        yield _fault("warning", odd, root, within)
    sources = {spec.name: spec.source for spec in finished.desired}
    plan = finished.plan
    for change in plan.changes if plan and not finished.problems else ():
        if change.action is Action.BLOCKED:
            source = sources.get(change.name)
            file = _relative(root / source.file, within) if source else None
            place = (source.line, source.column) if source and file else (0, 0)
            yield Annotation("warning", f"{change.name} is blocked: {change.reason}", file, *place)
    for warning in plan.warnings if plan else ():
        yield Annotation("warning", warning)
    for drift in finished.drift or ():
        yield Annotation("warning", f"drift: {drift.name or drift.job_id}: {drift.reason}")


def _relative(file: Path, within: Path) -> str | None:
    """Return a path as GitHub wants it, None for what is not in the checkout."""
    path = os.path.normpath(file)
    base = os.path.normpath(within)
    if not path.startswith(base.rstrip(os.sep) + os.sep):
        return None
    return path[len(base.rstrip(os.sep)) + 1 :].replace(os.sep, "/")
