"""What holds for every request: its id, the key, the size of its body, and that it always gets an answer."""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import logging
import re
import secrets
import time

import httpx
from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from reconciler.api.heads import headers_text
from reconciler.api.loopback import is_loopback
from reconciler.server.context import Settings
from reconciler.server.problems import Problem, printable
from reconciler.server.uploads import too_large

log = logging.getLogger(__name__)

_OPEN = frozenset({"/healthz"})
_READING = frozenset({"GET", "HEAD"})
_OWN_SITES = frozenset({"none", "same-origin"})
"""What a browser says of a request that no other site's page made; nothing but a browser says anything."""
_FILES = "/v1/files"
_PARTS = re.compile(r"/v1/uploads/[^/]+/parts")
_FORM_ROOM = 64 * 1024
_DRAINED_BYTES = 64 * 1024 * 1024
_DRAINED_SECONDS = 5.0


class Guard:
    """Middleware around the whole application."""

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        self._app = app
        self._settings = settings

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        exchange = Exchange(scope, receive, send, self._limit(scope["path"]))
        what = f"{scope['method']} {printable(scope['path'])}"
        began = time.monotonic()
        try:
            self._admit(scope, exchange.headers)
            await self._app(scope, exchange.receive, exchange.send)
        except Problem as problem:
            await problem.response(scope, exchange.receive, exchange.send)
        except ClientDisconnect:
            log.info("%s: the client went away.", what)
        except Exception:
            log.exception("%s failed (%s).", what, exchange.request_id)
            if exchange.answer is not None:
                raise
            fault = Problem(500, "The server has an error; its log says more.", code="internal_error")
            await fault.response(scope, exchange.receive, exchange.send)
        finally:
            if self._settings.logs:
                exchange.log(what, scope, time.monotonic() - began)

    def _limit(self, path: str) -> int:
        if path == _FILES:
            return self._settings.max_file + _FORM_ROOM
        if _PARTS.fullmatch(path):
            return self._settings.max_part + _FORM_ROOM
        return self._settings.max_body

    def _admit(self, scope: Scope, headers: Headers) -> None:
        if self._settings.loopback and not is_loopback(headers.get("host", "localhost")):
            # A page may have pointed its own name at this machine; then it is the same site to a browser.
            raise Problem(421, "This server is for this machine alone: use 127.0.0.1 or localhost.", code="wrong_host")
        if scope["method"] not in _READING and headers.get("sec-fetch-site", "none") not in _OWN_SITES:
            raise Problem(403, "A page of another site may not ask for changes here.", code="cross_site")
        key = self._settings.api_key
        if key is None or scope["path"] in _OPEN:
            return
        kind, _, bearer = headers.get("authorization", "").partition(" ")
        given = bearer.strip() if kind.lower() == "bearer" else headers.get("api-key", "")
        if not given:
            raise Problem(
                401,
                "You didn't provide an API key. Send it as 'Authorization: Bearer KEY'.",
                code="missing_api_key",
                headers={"WWW-Authenticate": "Bearer"},
            )
        if not hmac.compare_digest(given.encode("latin-1"), key.encode()):
            raise Problem(401, "Incorrect API key.", code="invalid_api_key", headers={"WWW-Authenticate": "Bearer"})


class Exchange:
    """One request and its answer, with a limit on the body in bytes."""

    def __init__(self, scope: Scope, receive: Receive, send: Send, limit: int) -> None:
        self.headers = Headers(scope=scope)
        self.request_id = f"req_{secrets.token_hex(16)}"
        self.answer: Message | None = None
        self._receive = receive
        self._send = send
        self._limit = limit
        self._taken = 0
        self._complete = False

    async def receive(self) -> Message:
        """Pass the body on, up to the limit."""
        message = await self._next()
        if self._taken > self._limit:
            raise too_large(self._limit)
        return message

    async def send(self, message: Message) -> None:
        """Add the request's id; before a refusal, take what the client still sends, so that it hears the answer."""
        if message["type"] == "http.response.start":
            self.answer = message
            MutableHeaders(scope=message)["x-request-id"] = self.request_id
            if message["status"] >= 400:
                await self._drain()
        await self._send(message)

    def log(self, what: str, scope: Scope, seconds: float) -> None:
        """Log the request in a line at level info, and both heads at level debug, as a client does."""
        status = self.answer["status"] if self.answer else None
        if log.isEnabledFor(logging.DEBUG):
            query = scope["query_string"].decode("latin-1")
            log.debug("> %s%s; %s", what, query and f"?{query}", headers_text(httpx.Headers(scope["headers"])))
            if self.answer:
                log.debug("< %d; %s", status, headers_text(httpx.Headers(self.answer["headers"])))
        duration, words = round(seconds * 1000), "%s → %s, %d ms, %s"
        fields = {"method": scope["method"], "path": scope["path"], "status": status, "duration_ms": duration}
        fields["request_id"] = self.request_id
        log.info(words, what, status or "no answer", duration, self.request_id, extra=fields)

    async def _next(self) -> Message:
        message = await self._receive()
        self._taken += len(message.get("body", b""))
        self._complete = message["type"] != "http.request" or not message.get("more_body", False)
        return message

    async def _drain(self) -> None:
        most = self._taken + _DRAINED_BYTES
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_DRAINED_SECONDS):
                while not self._complete and self._taken < most:
                    await self._next()
