"""One spec with a ``matrix`` becomes one job a combination, under names that a person can read."""

from __future__ import annotations

import hashlib
import itertools
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from reconciler.spec.documents import Path
from reconciler.spec.faults import shown
from reconciler.spec.model import FLAT, HYPERPARAMETERS, MAX_NAME, Spec
from reconciler.spec.overlay import Choice
from reconciler.wording import did_you_mean

MAX_COMBINATIONS = 1_000

_FIELDS = frozenset({*Spec.model_fields, *FLAT} - {"name", "adopt"})
_SUGGESTED = sorted({f"hyperparameters.{key}" for model in HYPERPARAMETERS.values() for key in model.model_fields})


class MatrixError(Exception):
    """``path`` is where in the spec; ``on_key`` points to the key."""

    def __init__(self, path: Path, message: str, *, on_key: bool = False) -> None:
        super().__init__(message)
        self.path = path
        self.message = message
        self.on_key = on_key


@dataclass(frozen=True)
class Variant:
    """One combination: a spec without matrix, and the choices that made it."""

    raw: Mapping[str, Any]
    choices: tuple[Choice, ...] = ()


def expand(raw: Mapping[str, Any]) -> list[Variant]:
    """Return one variant a combination, or the spec itself where it has no matrix.

    The order of keys does not matter: names are made from the values in the order of the sorted keys.

    Raises:
        MatrixError: the matrix, or a name that would come of it, is not possible.
    """
    matrix = raw.get("matrix")
    base = {key: value for key, value in raw.items() if key != "matrix"}
    if matrix is None:
        return [Variant(base)]
    axes = list(_axes(matrix))
    combinations = math.prod(len(values) for _, _, values in axes)
    if combinations > MAX_COMBINATIONS:
        raise MatrixError(("matrix",), f"has {combinations:,} combinations; at most {MAX_COMBINATIONS:,} are allowed")
    if not isinstance(base.get("name"), str):
        return [Variant(base)]  # whatever is wrong with the name is said once, by the model
    variants: dict[str, Variant] = {}
    for indexes in itertools.product(*(range(len(values)) for _, _, values in axes)):
        choices = tuple(Choice(key, path, index) for (key, path, _), index in zip(axes, indexes, strict=True))
        picked = [values[index] for (_, _, values), index in zip(axes, indexes, strict=True)]
        name = _name(base["name"], choices, picked)
        if name in variants:
            raise MatrixError(("matrix",), f"two combinations are both named '{name}'; make their values differ more")
        variant = base | {"name": name}
        for choice, value in zip(choices, picked, strict=True):
            variant = _set(variant, choice.path, value, choice.key)
        variants[name] = Variant(variant, choices)
    return list(variants.values())


def _axes(matrix: object) -> Iterator[tuple[str, Path, list[Any]]]:
    if not isinstance(matrix, Mapping) or not matrix:
        raise MatrixError(("matrix",), f"must be a mapping of fields to lists of values, not {shown(matrix)}")
    for key in sorted(matrix):
        path: Path = tuple(key.split("."))
        if path[0] not in _FIELDS or "" in path:
            why = "every job is named by its values" if key == "name" else f"unknown field{_near(key)}"
            raise MatrixError(("matrix", key), why, on_key=True)
        for other in matrix:
            if other.startswith(f"{key}."):
                raise MatrixError(("matrix", other), f"is a part of {key}, which the matrix also sets", on_key=True)
        values = matrix[key]
        if not isinstance(values, list) or not values:
            raise MatrixError(
                ("matrix", key), f"must be a list of values, not {'empty' if values == [] else shown(values)}"
            )
        yield key, path, values


def _near(key: str) -> str:
    known = [full for full in _SUGGESTED if full.endswith(f".{key}")]
    return f"; did you mean '{known[0]}'?" if known else did_you_mean(key, [*_FIELDS, *_SUGGESTED])


def _set(raw: Mapping[str, Any], path: Path, value: Any, key: str) -> dict[str, Any]:  # noqa: ANN401
    """Return a copy with one field set."""
    step, rest = str(path[0]), path[1:]
    if not rest:
        return {**raw, step: value}
    inner = raw.get(step)
    if inner is not None and not isinstance(inner, Mapping):
        raise MatrixError(("matrix", key), f"leads nowhere: {step} is {shown(inner)}, not a mapping", on_key=True)
    return {**raw, step: _set(inner or {}, rest, value, key)}


def _name(base: str, choices: tuple[Choice, ...], values: list[Any]) -> str:
    name = "-".join([base, *(_slug(c.path, v) for c, v in zip(choices, values, strict=True))])
    if len(name) > MAX_NAME:
        raise MatrixError(
            ("matrix",), f"the name '{name[:100]}' has {len(name)} characters; at most {MAX_NAME} are allowed"
        )
    return name


def _slug(path: Path, value: Any) -> str:  # noqa: ANN401
    if path[-1] in {"training_file", "validation_file"} and isinstance(value, str):
        value = PurePosixPath(value).stem
    text = _text(value)
    slug = re.sub(r"[^a-z0-9.]+", "-", text.lower()).strip("-.")
    return slug or hashlib.sha256(text.encode()).hexdigest()[:8]


def _text(value: Any) -> str:  # noqa: ANN401
    if isinstance(value, Mapping):
        return "-".join(_text(value[key]) for key in sorted(value, reverse=True))  # job, checkpoint
    if isinstance(value, list):
        return "-".join(map(_text, value))
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return "none" if value is None else str(value)
