"""Serves a directory over HTTP until told to stop."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import ipaddress
import logging
import os
import signal
import socket
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import replace
from pathlib import Path

import uvicorn

from reconciler.api.loopback import is_loopback
from reconciler.errors import UsageError
from reconciler.server.context import Settings
from reconciler.server.local import DEFAULT_CONCURRENCY, is_running, running_app
from reconciler.server.presence import Presence
from reconciler.server.store import Store
from reconciler.server.webhooks import Deliverer, Endpoint, connection

DEFAULT_PORT = 8787


async def serve(  # noqa: PLR0913 - an option each
    directory: Path,
    *,
    host: str = "127.0.0.1",
    port: int = DEFAULT_PORT,
    concurrency: int = DEFAULT_CONCURRENCY,
    speed: float = 1.0,
    trainer: str = "simulated",
    settings: Settings | None = None,
    ready: Callable[[str], None] = lambda _: None,
    trains: Callable[[str], None] = lambda _: None,
) -> None:
    """Serve until SIGINT or SIGTERM; requests in progress are answered, jobs saved for the next start.

    ``port`` 0 takes a free one. ``ready`` is called with the base URL once requests are answered, then
    ``trains`` with what real training runs on.

    Raises:
        UsageError: the host is not loopback and no key is set, or the address, or the environment's proxy to the
            webhook, cannot be used.
        StoreError: the directory cannot be used.
    """
    settings = settings or Settings()
    if not is_loopback(host) and not settings.api_key:
        raise UsageError(
            f"Without a key, {host} would let everybody in.",
            hint="Set RECONCILER_API_KEY, or serve on 127.0.0.1.",
        )
    settings = replace(settings, loopback=is_loopback(host) and settings.api_key is None, logs=True)
    telling = _Telling(settings.webhook)
    listener = _listen(host, port)
    with listener:
        async with running_app(
            directory, concurrency=concurrency, speed=speed, trainer=trainer, settings=settings
        ) as app:
            presence = Presence(_url(listener), os.getpid(), settings.instance, settings.api_key)
            before = Presence.read(directory)

            def announce() -> None:
                presence.write(directory)
                ready(presence.url)
                if where := app.state.context.engine.trainer.where:
                    trains(where)

            front = settings.front(app) if settings.front else None
            config = uvicorn.Config(
                front.beside(app) if front else app,
                http="h11", ws="none", lifespan="off", log_config=None, access_log=False,
                timeout_keep_alive=60, timeout_graceful_shutdown=5, date_header=settings.chaos is None,
            )  # fmt: skip
            logging.getLogger("uvicorn.error").addFilter(_is_fault)
            try:
                async with telling.of(app.state.context.store):
                    await _Server(config, announce, front.close if front else lambda: None).serve([listener])
            finally:
                _take_back(presence, directory, before)


def _take_back(presence: Presence, directory: Path, before: Presence | None) -> None:
    """Take the announcement back, and leave that of the server from before, where it runs still.

    One of this address does not, and asking there would be to wait for ourselves.
    """
    if presence.remove(directory) and before is not None and before.url != presence.url and is_running(before):
        before.write(directory)


class _Telling:
    """Tells an endpoint how jobs end. Made before anything is served: what keeps it from sending is said at once."""

    def __init__(self, target: Endpoint | None) -> None:
        self._sends = (target, connection(target)) if target else None

    @contextlib.asynccontextmanager
    async def of(self, store: Store) -> AsyncIterator[None]:
        """Tell of a store's jobs, as long as the block lasts."""
        if self._sends is None:
            yield
            return
        target, client = self._sends
        async with client:
            task = asyncio.create_task(Deliverer(store, target).run(client))
            try:
                yield
            finally:
                task.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await task


class _Server(uvicorn.Server):
    """Ends on a signal without passing it on: what is to be saved is saved after the last answer."""

    def __init__(self, config: uvicorn.Config, started: Callable[[], None], stopping: Callable[[], None]) -> None:
        super().__init__(config)
        self._started, self._stopping = started, stopping

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._started()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._stopping()
        await super().shutdown(sockets)

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {number: signal.signal(number, self.handle_exit) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


def _is_fault(record: logging.LogRecord) -> bool:
    """Whether it is more than an answer that was cut off as the server ended."""
    return record.exc_info is None or not isinstance(record.exc_info[1], asyncio.CancelledError)


def _listen(host: str, port: int) -> socket.socket:
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        listener = socket.create_server((host, port), family=family, backlog=512)
        # Connections inherit it. asyncio sets it only where a socket names its protocol, and without it every answer,
        # written as head and body, waits 40 ms for the client's acknowledgement.
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    except OSError as error:
        taken = error.errno in {errno.EADDRINUSE, errno.EACCES}
        why = str(error.strerror or error).partition(" (while")[0]  # it names the address again
        hint = "Choose another --port." if taken else "Choose another --host: an address of this machine."
        raise UsageError(f"Cannot serve on {host} port {port}: {why}.", hint=hint) from error
    return listener


def _url(listener: socket.socket) -> str:
    """The base URL by which this machine reaches the server: a wildcard address is reached by loopback."""
    address, port = listener.getsockname()[:2]
    ip = ipaddress.ip_address(address)
    if ip.is_unspecified:
        ip = ipaddress.ip_address("127.0.0.1" if ip.version == 4 else "::1")
    return f"http://{ip if ip.version == 4 else f'[{ip}]'}:{port}/v1"
