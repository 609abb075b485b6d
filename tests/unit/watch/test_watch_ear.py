"""Webhooks that come in, and those who ask how the watch is."""

from __future__ import annotations

import json
from collections.abc import Mapping

import httpx
import pytest

from reconciler.api.webhooks import headers
from reconciler.errors import UsageError
from reconciler.watch.ear import Ear, address, listening

KEY = b"0123456789abcdef01234567"
NOW = 1_700_000_000


class Listening:
    """An ear, and what it heard."""

    def __init__(self, key: bytes | None = KEY) -> None:
        self.time = float(NOW)
        self.heard: list[str] = []
        self.well = True
        self.ear = Ear(key, self.heard.append, alive=self._health, ready=self._health, clock=lambda: self.time)
        transport = httpx.ASGITransport(self.ear)
        self.http = httpx.AsyncClient(transport=transport, base_url="http://x")

    def _health(self) -> tuple[bool, Mapping[str, object]]:
        return self.well, {"seconds_since_last_look": 1}

    async def post(self, kind: str = "fine_tuning.job.succeeded", *, at: int = NOW, key: bytes = KEY) -> int:
        body = json.dumps({"type": kind, "data": {"id": "ftjob-1"}}).encode()
        return await self.send(body, headers(key, "evt_1", at, body))

    async def send(self, body: bytes, sent: Mapping[str, str]) -> int:
        return (await self.http.post("/webhook", content=body, headers=sent)).status_code


@pytest.fixture
def ear() -> Listening:
    return Listening()


@pytest.mark.parametrize("status", ["succeeded", "failed", "cancelled"])
async def test_the_end_of_a_job_is_heard(ear: Listening, status: str) -> None:
    assert await ear.post(f"fine_tuning.job.{status}") == 200
    assert ear.heard == ["ftjob-1"]


async def test_other_events_are_taken_and_mean_nothing(ear: Listening) -> None:
    for body in (b'{"type": "batch.completed", "data": {"id": "batch_1"}}', b"[]", b"nonsense", b'{"type": 1}'):
        assert await ear.send(body, headers(KEY, f"evt_{body!r}", NOW, body)) == 200
    assert ear.heard == []


async def test_a_message_signed_with_another_secret_is_refused(ear: Listening) -> None:
    assert await ear.post(key=b"another secret of its own") == 401
    assert ear.heard == []


async def test_a_message_that_was_sent_before_is_refused(ear: Listening) -> None:
    assert [await ear.post(), await ear.post()] == [200, 409]
    assert ear.heard == ["ftjob-1"]


async def test_an_old_message_is_refused_even_once_it_is_forgotten(ear: Listening) -> None:
    await ear.post()
    ear.time += 10_000
    await ear.post(at=NOW + 10_000)
    assert await ear.post() == 401


async def test_a_sender_that_tries_again_is_heard_again(ear: Listening) -> None:
    assert [await ear.post(), await ear.post(at=NOW + 2)] == [200, 200]


async def test_without_a_secret_nothing_is_taken() -> None:
    assert await Listening(key=None).post() == 404


async def test_a_flood_is_cut(ear: Listening) -> None:
    assert await ear.send(b"x" * 70_000, {}) == 413


@pytest.mark.parametrize("path", ["/healthz", "/readyz"])
async def test_health_is_told_as_it_is(ear: Listening, path: str) -> None:
    answer = await ear.http.get(path)
    assert (answer.status_code, answer.json()) == (200, {"ok": True, "seconds_since_last_look": 1})
    ear.well = False
    assert (await ear.http.get(path)).status_code == 503


@pytest.mark.parametrize(
    ("method", "path", "status"), [("GET", "/webhook", 405), ("POST", "/healthz", 405), ("GET", "/", 404)]
)
async def test_nothing_else_is_there(ear: Listening, method: str, path: str, status: int) -> None:
    assert (await ear.http.request(method, path)).status_code == status


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("8080", ("127.0.0.1", 8080)),
        ("0.0.0.0:80", ("0.0.0.0", 80)),
        ("[::1]:80", ("::1", 80)),
        (":80", ("127.0.0.1", 80)),
    ],
)
def test_an_address_is_a_port_with_or_without_a_host(text: str, found: tuple[str, int]) -> None:
    assert address(text) == found


@pytest.mark.parametrize("text", ["", "here", "host:", "1:99999", "1:-1", "٣"])
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(UsageError):
        address(text)


async def test_without_metrics_their_address_says_how_to_get_them(ear: Listening) -> None:
    answer = await ear.http.get("/metrics")
    assert (answer.status_code, "finetune-reconciler[metrics]" in answer.text) == (404, True)


async def test_it_listens_on_a_port_and_says_where(ear: Listening) -> None:
    async with listening(ear.ear, "127.0.0.1", 0) as url, httpx.AsyncClient(trust_env=False) as http:
        assert (await http.get(f"{url}/healthz")).status_code == 200
        port = int(url.rpartition(":")[2])
        with pytest.raises(UsageError, match="Cannot listen"):
            async with listening(ear.ear, "127.0.0.1", port):
                pass
