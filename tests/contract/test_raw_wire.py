"""What no well-behaved client sends is refused with a 4xx in the error shape, and the server goes on."""

from __future__ import annotations

import json
import socket
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from contract_support import KEY, jsonl

JSON = {"Content-Type": "application/json"}
FORM = {"Content-Type": "multipart/form-data; boundary=edge"}
AUTH = f"Authorization: Bearer {KEY}\r\n"


def assert_refused(answer: httpx.Response, *statuses: int) -> dict[str, Any]:
    """A 4xx in the error shape, with all four keys, and a request id."""
    assert answer.status_code in (statuses or range(400, 500)), answer.text[:300]
    body = answer.json()
    assert set(body) == {"error"}
    assert set(body["error"]) == {"message", "type", "param", "code"}
    assert isinstance(body["error"]["message"], str)
    assert body["error"]["message"]
    assert isinstance(body["error"]["type"], str)
    assert answer.headers["x-request-id"]
    assert "Traceback" not in answer.text
    return dict(body["error"])


NESTED = b'{"model": ' + b"[" * 10_000 + b"]" * 10_000 + b"}"


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"{", id="cut short"),
        pytest.param(b"null", id="null"),
        pytest.param(b"[]", id="a list"),
        pytest.param(b'"text"', id="a string"),
        pytest.param(b"7", id="a number"),
        pytest.param(b"\xff\xfe\x00", id="not UTF-8"),
        pytest.param(b"\xef\xbb\xbf{}", id="a byte-order mark"),
        pytest.param(NESTED, id="deep lists"),
        pytest.param(b'{"a":' * 10_000 + b"1" + b"}" * 10_000, id="deep objects"),
        pytest.param(b'{"model": "m", "training_file": "f", "seed": ' + b"9" * 5_000 + b"}", id="a huge integer"),
        pytest.param(b'{"model": "m", "training_file": "f", "seed": 1e999}', id="a huge float"),
        pytest.param(b'{"model": "m", "training_file": "f", "seed": NaN}', id="NaN"),
        pytest.param(b'{"model": "m", "training_file": "f", "seed": -Infinity}', id="-Infinity"),
        pytest.param(b'{"model": "\\ud800", "training_file": "f"}', id="a lone surrogate"),
        pytest.param(b'{"model": "m", "training_file": "\\ud800"}', id="a lone surrogate in a file id"),
        pytest.param(b'{"model": "m", "training_file": "\\u0000"}', id="an escaped NUL"),
        pytest.param(b'{"model": "a\x00b", "training_file": "f"}', id="a bare NUL"),
        pytest.param(b'{"model": "m", "training_file": "f", "metadata": {"\\ud800": ""}}', id="a surrogate key"),
        pytest.param(b'{"model": "m", "training_file": "f", "\\ud800": 1}', id="a surrogate as an unknown field"),
        pytest.param(
            json.dumps({"model": "m", "training_file": "f", "metadata": {str(n): "" for n in range(50_000)}}).encode(),
            id="giant metadata",
        ),
        pytest.param(b'{"model": "' + b"m" * 1_000_000 + b'", "training_file": "f"}', id="a giant name"),
        pytest.param(
            json.dumps(
                {
                    "model": "m",
                    "training_file": "f",
                    "method": {
                        "type": "reinforcement",
                        "reinforcement": {
                            "grader": {
                                "type": "multi",
                                "name": "m",
                                "graders": {
                                    "a": {
                                        "type": "string_check",
                                        "name": "a",
                                        "input": "",
                                        "reference": "",
                                        "operation": "eq",
                                    }
                                },
                                "calculate_output": "(" * 2_000 + "a" + ")" * 2_000,
                            }
                        },
                    },
                }
            ).encode(),
            id="a deep expression",
        ),
        pytest.param(b"model=m&training_file=f", id="a form"),
    ],
)
def test_a_create_with_a_bad_body_is_refused(http: httpx.Client, body: bytes) -> None:
    assert_refused(http.post("/fine_tuning/jobs", content=body, headers=JSON), 400, 413)


@pytest.mark.parametrize("kind", ["text/plain", "application/xml", "multipart/form-data", "application/json; =", ""])
def test_a_create_of_another_content_type_is_refused(http: httpx.Client, kind: str) -> None:
    assert_refused(http.post("/fine_tuning/jobs", content=b"<job/>", headers={"Content-Type": kind}), 400, 415)


def test_a_body_over_the_limit_is_too_large(http: httpx.Client) -> None:
    body = b'{"model": "' + b"m" * 40_000_000 + b'"}'
    assert_refused(http.post("/fine_tuning/jobs", content=body, headers=JSON), 413)


def uploaded(http: httpx.Client) -> Any:
    """The files that clients sent: another test's job may end at any moment and leave its results."""
    return http.get("/files", params={"purpose": "fine-tune"}).json()["data"]


def part(disposition: str, content: bytes, *, end: bytes = b"\r\n--edge--\r\n") -> bytes:
    return b"--edge\r\nContent-Disposition: form-data; " + disposition.encode() + b"\r\n\r\n" + content + end


PURPOSE = part('name="purpose"', b"fine-tune", end=b"\r\n")


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"no form at all", id="no form"),
        pytest.param(b"--other\r\n\r\n--other--", id="another boundary"),
        pytest.param(PURPOSE, id="never closed"),
        pytest.param(PURPOSE + b"--edge--\r\n", id="no file"),
        pytest.param(part('name="file"; filename="a.jsonl"', jsonl("supervised", 10)), id="no purpose"),
        pytest.param(PURPOSE + part('name="file"', b"text"), id="a file that is a field"),
        pytest.param(PURPOSE + part('name="file"; filename="a.jsonl"', b""), id="an empty file"),
        pytest.param(PURPOSE + part('name="file"; filename="a.jsonl"', b"{}", end=b""), id="cut in the file"),
        pytest.param(PURPOSE + part('filename="a.jsonl"', b"{}"), id="a part without a name"),
        pytest.param(PURPOSE + b"--edge\r\nno header\r\n\r\n{}\r\n--edge--\r\n", id="a bad part header"),
        pytest.param(PURPOSE + b"--edge\r\n" + b"a: b\r\n" * 5_000 + b"\r\n{}\r\n--edge--\r\n", id="endless headers"),
        pytest.param(part('name="x"', b"", end=b"\r\n") * 5_000 + b"--edge--\r\n", id="endless fields"),
        pytest.param(part('name="purpose"', b"x" * 5_000_000), id="an endless field"),
        pytest.param(PURPOSE * 2 + part('name="purpose"; filename="p"', b"fine-tune"), id="purpose as a file"),
    ],
)
def test_an_upload_with_a_bad_form_is_refused_and_leaves_nothing(http: httpx.Client, body: bytes) -> None:
    before = uploaded(http)
    assert_refused(http.post("/files", content=body, headers=FORM), 400, 413)
    assert uploaded(http) == before


@pytest.mark.parametrize(
    "kind", ["multipart/form-data", "multipart/form-data; boundary=", "multipart/form-data; boundary=" + "x" * 5_000]
)
def test_an_upload_without_a_usable_boundary_is_refused(http: httpx.Client, kind: str) -> None:
    assert_refused(http.post("/files", content=PURPOSE, headers={"Content-Type": kind}), 400)


@pytest.mark.parametrize("name", ["a%00b.jsonl", "a\x00b.jsonl", "", ".", "..", "/", "%2e%2e%2fup.jsonl", "x" * 5_000])
def test_a_raw_file_name_is_refused_or_made_plain(http: httpx.Client, name: str) -> None:
    body = PURPOSE + part(f'name="file"; filename="{name}"', jsonl("supervised", 10))
    answer = http.post("/files", content=body, headers=FORM)
    if answer.status_code != 200:
        assert_refused(answer, 400)
        return
    made = answer.json()
    assert not set(made["filename"]) & {"/", "\\", "\0"}
    assert http.delete(f"/files/{made['id']}").json()["deleted"] is True


QUERIES = [
    "limit=abc",
    "limit=",
    "limit=1.5",
    "limit=-5",
    "limit=1&limit=2x",
    "limit=%00",
    "limit=" + "9" * 5_000,
    "after=%00",
    "after=%ff%fe",
    "after=" + "x" * 5_000,
    "after=../../etc/passwd",
    "after=%27%20OR%201=1--",
]


@pytest.mark.parametrize("query", QUERIES)
@pytest.mark.parametrize("path", ["fine_tuning/jobs", "files"])
def test_a_bad_page_query_is_refused(http: httpx.Client, path: str, query: str) -> None:
    assert_refused(http.get(f"{http.base_url}{path}?{query}"), 400, 404)


@pytest.mark.parametrize(
    "query", ["metadata[]=x", "metadata[a=x", "metadata[%00]=x", "metadata[a][b]=x", "metadata=x", "metadata[a]=%ff"]
)
def test_an_odd_metadata_filter_is_refused_or_finds_nothing(http: httpx.Client, query: str) -> None:
    """It never widens the listing: a filter that is not understood must not match every job."""
    form = {"file": ("a.jsonl", jsonl("supervised", 10))}
    file = http.post("/files", files=form, data={"purpose": "fine-tune"}).json()["id"]
    http.post("/fine_tuning/jobs", json={"model": "gpt-4o-mini", "training_file": file}).raise_for_status()
    answer = http.get(f"{http.base_url}fine_tuning/jobs?{query}")
    if answer.status_code == 200:
        assert answer.json()["data"] == []
    else:
        assert_refused(answer, 400)


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "nowhere", 404),
        ("GET", "fine_tuning", 404),
        ("GET", "fine_tuning/jobs/a/b/c", 404),
        ("GET", "fine_tuning/jobs/%00", 404),
        ("GET", "fine_tuning/jobs/%ff%fe", 404),
        ("GET", "fine_tuning/jobs/..%2f..%2fetc", 404),
        ("GET", "fine_tuning/jobs/" + "x" * 5_000, 404),
        ("GET", "files/..%2f..%2fetc%2fpasswd/content", 404),
        ("GET", "files/%2e%2e/content", 404),
        ("DELETE", "models/%00", 404),
        ("PUT", "fine_tuning/jobs", 405),
        ("PATCH", "fine_tuning/jobs/ftjob-none", 405),
        ("DELETE", "fine_tuning/jobs/ftjob-none", 405),
        ("GET", "fine_tuning/jobs/ftjob-none/cancel", 405),
        ("POST", "models", 405),
        ("PUT", "files/file-none", 405),
        ("FROB", "files", 405),
    ],
)
def test_an_unknown_path_or_method_is_refused_in_the_error_shape(
    http: httpx.Client, method: str, path: str, status: int
) -> None:
    assert_refused(http.request(method, f"{http.base_url}{path}"), status, 400 if "%" in path else status)


def test_head_answers_without_a_body(http: httpx.Client) -> None:
    answer = http.head("/fine_tuning/jobs")
    assert (answer.status_code in {200, 405}, answer.content) == (True, b"")


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Authorization": ""},
        {"Authorization": KEY},
        {"Authorization": f"Basic {KEY}"},
        {b"Authorization": b"Bearer \xff"},
        {"api-key": "wrong"},
    ],
)
@pytest.mark.parametrize("path", ["fine_tuning/jobs", "files", "models", "files/file-none/content"])
def test_without_the_key_nothing_is_told(server: str, path: str, headers: Any) -> None:
    with httpx.Client(base_url=server, headers=headers, timeout=30) as stranger:
        error = assert_refused(stranger.get(path), 401)
    assert error["code"] in {"missing_api_key", "invalid_api_key"}


def test_health_needs_no_key_and_tells_no_secret(server: str) -> None:
    answer = httpx.get(server.removesuffix("/v1") + "/healthz")
    assert answer.status_code == 200
    assert KEY not in answer.text


def test_no_answer_waits_for_a_delayed_acknowledgement(server: str, http: httpx.Client) -> None:
    """A head and a body sent apart without TCP_NODELAY take 40 ms on all requests of a connection but its first."""

    def took(client: httpx.Client) -> float:
        return client.get("/models").elapsed.total_seconds()

    with httpx.Client(
        base_url=server, headers=http.headers, limits=httpx.Limits(max_keepalive_connections=0)
    ) as forgetful:
        first = min(took(forgetful) for _ in range(20))
    took(http)
    assert min(took(http) for _ in range(20)) < first + 0.03


@pytest.mark.parametrize("body", [b"", b"{}", b"null"])
def test_an_action_takes_an_empty_body(http: httpx.Client, body: bytes) -> None:
    assert_refused(http.post("/fine_tuning/jobs/ftjob-none/cancel", content=body, headers=JSON), 404)


def exchange(server: str, request: bytes) -> bytes:
    """Send bytes as they are, say that no more come, and read until the server closes."""
    host, port = urlsplit(server).hostname, urlsplit(server).port
    with socket.create_connection((host, port), timeout=10) as wire:
        wire.sendall(request)
        wire.shutdown(socket.SHUT_WR)
        return b"".join(iter(lambda: wire.recv(65_536), b""))


@pytest.mark.parametrize(
    "request_text",
    [
        pytest.param("GET\r\n\r\n", id="no request line"),
        pytest.param("\x16\x03\x01\x02\x00", id="TLS"),
        pytest.param(f"POST /v1/fine_tuning/jobs HTTP/1.1\r\nHost: x\r\n{AUTH}Content-Length: -5\r\n\r\n", id="length"),
        pytest.param(
            f"POST /v1/files HTTP/1.1\r\nHost: x\r\n{AUTH}Transfer-Encoding: chunked\r\n\r\nzz\r\n", id="chunk"
        ),
        pytest.param(
            f"POST /v1/files HTTP/1.1\r\nHost: x\r\n{AUTH}Content-Type: multipart/form-data; boundary=edge\r\n"
            f"Content-Length: 100000\r\n\r\n--edge\r\n",
            id="gone in the middle of an upload",
        ),
        pytest.param(
            f"POST /v1/fine_tuning/jobs HTTP/1.1\r\nHost: x\r\n{AUTH}Content-Type: application/json\r\n"
            f"Content-Length: 1000\r\n\r\n{{",
            id="gone in the middle of a create",
        ),
    ],
)
def test_broken_http_does_not_hurt_the_server(server: str, http: httpx.Client, request_text: str) -> None:
    answer = exchange(server, request_text.encode("latin-1"))
    assert b" 500 " not in answer.split(b"\r\n")[0]
    before = uploaded(http)
    assert uploaded(http) == before


def test_a_client_that_leaves_in_the_middle_of_an_upload_leaves_no_file(server: str, http: httpx.Client) -> None:
    before = uploaded(http)
    head = (
        f"POST /v1/files HTTP/1.1\r\nHost: x\r\n{AUTH}Content-Type: {FORM['Content-Type']}\r\n"
        "Content-Length: 90000\r\n\r\n"
    )
    body = PURPOSE + part('name="file"; filename="a.jsonl"', jsonl("supervised", 10), end=b"")
    exchange(server, head.encode() + body)
    assert uploaded(http) == before
