from __future__ import annotations

import gzip
import json
import ssl
from collections.abc import Awaitable, Callable
from typing import Any

import httpx
import pytest
from wire_fixtures import BASE, KEY, Time, Wire, connect, job, page, refusal, reply

from reconciler import __version__, errors
from reconciler.api.client import Client, proves_nothing_happened
from reconciler.api.retry import Backoff
from reconciler.api.server import Server
from reconciler.api.types import CreateJob, Job

BODY = CreateJob(model="gpt-4o-mini", training_file="file-1", seed=7)
JOB = "/fine_tuning/jobs/ftjob-1"
LOST = httpx.ReadTimeout("timed out")
UNREACHED = httpx.ConnectError("refused")


async def create(client: Client) -> Job:
    return await client.create_job(BODY)


# What is sent


async def test_a_create_sends_only_what_is_set() -> None:
    wire = Wire(reply(job()))
    async with connect(wire) as client:
        made = await client.create_job(BODY)
    assert made.id == "ftjob-1"
    request = wire.requests[0]
    assert request.content == b'{"model":"gpt-4o-mini","training_file":"file-1","seed":7}'
    assert request.headers["content-type"] == "application/json"
    assert request.headers["user-agent"] == f"finetune-reconciler/{__version__}"


@pytest.mark.parametrize(
    ("server", "expected", "absent"),
    [
        (Server("s", BASE, KEY), {"authorization": f"Bearer {KEY}"}, {"api-key", "openai-organization"}),
        (Server("s", BASE, KEY, auth="api-key"), {"api-key": KEY}, {"authorization"}),
        (Server("s", BASE), {}, {"authorization", "api-key"}),
        (
            Server("s", BASE, KEY, organization="org-1", project="proj_1"),
            {"openai-organization": "org-1", "openai-project": "proj_1"},
            set(),
        ),
    ],
)
async def test_the_key_goes_where_the_server_wants_it(
    server: Server, expected: dict[str, str], absent: set[str]
) -> None:
    wire = Wire(reply(job()))
    async with connect(wire, server=server) as client:
        await client.job("ftjob-1")
    headers = wire.requests[0].headers
    assert {name: headers[name] for name in expected} == expected
    assert not absent & set(headers)


@pytest.mark.parametrize("verb", ["cancel", "pause", "resume"])
async def test_a_change_carries_an_empty_body_with_its_length(verb: str) -> None:
    wire = Wire(reply(job()))
    async with connect(wire) as client:
        await getattr(client, f"{verb}_job")("ftjob-1")
    assert wire.calls == [f"POST {JOB}/{verb}"]
    assert wire.requests[0].headers["content-length"] == "0"


async def test_a_page_is_asked_for_by_cursor_limit_and_metadata() -> None:
    wire = Wire(page(job()))
    async with connect(wire) as client:
        await client.jobs_page("ftjob-9", 50, {"reconciler.owner": "a/b c"})
    assert dict(wire.requests[0].url.params) == {
        "limit": "50",
        "after": "ftjob-9",
        "metadata[reconciler.owner]": "a/b c",
    }


@pytest.mark.parametrize(
    ("job_id", "path"),
    [
        ("../models", b"/v1/fine_tuning/jobs/..%2Fmodels"),
        ("a?b#c", b"/v1/fine_tuning/jobs/a%3Fb%23c"),
        ("\ud800", b"/v1/fine_tuning/jobs/%3F"),
    ],
)
async def test_an_id_stays_inside_its_path(job_id: str, path: bytes) -> None:
    wire = Wire(reply(job()))
    async with connect(wire) as client:
        await client.job(job_id)
    assert wire.requests[0].url.raw_path == path


@pytest.mark.parametrize("job_id", ["", ".", "..", "x" * 100_000])
async def test_an_id_that_names_another_place_is_not_sent(job_id: str) -> None:
    wire = Wire(reply(job()))
    async with connect(wire) as client:
        with pytest.raises(errors.NotFound):
            await client.job(job_id)
    assert wire.requests == []


async def test_a_redirect_is_not_followed() -> None:
    wire = Wire(reply("", 307, location="https://elsewhere.example/v1/fine_tuning/jobs"), page())
    async with connect(wire) as client:
        with pytest.raises(errors.NotThisApi, match="elsewhere"):
            await client.jobs_page()
    assert len(wire.requests) == 1


# Creating


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (LOST, errors.NoAnswer),
        (httpx.RemoteProtocolError("disconnected"), errors.NoAnswer),
        (httpx.WriteError("broken pipe"), errors.NoAnswer),
        (reply('{"id": "ftjob'), errors.NoAnswer),
        (reply("<html>welcome</html>"), errors.NoAnswer),
        (reply({"ok": True}), errors.NoAnswer),
        (reply("data: {}\n\n", content_type="text/event-stream"), errors.NoAnswer),
        (reply("data: {}\n\n", 504, content_type="text/event-stream"), errors.NoAnswer),
        (reply("x" * (64 * 2**20 + 1)), errors.NoAnswer),
        (refusal(500), errors.ServerFault),
        (refusal(502), errors.ServerFault),
        (refusal(408), errors.ServerFault),
        (refusal(400), errors.InvalidRequest),
        (refusal(401), errors.NotAuthenticated),
        (refusal(403, code="training_not_available"), errors.TrainingNotAvailable),
        (refusal(409), errors.Conflict),
        (refusal(429, code="daily_rate_limit_exceeded"), errors.DailyLimit),
    ],
)
async def test_a_create_is_sent_once(answer: httpx.Response | Exception, kind: type[errors.ApiError]) -> None:
    wire, time = Wire(answer), Time()
    async with connect(wire, time=time) as client:
        with pytest.raises(kind) as caught:
            await client.create_job(BODY)
    assert wire.calls == ["POST /fine_tuning/jobs"]
    assert time.slept == []
    assert not proves_nothing_happened(caught.value)


@pytest.mark.parametrize("answer", [refusal(429, retry_after="3"), UNREACHED, httpx.ConnectTimeout("slow")])
async def test_a_create_is_sent_again_only_when_nothing_can_have_happened(answer: httpx.Response | Exception) -> None:
    wire = Wire(answer, answer, reply(job()))
    async with connect(wire) as client:
        assert (await client.create_job(BODY)).id == "ftjob-1"
    assert len(wire.requests) == 3


async def test_a_create_that_never_gets_through_ends() -> None:
    wire = Wire(UNREACHED)
    async with connect(wire, backoff=Backoff(attempts=4)) as client:
        with pytest.raises(errors.NoAnswer, match="cannot be reached") as caught:
            await client.create_job(BODY)
    assert len(wire.requests) == 4
    assert caught.value.sent is False


async def test_an_unreached_then_lost_create_is_not_sent_a_third_time() -> None:
    wire = Wire(UNREACHED, LOST, reply(job()))
    async with connect(wire) as client:
        with pytest.raises(errors.NoAnswer) as caught:
            await client.create_job(BODY)
    assert len(wire.requests) == 2
    assert caught.value.sent is True


async def test_the_request_id_of_a_made_job_is_kept() -> None:
    wire = Wire(reply(job(), x_request_id="req_7"))
    async with connect(wire) as client:
        await client.create_job(BODY)
        assert client.request_ids == {"ftjob-1": "req_7"}


# Cancelling, pausing, resuming

CHANGES: list[tuple[str, Callable[[Client], Awaitable[Job]], str]] = [
    ("cancel", lambda c: c.cancel_job("ftjob-1"), "cancelled"),
    ("pause", lambda c: c.pause_job("ftjob-1"), "paused"),
    ("resume", lambda c: c.resume_job("ftjob-1"), "queued"),
]
changes = pytest.mark.parametrize(("verb", "change", "goal"), CHANGES, ids=[verb for verb, _, _ in CHANGES])
START = {"cancel": "running", "pause": "running", "resume": "paused"}


@changes
@pytest.mark.parametrize("lost", [LOST, refusal(500), reply("{"), refusal(429)])
async def test_a_change_whose_answer_is_lost_looks_before_repeating(
    verb: str, change: Callable[[Client], Awaitable[Job]], goal: str, lost: httpx.Response | Exception
) -> None:
    wire = Wire(lost, reply(job(status=goal)))
    async with connect(wire) as client:
        assert (await change(client)).status == goal
    assert wire.calls == [f"POST {JOB}/{verb}", f"GET {JOB}"]


@changes
async def test_a_change_that_had_no_effect_is_repeated(
    verb: str, change: Callable[[Client], Awaitable[Job]], goal: str
) -> None:
    wire = Wire(LOST, reply(job(status=START[verb])), reply(job(status=goal)))
    async with connect(wire) as client:
        assert (await change(client)).status == goal
    assert wire.calls == [f"POST {JOB}/{verb}", f"GET {JOB}", f"POST {JOB}/{verb}"]


@changes
async def test_a_change_that_never_works_ends(verb: str, change: Callable[[Client], Awaitable[Job]], goal: str) -> None:
    wire = Wire(lambda r: refusal(500) if r.method == "POST" else reply(job(status=START[verb])))
    async with connect(wire, backoff=Backoff(attempts=3)) as client:
        with pytest.raises(errors.ServerFault):
            await change(client)
    assert wire.calls.count(f"POST {JOB}/{verb}") == 3
    assert goal not in wire.calls


@changes
async def test_a_change_that_another_made_first_counts_as_made(
    verb: str, change: Callable[[Client], Awaitable[Job]], goal: str
) -> None:
    wire = Wire(refusal(400, f"already {goal}"), reply(job(status=goal)))
    async with connect(wire) as client:
        assert (await change(client)).status == goal
    assert wire.calls == [f"POST {JOB}/{verb}", f"GET {JOB}"]


@changes
async def test_a_refused_change_is_not_repeated(
    verb: str, change: Callable[[Client], Awaitable[Job]], goal: str
) -> None:
    wire = Wire(refusal(400, f"cannot be {goal}"), reply(job(status="succeeded")))
    async with connect(wire) as client:
        with pytest.raises(errors.InvalidRequest, match=goal):
            await change(client)
    assert wire.calls == [f"POST {JOB}/{verb}", f"GET {JOB}"]


@changes
@pytest.mark.parametrize("status", [404, 405, 501])
async def test_an_operation_that_the_server_lacks_is_unsupported(
    verb: str, change: Callable[[Client], Awaitable[Job]], goal: str, status: int
) -> None:
    wire = Wire(refusal(status), reply(job(status=START[verb])))
    async with connect(wire) as client:
        with pytest.raises(errors.Unsupported, match=f"cannot {verb} jobs"):
            await change(client)
    assert goal not in wire.calls


@changes
async def test_a_change_of_a_job_that_does_not_exist_is_not_found(
    verb: str, change: Callable[[Client], Awaitable[Job]], goal: str
) -> None:
    wire = Wire(refusal(404, f"{verb} what? {goal}"))
    async with connect(wire) as client:
        with pytest.raises(errors.NotFound):
            await change(client)


@changes
@pytest.mark.parametrize("status", [401, 403])
async def test_a_change_that_the_key_may_not_make_ends_at_once(
    verb: str, change: Callable[[Client], Awaitable[Job]], goal: str, status: int
) -> None:
    wire = Wire(refusal(status, goal))
    async with connect(wire) as client:
        with pytest.raises((errors.NotAuthenticated, errors.NotPermitted)):
            await change(client)
    assert wire.calls == [f"POST {JOB}/{verb}"]


# Reading


@pytest.mark.parametrize(
    "passing",
    [
        LOST,
        UNREACHED,
        httpx.ReadError("reset"),
        httpx.RemoteProtocolError("incomplete chunked read"),
        refusal(429),
        refusal(408),
        refusal(409),
        refusal(500),
        refusal(503),
        reply('{"id": "ftj'),
        reply("x", content_encoding="gzip"),
    ],
)
async def test_a_read_is_repeated_after_a_fault_that_passes(passing: httpx.Response | Exception) -> None:
    wire = Wire(passing, passing, reply(job()))
    async with connect(wire) as client:
        assert (await client.job("ftjob-1")).id == "ftjob-1"
    assert len(wire.requests) == 3


@pytest.mark.parametrize("status", [400, 401, 403, 404, 405, 413, 422, 501])
async def test_a_read_that_is_refused_is_not_repeated(status: int) -> None:
    wire = Wire(refusal(status))
    async with connect(wire) as client:
        with pytest.raises(errors.PermanentError):
            await client.job("ftjob-1")
    assert len(wire.requests) == 1


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (reply("<html>hello</html>"), "HTML"),
        (refusal(404, "no route"), "has no fine-tuning jobs"),
        (reply({"detail": "Not Found"}, 404), "has no fine-tuning jobs"),
        (reply("<html>404</html>", 404), "not answered as a fine-tuning server"),
        (reply({"data": []}), "does not answer with a list"),
        (reply({"object": "error", "data": []}), "does not answer with a list"),
        (reply({"object": "list", "data": None}), "data"),
        (reply({"object": "list"}), "data"),
        (reply({"object": "list", "data": [{"id": "x"}]}), r"data\.0\.created_at"),
        (reply([]), "not of this API"),
    ],
)
async def test_a_base_url_that_is_no_such_server_is_told(answer: httpx.Response, words: str) -> None:
    wire = Wire(answer)
    async with connect(wire) as client:
        with pytest.raises(errors.NotThisApi, match=words) as caught:
            await client.jobs_page()
    assert "/v1" in caught.value.hint
    assert len(wire.requests) == 1


async def test_a_cursor_that_is_not_found_does_not_condemn_the_server() -> None:
    async with connect(Wire(refusal(404))) as client:
        with pytest.raises(errors.NotFound):
            await client.jobs_page("ftjob-9")


async def test_what_differs_in_the_wild_is_read() -> None:
    odd = job(
        status="dreaming", error={}, seed=None, organization_id=None, result_files=None, metadata=None, usage={"x": 1}
    )
    async with connect(Wire(reply(odd))) as client:
        found = await client.job("ftjob-1")
    assert (found.status, found.error, found.terminal) == ("dreaming", None, False)


async def test_an_untrusted_certificate_is_told_at_once() -> None:
    def refuse(request: httpx.Request) -> httpx.Response:
        cause = ssl.SSLCertVerificationError(1, "certificate verify failed")
        cause.verify_message = "self-signed certificate"
        raise httpx.ConnectError("tls", request=request) from cause

    wire = Wire(refuse)
    async with connect(wire) as client:
        with pytest.raises(errors.PermanentError, match="self-signed") as caught:
            await client.job("ftjob-1")
    assert "SSL_CERT_FILE" in caught.value.hint
    assert len(wire.requests) == 1


async def test_an_answer_that_inflates_without_end_is_given_up() -> None:
    bomb = gzip.compress(bytes(65 * 2**20), 9)
    wire = Wire(reply(bomb, content_encoding="gzip"))
    async with connect(wire) as client:
        with pytest.raises(errors.PermanentError, match="larger than 64 MB"):
            await client.job("ftjob-1")
    assert len(wire.requests) == 1


App = Callable[[Any, Any, Any], Awaitable[None]]


async def in_process(app: App) -> Job:
    server, time = Server("local", "http://local.test/v1", app=app), Time()
    async with Client(server, clock=time, sleep=time.sleep, backoff=Backoff(attempts=2)) as client:
        return await client.job("ftjob-1")


async def test_an_application_in_this_process_needs_no_network() -> None:
    async def app(scope: Any, _: Any, send: Any) -> None:
        assert scope["path"] == "/v1/fine_tuning/jobs/ftjob-1"
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": json.dumps(job()).encode()})

    assert (await in_process(app)).id == "ftjob-1"


async def test_an_application_that_breaks_is_a_server_that_failed() -> None:
    async def app(*_: Any) -> None:
        raise RuntimeError("broken")

    with pytest.raises(errors.ServerFault):
        await in_process(app)


async def test_no_error_shows_the_key() -> None:
    async with connect(Wire(httpx.ReadError(f"while sending Bearer {KEY}")), backoff=Backoff(attempts=1)) as client:
        with pytest.raises(errors.NoAnswer) as caught:
            await client.job("ftjob-1")
    assert KEY not in str(caught.value)
    assert "[key]" in str(caught.value)


async def test_retries_are_told() -> None:
    told: list[str] = []
    wire = Wire(refusal(500, "oops"), reply(job()))
    async with connect(wire, on_retry=lambda retry: told.append(str(retry))) as client:
        await client.job("ftjob-1")
    assert told == ["The server failed: oops (HTTP 500) Trying again in 0.4 s."]


# Events, checkpoints, files


def event(number: int) -> dict[str, Any]:
    return {"id": f"ftevent-{number}", "created_at": number, "level": "info", "message": f"step {number}"}


def paged(rows: list[dict[str, Any]], size: int) -> Callable[[httpx.Request], httpx.Response]:
    """Serve rows by cursor, in pages of a size of the server's own choice."""

    def serve(request: httpx.Request) -> httpx.Response:
        after = request.url.params.get("after")
        start = next((i + 1 for i, row in enumerate(rows) if row["id"] == after), 0)
        return page(*rows[start : start + size], more=start + size < len(rows))

    return serve


async def test_events_come_by_the_page_newest_first() -> None:
    wire = Wire(paged([event(n) for n in (3, 2, 1)], 2))
    async with connect(wire) as client:
        first = await client.events("ftjob-1", limit=2)
        second = await client.events("ftjob-1", after=first.data[-1].id, limit=2)
    assert [e.id for e in first.data + second.data] == ["ftevent-3", "ftevent-2", "ftevent-1"]
    assert (first.has_more, second.has_more) == (True, False)


@pytest.mark.parametrize(("seen", "expected"), [(None, [1, 2, 3, 4, 5]), ("ftevent-3", [4, 5]), ("ftevent-5", [])])
async def test_new_events_come_oldest_first(seen: str | None, expected: list[int]) -> None:
    async with connect(Wire(paged([event(n) for n in (5, 4, 3, 2, 1)], 2))) as client:
        fresh = await client.events_since("ftjob-1", seen)
    assert [e.created_at for e in fresh] == expected


async def test_an_endless_stream_of_events_is_told_not_read() -> None:
    async with connect(Wire(reply("data: {}\n\n", content_type="text/event-stream"))) as client:
        with pytest.raises(errors.Unsupported, match="endless stream"):
            await client.events("ftjob-1")


async def test_checkpoints_of_all_pages_come_oldest_first() -> None:
    rows = [
        {"id": f"ftckpt_{n}", "created_at": 1, "fine_tuned_model_checkpoint": f"m:ckpt-step-{n}", "step_number": n}
        for n in (30, 20, 10)
    ]
    async with connect(Wire(paged(rows, 2))) as client:
        assert [c.step_number for c in await client.checkpoints("ftjob-1")] == [10, 20, 30]


async def test_files_of_all_pages_are_listed_once() -> None:
    rows = [{"id": f"file-{n}", "created_at": n, "filename": "x", "bytes": 1} for n in range(5)]
    wire = Wire(paged(rows, 2))
    async with connect(wire) as client:
        assert [f.id for f in await client.files("fine-tune")] == [row["id"] for row in rows]
    assert [dict(r.url.params) for r in wire.requests] == [
        {"purpose": "fine-tune"},
        {"purpose": "fine-tune", "after": "file-1"},
        {"purpose": "fine-tune", "after": "file-3"},
    ]


async def test_a_list_that_repeats_itself_ends() -> None:
    wire = Wire(lambda _: page({"id": "file-1", "created_at": 1, "filename": "x"}, more=True))
    async with connect(wire) as client:
        with pytest.raises(errors.UnreliableListing):
            await client.files()
    assert len(wire.requests) == 2


# Permissions and deleting


def permission(project: str) -> dict[str, Any]:
    return {"id": f"cp_{project}", "created_at": 1, "project_id": project}


async def test_after_an_unknown_outcome_only_those_are_granted_again_that_are_not_in() -> None:
    wire = Wire(refusal(500), page(permission("proj_a")), reply({}))
    async with connect(wire) as client:
        await client.grant("ft:m:o:s:1", ["proj_a", "proj_b"])
    assert [r.method for r in wire.requests] == ["POST", "GET", "POST"]
    assert json.loads(wire.requests[-1].content) == {"project_ids": ["proj_b"]}
    assert wire.requests[0].url.raw_path == b"/v1/fine_tuning/checkpoints/ft%3Am%3Ao%3As%3A1/permissions"


async def test_a_grant_that_had_its_effect_is_not_repeated() -> None:
    wire = Wire(httpx.ReadError("dropped"), page(permission("proj_a")))
    async with connect(wire) as client:
        await client.grant("ft:m", ["proj_a"])
    assert [r.method for r in wire.requests] == ["POST", "GET"]


async def test_to_grant_nothing_asks_nobody() -> None:
    wire = Wire(refusal(500))
    async with connect(wire) as client:
        await client.grant("ft:m", [])
    assert wire.requests == []


DELETES: list[tuple[str, Callable[[Client], Awaitable[None]]]] = [
    ("/files/file-1", lambda client: client.delete_file("file-1")),
    ("/models/ft:m", lambda client: client.delete_model("ft:m")),
    ("/fine_tuning/checkpoints/ft:m/permissions/cp_1", lambda client: client.revoke("ft:m", "cp_1")),
]


@pytest.mark.parametrize(("path", "delete"), DELETES)
async def test_what_is_gone_after_an_unknown_outcome_was_deleted(
    path: str, delete: Callable[[Client], Awaitable[None]]
) -> None:
    wire = Wire(httpx.ReadError("dropped"), refusal(404))
    async with connect(wire) as client:
        await delete(client)
    assert wire.calls == [f"DELETE {path}"] * 2


@pytest.mark.parametrize(
    ("status", "kind"), [(404, errors.NotFound), (409, errors.Conflict), (403, errors.NotPermitted)]
)
async def test_a_refused_delete_is_sent_once(status: int, kind: type[errors.ApiError]) -> None:
    wire = Wire(refusal(status))
    async with connect(wire) as client:
        with pytest.raises(kind):
            await client.delete_file("file-1")
    assert len(wire.requests) == 1
