"""What the log says of requests and answers: a line each, and their heads without keys and cookies. Never a body."""

from __future__ import annotations

import logging
import re

import httpx

log = logging.getLogger(__name__)

HIDDEN = "[redacted]"
_HARMLESS = {"idempotency-key"}
_SECRET = re.compile(
    r"(.*[-_])?((proxy-)?authorization|authentication|cookie2?|auth|api[-_]?key|key|token|secret|signature|password"
    r"|credentials?)",
    re.IGNORECASE,
)


def log_request(request: httpx.Request) -> None:
    """Log a request's head at level debug."""
    if log.isEnabledFor(logging.DEBUG):
        log.debug("> %s %s; %s", request.method, request.url, headers_text(request.headers))


def log_answer(response: httpx.Response, path: str) -> None:
    """Log an answer that has been closed at level info, in one line, and its head at level debug."""
    if not log.isEnabledFor(logging.INFO):
        return
    method, status = response.request.method, response.status_code
    request_id = response.headers.get("x-request-id")
    duration = round(response.elapsed.total_seconds() * 1000)
    fields = {"method": method, "path": path, "status": status, "duration_ms": duration, "request_id": request_id}
    words = "%s %s → %d, %d ms, %s"
    log.info(words, method, path, status, duration, request_id or "no request id", extra=fields)
    log.debug("< %d; %s", status, headers_text(response.headers))


def log_failure(name: str, error: Exception) -> None:
    """Log at level info that no answer came, or only part of one."""
    log.info("%s → no answer: %s", name, str(error) or type(error).__name__)


def headers_text(headers: httpx.Headers) -> str:
    """Return headers on one line, with nothing in place of what gives access."""
    return "; ".join(f"{name}: {HIDDEN if hides(name) else value}" for name, value in headers.multi_items())


def hides(name: str) -> bool:
    """Whether a header's value gives access: by whole words, since x-ratelimit-remaining-tokens is a number."""
    return name.lower() not in _HARMLESS and _SECRET.fullmatch(name) is not None
