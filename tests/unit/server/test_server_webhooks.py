"""What is told of jobs that end, to whom, and how often."""

from __future__ import annotations

import asyncio
import contextlib
import json
from pathlib import Path

import httpx
import pytest
from fastapi.testclient import TestClient
from serving import LASTING, Serve, create, reach, upload

from reconciler.api.webhooks import verify
from reconciler.errors import UsageError
from reconciler.server.context import Settings
from reconciler.server.serve import serve
from reconciler.server.store import Store
from reconciler.server.webhooks import KEPT, Deliverer, Endpoint, connection, endpoint, sweep

KEY = b"0123456789abcdef01234567"
SECRET = {"RECONCILER_WEBHOOK_SECRET": "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3"}
URL = "https://example.com/webhook"


class Inbox:
    """An endpoint that answers as it is told, and the store that tells it."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.time = 2_000_000_000.0
        self.answers: list[int | Exception] = []
        self.requests: list[httpx.Request] = []
        self.deliverer = Deliverer(store, Endpoint(URL, KEY), clock=lambda: self.time)

    def _answer(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        answer = self.answers.pop(0) if self.answers else 200
        if isinstance(answer, Exception):
            raise answer
        return httpx.Response(answer, headers={"location": "https://elsewhere.example"} if answer == 302 else {})

    async def look(self, later: float = 0.0) -> int:
        """Let what is due be sent; return how many messages came."""
        self.time += later
        before = len(self.requests)
        async with httpx.AsyncClient(transport=httpx.MockTransport(self._answer)) as client:
            await self.deliverer.send_due(client)
        return len(self.requests) - before

    def left(self) -> int:
        with self.store.read() as db:
            return int(db.execute("SELECT count(*) FROM webhooks").fetchone()[0])


@pytest.fixture
def client(serve: Serve, tmp_path: Path) -> TestClient:
    return serve(tmp_path, speed=1)


@pytest.fixture
def inbox(client: TestClient) -> Inbox:
    return Inbox(client.app.state.context.store)  # type: ignore[attr-defined]


def cancelled(client: TestClient) -> str:
    job = create(client, upload(client), **LASTING)
    assert client.post(f"fine_tuning/jobs/{job['id']}/cancel").status_code == 200
    return str(job["id"])


@pytest.mark.parametrize("end", ["succeeded", "failed", "cancelled"])
async def test_every_end_is_told_once_and_signed(client: TestClient, inbox: Inbox, end: str) -> None:
    if end == "cancelled":
        job_id = cancelled(client)
    else:
        model = {"failed": "simulated-fail", "succeeded": "gpt-4o-mini"}[end]
        job_id = reach(client, create(client, upload(client), model=model)["id"], end)["id"]
    assert await inbox.look() == 1
    [request] = inbox.requests
    body = json.loads(request.content)
    assert verify(KEY, request.headers, request.content, inbox.time) == (body["id"], int(inbox.time))
    assert (body["object"], body["type"], body["data"]) == ("event", f"fine_tuning.job.{end}", {"id": job_id})
    assert (str(request.url), inbox.left(), await inbox.look(later=KEPT)) == (URL, 0, 0)


async def test_jobs_that_go_on_are_not_told(client: TestClient, inbox: Inbox) -> None:
    reach(client, create(client, upload(client), **LASTING)["id"], "running")
    assert await inbox.look() == 0


@pytest.mark.parametrize("answer", [500, 404, 302, 429, httpx.ConnectError("refused"), httpx.ReadTimeout("slow")])
async def test_what_is_not_taken_is_sent_again_under_the_same_id(
    client: TestClient, inbox: Inbox, answer: int | Exception
) -> None:
    cancelled(client)
    inbox.answers = [answer, answer]
    assert await inbox.look() == 1
    assert await inbox.look(later=1.9) == 0
    assert await inbox.look(later=0.2) == 1
    assert await inbox.look(later=7.9) == 0
    assert await inbox.look(later=0.2) == 1
    assert len({request.headers["webhook-id"] for request in inbox.requests}) == 1
    assert len({request.headers["webhook-timestamp"] for request in inbox.requests}) == 3
    assert inbox.left() == 0


async def test_an_endpoint_that_is_gone_for_good_is_told_no_more(client: TestClient, inbox: Inbox) -> None:
    cancelled(client)
    inbox.answers = [410]
    assert await inbox.look() == 1
    assert inbox.left() == 0


async def test_after_three_days_a_message_is_given_up(client: TestClient, inbox: Inbox) -> None:
    cancelled(client)
    with inbox.store.read() as db:
        [(created,)] = db.execute("SELECT created_at FROM webhooks").fetchall()
    sweep(inbox.store, created + KEPT - 1)
    assert inbox.left() == 1
    sweep(inbox.store, created + KEPT + 1)
    assert inbox.left() == 0


async def test_two_processes_on_one_directory_send_a_message_once(client: TestClient, inbox: Inbox) -> None:
    cancelled(client)
    assert len(inbox.deliverer._claim()) == 1
    assert await inbox.look() == 0
    assert await inbox.look(later=61) == 1  # the other process has died


async def test_what_ended_while_nobody_told_is_told_by_the_next_server(tmp_path: Path) -> None:
    for start in range(2):
        store = Store(tmp_path)
        if start == 0:
            with store.write() as db:
                db.execute("INSERT INTO jobs (id, status, document) VALUES ('ftjob-1', 'running', '{}')")
                db.execute("UPDATE jobs SET status = 'failed'")
        else:
            assert await Inbox(store).look() == 1
        store.close()


async def test_a_fault_that_nobody_foresaw_is_logged_and_what_was_due_is_sent_later(
    client: TestClient, inbox: Inbox, caplog: pytest.LogCaptureFixture
) -> None:
    cancelled(client)
    inbox.answers = [RuntimeError("odd")]

    def answer(request: httpx.Request) -> httpx.Response:
        inbox.time += 61  # what was claimed is free again
        return inbox._answer(request)

    async with connection(Endpoint(URL, KEY), httpx.MockTransport(answer)) as http, asyncio.timeout(20):
        task = asyncio.create_task(inbox.deliverer.run(http))
        while inbox.left():
            assert not task.done()
            await asyncio.sleep(0.05)
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
    assert len(inbox.requests) == 2
    assert caplog.text.count("Webhooks go on after a fault.") == 1


@pytest.mark.parametrize(
    ("variable", "value", "why"),
    [
        ("HTTPS_PROXY", "ftp://u:secret@127.0.0.1:9", "no URL of a proxy"),
        ("SSL_CERT_FILE", "gone.pem", "certificates"),
    ],
)
async def test_a_proxy_or_certificates_that_cannot_be_used_are_said_before_anything_is_served(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variable: str, value: str, why: str
) -> None:
    monkeypatch.setenv(variable, value)
    with pytest.raises(UsageError, match=why) as caught:
        await serve(tmp_path / "server", port=0, settings=Settings(webhook=Endpoint(URL, KEY)))
    assert "secret" not in caught.value.message
    assert not (tmp_path / "server").exists()


@pytest.mark.parametrize(
    ("url", "environment", "why"),
    [
        ("example.com", SECRET, "no URL"),
        ("ftp://example.com", SECRET, "no URL"),
        ("https://", SECRET, "no URL"),
        (URL, {}, "RECONCILER_WEBHOOK_SECRET is not set"),
        (URL, {"RECONCILER_WEBHOOK_SECRET": "x"}, "holds no secret"),
    ],
)
def test_an_endpoint_needs_a_url_and_a_secret(url: str, environment: dict[str, str], why: str) -> None:
    with pytest.raises(UsageError, match=why):
        endpoint(url, environment)


def test_an_endpoint_does_not_show_its_secret() -> None:
    target = endpoint(URL, SECRET)
    assert target.key == KEY
    assert "0123" not in repr(target)
