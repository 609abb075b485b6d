"""The ``openai`` client, in strict response validation, walks a job's whole life on the embedded server."""

from __future__ import annotations

import re
from typing import Any

import httpx
import openai
import pytest
from contract_support import KEY, Work, jsonl, within

from reconciler.api.types import MethodType

STRING_CHECK = {
    "type": "string_check",
    "name": "exact",
    "input": "{{sample.output_text}}",
    "reference": "{{item.sum}}",
    "operation": "eq",
}
SIMILARITY = {
    "type": "text_similarity",
    "name": "near",
    "input": "{{sample.output_text}}",
    "reference": "{{item.sum}}",
    "evaluation_metric": "fuzzy_match",
}
PYTHON = {"type": "python", "name": "code", "source": "def grade(sample, item):\n    return 1.0\n"}
SCORE = {
    "type": "score_model",
    "name": "judge",
    "model": "gpt-4o-2024-08-06",
    "input": [{"role": "user", "content": "Rate {{sample.output_text}} against {{item.sum}}."}],
    "range": [0, 10],
    "sampling_params": {"temperature": 0, "seed": 3},
}
MULTI = {"type": "multi", "name": "one", "graders": STRING_CHECK, "calculate_output": "exact * 0.5"}
NAMED = {
    "type": "multi",
    "name": "both",
    "graders": {"exact": STRING_CHECK, "near": SIMILARITY},
    "calculate_output": "(exact + near) / 2",
}


def method(kind: MethodType, *, grader: dict[str, Any] | None = None, **hyperparameters: object) -> dict[str, Any]:
    settings: dict[str, Any] = {"hyperparameters": hyperparameters} if hyperparameters else {}
    return {"type": kind, kind: settings | ({"grader": grader} if grader else {})}


@pytest.mark.parametrize(
    ("kind", "settings"),
    [
        pytest.param("supervised", {}, id="no method"),
        pytest.param("supervised", {"method": {"type": "supervised"}}, id="supervised"),
        pytest.param("dpo", {"method": method("dpo", beta=0.2, n_epochs=2)}, id="dpo"),
        pytest.param("dpo", {"method": {"type": "dpo"}}, id="dpo, all left to the server"),
        *(
            pytest.param("reinforcement", {"method": method("reinforcement", grader=grader)}, id=str(grader["type"]))
            for grader in (STRING_CHECK, SIMILARITY, PYTHON, SCORE, MULTI)
        ),
        pytest.param(
            "reinforcement",
            {"method": method("reinforcement", grader=STRING_CHECK, reasoning_effort="low", compute_multiplier=0.5)},
            id="reinforcement with settings",
        ),
    ],
)
def test_every_method_trains_to_a_model(work: Work, kind: MethodType, settings: dict[str, Any]) -> None:
    job = work.trained(kind, suffix="sums", **settings)

    assert re.fullmatch(r"ft:gpt-4o-mini-2024-07-18:[\w-]+:sums:\w+", job.fine_tuned_model or "")
    assert (job.error, job.estimated_finish, job.seed) == (None, None, 7)
    assert job.finished_at is not None
    assert job.finished_at >= job.created_at
    assert job.trained_tokens
    assert len(job.result_files) == 1
    assert job.method is not None
    assert job.method.type == kind


def test_named_graders_come_back_as_they_were_sent(work: Work, http: httpx.Client) -> None:
    """The published types know one grader inside ``multi`` only, so the ``openai`` client cannot read this."""
    body = {
        "model": "o4-mini-2025-04-16",
        "training_file": work.upload("reinforcement"),
        "method": method("reinforcement", grader=NAMED),
    }
    job = http.post("/fine_tuning/jobs", json=body).json()
    assert job["method"]["reinforcement"]["grader"] == NAMED
    ended = within(
        30, lambda: now if (now := http.get(f"/fine_tuning/jobs/{job['id']}").json())["finished_at"] else None
    )
    assert ended["status"] == "succeeded"
    assert ended["method"]["reinforcement"]["grader"] == NAMED


def test_auto_hyperparameters_come_back_as_numbers(work: Work) -> None:
    job = work.trained(method=method("supervised", n_epochs="auto", batch_size=4))
    assert job.method is not None
    assert job.method.supervised is not None
    chosen = job.method.supervised.hyperparameters
    assert chosen is not None
    assert chosen.batch_size == 4
    assert isinstance(chosen.n_epochs, int)
    assert isinstance(chosen.learning_rate_multiplier, float | int)
    assert job.hyperparameters.to_dict() == chosen.to_dict()


def test_deprecated_hyperparameters_are_those_of_supervised_training(work: Work) -> None:
    job = work.trained(hyperparameters={"n_epochs": 2, "batch_size": 8})
    assert (job.hyperparameters.n_epochs, job.hyperparameters.batch_size) == (2, 8)
    assert job.method is not None
    assert job.method.supervised is not None
    assert job.method.supervised.hyperparameters is not None
    assert job.method.supervised.hyperparameters.n_epochs == 2


def test_an_alias_comes_back_as_its_dated_model(work: Work) -> None:
    assert work.create(model="gpt-4o-mini").model == "gpt-4o-mini-2024-07-18"


def test_what_was_sent_comes_back(work: Work) -> None:
    validation_file = work.upload(rows=3)
    metadata = {"team": "support", "ключ": "значение", "empty": ""}
    integrations = [{"type": "wandb", "wandb": {"project": "sums", "tags": ["a"]}}]
    job = work.create(validation_file=validation_file, metadata=metadata, integrations=integrations)
    assert job.validation_file == validation_file
    assert job.metadata == metadata
    assert job.integrations is not None
    assert job.integrations[0].wandb.project == "sums"
    assert work.client.fine_tuning.jobs.retrieve(job.id).metadata == metadata
    validated = work.reach(job.id, "succeeded")
    checkpoint = work.client.fine_tuning.jobs.checkpoints.list(validated.id).data[0]
    assert checkpoint.metrics.full_valid_loss is not None


def test_a_paused_job_can_be_cancelled(work: Work) -> None:
    job = work.lasting()
    work.reach(job.id, "running")
    work.lenient.fine_tuning.jobs.pause(job.id)
    work.reach(job.id, "paused")
    with pytest.raises(openai.BadRequestError):
        work.lenient.fine_tuning.jobs.pause(job.id)
    assert work.client.fine_tuning.jobs.cancel(job.id).status == "cancelled"


def test_a_job_starts_from_the_model_of_another(work: Work) -> None:
    first = work.trained(suffix="stage-1")
    second = work.trained(model=first.fine_tuned_model, suffix="stage-2")
    assert second.model == first.fine_tuned_model
    assert second.fine_tuned_model is not None
    assert second.fine_tuned_model.startswith("ft:gpt-4o-mini-2024-07-18:")
    assert ":stage-2:" in second.fine_tuned_model


@pytest.mark.parametrize("suffix", ["a:b", "a/../b", " sp ace", "\u202eüber", "..", "%2f", "ckpt-step-5", "a\nb"])
def test_an_odd_suffix_still_names_a_model_that_can_be_used(work: Work, suffix: str) -> None:
    model = work.trained(suffix=suffix).fine_tuned_model
    assert model is not None
    assert model.count(":") == 4
    assert work.client.models.retrieve(model).id == model
    assert work.trained(model=model).model == model
    assert work.client.models.delete(model).deleted


def test_listing_pages_through_every_job_of_a_label_once_newest_first(work: Work) -> None:
    training_file = work.upload()
    made = [
        work.create(training_file=training_file, metadata={"batch": "paging", "parity": str(number % 2)}).id
        for number in range(23)
    ]
    jobs = work.client.fine_tuning.jobs
    assert [job.id for job in jobs.list(limit=5, metadata={"batch": "paging"})] == made[::-1]
    assert [job.id for job in jobs.list(limit=100, metadata={"batch": "paging"})] == made[::-1]
    odd = jobs.list(limit=4, metadata={"batch": "paging", "parity": "1"})
    assert [job.id for job in odd] == made[1::2][::-1]
    assert list(jobs.list(metadata={"batch": "none such"})) == []
    everything = work.lenient.fine_tuning.jobs
    assert len(everything.list().data) == 20
    assert set(made) <= {job.id for job in everything.list(limit=100)}


def test_a_page_stays_where_it_was_while_jobs_are_added(work: Work) -> None:
    training_file = work.upload()
    label = {"batch": "moving"}
    made = [work.create(training_file=training_file, metadata=label).id for _ in range(4)]
    first = work.client.fine_tuning.jobs.list(limit=2, metadata=label)
    work.create(training_file=training_file, metadata=label)
    assert [job.id for job in first.get_next_page().data] == made[1::-1]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        pytest.param(jsonl("supervised", 9), "10", id="too few rows"),
        pytest.param(jsonl("supervised", 11) + b'{"messages": []}\n', "line 12", id="a bad row"),
        pytest.param(jsonl("dpo", 12), "line 1", id="rows of another method"),
    ],
)
def test_bad_data_fails_the_job_and_says_where(work: Work, content: bytes, words: str) -> None:
    job = work.reach(work.create(training_file=work.upload_bytes(content).id).id, "failed")
    failed = work.client.fine_tuning.jobs.retrieve(job.id)
    assert failed.error is not None
    assert failed.error.code
    assert failed.error.param == "training_file"
    assert words in failed.error.message
    assert (failed.fine_tuned_model, failed.result_files, failed.trained_tokens) == (None, [], None)


def test_bad_validation_data_is_named_as_such(work: Work) -> None:
    validation_file = work.upload_bytes(b'{"messages": "none"}\n').id
    job = work.reach(work.create(validation_file=validation_file).id, "failed")
    assert job.error is not None
    assert job.error.param == "validation_file"
    assert "line 1" in job.error.message


async def test_the_async_client_walks_the_same_life(server: str) -> None:
    async with openai.AsyncOpenAI(
        base_url=server, api_key=KEY, max_retries=0, timeout=30, _strict_response_validation=True
    ) as client:
        content = jsonl("supervised", 2500)  # so many that the job does not end by itself
        file = await client.files.create(file=("train.jsonl", content), purpose="fine-tune")
        await client.files.wait_for_processing(file.id, poll_interval=0.02, max_wait_seconds=20)
        label = {"walk": "async"}
        job = await client.fine_tuning.jobs.create(
            model="simulated-slow", training_file=file.id, metadata=label, hyperparameters={"n_epochs": 50}
        )
        assert [listed.id async for listed in client.fine_tuning.jobs.list(metadata=label)] == [job.id]
        cancelled = await client.fine_tuning.jobs.cancel(job.id)
        assert cancelled.status == "cancelled"
        events = [event async for event in client.fine_tuning.jobs.list_events(job.id, limit=1)]
        assert events
        assert (await client.files.delete(file.id)).deleted


def test_a_job_shows_when_it_will_end_while_it_runs(work: Work) -> None:
    job = work.lasting()
    work.reach(job.id, "running")
    estimate = within(30, lambda: work.retrieve(job.id).estimated_finish)
    assert estimate >= job.created_at
    work.client.fine_tuning.jobs.cancel(job.id)
