"""What several routes read and answer alike."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, TypeVar

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from reconciler.errors import ReconcilerError, UsageError

NOT_KEPT = {"Cache-Control": "no-store"}
T = TypeVar("T")


def as_json(value: Mapping[str, Any]) -> JSONResponse:
    """Answer with data, which is never kept."""
    return JSONResponse(value, headers=NOT_KEPT)


def found(value: T | None, what: str) -> T:
    """Let through what there is.

    Raises:
        HTTPException: there is nothing.
    """
    if value is None:
        raise HTTPException(404, f"There is no such {what}.")
    return value


async def body_of(request: Request, most: int) -> bytes:
    """Read a body of so many bytes.

    Raises:
        HTTPException: it is longer.
    """
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > most:
            raise HTTPException(413, "That is too long.")
    return body


async def json_of(request: Request, most: int = 1_000_000) -> Any:  # noqa: ANN401 - whatever was sent
    """Read a body that is JSON.

    Raises:
        HTTPException: it is not.
    """
    try:
        return json.loads(await body_of(request, most))
    except ValueError as error:
        raise HTTPException(400, "That is not JSON.") from error


async def refused(_: Request, error: Exception) -> Response:
    """Say what a request may not, or that there is no such thing."""
    assert isinstance(error, HTTPException)  # noqa: S101 - registered for nothing else
    return JSONResponse({"error": error.detail}, error.status_code, error.headers)


async def failed(_: Request, error: Exception) -> Response:
    """Say what went wrong behind the pages."""
    assert isinstance(error, ReconcilerError)  # noqa: S101 - registered for nothing else
    status = 400 if isinstance(error, UsageError) else 502
    return JSONResponse({"error": f"{error.message} {error.hint}".strip()}, status)
