"""JSON as it is printed: one form for every command."""

from __future__ import annotations

import json
import math
from typing import Any


def to_text(document: object, *, indent: int | None = 2) -> str:
    """Return JSON with a final line break, in ASCII alone: no text in it is a command to a terminal or the log of a CI.

    Numbers that JSON cannot say (servers do report a loss of NaN) become null. ``indent`` None is one line.
    """
    text = json.dumps(_sayable(document), indent=indent, ensure_ascii=True, allow_nan=False)
    return text.replace("##", "#\\u0023") + "\n"


def _sayable(value: Any) -> Any:  # noqa: ANN401 - JSON is anything
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, dict):
        return {key: _sayable(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_sayable(item) for item in value]
    return value
