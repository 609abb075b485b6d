from __future__ import annotations

import re
import subprocess
import sys
from importlib.resources import files
from typing import Any

import pytest
from shelf import Shelf
from starlette.exceptions import HTTPException
from starlette.responses import PlainTextResponse
from starlette.testclient import TestClient

from reconciler.errors import StoreError
from reconciler.ui.access import Access
from reconciler.ui.pages import Pages
from reconciler.ui.source import Query

TOKEN = "a-token-nobody-guesses"
OURS = {"X-Reconciler-UI": "1"}


def client(shelf: Shelf, access: Access | None = None, base: str = "http://127.0.0.1:8765") -> TestClient:
    pages = Pages(shelf, access or Access())
    return TestClient(pages.beside(PlainTextResponse("the API")), base_url=base, follow_redirects=False)


def test_pages_are_at_ui_and_all_else_is_the_apis(shelf: Shelf) -> None:
    browser = client(shelf)
    assert "<!doctype html>" in browser.get("/ui/").text
    assert browser.get("/").headers["location"] == "/ui/"
    assert browser.get("/v1/fine_tuning/jobs").text == "the API"


@pytest.mark.parametrize("path", ["/ui/", "/ui/static/main.js", "/ui/data/jobs", "/ui/nothing", "/ui/data/jobs/none"])
def test_every_answer_forbids_what_pages_do_not_need(shelf: Shelf, path: str) -> None:
    headers = client(shelf).get(path).headers
    policy = dict(part.strip().split(" ", 1) for part in headers["content-security-policy"].split(";"))
    assert policy["default-src"] == "'none'"
    assert policy["frame-ancestors"] == "'none'"
    assert policy["script-src"] == policy["style-src"] == policy["connect-src"] == "'self'"
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "no-referrer"


def test_a_file_that_the_api_serves_cannot_be_a_page_of_ours(shelf: Shelf) -> None:
    headers = client(shelf).get("/v1/files/file-1/content").headers
    assert "sandbox" in headers["content-security-policy"]
    assert headers["x-content-type-options"] == "nosniff"


def test_the_page_has_nothing_inline_and_asks_no_other_host(shelf: Shelf) -> None:
    page = client(shelf).get("/ui/").text
    assert not re.search(r"<script(?![^>]*\bsrc=)|<style|\son\w+=|\sstyle=", page)
    for file in (files("reconciler.ui") / "static").iterdir():
        if file.is_file():
            text = file.read_text(encoding="utf-8").replace("http://www.w3.org/2000/svg", "")
            assert not re.search(r"https?://|innerHTML|outerHTML|insertAdjacent|document\.write|eval\(", text), (
                file.name
            )


@pytest.mark.parametrize("name", ["../pages.py", "..%2fpages.py", "vendor/README.md", "vendor", "%00", "nothing.js"])
def test_only_files_that_are_meant_to_be_are_given_out(shelf: Shelf, name: str) -> None:
    assert client(shelf).get(f"/ui/static/{name}").status_code == 404


def test_an_unchanged_file_is_not_sent_again(shelf: Shelf) -> None:
    browser = client(shelf)
    tag = browser.get("/ui/static/app.css").headers["etag"]
    assert browser.get("/ui/static/app.css", headers={"If-None-Match": tag}).status_code == 304


def test_what_is_vendored_says_its_version_and_licence() -> None:
    vendor = files("reconciler.ui") / "static" / "vendor"
    version = re.search(r"uPlot (\S+),", (vendor / "README.md").read_text(encoding="utf-8"))
    assert version
    assert f"(v{version[1]})" in (vendor / "uPlot.iife.min.js").read_text(encoding="utf-8")[:100]
    assert "MIT" in (vendor / "LICENSE").read_text(encoding="utf-8")


# Hosts and other sites


@pytest.mark.parametrize(
    "host", ["evil.example", "127.0.0.1.evil.example", "localhost.evil.example:8765", "10.0.0.1", ""]
)
@pytest.mark.parametrize("path", ["/ui/", "/ui/data/jobs"])
def test_on_the_loopback_no_other_name_is_answered(shelf: Shelf, host: str, path: str) -> None:
    assert client(shelf).get(path, headers={"Host": host}).status_code == 421
    assert shelf.asked == []


@pytest.mark.parametrize("host", ["127.0.0.1:8765", "localhost", "LOCALHOST:1", "[::1]:8765", "127.0.0.2"])
def test_on_the_loopback_its_own_names_are(shelf: Shelf, host: str) -> None:
    assert client(shelf).get("/ui/data/jobs", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {**OURS, "Sec-Fetch-Site": "cross-site"},
        {**OURS, "Sec-Fetch-Site": "same-site"},
        {**OURS, "Sec-Fetch-Site": "none"},
        {**OURS, "Origin": "https://evil.example"},
        {**OURS, "Origin": "http://127.0.0.1:9999"},
        {**OURS, "Origin": "null"},
        {"Origin": "http://127.0.0.1:8765", "Sec-Fetch-Site": "same-origin"},
    ],
)
def test_another_site_can_change_nothing(shelf: Shelf, headers: dict[str, str]) -> None:
    assert client(shelf).post("/ui/data/jobs/ftjob-1/cancel", headers=headers).status_code == 403
    assert shelf.asked == []


@pytest.mark.parametrize("more", [{}, {"Origin": "http://127.0.0.1:8765", "Sec-Fetch-Site": "same-origin"}])
def test_our_own_page_can(shelf: Shelf, more: dict[str, str]) -> None:
    assert client(shelf).post("/ui/data/jobs/ftjob-1/cancel", headers={**OURS, **more}).status_code == 200
    assert shelf.asked == [("ftjob-1", "cancel")]


# The token


def test_with_a_token_data_is_for_those_who_have_it(shelf: Shelf) -> None:
    browser = client(shelf, Access(TOKEN, loopback=False), "http://server.example")
    assert browser.get("/ui/").status_code == 200
    for path in ("about", "jobs", "jobs/ftjob-1", "jobs/ftjob-1/events", "stream"):
        assert browser.get(f"/ui/data/{path}").status_code == 401, path
    assert browser.post("/ui/data/jobs/ftjob-1/cancel", headers=OURS).status_code == 401
    assert shelf.asked == []

    entered = browser.post("/ui/login", content=TOKEN, headers=OURS)
    cookie = entered.headers["set-cookie"]
    assert {"HttpOnly", "SameSite=strict", "Path=/ui"} <= {part.strip() for part in cookie.split(";")}
    assert TOKEN not in cookie
    assert browser.get("/ui/data/jobs").status_code == 200
    assert browser.post("/ui/data/jobs/ftjob-1/cancel", headers=OURS).status_code == 200

    browser.post("/ui/logout", headers=OURS)
    assert browser.get("/ui/data/jobs").status_code == 401


def test_over_tls_the_cookie_stays_there(shelf: Shelf) -> None:
    browser = client(shelf, Access(TOKEN, loopback=False), "https://server.example")
    assert "Secure" in browser.post("/ui/login", content=TOKEN, headers=OURS).headers["set-cookie"]


@pytest.mark.parametrize("given", ["", "wrong", TOKEN + "x", "\u00fc", "x" * 5000])
def test_a_wrong_token_lets_nobody_in(shelf: Shelf, given: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("reconciler.ui.pages._WRONG_TOKEN_SECONDS", 0)
    answer = client(shelf, Access(TOKEN)).post("/ui/login", content=given.encode(), headers=OURS)
    assert answer.status_code in (401, 413)
    assert "set-cookie" not in answer.headers


def test_a_cookie_of_another_start_lets_nobody_in(shelf: Shelf) -> None:
    browser = client(shelf, Access(TOKEN))
    browser.post("/ui/login", content=TOKEN, headers=OURS)
    later = client(shelf, Access(TOKEN))
    later.cookies = browser.cookies
    assert later.get("/ui/data/jobs").status_code == 401


def test_without_a_token_there_is_nothing_to_log_in_with(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("reconciler.ui.pages._WRONG_TOKEN_SECONDS", 0)
    assert client(shelf).post("/ui/login", content="", headers=OURS).status_code == 401
    assert client(shelf).get("/ui/data/about").json() == {"title": "A shelf", "login": False, "watch": False}


def test_the_token_is_in_no_repr() -> None:
    access = Access(TOKEN)
    assert TOKEN not in repr(access)
    assert access.session not in repr(access)


# Data


@pytest.mark.parametrize(
    ("asked", "query"),
    [
        ("", Query()),
        ("status=running&status=failed&owner=us&text=+A+", Query(("running", "failed"), "us", "A")),
        ("offset=100&limit=20", Query(offset=100, limit=20)),
        ("offset=-1&limit=999999", Query(limit=200)),
        ("offset=x&limit=0", Query(limit=1)),
        ("offset=\u0661", Query()),
    ],
)
def test_a_query_is_read_and_bounded(shelf: Shelf, asked: str, query: Query) -> None:
    assert client(shelf).get(f"/ui/data/jobs?{asked}").status_code == 200
    assert shelf.asked == [query]


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "jobs/none", 404),
        ("GET", "jobs/none/events", 404),
        ("POST", "jobs/ftjob-1/delete", 404),
        ("GET", "jobs/ftjob-1/cancel", 405),
        ("DELETE", "jobs/ftjob-1", 405),
    ],
)
def test_what_there_is_not_is_said(shelf: Shelf, method: str, path: str, status: int) -> None:
    answer = client(shelf).request(method, f"/ui/data/{path}", headers=OURS)
    assert answer.status_code == status
    assert answer.json()["error"]


@pytest.mark.parametrize(
    ("fault", "status", "words"),
    [
        (HTTPException(400, "The job is queued, so it cannot be paused."), 400, "cannot be paused"),
        (StoreError("The disk is gone.", hint="Bring it back."), 502, "The disk is gone. Bring it back."),
    ],
)
def test_why_something_failed_reaches_the_page(shelf: Shelf, fault: Exception, status: int, words: str) -> None:
    shelf.fault = fault
    browser = client(shelf)
    answers: list[Any] = [browser.post("/ui/data/jobs/ftjob-1/pause", headers=OURS), browser.get("/ui/data/jobs")]
    for answer in answers:
        assert answer.status_code == status
        assert words in answer.json()["error"]


def test_serving_without_the_dashboard_loads_nothing_of_it() -> None:
    program = (
        "import sys, reconciler.cli.serve, reconciler.server.serve as s; print([m for m in sys.modules if '.ui' in m])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
