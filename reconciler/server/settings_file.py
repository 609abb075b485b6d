"""Files that tell the server something, in YAML: read whole, and every fault said with its place."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

import ryaml
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from reconciler.errors import UsageError
from reconciler.wording import WORDS, did_you_mean

_LARGEST = 1 << 20
_KEY = "[key]"
_WORDS = WORDS | {
    "too_short": "must not be empty",
    "literal_error": "must be {expected}",
    "union_tag_invalid": "must be one of {expected_tags}, not '{tag}'",
    "union_tag_not_found": "needs {discriminator}",
    "byte_size": "must be a size, such as 24GiB",
    "byte_size_unit": "must be a size, such as 24GiB",
}
M = TypeVar("M", bound=BaseModel)


def read_settings(path: Path, kind: type[M], *, guide: str) -> M:
    """Read a file as what it should be; ``guide`` is the page that says so.

    Raises:
        UsageError: it cannot be read, or says something that means nothing; every fault is named.
    """
    document = None
    try:
        if path.stat().st_size > _LARGEST:
            raise UsageError(f"{path} is larger than {_LARGEST >> 20} MB.")
        document = ryaml.loads(path.read_text(encoding="utf-8"))  # type: ignore[attr-defined]
        return kind.model_validate(document)
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror or error}.") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"{path} cannot be read: {error}.") from error
    except ryaml.InvalidYamlError as error:  # type: ignore[attr-defined]
        raise UsageError(f"{path} is no YAML: {error}.") from error
    except ValidationError as error:
        lines = [f"{path}: {words}" for words in _faults(error, document, kind)]
        raise UsageError("\n".join(lines), hint=f"What it may say: {guide}") from error


def _faults(error: ValidationError, document: object, kind: type[BaseModel]) -> Iterator[str]:
    """Yield a line for each place; of several forms that a value may have, those that it is nearest to."""
    found: dict[tuple[str, ...], list[str]] = {}
    for details in error.errors(include_url=False):
        found.setdefault(tuple(_place(details, document)), []).append(_said(details, kind))
    for place, words in found.items():
        if not any(other[: len(place)] == place and len(other) > len(place) for other in found):
            yield f"{'.'.join(place) or 'the file'}: {', or '.join(dict.fromkeys(words))}"


def _place(details: ErrorDetails, value: Any) -> Iterator[str]:  # noqa: ANN401 - whatever YAML holds
    """Yield the steps that are in the file; the others are pydantic's own. What is in a list counts from 1."""
    for step in details["loc"]:
        held = value if isinstance(value, Mapping) else dict(enumerate(value)) if isinstance(value, list) else {}
        if step in held:
            yield str(step + 1) if isinstance(value, list) and isinstance(step, int) else str(step)
            value = held[step]
    if details["type"] == "missing":
        yield str(details["loc"][-1])


def _said(details: ErrorDetails, kind: type[BaseModel]) -> str:
    if details["type"] == "extra_forbidden":
        key, known = str(details["loc"][-1]), _keys(kind)
        near = "" if key in known else did_you_mean(key, known)
        return f"unknown key{near or ' here'}"
    if details["loc"][-1:] == (_KEY,):
        return "a name must be text"
    words, facts = _WORDS.get(details["type"]), details.get("ctx", {})
    limits = {name: f"{value:g}" if isinstance(value, float) else value for name, value in facts.items()}
    return words.format(**limits) if words else details["msg"].removeprefix("Value error, ")


def _keys(kind: type[BaseModel]) -> set[str]:
    """Return all keys that the file may have anywhere."""
    schema = kind.model_json_schema()
    return {key for part in (schema, *schema.get("$defs", {}).values()) for key in part.get("properties", {})}
