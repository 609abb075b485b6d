"""Files that tell the server something, in YAML: read whole, and every fault said with its place."""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

import ryaml
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from reconciler.errors import UsageError

_LARGEST = 1 << 20
M = TypeVar("M", bound=BaseModel)


def read_settings(path: Path, kind: type[M]) -> M:
    """Read a file as what it should be.

    Raises:
        UsageError: it cannot be read, or says something that means nothing; every fault is named.
    """
    try:
        if path.stat().st_size > _LARGEST:
            raise UsageError(f"{path} is larger than {_LARGEST >> 20} MB.")
        return kind.model_validate(ryaml.loads(path.read_text(encoding="utf-8")))  # type: ignore[attr-defined]
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} cannot be read: {error}.") from error
    except ryaml.InvalidYamlError as error:  # type: ignore[attr-defined]
        raise UsageError(f"{path} is no YAML: {error}.") from error
    except ValidationError as error:
        raise UsageError("\n".join(f"{path}: {_said(fault)}" for fault in error.errors(include_url=False))) from error


def _said(fault: ErrorDetails) -> str:
    """Say where and what; what is in a list counts from 1."""
    place = ".".join(str(part + 1) if isinstance(part, int) else part for part in fault["loc"])
    words = "unknown key" if fault["type"] == "extra_forbidden" else fault["msg"].removeprefix("Value error, ")
    return f"{place or 'the file'}: {words}"
