"""What the server answers when it cannot do what was asked, in the API's shape.

``{"error": {"message", "type", "param", "code"}}``: all four keys, always.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from starlette.exceptions import HTTPException

from reconciler.errors import StoreError
from reconciler.server.documents import dump
from reconciler.server.store import StorageFull


class Problem(HTTPException):
    """A refusal: a status, words for a person, and for programs a code and the parameter at fault."""

    def __init__(
        self,
        status: int,
        message: str,
        *,
        code: str | None = None,
        param: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(status, message, headers)
        self.code = code
        self.param = param

    @property
    def response(self) -> Response:
        """The answer that says so."""
        kind = "server_error" if self.status_code >= 500 else "invalid_request_error"
        kind = "rate_limit_error" if self.status_code == 429 else kind
        error = {"message": self.detail, "type": kind, "param": self.param, "code": self.code}
        return Response(dump({"error": error}), self.status_code, self.headers, "application/json")


def not_found(kind: str, object_id: str, param: str = "id") -> Problem:
    """There is no such object."""
    return Problem(404, f"No such {kind}: {printable(object_id)}", code="not_found", param=param)


def printable(text: str, longest: int = 100) -> str:
    """Quote what a client sent, cut, without control characters or halves of surrogate pairs."""
    return ascii(text[:longest]) if not text.isprintable() else text[:longest]


def install(app: FastAPI) -> None:
    """Make every refusal of the framework's, too, speak the API's shape."""
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _refused)
    app.add_exception_handler(StoreError, _store)


async def _refused(request: Request, error: Exception) -> Response:
    if isinstance(error, Problem):
        return error.response
    assert isinstance(error, HTTPException)  # noqa: S101 - registered for nothing else
    words = str(error.detail)
    if error.status_code in (404, 405):
        path = printable(request.scope["path"])
        words = f"There is no {request.method} {path} here; the API's addresses begin with /v1."
    return Problem(error.status_code, words, headers=error.headers).response


async def _invalid(_: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)  # noqa: S101
    return invalid(error.errors(), error.body).response


async def _store(_: Request, error: Exception) -> Response:
    assert isinstance(error, StoreError)  # noqa: S101
    return storage(error).response


def storage(error: StoreError) -> Problem:
    """The database or the disk refused."""
    message = f"{error.message} {error.hint}".strip()
    if isinstance(error, StorageFull):
        return Problem(507, message, code="insufficient_storage")
    return Problem(503, message, code="storage_unavailable", headers={"Retry-After": "1"})


def invalid(errors: Sequence[Mapping[str, Any]], body: object = None) -> Problem:
    """Name the first fault by its place; pydantic's places begin with body, query or path.

    Of a place in ``body``, only the steps are named that are really there: pydantic adds those of its own unions.
    """
    first = errors[0]
    if first["type"] == "json_invalid":
        return Problem(400, "The body is not valid JSON.", code="invalid_json")
    place, *rest = first["loc"]
    rest = list(_real(rest, body, first["type"])) if place == "body" else rest
    param = ".".join(str(part) for part in rest) or (None if place == "body" else str(place))
    message = str(first["msg"]).removeprefix("Value error, ")
    words = f"Invalid value for '{printable(param)}': {message}" if param else f"Invalid {place}: {message}"
    return Problem(400, printable(words, 1000), code="invalid_value", param=param and printable(param))


def _real(steps: Sequence[str | int], value: object, kind: str) -> Iterator[str | int]:
    for number, step in enumerate(steps, start=1):
        held = value if isinstance(value, dict) else dict(enumerate(value)) if isinstance(value, list) else {}
        if step in held:
            value = held[step]
            yield step
        elif number == len(steps) and kind == "missing":
            yield step
