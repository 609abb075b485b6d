"""What pydantic finds, in plain words and at the place where the file says it.

pydantic speaks of its own inner steps (union members, validators); here a fault is a path of keys and indexes that
really are in the file, and a sentence.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import get_args

from pydantic import BaseModel
from pydantic_core import ErrorDetails, ValidationError

from reconciler.spec.model import ELSEWHERE, IN_WORDS
from reconciler.wording import WORDS, did_you_mean

Path = tuple[str | int, ...]
Location = tuple[str | int, ...]

_SECRET = re.compile(r"(?:sk|pk|rk|hf|gh[pousr]|glpat|xox[a-z]|AKIA|eyJ)[-_A-Za-z0-9]{8,}|[A-Za-z0-9+_=-]{40,}")
_QUOTED = re.compile(r"'([^']*)'")


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault. ``path`` is where; ``on_key`` says that the key itself is at fault, not its value.

    A path whose last step is absent stands for the mapping that lacks it.
    """

    path: Path
    message: str
    on_key: bool = False


def faults(error: ValidationError, value: object, model: type[BaseModel], extra: Iterable[str] = ()) -> list[Fault]:
    """Translate every error pydantic found when it read ``value`` as ``model``.

    ``extra`` names keys that are also known at the top.
    """
    found: dict[Path, list[ErrorDetails]] = {}
    for details in _relevant(error.errors(include_url=False), value):
        found.setdefault(_real_path(details, value), []).append(details)
    result = []
    for path, group in found.items():
        if _vague(group) and any(other[: len(path)] == path and len(other) > len(path) for other in found):
            continue  # another member of the union got further, and says more
        details = min(group, key=lambda g: (g["type"] == "literal_error", g["type"] in _VAGUE))
        known = {*_fields(model, details["loc"][:-1]), *(extra if len(path) == 1 else ())}
        on_key = details["type"] == "extra_forbidden" or details["loc"][-1:] == ("[key]",)
        result.append(Fault(path, _message(details, known), on_key))
    return result


def shown(value: object) -> str:
    """Show a value as YAML has it, short, and never one that looks like a secret."""
    if isinstance(value, bool) or value is None:
        return {True: "true", False: "false", None: "null"}[value]
    if isinstance(value, Mapping):
        return "a mapping"
    if isinstance(value, list):
        return "a list"
    text = repr(value) if isinstance(value, str) else str(value)
    if _SECRET.search(text):
        return "a value that may be a secret"
    return text if len(text) <= 50 else f"{text[:50]}..."


def dotted(path: Path) -> str:
    """Write a path as people do: ``a.b[0].c``."""
    text = ""
    for step in path:
        text += f"[{step}]" if isinstance(step, int) else f".{step}" if text else step
    return text if len(text) <= 200 else f"{text[:200]}..."


def _relevant(errors: list[ErrorDetails], value: object) -> list[ErrorDetails]:
    """Leave out the members of a union whose ``type`` is another one's, unless nothing is left of the union."""
    others = {
        e["loc"][:-1]
        for e in errors
        if e["type"] == "literal_error" and e["loc"][-1:] == ("type",) and len(_real_path(e, value)) < len(e["loc"])
    }

    def of_another(e: ErrorDetails) -> Location | None:
        return next((loc for loc in others if e["loc"][: len(loc)] == loc), None)

    kept = [e["loc"] for e in errors if of_another(e) is None]
    silent = {loc for loc in others if not any(k[: len(loc) - 1] == loc[:-1] for k in kept)}
    return [e for e in errors if (loc := of_another(e)) is None or loc in silent]


def _real_path(details: ErrorDetails, value: object) -> Path:
    """Keep the steps that are keys or indexes of the value; the others are pydantic's own."""
    path: list[str | int] = []
    steps = details["loc"]
    for index, step in enumerate(steps):
        last = index == len(steps) - 1
        held = value if isinstance(value, Mapping) else dict(enumerate(value)) if isinstance(value, list) else {}
        if step in held:
            value = held[step]
        elif not (last and details["type"] == "missing"):
            continue
        path.append(step)
    return tuple(path)


_VAGUE = frozenset({"literal_error", "string_type", "model_type", "list_type", "dict_type"})


def _vague(group: list[ErrorDetails]) -> bool:
    return all(details["type"] in _VAGUE for details in group)


def _fields(model: type[BaseModel], steps: tuple[str | int, ...]) -> set[str]:
    """Return the keys that are known where ``steps`` lead."""
    at = {model}
    for step in steps:
        if inner := {m for a in at if step in a.model_fields for m in _models(a.model_fields[str(step)].annotation)}:
            at = inner
        elif tagged := {m for m in at if step in _tags(m)}:
            at = tagged
    return {name for m in at for name in m.model_fields}


def _models(annotation: object) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for inner in get_args(annotation):
        yield from _models(inner)


def _tags(model: type[BaseModel]) -> tuple[object, ...]:
    kind = model.model_fields.get("type")
    return (*get_args(kind.annotation), model.__name__) if kind else (model.__name__,)


_WORDS = WORDS | {
    "string_too_short": "must not be shorter than {min_length} characters",
    "string_too_long": "must be at most {max_length} characters long",
    "too_long": "must have at most {max_length} entries",
    "too_short": "must have at least {min_length} entries",
    "int_parsing_size": "must be a smaller number",
    "finite_number": "must be a finite number",
    "union_tag_not_found": "needs a type: {discriminator} is missing",
    "string_pattern_mismatch": "must match {pattern}",
}
_SHOWS_NO_VALUE = {
    "missing",
    "union_tag_not_found",
    "too_long",
    "too_short",
    "string_too_long",
    "string_too_short",
}


def _message(details: ErrorDetails, known: set[str]) -> str:
    kind, context, value = details["type"], details.get("ctx", {}), details["input"]
    if kind == "extra_forbidden":
        key = str(details["loc"][-1])
        return f"unknown key here; {ELSEWHERE[key]}" if key in ELSEWHERE else f"unknown key{did_you_mean(key, known)}"
    if kind == "string_pattern_mismatch" and context["pattern"] in IN_WORDS:
        return f"must be {IN_WORDS[context['pattern']]}, not {shown(value)}"
    if kind in {"literal_error", "union_tag_invalid"}:
        choices = _QUOTED.findall(str(context.get("expected") or context.get("expected_tags")))
        given = context.get("tag", value)
        what = "type must be" if kind == "union_tag_invalid" else "must be"
        listed = choices[0] if len(choices) == 1 else f"one of {', '.join(choices)}"
        return f"{what} {listed}, not {shown(given)}{did_you_mean(given, choices)}"
    if kind == "value_error":
        return str(context["error"])
    words = _WORDS.get(kind)
    if words is None:
        return details["msg"]
    limits = {name: int(n) if isinstance(n, float) and n.is_integer() else n for name, n in context.items()}
    message = "must not be empty" if limits.get("min_length") == 1 else words.format(**limits)
    return message if kind in _SHOWS_NO_VALUE else f"{message}, not {shown(value)}"
