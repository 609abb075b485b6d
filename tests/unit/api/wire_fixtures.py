"""A client whose server is one function and whose time is virtual."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import httpx

from reconciler.api.client import Client
from reconciler.api.retry import Backoff, OnRetry
from reconciler.api.server import Server

KEY = "sk-very-secret-0123456789"
BASE = "https://host.test/v1"
NOW = 1_700_000_000.0

Handler = Callable[[httpx.Request], httpx.Response]


class Time:
    """A clock that only sleeping moves."""

    def __init__(self) -> None:
        self.now = NOW
        self.slept: list[float] = []

    def __call__(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


class Wire:
    """Answers each request with the next entry of a script, and keeps what was asked.

    An entry is a response, an exception to raise, or a function of the request; the last one repeats.
    """

    def __init__(self, *script: httpx.Response | Exception | Handler) -> None:
        self.script = list(script)
        self.requests: list[httpx.Request] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        entry = self.script.pop(0) if len(self.script) > 1 else self.script[0]
        if isinstance(entry, Exception):
            raise entry
        return entry if isinstance(entry, httpx.Response) else entry(request)

    @property
    def calls(self) -> list[str]:
        return [f"{r.method} {r.url.path.removeprefix('/v1')}" for r in self.requests]


def connect(
    handler: Handler,
    *,
    time: Time | None = None,
    server: Server | None = None,
    on_retry: OnRetry | None = None,
    backoff: Backoff | None = None,
) -> Client:
    time = time or Time()
    return Client(
        server or Server("test", BASE, KEY, key_env="OPENAI_API_KEY"),
        transport=httpx.MockTransport(handler),
        clock=time,
        sleep=time.sleep,
        random=lambda: 0.5,
        on_retry=on_retry,
        backoff=backoff,
    )


def reply(body: Any, status: int = 200, **headers: str) -> httpx.Response:
    headers = {name.replace("_", "-"): value for name, value in headers.items()}
    if isinstance(body, str | bytes):
        return httpx.Response(status, content=body, headers=headers)
    return httpx.Response(status, content=json.dumps(body), headers={"content-type": "application/json", **headers})


def refusal(status: int, message: str = "no", code: str | None = None, **headers: str) -> httpx.Response:
    return reply({"error": {"message": message, "type": "t", "param": None, "code": code}}, status, **headers)


def job(job_id: str = "ftjob-1", status: str = "queued", **more: Any) -> dict[str, Any]:
    return {
        "id": job_id,
        "object": "fine_tuning.job",
        "created_at": 1_699_999_000,
        "model": "gpt-4o-mini-2024-07-18",
        "status": status,
        "training_file": "file-1",
        "metadata": {},
        **more,
    }


def page(*rows: dict[str, Any], more: bool = False) -> httpx.Response:
    return reply({"object": "list", "data": list(rows), "has_more": more})
