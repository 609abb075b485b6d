"""The embedded server in this process, on a real port, with a middleware that remembers every request."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import uvicorn
from patient import Patient
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from reconciler.server.app import create_app
from reconciler.server.chaos.rules import Chaos
from reconciler.server.context import Settings
from reconciler.server.engine import Engine
from reconciler.server.store import Store

PATIENCE = 120.0
"""Seconds for what normally takes moments: on a busy machine they are long."""
_SILENT = b"x-observer"
Fault = Callable[[str, str], str | None]
"""Given method and path: None, ``lose`` (do it, then drop the answer) or ``refuse`` (503, nothing done)."""


@dataclass
class Recorder:
    """Middleware: notes method and path, but not of requests that the test itself sends."""

    app: ASGIApp
    requests: list[tuple[str, str]] = field(default_factory=list)
    fault: Fault = lambda _method, _path: None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or any(name == _SILENT for name, _ in scope["headers"]):
            await self.app(scope, receive, send)
            return
        self.requests.append((scope["method"], scope["path"]))
        match self.fault(scope["method"], scope["path"]):
            case "refuse":
                await send({"type": "http.response.start", "status": 503, "headers": []})
                await send({"type": "http.response.body", "body": b""})
            case "lose":
                await self.app(scope, receive, _drop)
                await send({"type": "http.response.start", "status": 502, "headers": []})
                await send({"type": "http.response.body", "body": b"bad gateway"})
            case _:
                await self.app(scope, receive, send)


async def _drop(_: Message) -> None:
    pass


@dataclass
class Recording:
    """A server that tests look into. ``url`` is its base URL.

    Its jobs of ``simulated-slow`` end only after ``release``; ``trainer.may_end`` can be another rule.
    """

    url: str
    recorder: Recorder
    http: httpx.Client
    trainer: Patient

    @property
    def changes(self) -> list[str]:
        """The requests that may have changed something, since the last ``forget``."""
        return [f"{method} {path}" for method, path in self.recorder.requests if method != "GET"]

    @property
    def creates(self) -> int:
        return self.changes.count("POST /v1/fine_tuning/jobs")

    def forget(self) -> None:
        self.recorder.requests.clear()

    def release(self) -> None:
        """Let every job end once it is through."""
        self.trainer.may_end = lambda _: True

    def jobs(self) -> list[dict[str, Any]]:
        """Return all jobs, oldest first."""
        return all_jobs(self.http)

    def by_name(self, name: str) -> list[dict[str, Any]]:
        """Return the jobs made for a spec, oldest first."""
        return [job for job in self.jobs() if (job["metadata"] or {}).get("reconciler.name") == name]

    def statuses(self, name: str) -> list[str]:
        return [job["status"] for job in self.by_name(name)]

    def until(self, name: str, *statuses: str) -> None:
        """Wait until the newest job of a spec has one of these statuses."""
        within(PATIENCE, lambda: (self.statuses(name) or [""])[-1] in statuses)


def all_jobs(http: httpx.Client) -> list[dict[str, Any]]:
    """Return all jobs that a server has, oldest first."""
    return _pages(http, "/fine_tuning/jobs", 100)


def all_files(http: httpx.Client) -> list[dict[str, Any]]:
    """Return all files that a server has."""
    return _pages(http, "/files", 1000)


def _pages(http: httpx.Client, path: str, limit: int) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    more = True
    while more:
        after = {"after": rows[-1]["id"]} if rows else {}
        page = http.get(path, params={"limit": limit, **after}).raise_for_status().json()
        rows += page["data"]
        more = page["has_more"]
    return rows[::-1]


def observer(url: str, key: str | None = None) -> httpx.Client:
    """Return a client for what a test itself asks."""
    headers = {_SILENT.decode(): "1"} | ({"Authorization": f"Bearer {key}"} if key else {})
    return httpx.Client(base_url=url, headers=headers, timeout=30, trust_env=False)


def within(seconds: float, holds: Callable[[], object]) -> None:
    """Look until it holds."""
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, f"not within {seconds} s"
        time.sleep(0.02)


@contextlib.contextmanager
def recording(
    directory: Path,
    *,
    speed: float = 2.0,
    key: str | None = None,
    concurrency: int = 4,
    chaos: Chaos | None = None,
    around: Callable[[ASGIApp], ASGIApp] = lambda app: app,
) -> Iterator[Recording]:
    """Serve a directory until the block ends. ``around`` may put a layer of its own over the application."""
    store = Store(directory)
    trainer = Patient(speed=speed)
    engine = Engine(store, trainer, concurrency=concurrency)
    recorder = Recorder(around(create_app(store, engine, Settings(api_key=key, chaos=chaos))))
    config = uvicorn.Config(
        recorder, http="h11", ws="none", lifespan="off", log_config=None, access_log=False, date_header=chaos is None
    )
    server = uvicorn.Server(config)
    listener = socket.create_server(("127.0.0.1", 0))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    engine.start()
    thread.start()
    url = f"http://127.0.0.1:{listener.getsockname()[1]}/v1"
    try:
        with observer(url, key) as http:
            within(PATIENCE, lambda: server.started)
            yield Recording(url, recorder, http, trainer)
    finally:
        server.should_exit = True
        thread.join(20)
        engine.stop()
        store.close()
        listener.close()
