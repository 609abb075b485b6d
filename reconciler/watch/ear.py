"""What a watch hears over HTTP: webhooks that say how jobs ended, and whether it is well.

A message only makes the watch look sooner, and looks at the server for itself. So one that is forged could cost
requests, no more; all the same it is refused, and so is one that was sent before.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import socket
import time
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from typing import Any

import uvicorn

from reconciler.api.webhooks import ENDED, TOLERANCE, NotGenuine, verify
from reconciler.errors import UsageError

log = logging.getLogger(__name__)

PATH = "/webhook"
_LARGEST = 65_536
_MOST_KEPT = 10_000
_EVENTS = frozenset(f"fine_tuning.job.{status}" for status in ENDED)

Scope = Mapping[str, Any]
Receive = Callable[[], Any]
Send = Callable[[dict[str, Any]], Any]
Health = Callable[[], tuple[bool, Mapping[str, object]]]
"""Says whether all is well, and facts about it."""


class Ear:
    """An ASGI application. ``key`` None takes no webhooks; ``heard`` is told the id of each job that has ended.

    ``alive`` answers ``/healthz``, ``ready`` answers ``/readyz``, and ``metrics``, where there are any, ``/metrics``.
    ``clock`` gives Unix seconds.
    """

    def __init__(
        self,
        key: bytes | None,
        heard: Callable[[str], None],
        *,
        alive: Health,
        ready: Health,
        metrics: Callable[[], bytes] | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._key, self._heard, self._clock = key, heard, clock
        self._health = {"/healthz": alive, "/readyz": ready}
        self._metrics = metrics
        self._seen: OrderedDict[tuple[str, int], None] = OrderedDict()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            return
        if scope["path"] == "/metrics" and scope["method"] in ("GET", "HEAD") and self._metrics is not None:
            status, body, kind = 200, self._metrics(), b"text/plain; version=0.0.4; charset=utf-8"
        else:
            status, document = await self._answer(scope, receive)
            body, kind = json.dumps(document).encode() + b"\n", b"application/json"
        headers = [(b"content-type", kind), (b"content-length", str(len(body)).encode())]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else body})

    async def _answer(self, scope: Scope, receive: Receive) -> tuple[int, Mapping[str, object]]:
        method, path = scope["method"], scope["path"]
        if path in self._health and method in ("GET", "HEAD"):
            well, facts = self._health[path]()
            return 200 if well else 503, {"ok": well, **facts}
        if path == PATH and method == "POST":
            return await self._take(scope, receive)
        if path == "/metrics" and self._metrics is None:
            return 404, {"error": "metrics are not installed: pip install 'finetune-reconciler[metrics]'"}
        if path in (PATH, "/metrics", *self._health):
            return 405, {"error": "method not allowed"}
        return 404, {"error": "not found"}

    async def _take(self, scope: Scope, receive: Receive) -> tuple[int, Mapping[str, object]]:
        if self._key is None:
            return 404, {"error": "no secret is set, so no webhook is taken"}
        body = await _body(receive)
        if body is None:
            return 413, {"error": "too large"}
        headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
        try:
            message = verify(self._key, headers, body, self._clock())
        except NotGenuine as error:
            log.warning("A webhook was refused: %s.", error)
            return 401, {"error": str(error)}
        if message in self._seen:
            log.warning("A webhook was refused: it was sent before.")
            return 409, {"error": "it was sent before"}
        self._remember(message)
        if job_id := _ended_job(body):
            self._heard(job_id)
        return 200, {"ok": True}

    def _remember(self, message: tuple[str, int]) -> None:
        """Know a message for as long as its signature is good."""
        self._seen[message] = None
        oldest = self._clock() - 2 * TOLERANCE
        while self._seen and (next(iter(self._seen))[1] < oldest or len(self._seen) > _MOST_KEPT):
            self._seen.popitem(last=False)


async def _body(receive: Receive) -> bytes | None:
    body = bytearray()
    while True:
        message = await receive()
        body += message.get("body", b"")
        if len(body) > _LARGEST:
            return None
        if not message.get("more_body"):
            return bytes(body)


def _ended_job(body: bytes) -> str | None:
    """Read which job has ended; None where a message says something else."""
    try:
        match json.loads(body):
            case {"type": str(kind), "data": {"id": str(job_id)}} if kind in _EVENTS:
                return job_id
    except ValueError:
        pass
    return None


def address(text: str) -> tuple[str, int]:
    """Read ``[HOST:]PORT``; without a host only this machine is heard.

    Raises:
        UsageError: it is no such address.
    """
    host, _, port = text.rpartition(":")
    if not (port.isascii() and port.isdigit() and int(port) < 65_536):
        raise UsageError("--listen takes [HOST:]PORT.", hint="For example 8080, or 0.0.0.0:8080 for every network.")
    return host.strip("[]") or "127.0.0.1", int(port)


class _Server(uvicorn.Server):
    """Leaves signals to the watch."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


@contextlib.asynccontextmanager
async def listening(app: Callable[..., Any], host: str, port: int) -> AsyncIterator[str]:
    """Serve an application as long as the block lasts; yield its URL.

    Raises:
        UsageError: the address cannot be used.
    """
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        listener = socket.create_server((host, port), family=family)
    except (OSError, OverflowError) as error:
        raise UsageError(f"Cannot listen on {host} port {port}: {error}.", hint="Choose another --listen.") from error
    config = uvicorn.Config(
        app, http="h11", ws="none", lifespan="off", log_config=None, access_log=False, timeout_graceful_shutdown=2
    )
    server = _Server(config)
    task = asyncio.create_task(server.serve([listener]))
    try:
        bound = listener.getsockname()
        yield f"http://{f'[{bound[0]}]' if ':' in bound[0] else bound[0]}:{bound[1]}"
    finally:
        server.should_exit = True
        await task
        listener.close()
