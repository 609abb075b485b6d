from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest
from shelf import Shelf
from starlette.responses import PlainTextResponse
from starlette.testclient import TestClient

from reconciler.errors import UsageError
from reconciler.ui.access import Access
from reconciler.ui.pages import Pages
from reconciler.ui.source import Document, Run

OURS = {"X-Reconciler-UI": "1"}


@dataclass
class Table(Shelf):
    """A desk in memory."""

    done: list[Any] = field(default_factory=list)

    async def overview(self) -> Document:
        return {"looked": True}

    async def spec(self, name: str) -> Document | None:
        return {"name": name} if name == "a" else None

    async def history(self) -> Document:
        return {"lines": []}

    async def approve(self, runs: Sequence[Run]) -> None:
        self.done.append(list(runs))

    async def edit(self, name: str, state: str, *, write: bool) -> str:
        if self.fault:
            raise self.fault
        self.done.append((name, state, write))
        return "+state: paused"


@pytest.fixture
def table() -> Table:
    return Table()


@pytest.fixture
def browser(table: Table) -> TestClient:
    app = Pages(table, Access(), table).beside(PlainTextResponse("else"))
    return TestClient(app, base_url="http://127.0.0.1:8766", headers=OURS)


def test_a_desk_shows_specs_beside_jobs(browser: TestClient) -> None:
    assert browser.get("/ui/data/about").json()["watch"] is True
    assert browser.get("/ui/data/overview").json() == {"looked": True}
    assert browser.get("/ui/data/history").json() == {"lines": []}
    assert browser.get("/ui/data/specs/a").json() == {"name": "a"}
    assert browser.get("/ui/data/specs/b").status_code == 404


def test_a_source_of_jobs_alone_has_no_specs(shelf: Shelf) -> None:
    browser = TestClient(Pages(shelf, Access()).beside(PlainTextResponse("else")), base_url="http://127.0.0.1")
    assert browser.get("/ui/data/overview").status_code == 404


def test_what_was_reviewed_is_what_is_approved(browser: TestClient, table: Table) -> None:
    assert browser.post("/ui/data/approve", json={"runs": [["a", "r1"], ["b", "r2"]]}).status_code == 200
    assert table.done == [[("a", "r1"), ("b", "r2")]]


def test_an_edit_is_shown_before_it_is_written(browser: TestClient, table: Table) -> None:
    for write in (False, True):
        answer = browser.post("/ui/data/specs/a/state", json={"state": "paused", "write": write})
        assert answer.json() == {"diff": "+state: paused"}
    assert table.done == [("a", "paused", False), ("a", "paused", True)]


@pytest.mark.parametrize("path", ["approve", "specs/a/state"])
@pytest.mark.parametrize(
    "body", [b"", b"{", b"[]", b'{"runs": 1}', b'{"runs": [["a"]]}', b'{"runs": [[1, 2]]}', b'{"state": 1}', b"\xff"]
)
def test_a_body_that_makes_no_sense_does_nothing(browser: TestClient, table: Table, path: str, body: bytes) -> None:
    assert browser.post(f"/ui/data/{path}", content=body).status_code == 400
    assert table.done == []


def test_another_site_approves_and_edits_nothing(browser: TestClient, table: Table) -> None:
    for path, body in (("approve", {"runs": []}), ("specs/a/state", {"state": "cancelled", "write": True})):
        for headers in ({"Origin": "https://evil.example"}, {"Sec-Fetch-Site": "cross-site"}):
            assert browser.post(f"/ui/data/{path}", json=body, headers=headers).status_code == 403
    assert table.done == []


def test_why_an_edit_cannot_be_made_reaches_the_page(browser: TestClient, table: Table) -> None:
    table.fault = UsageError("a is one of 4 jobs that the matrix makes.", hint="Name the matrix.")
    answer = browser.post("/ui/data/specs/a/state", json={"state": "paused", "write": False})
    assert (answer.status_code, answer.json()["error"]) == (
        400,
        "a is one of 4 jobs that the matrix makes. Name the matrix.",
    )
