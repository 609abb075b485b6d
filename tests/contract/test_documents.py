"""Requests made from OpenAPI documents, valid and invalid: every answer is in the published shapes.

The served document is always tried. OpenAI's own is too large to keep here; name a copy of it in
``OPENAI_OPENAPI_DOCUMENT`` (a JSON file) to try that as well. Its statuses lack ``paused``, which is added.
"""

from __future__ import annotations

import contextlib
import copy
import json
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, cast

import openai
import pytest
import schemathesis
from contract_support import KEY, Work, running_server, work_on
from hypothesis import HealthCheck, Phase, settings
from openai.types import FileDeleted, FileObject, Model, ModelDeleted, Upload
from openai.types.chat import ChatCompletion, ChatCompletionChunk
from openai.types.fine_tuning import FineTuningJob, FineTuningJobEvent
from openai.types.fine_tuning.alpha import GraderRunResponse, GraderValidateResponse
from openai.types.fine_tuning.checkpoints import PermissionCreateResponse, PermissionDeleteResponse
from openai.types.fine_tuning.jobs import FineTuningJobCheckpoint
from openai.types.uploads import UploadPart
from pydantic import BaseModel, TypeAdapter
from schemathesis import Case, CheckContext, GenerationMode, Response
from schemathesis.checks import CheckFunction, not_a_server_error
from schemathesis.config import SchemathesisConfig
from schemathesis.core.result import Ok
from schemathesis.schemas import BaseSchema
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    negative_data_rejection,
    response_schema_conformance,
    status_code_conformance,
)
from tiny import needs_engine, tiny_model

from reconciler.server.app import create_app
from reconciler.server.context import Settings
from reconciler.server.engine import Engine
from reconciler.server.store import Store

PUBLISHED = os.environ.get("OPENAI_OPENAPI_DOCUMENT", "")
HEADERS = {"Authorization": f"Bearer {KEY}"}
PATHS = {
    "served": "^/v1/",
    "published": r"^/(fine_tuning/(jobs|checkpoints|alpha)|files|uploads|models)(/|$)",
}
CHAT = ("POST", "chat/completions")

SHAPES: dict[tuple[str, str], type[BaseModel]] = {
    ("POST", "jobs"): FineTuningJob,
    ("GET", "jobs"): FineTuningJob,
    ("GET", "jobs/{}"): FineTuningJob,
    ("POST", "jobs/{}/cancel"): FineTuningJob,
    ("POST", "jobs/{}/pause"): FineTuningJob,
    ("POST", "jobs/{}/resume"): FineTuningJob,
    ("GET", "jobs/{}/events"): FineTuningJobEvent,
    ("GET", "jobs/{}/checkpoints"): FineTuningJobCheckpoint,
    ("POST", "files"): FileObject,
    ("GET", "files"): FileObject,
    ("GET", "files/{}"): FileObject,
    ("DELETE", "files/{}"): FileDeleted,
    ("POST", "uploads"): Upload,
    ("POST", "uploads/{}/parts"): UploadPart,
    ("POST", "uploads/{}/complete"): Upload,
    ("POST", "uploads/{}/cancel"): Upload,
    ("POST", "checkpoints/{}/permissions"): PermissionCreateResponse,
    ("GET", "checkpoints/{}/permissions"): PermissionCreateResponse,
    ("DELETE", "checkpoints/{}/permissions/{}"): PermissionDeleteResponse,
    ("GET", "models"): Model,
    ("GET", "models/{}"): Model,
    ("DELETE", "models/{}"): ModelDeleted,
    ("POST", "alpha/graders/run"): GraderRunResponse,
    ("POST", "alpha/graders/validate"): GraderValidateResponse,
    CHAT: ChatCompletion,
}
"""What the ``openai`` package says an answer is; of a list, its items."""


class World:
    """A server with something on it, so that a made-up request can meet what exists."""

    def __init__(self, url: str, work: Work, known: Mapping[str, str]) -> None:
        self.url = url
        self._work = work
        self._known = known
        self._lasting: list[str] = []

    @classmethod
    def with_a_job(cls, url: str, work: Work) -> World:
        trained = work.trained()
        known = {"job": trained.id, "file": trained.training_file, "model": trained.fine_tuned_model or ""}
        return cls(url, work, known)

    def place(self, case: Case[Any]) -> None:
        """Aim a valid request at what exists and is in a fitting state; an invalid one stays as it was made."""
        if case.meta is None or case.meta.generation.mode is not GenerationMode.POSITIVE:
            return
        for name in case.path_parameters or {}:
            case.path_parameters[name] = self._object(name, case)
        if case.query:
            case.query.pop("after", None)
        if isinstance(case.body, dict) and "messages" in case.body:
            stream = len(cast("list[Any]", case.body["messages"])) % 2 == 0
            case.body.update(model=self._known["model"], max_completion_tokens=4, stream=stream)
        elif isinstance(case.body, dict) and "training_file" in case.body:
            self._make_sound(case.body)
        elif isinstance(case.body, dict) and "grader" in case.body:
            _let_ranges_rise(cast("dict[str, Any]", case.body["grader"]))

    def _object(self, name: str, case: Case[Any]) -> str:
        if name in {"upload_id", "permission_id"}:
            return self._begun() if name == "upload_id" else self._granted()
        kind = next(kind for kind in self._known if kind in name)
        if case.method == "DELETE" and "permission" not in case.path:
            return self._work.upload() if kind == "file" else self._work.trained().fine_tuned_model or ""
        action = case.path.rpartition("/")[2]
        if action not in {"cancel", "pause", "resume"}:
            return self._known[kind]
        job = self._work.lasting().id
        self._lasting.append(job)
        if action != "cancel":
            self._work.reach(job, "running")
        if action == "resume":
            self._work.lenient.fine_tuning.jobs.pause(job)
            self._work.reach(job, "paused")
        return job

    def clear(self) -> None:
        """End the jobs that would keep others from training for long."""
        for job in self._lasting:
            with contextlib.suppress(openai.BadRequestError):  # the request has cancelled it
                self._work.lenient.fine_tuning.jobs.cancel(job)
        self._lasting.clear()

    def _begun(self) -> str:
        begun = self._work.client.uploads.create(
            bytes=1000, filename="a.jsonl", mime_type="application/jsonl", purpose="fine-tune"
        )
        return begun.id

    def _granted(self) -> str:
        permissions = self._work.client.fine_tuning.checkpoints.permissions
        return permissions.create(self._known["model"], project_ids=["proj_known"]).data[0].id

    def _make_sound(self, body: dict[str, Any]) -> None:
        """Mend what a document cannot say: the file exists, settings are of the chosen method, a range rises."""
        body.update(training_file=self._known["file"], model="gpt-4o-mini-2024-07-18", validation_file=None)
        if isinstance(method := body.get("method"), dict):
            body.pop("hyperparameters", None)
            for other in {"supervised", "dpo", "reinforcement"} - {method.get("type")}:
                method.pop(other, None)
            _let_ranges_rise((method.get("reinforcement") or {}).get("grader") or {})


def _let_ranges_rise(grader: dict[str, Any]) -> None:
    inner = grader.get("graders") or {}
    for each in (grader, inner, *(item for item in inner.values() if isinstance(item, dict))):
        if each.get("range"):
            each["range"] = [0, 1]


def in_the_published_shape(ctx: CheckContext, response: Response, case: Case[Any]) -> None:
    """Errors carry all four keys; every other answer satisfies the types of the ``openai`` package."""
    del ctx
    assert response.headers.get("x-request-id"), "no request id"
    if response.status_code >= 400:
        assert_error(json.loads(response.content) if case.method != "HEAD" else None)
        return
    if response.headers["content-type"][0].startswith("text/event-stream"):
        assert_events(response.content.decode())
        return
    shape = SHAPES.get((case.method, endpoint(case.path)))
    if shape is None:
        assert endpoint(case.path) == "files/{}/content", f"an operation without a shape: {case.method} {case.path}"
        return
    answer = json.loads(response.content)
    if listed := answer.get("object") == "list":
        assert isinstance(answer.get("has_more", False), bool)
    for item in answer["data"] if listed else [answer]:
        TypeAdapter(shape).validate_json(json.dumps(as_published(item)), strict=True)


def endpoint(path: str) -> str:
    """``/v1/fine_tuning/jobs/{fine_tuning_job_id}/events`` is ``jobs/{}/events``."""
    return re.sub(r"{\w+}", "{}", path.removeprefix("/v1").removeprefix("/fine_tuning").strip("/"))


def assert_error(body: Any) -> None:
    if body is None:
        return
    error = body["error"]
    assert set(body) == {"error"}
    assert set(error) == {"message", "type", "param", "code"}
    assert isinstance(error["message"], str)
    assert error["message"]
    assert isinstance(error["type"], str)


def assert_events(text: str) -> None:
    """Each is a chunk of an answer; a fault on the way is the last of them."""
    *events, done, rest = text.split("\n\n")
    assert (done, rest) == ("data: [DONE]", "")
    for number, event in enumerate(events, start=1):
        assert event.startswith("data: {")
        said = event.removeprefix("data: ")
        if number == len(events) and "error" in json.loads(said):
            assert_error(json.loads(said))
        else:
            TypeAdapter(ChatCompletionChunk).validate_json(said, strict=True)


def as_published(item: dict[str, Any]) -> dict[str, Any]:
    """Put what the published types lack into their terms: the status ``paused``, and named graders in ``multi``."""
    item = copy.deepcopy(item)
    if item.get("status") == "paused":
        item["status"] = "running"
    grader = ((item.get("method") or {}).get("reinforcement") or item).get("grader") or {}
    if isinstance(graders := grader.get("graders"), dict) and not isinstance(graders.get("type"), str):
        grader["graders"] = next(iter(graders.values()))
    return item


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A server of its own: the requests delete what they find."""
    with running_server(tmp_path_factory.mktemp("documents")) as url, work_on(url) as work:
        yield World.with_a_job(url, work)


@pytest.fixture(scope="module")
def answering(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A server with a model that answers."""
    tiny = tiny_model(tmp_path_factory)
    with running_server(tmp_path_factory.mktemp("answering"), tiny=tiny) as url, work_on(url) as work:
        yield World(url, work, {"model": "tiny"})


def served() -> dict[str, Any]:
    """Our document is the application's own, which needs no server to describe itself."""
    return create_app(cast("Store", None), cast("Engine", None), Settings(api_key=KEY)).openapi()


def documents() -> dict[str, BaseSchema]:
    """The documents to make requests from."""
    found = {"served": loaded(served(), PATHS["served"])}
    if PUBLISHED:
        document = json.loads(Path(PUBLISHED).read_bytes())
        document["components"]["schemas"]["FineTuningJob"]["properties"]["status"]["enum"].append("paused")
        found["published"] = loaded(document, PATHS["published"])
    return found


def loaded(document: dict[str, Any], paths: str) -> BaseSchema:
    generation = {"deterministic": True, "database": "none", "with-security-parameters": False}
    config = SchemathesisConfig.from_dict({"generation": generation})
    return schemathesis.openapi.from_dict(document, config=config).include(path_regex=paths)


def bounded(examples: int) -> settings:
    return settings(
        max_examples=examples,
        deadline=None,
        derandomize=True,
        database=None,
        phases=(Phase.explicit, Phase.generate),
        suppress_health_check=list(HealthCheck),
    )


CHECKS: list[CheckFunction] = [not_a_server_error, response_schema_conformance, in_the_published_shape]
OWN_CHECKS: list[CheckFunction] = [*CHECKS, status_code_conformance, content_type_conformance, negative_data_rejection]
DOCUMENTS = documents()
over_documents = schemathesis.pytest.parametrize(**DOCUMENTS)
over_chat = schemathesis.pytest.parametrize(chat=loaded(served(), "^/v1/chat/"))


def exchange(case: Case[Any], world: World) -> None:
    own = case.path.startswith("/v1")
    world.place(case)
    answer = case.call(base_url=world.url.removesuffix("/v1") if own else world.url, headers=HEADERS, timeout=30)
    world.clear()
    case.validate_response(answer, checks=OWN_CHECKS if own else CHECKS)


@pytest.mark.parametrize("name", DOCUMENTS)
def test_a_document_has_every_operation_that_has_a_shape_and_no_other(name: str) -> None:
    operations = [each.ok() for each in DOCUMENTS[name].get_all_operations() if isinstance(each, Ok)]
    found = {(operation.method.upper(), endpoint(operation.path)) for operation in operations}
    assert found == {*SHAPES, ("GET", "files/{}/content")} - ({CHAT} if name == "published" else set())


@pytest.mark.timeout(900)
@over_documents
@bounded(15)
def test_every_answer_is_in_the_published_shapes(case: Case[Any], world: World) -> None:
    exchange(case, world)


@pytest.mark.slow
@pytest.mark.timeout(1800)
@over_documents
@bounded(40)
def test_every_answer_is_in_the_published_shapes_after_many_more_requests(case: Case[Any], world: World) -> None:
    exchange(case, world)


@pytest.mark.slow
@needs_engine
@over_chat
@bounded(40)
def test_every_answer_of_a_model_is_in_the_published_shapes(case: Case[Any], answering: World) -> None:
    exchange(case, answering)
