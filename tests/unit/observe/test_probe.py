from __future__ import annotations

from collections.abc import Callable
from email.utils import formatdate
from typing import Any

import httpx
import pytest

from reconciler.api.client import Client
from reconciler.api.retry import Backoff
from reconciler.api.server import Server
from reconciler.observe.probe import MOST_SKEW, Check, probe

NOW = 1_772_000_000.0
JOB = {
    "object": "fine_tuning.job",
    "id": "ftjob-1",
    "created_at": 1_771_999_000,
    "model": "m",
    "status": "running",
    "training_file": "file-1",
}
Answer = tuple[int, Any]
MISSING: Answer = (404, {"error": {"message": "No such job.", "code": "not_found"}})
ROUTE: Answer = (404, {"error": {"message": "No such address.", "code": "no_route"}})


class Wire(httpx.AsyncBaseTransport):
    """A server that answers a probe as told, and keeps what it was asked."""

    def __init__(
        self,
        *,
        jobs: Answer | None = None,
        filtered: Answer | None = None,
        get: Answer = MISSING,
        pause: Answer = MISSING,
        odd: Answer = ROUTE,
        time: float | None = NOW,
    ) -> None:
        self.lists = (jobs or listed(JOB), filtered or listed())
        self.answers = {"GET": get, "pause": pause, "odd": odd}
        self.headers = {} if time is None else {"date": formatdate(time, usegmt=True)}
        self.asked: list[str] = []

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self.asked.append(f"{request.method} {request.url.path}")
        if request.url.path.endswith("/jobs"):
            status, body = self.lists["metadata" in str(request.url)]
        elif request.method == "GET":
            status, body = self.answers["GET"]
        else:
            status, body = self.answers["pause" if request.url.path.endswith("/pause") else "odd"]
        return httpx.Response(status, json=body, headers=self.headers)


def listed(*jobs: dict[str, Any]) -> Answer:
    return 200, {"object": "list", "data": list(jobs), "has_more": False}


def refused(status: int, code: str | None = None, message: str = "No.") -> Answer:
    return status, {"error": {"message": message, "code": code}}


async def probed(wire: httpx.AsyncBaseTransport, key: str | None = "sk-a-key") -> dict[str, Check]:
    server = Server("s", "http://server.test/v1", key, key_env="A_KEY")
    async with Client(server, transport=wire, clock=lambda: NOW, backoff=Backoff(attempts=1)) as client:
        return {check.name: check async for check in probe(client)}


async def test_a_server_that_does_all_is_ok_in_all() -> None:
    found = await probed(Wire())
    assert {name: check.state for name, check in found.items()} == dict.fromkeys(
        ("server", "key", "metadata filter", "pause", "clock"), "ok"
    )


async def test_only_a_job_that_cannot_exist_is_asked_to_do_anything() -> None:
    wire = Wire()
    await probed(wire)
    changes = [asked for asked in wire.asked if not asked.startswith("GET ")]
    assert len(changes) == 2
    assert all("/ftjob-there-is-no-such-job/" in asked for asked in changes)


@pytest.mark.parametrize(
    ("jobs", "filtered", "state"),
    [
        (listed(JOB), listed(), "ok"),
        (listed(JOB), listed(JOB), "warning"),
        (listed(), listed(), "unknown"),
        (listed(JOB), refused(400), "warning"),
        (listed(JOB), refused(429), "unknown"),
        (listed(JOB), refused(503), "unknown"),
    ],
    ids=["honoured", "ignored", "no jobs", "refused", "too many requests", "fault that passes"],
)
async def test_the_filter_is_honoured_only_where_it_kept_jobs_back(jobs: Answer, filtered: Answer, state: str) -> None:
    assert (await probed(Wire(jobs=jobs, filtered=filtered)))["metadata filter"].state == state


@pytest.mark.parametrize(
    ("get", "pause", "odd", "state"),
    [
        (MISSING, MISSING, ROUTE, "ok"),
        (MISSING, refused(404, "not_found", "Nothing to pause."), ROUTE, "ok"),
        (refused(404, None, "No job."), refused(404, None, "No job."), refused(404, None, "No address."), "ok"),
        (MISSING, refused(405), refused(405), "warning"),
        (MISSING, refused(501), ROUTE, "warning"),
        (MISSING, ROUTE, ROUTE, "unknown"),
        (MISSING, MISSING, MISSING, "unknown"),
        (refused(404, None, "No job."), refused(404, None, "No /pause."), refused(404, None, "No /odd."), "unknown"),
        (refused(403), refused(403), ROUTE, "unknown"),
        (refused(503), refused(503), ROUTE, "unknown"),
        (MISSING, (200, JOB), ROUTE, "unknown"),
        (MISSING, MISSING, (200, {}), "unknown"),
    ],
    ids=[
        "as the job",
        "as the job by code",
        "as the job by message",
        "405",
        "501",
        "as no address",
        "everything is answered alike",
        "messages that quote the address",
        "the key may not read jobs",
        "the server fails",
        "a pause of nothing is taken",
        "any operation is taken",
    ],
)
async def test_pause_is_offered_only_where_its_answer_is_about_the_job(
    get: Answer, pause: Answer, odd: Answer, state: str
) -> None:
    assert (await probed(Wire(get=get, pause=pause, odd=odd)))["pause"].state == state


@pytest.mark.parametrize(
    ("time", "state", "words"),
    [
        (NOW + MOST_SKEW, "ok", "agrees"),
        (NOW + MOST_SKEW + 1, "warning", "61 s ahead of"),
        (NOW - 7200, "warning", "7200 s behind"),
        (None, "unknown", "does not tell"),
    ],
)
async def test_clocks_may_differ_by_a_minute(time: float | None, state: str, words: str) -> None:
    clock = (await probed(Wire(time=time)))["clock"]
    assert (clock.state, words in clock.found) == (state, True)


@pytest.mark.parametrize(
    ("answer", "server", "key"),
    [
        (refused(401), "ok", "failed"),
        (refused(403), "ok", "failed"),
        (refused(404), "failed", "unknown"),
        (refused(503), "failed", "unknown"),
        ((200, {"hello": "world"}), "failed", "unknown"),
    ],
)
async def test_a_server_that_cannot_be_read_leaves_the_rest_unknown(answer: Answer, server: str, key: str) -> None:
    found = await probed(Wire(jobs=answer))
    assert (found["server"].state, found["key"].state) == (server, key)
    assert {found[name].state for name in ("metadata filter", "pause", "clock")} == {"unknown"}


async def test_no_check_holds_the_key_though_the_server_quotes_it() -> None:
    found = await probed(Wire(jobs=refused(401, message="Bad key sk-a-key")))
    assert "sk-a-key" not in str(found)


async def test_a_server_that_asks_for_no_key_is_said_to() -> None:
    assert "none is asked for" in (await probed(Wire(), key=None))["key"].found


@pytest.mark.parametrize("lost", [httpx.ConnectError, httpx.ReadTimeout, httpx.RemoteProtocolError])
async def test_a_connection_that_fails_is_tried_once(lost: Callable[[str], Exception]) -> None:
    asked = []

    class Lost(httpx.AsyncBaseTransport):
        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            asked.append(request)
            raise lost("gone")

    assert (await probed(Lost()))["server"].state == "failed"
    assert len(asked) == 1
