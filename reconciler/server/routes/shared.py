"""What several routes read and answer alike."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any

from fastapi import Depends, Query
from fastapi.responses import Response

from reconciler.server.context import Context, context
from reconciler.server.documents import Document, dump
from reconciler.server.jobs import UnknownCursor
from reconciler.server.problems import Problem, printable

Here = Annotated[Context, Depends(context)]
After = Annotated[str | None, Query(description="The last id of the page before.")]
Limit = Annotated[int, Query(ge=1, le=100, description="How many at most.")]
_DEEPEST = 64


def answer(body: Document | str | bytes) -> Response:
    """Send JSON, serialised already or not."""
    text = dump(body) if isinstance(body, dict) else body
    return Response(text, media_type="application/json")


@contextmanager
def known_cursor() -> Iterator[None]:
    """Turn an ``after`` that names nothing into a refusal: an empty page would read as 'that was all'."""
    try:
        yield
    except UnknownCursor as error:
        words = f"'after' is {printable(str(error))}, which is not in this list."
        raise Problem(400, words, code="invalid_cursor", param="after") from error


def storable(value: Any) -> Any:  # noqa: ANN401 - any JSON
    """Let through what can be stored, or handed on, and sent back as it came.

    Raises:
        ValueError: a NUL, half a surrogate pair, a number that JSON has no words for, or very deep nesting.
    """
    waiting = [(value, 0)]
    while waiting:
        item, depth = waiting.pop()
        if depth > _DEEPEST:
            raise ValueError(f"is nested more than {_DEEPEST} levels deep")
        if isinstance(item, str) and ("\0" in item or any("\ud800" <= c <= "\udfff" for c in item)):
            raise ValueError("strings may not contain NUL or half a surrogate pair")
        if isinstance(item, float) and not math.isfinite(item):
            raise ValueError("numbers must be finite")
        if isinstance(item, dict):
            waiting += [(part, depth + 1) for pair in item.items() for part in pair]
        elif isinstance(item, list):
            waiting += [(part, depth + 1) for part in item]
    return value
