"""Requests made from OpenAPI documents, valid and invalid: every answer is in the published shapes.

The served document is always tried. OpenAI's own is too large to keep here; name a copy of it in
``OPENAI_OPENAPI_DOCUMENT`` (a JSON file) to try that as well.
"""

from __future__ import annotations

import copy
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import schemathesis
from contract_support import KEY, Work, running_server, work_on
from hypothesis import HealthCheck, Phase, settings
from openai.types import FileDeleted, FileObject, Model, ModelDeleted
from openai.types.fine_tuning import FineTuningJob, FineTuningJobEvent
from openai.types.fine_tuning.jobs import FineTuningJobCheckpoint
from pydantic import BaseModel, TypeAdapter
from schemathesis import Case, CheckContext, GenerationMode, Response
from schemathesis.checks import CheckFunction, not_a_server_error
from schemathesis.config import SchemathesisConfig
from schemathesis.schemas import BaseSchema
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    negative_data_rejection,
    response_schema_conformance,
    status_code_conformance,
)

PUBLISHED = os.environ.get("OPENAI_OPENAPI_DOCUMENT", "")
HEADERS = {"Authorization": f"Bearer {KEY}"}
PATHS = r"^(/v1)?/(fine_tuning/jobs|files|models)(/|$)"

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
    ("GET", "models"): Model,
    ("GET", "models/{}"): Model,
    ("DELETE", "models/{}"): ModelDeleted,
}
"""What the ``openai`` package says an answer is; of a list, its items."""


class World:
    """A server with something on it, so that a made-up request can meet what exists."""

    def __init__(self, url: str, work: Work) -> None:
        self.url = url
        trained = work.trained()
        spare = work.upload()
        self.known = {
            "job": trained.id,
            "file": spare,
            "model": trained.fine_tuned_model or "",
        }
        self.training_file = trained.training_file

    def place(self, case: Case[Any]) -> None:
        """Aim a valid request at what exists; an invalid one stays as it was made."""
        if case.meta is None or case.meta.generation.mode is not GenerationMode.POSITIVE:
            return
        for name in case.path_parameters or {}:
            kind = next((kind for kind in self.known if kind in name), "")
            if kind and case.method != "DELETE":
                case.path_parameters[name] = self.known[kind]
        if case.query:
            case.query.pop("after", None)
        if case.method == "POST" and isinstance(case.body, dict) and "training_file" in case.body:
            case.body["training_file"] = self.training_file
            case.body["model"] = "gpt-4o-mini-2024-07-18"
            case.body.pop("validation_file", None)
            if "method" in case.body:
                case.body.pop("hyperparameters", None)


def in_the_published_shape(ctx: CheckContext, response: Response, case: Case[Any]) -> None:
    """Errors carry all four keys; every other answer satisfies the types of the ``openai`` package."""
    del ctx
    assert response.headers.get("x-request-id"), "no request id"
    if response.status_code >= 400:
        assert_error(json.loads(response.content) if case.method != "HEAD" else None)
        return
    path = case.path.removeprefix("/v1").removeprefix("/fine_tuning").strip("/")
    shape = SHAPES.get((case.method, "/".join("{}" if "{" in part else part for part in path.split("/"))))
    if shape is None:
        assert path.endswith("/content"), f"an operation without a shape: {case.method} {path}"
        return
    answer = json.loads(response.content)
    if listed := answer.get("object") == "list":
        assert isinstance(answer.get("has_more", False), bool)
    for item in answer["data"] if listed else [answer]:
        TypeAdapter(shape).validate_json(json.dumps(as_published(item)), strict=True)


def assert_error(body: Any) -> None:
    if body is None:
        return
    error = body["error"]
    assert set(body) == {"error"}
    assert set(error) == {"message", "type", "param", "code"}
    assert isinstance(error["message"], str)
    assert error["message"]
    assert isinstance(error["type"], str)


def as_published(item: dict[str, Any]) -> dict[str, Any]:
    """Put what the published types lack into their terms: the status ``paused``, and named graders in ``multi``."""
    item = copy.deepcopy(item)
    if item.get("status") == "paused":
        item["status"] = "running"
    grader = ((item.get("method") or {}).get("reinforcement") or {}).get("grader") or {}
    if isinstance(graders := grader.get("graders"), dict) and not isinstance(graders.get("type"), str):
        grader["graders"] = next(iter(graders.values()))
    return item


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A server of its own: the requests delete what they find."""
    with running_server(tmp_path_factory.mktemp("documents")) as url, work_on(url) as work:
        yield World(url, work)


def configured(*modes: GenerationMode) -> SchemathesisConfig:
    config = SchemathesisConfig.from_dict({"generation": {"deterministic": True, "database": "none"}})
    config.projects.default.generation.modes = list(modes)
    return config


@pytest.fixture(scope="module")
def served(world: World) -> BaseSchema:
    document = httpx.get(f"{world.url.removesuffix('/v1')}/openapi.json", headers=HEADERS).json()
    modes = (GenerationMode.POSITIVE, GenerationMode.NEGATIVE)
    return schemathesis.openapi.from_dict(document, config=configured(*modes)).include(path_regex=PATHS)


@pytest.fixture(scope="module")
def published() -> BaseSchema:
    document = json.loads(Path(PUBLISHED).read_bytes())
    schema = schemathesis.openapi.from_dict(document, config=configured(GenerationMode.POSITIVE))
    return schema.include(path_regex=PATHS)


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


def exchange(case: Case[Any], world: World, checks: list[CheckFunction]) -> None:
    world.place(case)
    base = world.url.removesuffix("/v1") if case.path.startswith("/v1") else world.url
    answer = case.call(base_url=base, headers=HEADERS, timeout=30)
    case.validate_response(answer, checks=checks)


from_served = schemathesis.pytest.from_fixture("served")
from_published = schemathesis.pytest.from_fixture("published")


@from_served.parametrize()
@bounded(15)
def test_every_answer_conforms_to_the_served_document_and_the_published_types(case: Case[Any], world: World) -> None:
    exchange(case, world, OWN_CHECKS)


@pytest.mark.slow
@from_served.parametrize()
@bounded(400)
def test_every_answer_conforms_after_many_more_requests(case: Case[Any], world: World) -> None:
    exchange(case, world, OWN_CHECKS)


@pytest.mark.slow
@pytest.mark.skipif(not PUBLISHED, reason="OPENAI_OPENAPI_DOCUMENT names no copy of the published document")
@from_published.parametrize()
@bounded(100)
def test_every_answer_conforms_to_the_published_document(case: Case[Any], world: World) -> None:
    exchange(case, world, CHECKS)
