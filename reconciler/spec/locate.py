"""Which spec a name means where specs are edited, and whether its state stands there to be edited."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from reconciler.errors import Problem, SpecError, UsageError
from reconciler.spec.desired import State
from reconciler.spec.gather import Draft
from reconciler.spec.tree import SpecFile
from reconciler.wording import did_you_mean

_STATE = ("state",)


@dataclass(frozen=True, slots=True)
class Place:
    """A spec that may be edited. ``jobs`` are the names that come of it: its own, or its matrix's combinations."""

    name: str
    file: SpecFile
    state: State
    jobs: tuple[str, ...]


def locate(names: Iterable[str], drafts: Mapping[str, Draft], state: State) -> list[Place]:
    """Find the specs of these names, each of which ``state`` can be set for in its file.

    Raises:
        UsageError: no spec has that name, or it is one combination of a matrix.
        SpecError: something else sets the state (a matrix, the environment), or ``protect`` forbids to cancel.
    """
    specs: dict[str, list[Draft]] = defaultdict(list)
    for draft in drafts.values():
        specs[_written_name(draft)].append(draft)
    wanted = {name: _named(name, drafts, specs) for name in names}
    problems = [problem for found in wanted.values() for draft in found for problem in _obstacles(draft, state)]
    if problems:
        raise SpecError(problems)
    return [
        Place(name, found[0].file, found[0].spec.state, tuple(draft.spec.name for draft in found))
        for name, found in wanted.items()
    ]


def _written_name(draft: Draft) -> str:
    return str(draft.origin.document.value()["name"]) if draft.origin.choices else draft.spec.name


def _named(name: str, drafts: Mapping[str, Draft], specs: Mapping[str, list[Draft]]) -> list[Draft]:
    if name in specs:
        if len({(draft.file.path, draft.origin.document.line) for draft in specs[name]}) > 1:
            raise SpecError([draft.origin.problem(("name",), f"'{name}' is many specs") for draft in specs[name]])
        return specs[name]
    if name in drafts:
        base = _written_name(drafts[name])
        where = drafts[name].origin.document.problem(("name",), "")
        raise UsageError(
            f"{name} is one of {len(specs[base])} jobs that the matrix of {base!r} makes "
            f"({where.file}:{where.line}): they share one state.",
            hint=f"Name {base} to set it for all of them, or give this combination a spec of its own.",
        )
    raise UsageError(
        f"No spec is named {name[:80]!r}{did_you_mean(name, specs) or '.'}",
        hint="List them: reconciler validate --format json",
    )


def _obstacles(draft: Draft, state: State) -> Iterator[Problem]:
    origin = draft.origin
    over = origin.overrides
    if any(choice.path == _STATE for choice in origin.choices):
        yield origin.problem(_STATE, "is set by the matrix; edit it there")
    elif over and "state" in over.values:
        message = f"state: is set here for every spec of {over.path[1]}; what {origin.document.file} says has no effect"
        yield over.document.problem((*over.path, "state"), message, on_key=True)
    if state == "cancelled" and draft.spec.protect:
        yield origin.problem(("protect",), f"true: {draft.spec.name} is never cancelled; set it to false first")
