"""Overrides over specs, and where a resolved value came from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from reconciler.errors import Problem
from reconciler.spec.documents import Document, Path
from reconciler.spec.faults import dotted


def merge(base: Any, over: Any) -> Any:  # noqa: ANN401 - any YAML value
    """Lay ``over`` upon ``base``: mappings merge key by key, lists and single values replace, null removes a key."""
    if not isinstance(over, Mapping):
        return over
    result = dict(base) if isinstance(base, Mapping) else {}
    for key, value in over.items():
        if value is None:
            result.pop(key, None)
        else:
            result[key] = merge(result.get(key), value)
    return result


@dataclass(frozen=True)
class Choice:
    """One value of a matrix: for the field at ``path``, entry ``index`` of the list under ``key``."""

    key: str
    path: Path
    index: int


@dataclass(frozen=True)
class Overrides:
    """What an environment changes in every spec, and where ``reconciler.yaml`` says so."""

    document: Document
    path: Path
    values: Mapping[str, Any]


@dataclass(frozen=True)
class Origin:
    """What a resolved spec was made from, and so where each of its values stands."""

    document: Document
    overrides: Overrides | None = None
    choices: tuple[Choice, ...] = ()

    def problem(self, path: Path, message: str, *, on_key: bool = False) -> Problem:
        """Make a problem that names the field at ``path`` and points to where the value was given."""
        words = f"{dotted(path)}: {message}" if path else message
        for choice in self.choices:
            size = len(choice.path)
            if path[:size] == choice.path:
                if on_key and len(path) == size:
                    return self._base(("matrix", choice.key), words, on_key=True)
                return self._base(("matrix", choice.key, choice.index, *path[size:]), words, on_key=on_key)
            if path and choice.path[: len(path)] == path:
                return self._base(("matrix", choice.key), words, on_key=True)
        return self._base(path, words, on_key=on_key)

    def _base(self, path: Path, words: str, *, on_key: bool) -> Problem:
        over = self.overrides
        if over and path and _holds(over.values, path):
            return over.document.problem(over.path + path, words, on_key=on_key)
        return self.document.problem(path, words, on_key=on_key)


def _holds(value: Any, path: Path) -> bool:  # noqa: ANN401
    for step in path:
        held = value if isinstance(value, Mapping) else dict(enumerate(value)) if isinstance(value, list) else {}
        if held.get(step) is None:
            return False
        value = held[step]
    return True
