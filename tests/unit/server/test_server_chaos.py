"""Faults on demand: which requests they strike, and what they make of answers."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterator
from email.utils import parsedate_to_datetime
from itertools import islice
from pathlib import Path
from typing import Any, get_args

import pytest
from fastapi.testclient import TestClient
from serving import LASTING, Serve, create, reach, retrieve, upload

from reconciler.errors import UsageError
from reconciler.server.chaos.exchange import Asked
from reconciler.server.chaos.faults import AnyFault
from reconciler.server.chaos.rules import Chaos, ChaosFile, Match, load_chaos
from reconciler.server.context import Settings

JOBS = "/fine_tuning/jobs"
LIST, CREATE = Asked("GET", JOBS), Asked("POST", JOBS)
Chaotic = Callable[..., TestClient]


def rules(*rules: dict[str, Any] | str, seed: int = 0) -> Chaos:
    listed = [rule if isinstance(rule, dict) and "fault" in rule else {"fault": rule} for rule in rules]
    return ChaosFile.model_validate_json(json.dumps({"seed": seed, "rules": listed})).begin(0.0)


def struck(chaos: Chaos, asked: Asked, count: int = 10, *, every: float = 1.0) -> list[int]:
    """Return which of so many requests, one ``every`` seconds, are struck."""
    return [n for n in range(1, count + 1) if chaos.strike(asked, n * every)]


@pytest.mark.parametrize(
    ("match", "asked", "hits"),
    [
        ({}, LIST, [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]),
        ({"nth": 2}, LIST, [2]),
        ({"nth": [1, 3]}, LIST, [1, 3]),
        ({"every": 4}, LIST, [4, 8]),
        ({"after": 7}, LIST, [8, 9, 10]),
        ({"until": 2}, LIST, [1, 2]),
        ({"after": "8s"}, LIST, [9, 10]),
        ({"until": "2.5s"}, LIST, [1, 2]),
        ({"after": 2, "until": 9, "every": 3}, LIST, [3, 6, 9]),
        ({"method": "post"}, LIST, []),
        ({"method": ["POST", "DELETE"], "nth": 1}, CREATE, [1]),
        ({"path": JOBS, "nth": 1}, CREATE, [1]),
        ({"path": "/fine_tuning"}, CREATE, []),
        ({"path": "/fine_tuning/.*", "nth": 1}, CREATE, [1]),
        ({"probability": 0}, LIST, []),
    ],
)
def test_a_rule_strikes_the_requests_it_names(match: dict[str, Any], asked: Asked, hits: list[int]) -> None:
    assert struck(rules({"fault": "drop", "match": match}), asked) == hits


def test_the_same_seed_strikes_the_same_requests_whatever_others_come_between() -> None:
    rule = {"fault": "drop", "match": {"probability": 0.5, "method": "GET"}}
    first, second = rules(rule, seed=7), rules(rule, seed=7)
    alone = struck(first, LIST, 40)
    among: list[int] = []
    for number in range(1, 41):
        second.strike(CREATE, 0.0)
        among += [number] if second.strike(LIST, 0.0) else []
    assert alone == among
    assert 10 < len(alone) < 30
    assert struck(rules(rule, seed=8), LIST, 40) != alone


def test_a_file_that_means_nothing_is_refused_in_every_place_at_once(tmp_path: Path) -> None:
    file = tmp_path / "chaos.yaml"
    file.write_text(
        "rules:\n- fault: nope\n- fault: {kind: slow}\n  match: {path: '(', after: x, until: -1, n: 1}\ny: 1\n"
    )
    with pytest.raises(UsageError) as caught:
        load_chaos(file, 0.0)
    said = caught.value.message
    for place in (
        "rules.1.fault: must be one of 'error', ",
        "rules.2.fault.seconds: is required",
        "rules.2.match.path",
    ):
        assert f"{file}: {place}" in said
    for place in ("after: must be a number of requests", "until: must be", "match.n: unknown key", "y: unknown key"):
        assert place in said


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"rules: [", "is no YAML"),
        (b"\xff\xfe", "cannot be read"),
        (b"", "the file: must be a mapping"),
        (b"seed: 1", "rules: is required"),
        (b"#" * (2**20 + 1), "larger than 1 MB"),
        (None, "cannot be read"),
    ],
)
def test_a_file_that_cannot_be_used_is_said_to_be_that(tmp_path: Path, content: bytes | None, words: str) -> None:
    file = tmp_path / "chaos.yaml"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(UsageError, match=words):
        load_chaos(file, 0.0)


@pytest.fixture
def chaotic(serve: Serve, tmp_path: Path) -> Iterator[Chaotic]:
    """Start the server under rules."""

    def start(*said: dict[str, Any] | str, clock: Callable[[], float] = time.time, **how: Any) -> TestClient:
        chaos = rules(*said)
        chaos.started = clock()
        return serve(tmp_path, settings=Settings(chaos=chaos), clock=clock, **how)

    return start  # type: ignore[return-value]


class Clock:
    """A clock that a test sets."""

    def __init__(self) -> None:
        self.time = time.time()

    def __call__(self) -> float:
        return self.time


def jobs(client: TestClient, **query: Any) -> dict[str, Any]:
    return dict(client.get("fine_tuning/jobs", params=query).json())


def made(client: TestClient, count: int) -> list[str]:
    """Make jobs; return their ids, newest first."""
    file = upload(client)
    return [create(client, file, metadata={"n": str(n)})["id"] for n in range(count)][::-1]


def test_without_rules_that_match_nothing_is_changed(chaotic: Chaotic) -> None:
    client = chaotic({"fault": "drop", "match": {"path": "/models"}})
    (job_id,) = made(client, 1)
    assert [job["id"] for job in jobs(client)["data"]] == [job_id]


def test_health_says_what_was_struck(chaotic: Chaotic, serve: Serve, tmp_path: Path) -> None:
    client = chaotic({"fault": {"kind": "error", "status": 503}, "match": {"path": JOBS, "nth": 2}})
    assert [client.get("fine_tuning/jobs").status_code for _ in range(3)] == [200, 503, 200]
    report = client.get("http://test/healthz").json()["chaos"]
    assert report == {"seed": 0, "rules": [{"fault": "error", "matched": 3, "struck": 1}]}
    assert serve(tmp_path / "calm").get("http://test/healthz").json()["chaos"] is None


@pytest.mark.parametrize(
    ("shape", "kind", "body"),
    [
        ("api", "application/json", '"code":"busy"'),
        ("detail", "application/json", '{"detail":"no"}'),
        ("text", "text/plain", "no"),
        ("html", "text/html", "<html>"),
        ("empty", "text/plain", ""),
    ],
)
def test_errors_come_in_many_shapes(chaotic: Chaotic, shape: str, kind: str, body: str) -> None:
    fault = {"kind": "error", "status": 429, "shape": shape, "code": "busy", "message": "no", "retry_after": 2}
    answer = chaotic({**fault, "retry_after_ms": 1500}).get("fine_tuning/jobs")
    assert answer.status_code == 429
    assert answer.headers["content-type"] == kind
    assert (answer.headers["retry-after"], answer.headers["retry-after-ms"]) == ("2", "1500")
    assert answer.headers["x-request-id"].startswith("req_")
    assert body in answer.text


@pytest.mark.parametrize(("when", "count"), [("before", 0), ("after", 1)])
def test_an_error_comes_before_or_after_the_effect(chaotic: Chaotic, when: str, count: int) -> None:
    client = chaotic({"fault": {"kind": "error", "when": when}, "match": {"method": "POST", "path": JOBS}})
    body = {"model": "gpt-4o-mini", "training_file": upload(client)}
    assert client.post("fine_tuning/jobs", json=body).status_code == 500
    assert len(jobs(client)["data"]) == count


def test_what_is_slow_was_done_at_once(chaotic: Chaotic) -> None:
    client = chaotic({"fault": {"kind": "slow", "seconds": 0.2}, "match": {"path": JOBS}})
    began = time.monotonic()
    made(client, 1)
    assert time.monotonic() - began >= 0.2


def test_half_an_answer_is_no_json(chaotic: Chaotic) -> None:
    with pytest.raises(json.JSONDecodeError):
        jobs(chaotic("truncate"))


def test_a_list_lags_behind_what_is_made_and_single_jobs_do_not(chaotic: Chaotic) -> None:
    clock = Clock()
    client = chaotic({"kind": "lag", "seconds": 60}, clock=clock, speed=1)
    job_id = create(client, upload(client), **LASTING)["id"]
    clock.time += 59
    assert (jobs(client)["data"], client.get("files").json()["data"]) == ([], [])
    assert retrieve(client, job_id)["id"] == job_id
    clock.time += 2
    assert [job["id"] for job in jobs(client)["data"]] == [job_id]
    assert client.get("files", params={"limit": 1}).json()["data"]


def pages(client: TestClient, **query: Any) -> Iterator[list[str]]:
    """Yield the ids of each page, until no more is promised or a page is empty."""
    after: dict[str, str] = {}
    while True:
        page = jobs(client, **query, **after)
        yield [job["id"] for job in page["data"]]
        if not (page["has_more"] and page["data"]):
            return
        after = {"after": page["data"][-1]["id"]}


@pytest.mark.parametrize(
    ("faults", "expected"),
    [
        ([], [[4, 3], [2, 1], [0]]),
        ([{"kind": "shift", "rows": 1}], [[4, 3], [1, 0]]),
        ([{"kind": "shift", "rows": -1}], [[4, 3], [3, 2], [2, 1], [1, 0]]),
        (["endless"], [[4, 3], [2, 1], [0], []]),
        (["oldest_first"], [[0, 1], [2, 3], [4]]),
        (["duplicate"], [[4, 3], [4, 2, 1], [4, 0]]),
    ],
)
def test_pages_go_wrong_as_they_are_told_to(chaotic: Chaotic, faults: list[Any], expected: list[list[int]]) -> None:
    client = chaotic({"kind": "pages", "most": 2}, *faults)
    made(client, 5)
    seen = list(islice(pages(client), 9))
    number = {i: int(retrieve(client, i)["metadata"]["n"]) for page in seen for i in page}
    assert [[number[i] for i in page] for page in seen] == expected


def test_long_lists_are_cut_from_all_there_is_and_unknown_cursors_refused(chaotic: Chaotic) -> None:
    client = chaotic("extra")
    ids = made(client, 7)
    assert [list(page) for page in pages(client, limit=3)] == [ids[:3], ids[3:6], ids[6:]]
    refused = client.get("fine_tuning/jobs", params={"after": "ftjob-none"})
    assert (refused.status_code, refused.json()["error"]["code"]) == (400, "invalid_cursor")
    assert client.get("fine_tuning/jobs", params={"limit": 0}).status_code == 400
    files = client.get("files").json()
    assert files["first_id"] == files["data"][0]["id"]


def test_a_filter_can_be_ignored(chaotic: Chaotic) -> None:
    client = chaotic({"fault": "unfiltered", "match": {"after": 3}})  # after file and jobs are made
    made(client, 2)
    assert len(jobs(client, **{"metadata[n]": "1"})["data"]) == 2


@pytest.mark.parametrize("seconds", [7200, -7200])
def test_a_wrong_clock_is_wrong_everywhere(chaotic: Chaotic, seconds: int) -> None:
    client = chaotic({"kind": "skew", "seconds": seconds})
    (job_id,) = made(client, 1)
    answer = client.get(f"fine_tuning/jobs/{job_id}")
    for told in (parsedate_to_datetime(answer.headers["date"]).timestamp(), answer.json()["created_at"]):
        assert abs(told - time.time() - seconds) < 30


def test_statuses_fields_metadata_and_files_are_shown_as_told(chaotic: Chaotic) -> None:
    client = chaotic(
        {"kind": "status", "names": {"succeeded": "polishing"}}, {"kind": "extra", "add": {"zone": "b", "id": "x"}},
        "forget_metadata", "unprocessed",
    )  # fmt: skip
    (job_id,) = made(client, 1)
    job = reach(client, job_id, "polishing")
    assert (job["zone"], job["id"], job["metadata"]) == ("b", job_id, {})
    assert client.get("files").json()["data"][0]["status"] == "uploaded"


def test_metadata_can_be_lost_for_good(chaotic: Chaotic) -> None:
    client = chaotic({"fault": {"kind": "forget_metadata", "stored": True}, "match": {"method": "POST"}})
    (job_id,) = made(client, 1)
    assert retrieve(client, job_id)["metadata"] == {}
    for body in (b"[]", b"{"):
        assert client.post("fine_tuning/jobs", content=body).status_code == 400


def test_pausing_and_resuming_take_their_time(chaotic: Chaotic) -> None:
    clock = Clock()
    client = chaotic({"kind": "slow_turn", "seconds": 60}, clock=clock, speed=1)
    job_id = create(client, upload(client), **LASTING)["id"]
    reach(client, job_id, "running")
    path = f"fine_tuning/jobs/{job_id}"
    assert client.post(f"{path}/pause").json()["status"] == "pausing"
    assert client.post(f"{path}/resume").json()["error"]["code"] == "invalid_job_state"
    assert retrieve(client, job_id)["status"] == "pausing"
    clock.time += 61
    assert retrieve(client, job_id)["status"] == "paused"
    assert client.post(f"{path}/resume").json()["status"] == "resuming"
    assert client.post(f"{path}/cancel").json()["status"] == "cancelled"


def test_the_document_names_every_fault_and_every_key() -> None:
    text = (Path(__file__).parents[3] / "docs" / "chaos.md").read_text(encoding="utf-8")
    kinds = [get_args(fault.model_fields["kind"].annotation)[0] for fault in get_args(AnyFault)]
    options = {name for fault in get_args(AnyFault) for name in fault.model_fields} - {"kind"}
    assert [kind for kind in kinds if f"\n| `{kind}` |" not in text] == []
    assert [name for name in (*options, *Match.model_fields) if not re.search(rf"`{name}\b", text)] == []
