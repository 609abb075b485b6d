"""What an answer means: a value of a wire type, or one exception. Pure.

Whatever a server says is cleaned before anybody sees it: no key, no control characters, no long pages.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from math import isfinite
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from reconciler.api.secret import redact
from reconciler.errors import (
    ApiError,
    Conflict,
    DailyLimit,
    InvalidRequest,
    NoAnswer,
    NotAuthenticated,
    NotFound,
    NotPermitted,
    NotThisApi,
    RateLimited,
    ServerFault,
    TrainingNotAvailable,
    Unsupported,
)

M = TypeVar("M", bound=BaseModel)

_LONGEST = 300
_CONTROL = re.compile(
    r"\x1b\[[0-?]*[ -/]*[@-~]"  # terminal sequences, whole
    r"|[\x00-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u2069\ud800-\udfff\ufeff]"
)
BASE_URL_HINT = "Check the base URL; it usually ends in /v1."


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer as it came. ``headers`` looks names up without regard to case; ``secret`` is never shown."""

    request: str
    status: int
    headers: Mapping[str, str]
    body: bytes
    secret: str | None = None

    @property
    def request_id(self) -> str | None:
        """The server's name for this exchange."""
        found = self.headers.get("x-request-id") or self.headers.get("apim-request-id")
        return clean(found, self.secret) if found else None

    @property
    def time(self) -> float | None:
        """The server's clock when it answered, in Unix seconds."""
        return _date(self.headers.get("date", ""))

    @property
    def is_html(self) -> bool:
        """Whether this is a page for people, so not from such a server."""
        start = self.body[:200].lstrip().lower()
        return "html" in self.headers.get("content-type", "") or start.startswith((b"<!doctype", b"<html"))


def clean(text: object, secret: str | None) -> str:
    """Make a server's words safe to show: one line, no control characters, no secret, at most 300 characters."""
    line = " ".join(_CONTROL.sub(" ", str(text)).split())
    line = redact(line, secret)
    return line if len(line) <= _LONGEST else line[: _LONGEST - 1] + "…"


def parse(reply: Reply, model: type[M]) -> M:
    """Read the body of an answer.

    Raises:
        NoAnswer: the body is cut short or not JSON; another try may get a whole one.
        NotThisApi: it is well-formed, and not what this API answers.
    """
    if reply.is_html:
        raise NotThisApi(
            f"{reply.request} was answered with an HTML page, so this is no fine-tuning server.",
            hint=BASE_URL_HINT,
            status=reply.status,
            request_id=reply.request_id,
        )
    try:
        return _validated(reply.body, model)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        if first["type"] == "json_invalid":
            raise NoAnswer(
                f"The answer to {reply.request} is cut short or not JSON.",
                status=reply.status,
                request_id=reply.request_id,
            ) from None
        place = clean(".".join(map(str, first["loc"])) or "the answer", reply.secret)
        raise NotThisApi(
            f"The answer to {reply.request} is not of this API: {place}: {clean(first['msg'], reply.secret)}.",
            hint=BASE_URL_HINT,
            status=reply.status,
            request_id=reply.request_id,
        ) from None


def _validated(body: bytes, model: type[M]) -> M:
    """Validate a body, with what are no characters (half of a pair, bytes that are not UTF-8) replaced.

    One text that somebody mangled must not make a whole list unreadable.
    """
    try:
        return model.model_validate_json(body)
    except ValidationError as error:
        if error.errors(include_url=False, include_input=False)[0]["type"] != "json_invalid":
            raise
        try:
            plain = json.dumps(json.loads(body.decode(errors="replace"), strict=False), ensure_ascii=False)
        except (ValueError, RecursionError):
            raise error from None
        return model.model_validate_json(plain.encode("utf-16", "surrogatepass").decode("utf-16", "replace"))


_BY_STATUS: Mapping[int, type[ApiError]] = {
    401: NotAuthenticated,
    403: NotPermitted,
    404: NotFound,
    405: Unsupported,
    408: ServerFault,
    409: Conflict,
    429: RateLimited,
    501: Unsupported,
}
_BY_CODE: Mapping[str, type[ApiError]] = {
    "invalid_api_key": NotAuthenticated,
    "training_not_available": TrainingNotAvailable,
    "daily_rate_limit_exceeded": DailyLimit,
    "insufficient_quota": NotPermitted,
    "billing_hard_limit_reached": NotPermitted,
}
_PLAIN: Mapping[type[ApiError], tuple[str, str]] = {
    NotAuthenticated: ("The server does not accept the key", "Check that {key} holds a key of this server."),
    NotPermitted: (
        "This key may not do that",
        "Use a key of the right project, with permission for fine-tuning and files, and funds to spend.",
    ),
    TrainingNotAvailable: (
        "This account may not start fine-tuning jobs on this server",
        "The host no longer opens fine-tuning to this account. The same specs work on another one: see --server.",
    ),
    DailyLimit: ("The day's limit of fine-tuning jobs is used up", "Run again tomorrow; what is done stays done."),
    RateLimited: ("The server asks for fewer requests", "Wait a little and run again."),
    NotFound: ("The server knows no such object", "It may belong to another project or server."),
    Unsupported: ("This server does not offer the operation", ""),
    Conflict: ("The object is in a state that does not allow this", ""),
    ServerFault: ("The server failed", "Run again later; nothing is bought twice."),
}


def fault(reply: Reply, *, now: float, key_env: str | None = None) -> ApiError:
    """Turn a refusal into the exception that says it best. ``now`` is in Unix seconds."""
    message, code, param = _words(reply)
    kind = _kind(reply, code)
    plain, hint = _PLAIN.get(kind, ("The server refuses the request", ""))
    if kind is NotThisApi:
        plain, hint = _not_this_api(reply)
    elif reply.status == 400 and re.search(r"api[ _-]?key|authenti", message, re.IGNORECASE):
        hint = f"If this is about your own key, check {key_env or 'the key of this server'}."
    error = kind(
        f"{plain}: {message}" if message else f"{plain}, without saying why.",
        hint=hint.format(key=key_env or "the variable that key_env names"),
        status=reply.status,
        code=code,
        param=param,
        request_id=reply.request_id,
    )
    if isinstance(error, RateLimited | ServerFault):
        error.retry_after = retry_after(reply.headers, now)
    return error


def _kind(reply: Reply, code: str | None) -> type[ApiError]:
    if reply.status < 400 or (reply.is_html and reply.status in (404, 405)):
        return NotThisApi
    if code is not None and code in _BY_CODE:
        return _BY_CODE[code]
    if reply.status >= 500:
        return _BY_STATUS.get(reply.status, ServerFault)
    return _BY_STATUS.get(reply.status, InvalidRequest)


def _not_this_api(reply: Reply) -> tuple[str, str]:
    target = reply.headers.get("location")
    if target:
        return (
            f"{reply.request} is redirected to {clean(target, reply.secret)}, which is not followed",
            "Set the base URL to where the server really is.",
        )
    return f"{reply.request} was not answered as a fine-tuning server does", BASE_URL_HINT


def _words(reply: Reply) -> tuple[str, str | None, str | None]:
    """Find message, code and param in any of the shapes that servers and proxies use."""
    if reply.is_html:
        return "an HTML page", None, None
    try:
        body: Any = json.loads(reply.body)
    except (ValueError, RecursionError):
        body = reply.body.decode(errors="replace")
    found = body
    if isinstance(body, dict):
        found = next((body[k] for k in ("error", "detail", "message") if body.get(k)), "")
    if isinstance(found, list):
        found = found[0] if found else ""
    if not isinstance(found, dict):
        return clean(found, reply.secret), None, None
    message = found.get("message") or found.get("msg") or ""
    code = found.get("code")
    param = found.get("param") or ".".join(map(str, found.get("loc") or ()))
    secret = reply.secret
    return clean(message, secret), clean(code, secret) if code else None, clean(param, secret) if param else None


def retry_after(headers: Mapping[str, str], now: float) -> float | None:
    """Seconds the server asks to wait: ``retry-after-ms``, else ``Retry-After`` as seconds or as an HTTP date."""
    for name, unit in (("retry-after-ms", 1000.0), ("retry-after", 1.0)):
        text = headers.get(name, "")
        try:
            seconds = float(text) / unit
        except ValueError:
            date = _date(text)
            seconds = -1.0 if date is None else max(0.0, date - now)
        if isfinite(seconds) and seconds >= 0:
            return seconds
    return None


def _date(text: str) -> float | None:
    try:
        return parsedate_to_datetime(text).timestamp()
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
