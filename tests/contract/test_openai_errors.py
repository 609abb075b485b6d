"""Every documented error arrives as the exception the ``openai`` client has for it, with its code and param."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import openai
import pytest
from contract_support import KEY, Work, jsonl

GRADER = {"type": "string_check", "name": "g", "input": "{{sample.output_text}}", "reference": "x", "operation": "eq"}
REINFORCED = "method.reinforcement"


def supervised(**hyperparameters: object) -> dict[str, Any]:
    return {"type": "supervised", "supervised": {"hyperparameters": hyperparameters}}


def reinforcement(**grader: object) -> dict[str, Any]:
    return {"type": "reinforcement", "reinforcement": {"grader": GRADER | grader}}


@pytest.mark.parametrize(
    ("settings", "param"),
    [
        ({"model": ""}, "model"),
        ({"model": 7}, "model"),
        ({"training_file": 7}, "training_file"),
        ({"training_file": None}, "training_file"),
        ({"validation_file": ["file-1"]}, "validation_file"),
        ({"suffix": ""}, "suffix"),
        ({"suffix": "x" * 65}, "suffix"),
        ({"seed": -1}, "seed"),
        ({"seed": 2_147_483_648}, "seed"),
        ({"seed": 10**400}, "seed"),
        ({"seed": "7"}, "seed"),
        ({"seed": True}, "seed"),
        ({"metadata": {"k" * 65: "v"}}, "metadata"),
        ({"metadata": {"k": "v" * 513}}, "metadata"),
        ({"metadata": {"k": 1}}, "metadata"),
        ({"metadata": {str(n): "" for n in range(17)}}, "metadata"),
        ({"metadata": []}, "metadata"),
        ({"integrations": [{"type": "wandb", "wandb": {"project": "p"}}] * 6}, "integrations"),
        ({"integrations": [{"type": "mlflow"}]}, "integrations"),
        ({"integrations": [{"type": "wandb", "wandb": {}}]}, "integrations"),
        ({"hyperparameters": {"n_epochs": 51}}, "hyperparameters"),
        ({"hyperparameters": {"n_epochs": 2}, "method": {"type": "supervised"}}, None),
        ({"method": {"type": "magic"}}, "method"),
        ({"method": {}}, "method"),
        ({"method": "supervised"}, "method"),
        ({"method": supervised(n_epochs=0)}, "method.supervised"),
        ({"method": supervised(n_epochs=1.5)}, "method.supervised"),
        ({"method": supervised(n_epochs="3")}, "method.supervised"),
        ({"method": supervised(n_epochs=True)}, "method.supervised"),
        ({"method": supervised(batch_size=257)}, "method.supervised"),
        ({"method": supervised(learning_rate_multiplier=0)}, "method.supervised"),
        ({"method": supervised(beta=0.1)}, "method.supervised"),
        ({"method": supervised(n_epoch=1)}, "method.supervised"),
        ({"method": {"type": "dpo", "dpo": {"hyperparameters": {"beta": 2.1}}}}, "method.dpo"),
        ({"method": {"type": "dpo", "supervised": {}}}, "method"),
        ({"method": {"type": "reinforcement"}}, "method"),
        ({"method": {"type": "reinforcement", "reinforcement": {}}}, REINFORCED),
        ({"method": reinforcement(operation="gt")}, REINFORCED),
        ({"method": reinforcement(type="oracle")}, REINFORCED),
        ({"method": reinforcement(input="{{item.}}")}, REINFORCED),
        ({"method": reinforcement(reference="{{sample.mood}}")}, REINFORCED),
        ({"method": reinforcement(reference="{{item.a")}, REINFORCED),
        (
            {"method": reinforcement(type="multi", graders={"a": GRADER}, calculate_output="a + b")},
            REINFORCED,
        ),
        ({"modle": "gpt-4o-mini"}, "modle"),
    ],
)
def test_a_bad_field_of_a_create_is_named(work: Work, settings: dict[str, Any], param: str | None) -> None:
    body = {"model": "gpt-4o-mini", "training_file": "file-none", **settings}
    with pytest.raises(openai.BadRequestError) as refused:
        work.client.post("/fine_tuning/jobs", body=body, cast_to=object)
    assert refused.value.type == "invalid_request_error"
    assert refused.value.message
    if param is not None:
        assert refused.value.param is not None
        assert refused.value.param.startswith(param)


@pytest.mark.parametrize("missing", ["model", "training_file"])
def test_a_missing_field_is_named(work: Work, missing: str) -> None:
    body = {"model": "gpt-4o-mini", "training_file": "file-none"}
    del body[missing]
    with pytest.raises(openai.BadRequestError) as refused:
        work.client.post("/fine_tuning/jobs", body=body, cast_to=object)
    assert refused.value.param == missing


@pytest.mark.parametrize("field", ["training_file", "validation_file"])
def test_a_create_from_an_unknown_file_names_the_field(work: Work, field: str) -> None:
    with pytest.raises((openai.BadRequestError, openai.NotFoundError)) as refused:
        work.create(**{field: "file-none"})
    assert refused.value.param == field
    assert "file-none" in refused.value.message


def test_a_file_that_a_job_still_needs_cannot_be_deleted(work: Work) -> None:
    job = work.lasting()
    with pytest.raises(openai.ConflictError) as refused:
        work.client.files.delete(job.training_file)
    assert job.id in refused.value.message
    work.client.fine_tuning.jobs.cancel(job.id)
    assert work.client.files.delete(job.training_file).deleted


def test_a_result_file_is_no_training_file(work: Work) -> None:
    result = work.trained().result_files[0]
    with pytest.raises(openai.BadRequestError) as refused:
        work.create(training_file=result)
    assert refused.value.param == "training_file"


@pytest.mark.parametrize("model", ["ft:gpt-4o-mini-2024-07-18:acme::none", "ft:", "gpt 4o", "../../etc/passwd"])
def test_a_create_from_an_unknown_model_says_so(work: Work, model: str) -> None:
    with pytest.raises((openai.BadRequestError, openai.NotFoundError)) as refused:
        work.create(model=model)
    assert (refused.value.param, refused.value.code) == ("model", "model_not_found")


@pytest.mark.parametrize(
    "call",
    [
        pytest.param(lambda api: api.fine_tuning.jobs.retrieve("ftjob-none"), id="job"),
        pytest.param(lambda api: api.fine_tuning.jobs.cancel("ftjob-none"), id="cancel"),
        pytest.param(lambda api: api.fine_tuning.jobs.pause("ftjob-none"), id="pause"),
        pytest.param(lambda api: api.fine_tuning.jobs.resume("ftjob-none"), id="resume"),
        pytest.param(lambda api: api.fine_tuning.jobs.list_events("ftjob-none"), id="events"),
        pytest.param(lambda api: api.fine_tuning.jobs.checkpoints.list("ftjob-none"), id="checkpoints"),
        pytest.param(lambda api: api.files.retrieve("file-none"), id="file"),
        pytest.param(lambda api: api.files.content("file-none"), id="content"),
        pytest.param(lambda api: api.files.delete("file-none"), id="delete file"),
        pytest.param(lambda api: api.models.retrieve("none"), id="model"),
        pytest.param(lambda api: api.models.delete("ft:none:acme::x"), id="delete model"),
    ],
)
def test_what_does_not_exist_is_not_found(work: Work, call: Callable[[openai.OpenAI], object]) -> None:
    with pytest.raises(openai.NotFoundError) as refused:
        call(work.client)
    assert refused.value.type == "invalid_request_error"
    assert "none" in refused.value.message
    assert refused.value.request_id


@pytest.mark.parametrize("key", ["wrong", KEY + "x", KEY[:-1], KEY.upper()])
def test_a_wrong_key_is_an_authentication_error_that_does_not_repeat_it(client: openai.OpenAI, key: str) -> None:
    stranger = client.with_options(default_headers={"Authorization": f"Bearer {key}"})
    for call in (stranger.models.list, stranger.fine_tuning.jobs.list, stranger.files.list):
        with pytest.raises(openai.AuthenticationError) as refused:
            call()
        assert refused.value.code == "invalid_api_key"
        assert key not in refused.value.message


@pytest.mark.parametrize("limit", [0, -1, 101, 1_000_000, 10**30])
def test_a_limit_out_of_range_is_refused(work: Work, limit: int) -> None:
    with pytest.raises(openai.BadRequestError) as refused:
        work.client.fine_tuning.jobs.list(limit=limit)
    assert refused.value.param == "limit"


def test_an_unknown_cursor_is_refused_and_never_an_empty_page(work: Work) -> None:
    job = work.create()
    for call in (
        lambda: work.client.fine_tuning.jobs.list(after="ftjob-none"),
        lambda: work.client.fine_tuning.jobs.list_events(job.id, after="ftevent-none"),
        lambda: work.client.fine_tuning.jobs.checkpoints.list(job.id, after="ftckpt_none"),
        lambda: work.client.files.list(after="file-none"),
    ):
        with pytest.raises((openai.BadRequestError, openai.NotFoundError)) as refused:
            call()
        assert refused.value.param == "after"


@pytest.mark.parametrize("purpose", ["", "fine-tune-results", "everything"])
def test_an_upload_for_an_unknown_purpose_is_refused(work: Work, purpose: Any) -> None:
    with pytest.raises(openai.BadRequestError) as refused:
        work.client.files.create(file=("a.jsonl", jsonl("supervised", 10)), purpose=purpose)
    assert refused.value.param == "purpose"


def test_a_base_model_cannot_be_deleted(work: Work) -> None:
    base = next(model.id for model in work.client.models.list() if not model.id.startswith("ft:"))
    with pytest.raises((openai.BadRequestError, openai.PermissionDeniedError, openai.NotFoundError)) as refused:
        work.client.models.delete(base)
    assert base in refused.value.message


def test_a_failure_on_demand_is_a_failed_job_with_its_error(work: Work) -> None:
    job = work.reach(work.create(model="simulated-fail").id, "failed")
    assert work.client.fine_tuning.jobs.retrieve(job.id).error is not None


def test_an_answer_carries_its_request_id(work: Work) -> None:
    raw = work.client.fine_tuning.jobs.with_raw_response.list(limit=1)
    again = work.client.fine_tuning.jobs.with_raw_response.list(limit=1)
    assert raw.headers["x-request-id"]
    assert raw.headers["x-request-id"] != again.headers["x-request-id"]
