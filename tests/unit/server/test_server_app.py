"""The application: every answer has the API's shape, the refusals too."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from serving import LASTING, Serve, create, everything, reach, retrieve, rows, upload

from reconciler.errors import StoreError
from reconciler.server import documents, jobs
from reconciler.server.context import Settings
from reconciler.server.problems import storage
from reconciler.server.store import StorageFull, Store

MISSING = "ftjob-none"


def refusal(answer: Any, status: int) -> dict[str, Any]:
    """Check that an answer refuses in the API's shape, and return the error."""
    assert answer.status_code == status, answer.text
    assert answer.headers["x-request-id"].startswith("req_")
    error: dict[str, Any] = answer.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert error["message"]
    return error


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "nowhere", 404),
        ("GET", "http://test/", 404),
        ("GET", "fine_tuning/jobs/", 404),
        ("PUT", "fine_tuning/jobs", 405),
        ("DELETE", "models", 405),
        ("GET", f"fine_tuning/jobs/{MISSING}", 404),
        ("GET", "fine_tuning/jobs/%00%ff", 404),
        ("GET", f"fine_tuning/jobs/{MISSING}/events", 404),
        ("GET", f"fine_tuning/jobs/{MISSING}/checkpoints", 404),
        ("POST", f"fine_tuning/jobs/{MISSING}/cancel", 404),
        ("POST", f"fine_tuning/jobs/{MISSING}/pause", 404),
        ("POST", f"fine_tuning/jobs/{MISSING}/resume", 404),
        ("GET", "files/file-none", 404),
        ("GET", "files/..%2Fserver.db/content", 404),
        ("GET", "files/file-none/content", 404),
        ("DELETE", "files/file-none", 404),
        ("GET", "models/nothing", 404),
        ("DELETE", "models/nothing", 404),
        ("DELETE", "models/gpt-4o", 403),
    ],
)
def test_what_does_not_exist_or_is_not_allowed_is_refused(
    client: TestClient, method: str, path: str, status: int
) -> None:
    refusal(client.request(method, path), status)


@pytest.mark.parametrize(
    ("method", "path", "words"),
    [
        ("POST", "responses", "There is no POST /v1/responses here"),
        ("GET", "http://test/models", "the API's addresses begin with /v1"),
        ("DELETE", "models", "There is no DELETE /v1/models here"),
        ("GET", "a%0ab", r"There is no GET '/v1/a\nb' here"),
    ],
)
def test_an_address_that_is_none_is_named(client: TestClient, method: str, path: str, words: str) -> None:
    assert words in client.request(method, path).json()["error"]["message"]


@pytest.mark.parametrize("key", [None, "key-of-this-server"])
def test_each_request_is_logged_without_its_key_where_that_is_asked_for(
    serve: Serve, tmp_path: Path, caplog: pytest.LogCaptureFixture, key: str | None
) -> None:
    caplog.set_level("DEBUG", "reconciler")
    client = serve(tmp_path, settings=Settings(logs=True, api_key=key))
    answer = client.get("models?limit=1", headers={"Authorization": f"Bearer {key}"})
    said = [(record.levelname, record.getMessage()) for record in caplog.records]
    assert len(said) == 3
    assert said[0][1].startswith("> GET /v1/models?limit=1; ")
    assert "authorization: [redacted]" in said[0][1]
    assert said[1][1].startswith("< 200; ")
    assert said[2][0] == "INFO"
    assert said[2][1].startswith("GET /v1/models → 200, ")
    assert said[2][1].endswith(f" ms, {answer.headers['x-request-id']}")
    assert "key-of-this-server" not in caplog.text


def test_a_server_in_the_process_of_its_client_logs_no_requests(
    client: TestClient, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG", "reconciler")
    client.get("models")
    assert not caplog.records


@pytest.mark.parametrize(
    ("query", "param"),
    [
        ("limit=0", "limit"),
        ("limit=101", "limit"),
        ("limit=-1", "limit"),
        ("limit=many", "limit"),
        ("limit=" + "9" * 5000, "limit"),
        ("after=ftjob-none", "after"),
        ("after=%00", "after"),
        ("metadata=anything", "metadata"),
        ("metadata=null&metadata[a]=b", "metadata"),
        ("&".join(f"metadata[k{n}]=v" for n in range(17)), "metadata"),
    ],
)
def test_a_wrong_query_is_refused_naming_the_parameter(client: TestClient, query: str, param: str) -> None:
    assert refusal(client.get(f"fine_tuning/jobs?{query}"), 400)["param"] == param


@pytest.mark.parametrize("what", ["events", "checkpoints"])
def test_an_unknown_cursor_is_refused_not_answered_with_an_empty_page(client: TestClient, what: str) -> None:
    job_id = create(client, upload(client))["id"]
    assert refusal(client.get(f"fine_tuning/jobs/{job_id}/{what}?after=x"), 400)["code"] == "invalid_cursor"
    assert refusal(client.get("files?after=x"), 400)["param"] == "after"


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b'"text"',
        b"\xff\xfe",
        b"[" * 100_000,
        b'{"a":' * 100_000,
        b'{"model": ' + b"9" * 10_000 + b"}",
    ],
)
def test_a_body_that_is_no_object_of_json_is_refused(client: TestClient, body: bytes) -> None:
    refusal(client.post("fine_tuning/jobs", content=body, headers={"content-type": "application/json"}), 400)


@pytest.mark.parametrize(
    "content_type", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", "x"]
)
def test_a_body_of_another_type_is_refused(client: TestClient, content_type: str) -> None:
    body = json.dumps({"model": "m", "training_file": upload(client)})
    refusal(client.post("fine_tuning/jobs", content=body, headers={"content-type": content_type}), 400)


GRADER = {"type": "string_check", "name": "g", "input": "{{item.a}}", "reference": "b", "operation": "eq"}


def reinforcement(response_format: str) -> str:
    method = {"type": "reinforcement", "reinforcement": {"grader": GRADER, "response_format": "HERE"}}
    return json.dumps({"model": "m", "training_file": "f", "method": method}).replace('"HERE"', response_format)


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"training_file": "f"}, "model"),
        ({"model": "m"}, "training_file"),
        ({"model": "", "training_file": "f"}, "model"),
        ({"model": "m", "training_file": "f", "seed": -1}, "seed"),
        ({"model": "m", "training_file": "f", "seed": 2**31}, "seed"),
        ({"model": "m", "training_file": "f", "sufix": "x"}, "sufix"),
        ({"model": "m", "training_file": "f", "suffix": ""}, "suffix"),
        ({"model": "m", "training_file": "f", "metadata": {"k": "v" * 513}}, "metadata.k"),
        ({"model": "m", "training_file": "f", "metadata": {str(n): "" for n in range(17)}}, "metadata"),
        ({"model": "m", "training_file": "f", "hyperparameters": {"n_epochs": 51}}, "hyperparameters.n_epochs"),
        (reinforcement('{"x": 1e999}'), None),
        (reinforcement('{"x": NaN}'), None),
        (reinforcement('{"x": "\\ud800"}'), None),
        (reinforcement('{"x\\u0000": 1}'), None),
        (reinforcement('{"x": ' + "[" * 200 + "]" * 200 + "}"), None),
        ({"model": "m\0", "training_file": "f"}, None),
    ],
)
def test_a_wrong_body_is_refused_naming_the_place(client: TestClient, body: Any, param: str | None) -> None:
    text = body if isinstance(body, str) else json.dumps(body)
    answer = client.post("fine_tuning/jobs", content=text, headers={"content-type": "application/json"})
    named = refusal(answer, 400)["param"]
    assert named == param or str(named).startswith(f"{param}.")


@pytest.mark.parametrize(
    ("change", "code", "param"),
    [
        ({"training_file": "file-none"}, "file_not_found", "training_file"),
        ({"validation_file": "file-none"}, "file_not_found", "validation_file"),
        ({"model": "ft:gpt-4o:local::nothing1"}, "model_not_found", "model"),
        ({"model": "what is this?"}, "model_not_found", "model"),
    ],
)
def test_a_job_on_what_does_not_exist_is_refused(
    client: TestClient, change: dict[str, str], code: str, param: str
) -> None:
    body = {"model": "gpt-4o", "training_file": upload(client), **change}
    error = refusal(client.post("fine_tuning/jobs", json=body), 400)
    assert (error["code"], error["param"]) == (code, param)
    assert client.get("fine_tuning/jobs").json()["data"] == []


def test_a_file_for_another_purpose_is_not_trained_on(client: TestClient) -> None:
    answer = client.post("files", data={"purpose": "vision"}, files={"file": ("a.png", b"x")})
    error = refusal(client.post("fine_tuning/jobs", json={"model": "m", "training_file": answer.json()["id"]}), 400)
    assert error["code"] == "invalid_file"


def test_a_job_in_the_wrong_state_refuses_and_stays_as_it_is(client: TestClient) -> None:
    job = reach(client, create(client, upload(client))["id"], "succeeded")
    for verb in ("cancel", "pause", "resume"):
        assert refusal(client.post(f"fine_tuning/jobs/{job['id']}/{verb}"), 400)["code"] == "invalid_job_state"
    assert retrieve(client, job["id"]) == job


def test_too_many_waiting_jobs_are_refused_until_some_have_ended(serve: Serve, tmp_path: Path) -> None:
    client = serve(tmp_path, speed=1, settings=Settings(max_unfinished=2))
    file = upload(client)
    ids = [create(client, file, **LASTING)["id"] for _ in range(2)]
    answer = client.post("fine_tuning/jobs", json={"model": "m", "training_file": file})
    assert refusal(answer, 429)["code"] == "rate_limit_exceeded"
    assert int(answer.headers["retry-after"]) > 0
    client.post(f"fine_tuning/jobs/{ids[0]}/cancel")
    create(client, file)


def test_a_body_over_the_limit_is_refused_before_it_is_read_whole(serve: Serve, tmp_path: Path) -> None:
    client = serve(tmp_path, settings=Settings(max_body=1000, max_file=1000))
    refusal(client.post("fine_tuning/jobs", content=b'"' + b"x" * 5000 + b'"'), 413)
    answer = client.post("files", data={"purpose": "fine-tune"}, files={"file": ("a", b"x" * 1001)})
    assert refusal(answer, 413)["code"] == "request_too_large"
    answer = client.post("files", data={"purpose": "fine-tune"}, files={"file": ("a", b"x" * 1_000_000)})
    refusal(answer, 413)
    assert client.get("files").json()["data"] == []
    assert list((tmp_path / "incoming").iterdir()) == []


@pytest.mark.parametrize(
    ("headers", "code"),
    [
        ({}, "missing_api_key"),
        ({"Authorization": "Bearer wrong"}, "invalid_api_key"),
        ({"Authorization": "Basic right"}, "missing_api_key"),
        ({"api-key": "wrong"}, "invalid_api_key"),
        ({"Authorization": "Bearer clé".encode("latin-1").decode("latin-1")}, "invalid_api_key"),
    ],
)
def test_without_the_right_key_nothing_is_answered(
    serve: Serve, tmp_path: Path, headers: dict[str, str], code: str
) -> None:
    client = serve(tmp_path, settings=Settings(api_key="right"))
    sent = {name: value.encode("latin-1") for name, value in headers.items()}
    for path in ("fine_tuning/jobs", "models", "nowhere", "http://test/openapi.json"):
        answer = client.get(path, headers=sent)  # type: ignore[arg-type]
        assert refusal(answer, 401)["code"] == code
        assert "right" not in answer.text


@pytest.mark.parametrize("headers", [{"Authorization": "Bearer right"}, {"api-key": "right"}])
def test_the_right_key_is_let_in_in_both_forms(serve: Serve, tmp_path: Path, headers: dict[str, str]) -> None:
    client = serve(tmp_path, settings=Settings(api_key="right"))
    assert client.get("models", headers=headers).status_code == 200
    assert client.get("http://test/healthz").status_code == 200


@pytest.mark.parametrize(
    ("site", "status"), [("cross-site", 403), ("same-site", 403), ("same-origin", 404), ("none", 404)]
)
def test_a_page_of_another_site_changes_nothing(client: TestClient, site: str, status: int) -> None:
    headers = {"Sec-Fetch-Site": site}
    refusal(client.post("fine_tuning/jobs/ftjob-1/cancel", headers=headers), status)
    refusal(client.delete("files/file-1", headers=headers), status)
    assert client.get("models", headers=headers).status_code == 200


def test_a_fault_of_the_server_keeps_the_shape_and_tells_nothing(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jobs, "page", lambda *_, **__: 1 / 0)
    error = refusal(client.get("fine_tuning/jobs"), 500)
    assert error["code"] == "internal_error"
    assert "division" not in error["message"]


def test_a_full_disk_is_answered_as_such_and_nothing_is_created(serve: Serve, tmp_path: Path) -> None:
    client = serve(tmp_path)
    file = upload(client)
    store: Store = client.app.state.context.store  # type: ignore[attr-defined]
    with store.write() as db:
        (pages,) = db.execute("PRAGMA page_count").fetchone()
        db.execute(f"PRAGMA max_page_count = {pages}")
    metadata = {f"k{n}": "v" * 500 for n in range(16)}
    body = {"model": "m", "training_file": file, "metadata": metadata}
    assert refusal(client.post("fine_tuning/jobs", json=body), 507)["code"] == "insufficient_storage"
    assert client.get("fine_tuning/jobs").json()["data"] == []


def test_health_tells_when_the_engine_has_stopped(client: TestClient) -> None:
    assert client.get("http://test/healthz").json()["status"] == "ok"
    client.app.state.context.engine.stop()  # type: ignore[attr-defined]
    assert refusal(client.get("http://test/healthz"), 503)["code"] == "engine_stopped"


def test_the_openapi_document_names_every_route_and_no_answer_that_never_comes(client: TestClient) -> None:
    document = client.get("http://test/openapi.json").json()
    assert "/v1/fine_tuning/jobs/{fine_tuning_job_id}/pause" in document["paths"]
    for path, operations in document["paths"].items():
        for operation in operations.values():
            assert "422" not in operation["responses"]
            assert path == "/healthz" or "400" in operation["responses"]


# Listings


def ids(answer: Any) -> list[str]:
    return [item["id"] for item in answer.json()["data"]]


def test_jobs_are_listed_newest_first_in_pages_that_neither_skip_nor_repeat(client: TestClient) -> None:
    file = upload(client)
    made = [create(client, file, metadata={"n": str(n)})["id"] for n in range(7)]
    found: list[str] = []
    has_more = True
    while has_more:
        after = {"after": found[-1]} if found else {}
        answer = client.get("fine_tuning/jobs", params={"limit": 3, **after})
        found += ids(answer)
        has_more = answer.json()["has_more"]
    assert found == made[::-1]


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("metadata[team]=a", ["two", "one"]),
        ("metadata[team]=a&metadata[env]=prod", ["two"]),
        ("metadata[team]=a&metadata[env]=none", []),
        ("metadata[team]=a&metadata[team]=b", []),
        ("metadata[empty]=", ["three"]),
        ("metadata[a%5Db]=x%26y", ["three"]),
        ("metadata=null", ["four"]),
        ("", ["four", "three", "two", "one"]),
    ],
)
def test_jobs_are_found_by_every_pair_of_their_metadata(client: TestClient, query: str, expected: list[str]) -> None:
    file = upload(client)
    create(client, file, suffix="one", metadata={"team": "a"})
    create(client, file, suffix="two", metadata={"team": "a", "env": "prod"})
    create(client, file, suffix="three", metadata={"team": "b", "empty": "", "a]b": "x&y"})
    create(client, file, suffix="four")
    data = client.get(f"fine_tuning/jobs?{query}").json()["data"]
    assert [job["user_provided_suffix"] for job in data] == expected


def test_events_and_checkpoints_come_in_pages_newest_first(client: TestClient) -> None:
    job_id = create(client, upload(client), hyperparameters={"n_epochs": 4, "batch_size": 40})["id"]
    reach(client, job_id, "succeeded")
    first = client.get(f"fine_tuning/jobs/{job_id}/checkpoints?limit=2").json()
    assert [c["step_number"] for c in first["data"]] == [4, 3]
    assert (first["first_id"], first["last_id"], first["has_more"]) == (*ids_of(first), True)
    rest = client.get(f"fine_tuning/jobs/{job_id}/checkpoints?after={first['last_id']}").json()
    assert [c["step_number"] for c in rest["data"]] == [2]
    assert not rest["has_more"]
    events = client.get(f"fine_tuning/jobs/{job_id}/events?limit=100").json()["data"]
    pages = [client.get(f"fine_tuning/jobs/{job_id}/events?limit=1&after={e['id']}").json() for e in events[:-1]]
    assert [page["data"][0] for page in pages] == events[1:]


def ids_of(page: dict[str, Any]) -> tuple[str, str]:
    return page["data"][0]["id"], page["data"][-1]["id"]


def test_an_empty_page_says_so(client: TestClient) -> None:
    assert client.get("fine_tuning/jobs").json() == {"object": "list", "data": [], "has_more": False}
    assert client.get("files").json() == {
        "object": "list",
        "data": [],
        "has_more": False,
        "first_id": "",
        "last_id": "",
    }


def test_a_page_of_a_large_listing_is_found_by_index_not_by_scan(store: Store) -> None:
    pairs = [("reconciler.owner", "me"), ("team", "a")]
    statements: list[str] = []
    with store.read() as db:
        db.set_trace_callback(statements.append)
        jobs.page(db, limit=100, after=None, metadata=pairs)
        db.set_trace_callback(None)
        plan = [row[3] for row in db.execute(f"EXPLAIN QUERY PLAN {statements[-1]}")]
    assert not [step for step in plan if step.startswith("SCAN") or "TEMP B-TREE" in step], plan


def test_models_made_here_are_listed_with_the_base_models(client: TestClient) -> None:
    model = reach(client, create(client, upload(client))["id"], "succeeded")["fine_tuned_model"]
    assert {model, "gpt-4o-mini-2024-07-18"} <= set(ids(client.get("models")))
    assert client.get("models/gpt-4o-mini").json()["id"] == "gpt-4o-mini"


def test_a_deleted_model_can_no_longer_be_trained(client: TestClient) -> None:
    file = upload(client)
    model = reach(client, create(client, file)["id"], "succeeded")["fine_tuned_model"]
    assert client.delete(f"models/{model}").json() == {"id": model, "object": "model", "deleted": True}
    assert client.get(f"models/{model}").status_code == 404
    refusal(client.post("fine_tuning/jobs", json={"model": model, "training_file": file}), 400)


def test_a_model_that_an_unfinished_job_starts_from_stays(client: TestClient, store: Store) -> None:
    file = upload(client)
    job = reach(client, create(client, file)["id"], "succeeded")
    model = job["fine_tuned_model"]
    with store.write() as db:
        jobs.insert(db, {**job, "id": "ftjob-next", "status": "paused", "model": model})
    error = refusal(client.delete(f"models/{model}"), 409)
    assert error["code"] == "model_in_use"
    assert "ftjob-next" in error["message"]
    client.post("fine_tuning/jobs/ftjob-next/cancel")
    assert client.delete(f"models/{model}").status_code == 200


# What comes back is what was sent


def test_a_job_shows_what_it_was_created_with(client: TestClient) -> None:
    wandb = {"type": "wandb", "wandb": {"project": "p", "tags": ["a"]}}
    job = create(client, upload(client), model="gpt-4.1", suffix="s", seed=5, metadata={"k": "v"}, integrations=[wandb])
    assert job["model"] == "gpt-4.1-2025-04-14"
    assert job["status"] == "validating_files"
    assert job["seed"] == 5
    assert job["metadata"] == {"k": "v"}
    assert job["integrations"] == [wandb]
    assert job["error"] is None


def test_a_job_without_a_seed_gets_one(client: TestClient) -> None:
    assert 0 <= create(client, upload(client), seed=None)["seed"] < 2**31


@pytest.mark.slow
def test_a_thousand_queued_jobs_all_become_models(serve: Serve, tmp_path: Path) -> None:
    client = serve(tmp_path, speed=10_000)
    file = upload(client, rows(10))
    made = {create(client, file, hyperparameters={"n_epochs": 1, "batch_size": 5})["id"] for _ in range(1000)}
    for job_id in made:
        reach(client, job_id, "succeeded", seconds=200)
    models = {retrieve(client, job_id)["fine_tuned_model"] for job_id in made}
    assert len(models) == 1000
    assert len(everything(client, min(made), "checkpoints")) == 1


def test_a_page_of_documents_is_the_json_that_it_would_be() -> None:
    page = documents.page(['{"id":"a"}', '{"id":"b"}'], has_more=True, ends=("a", "b"))
    expected = {"object": "list", "data": [{"id": "a"}, {"id": "b"}], "has_more": True, "first_id": "a", "last_id": "b"}
    assert json.loads(page) == expected


def test_a_full_disk_is_a_507_and_a_busy_database_a_503() -> None:
    assert storage(StorageFull(Path("x"))).status_code == 507
    assert storage(StoreError("busy")).status_code == 503
