"""What several routes read and answer alike."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated

from fastapi import Depends, Query
from fastapi.responses import Response

from reconciler.server.context import Context, context
from reconciler.server.documents import Document, dump
from reconciler.server.jobs import UnknownCursor
from reconciler.server.problems import Problem, printable

Here = Annotated[Context, Depends(context)]
After = Annotated[str | None, Query(description="The last id of the page before.")]
Limit = Annotated[int, Query(ge=1, le=100, description="How many at most.")]


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
