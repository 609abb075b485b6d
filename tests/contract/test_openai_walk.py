"""The ``openai`` client, in strict response validation, walks a job's whole life, with either trainer.

The jobs are made once for each trainer and looked at from every side: real training takes seconds.
"""

from __future__ import annotations

import csv
import io
import itertools
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import openai
import pytest
from contract_support import Work, running_server, within, work_on
from openai.types.fine_tuning import FineTuningJob
from tiny import needs_engine, tiny_model

from reconciler.api.types import MethodType

METHODS: tuple[MethodType, ...] = ("supervised", "dpo", "reinforcement")
GRADER = {
    "type": "string_check",
    "name": "exact",
    "input": "{{sample.output_text}}",
    "reference": "{{item.sum}}",
    "operation": "eq",
}
TOOL: Any = {"type": "function", "function": {"name": "add"}}
CALL = {"id": "call_1", "type": "function", "function": {"name": "add", "arguments": "{}"}}
LABEL = {"batch": "walk"}
WANDB: Any = {"type": "wandb", "wandb": {"project": "sums", "name": "n", "entity": "acme", "tags": ["a"]}}


def asked(number: int) -> Any:
    return [{"role": "user", "content": f"what is {number} plus two"}]


def method(kind: MethodType, n_epochs: int) -> dict[str, Any]:
    settings: dict[str, Any] = {"hyperparameters": {"n_epochs": n_epochs, "batch_size": 4}}
    return {"type": kind, kind: settings | ({"grader": GRADER} if kind == "reinforcement" else {})}


@dataclass(frozen=True)
class Walk:
    """A server whose trainer makes weights (``real``) or none, and a job of each method on it.

    ``paused`` is what the DPO job was between its pause and its resumption, after ``paused_after`` steps.
    """

    work: Work
    directory: Path
    real: bool
    jobs: dict[MethodType, str]
    paused: FineTuningJob
    paused_after: int

    @classmethod
    def begin(cls, work: Work, directory: Path, *, real: bool) -> Walk:
        """Create the jobs, and pause the DPO one.

        The supervised one learns to call a tool, whatever it is asked, and is told to W&B.
        """
        taught = [
            {"messages": [*asked(n), {"role": "assistant", "tool_calls": [CALL]}], "tools": [TOOL]} for n in range(12)
        ]
        more: dict[MethodType, dict[str, Any]] = {
            "supervised": {
                "training_file": work.upload_rows(taught),
                "validation_file": work.upload_rows(taught[:3]),
                "method": method("supervised", 8),
                "integrations": [WANDB],
            },
            "dpo": {"method": method("dpo", 10), "model": work.base if real else "simulated-slow"},
            "reinforcement": {
                "method": method("reinforcement", 1),
                "validation_file": work.upload("reinforcement", rows=3),
            },
        }
        jobs = {
            kind: work.create(kind, suffix="sums", metadata=LABEL | {"kind": kind}, **given).id
            for kind, given in more.items()
        }
        within(work.patience, lambda: steps_of(work, jobs["dpo"]))
        assert work.lenient.fine_tuning.jobs.pause(jobs["dpo"]).status in {"pausing", "paused"}
        paused = work.reach(jobs["dpo"], "paused")
        return cls(work, directory, real, jobs, paused, len(steps_of(work, jobs["dpo"])))

    def resumed(self, work: Work) -> Walk:
        """Let the DPO job go on, on the same server or another on its directory."""
        assert work.lenient.fine_tuning.jobs.resume(self.jobs["dpo"]).status in {"queued", "running"}
        return replace(self, work=work)

    def trained(self, kind: MethodType = "supervised") -> FineTuningJob:
        """Wait for a job's model; read the job strictly."""
        return self.work.client.fine_tuning.jobs.retrieve(self.work.reach(self.jobs[kind], "succeeded").id)

    def model(self, kind: MethodType = "supervised") -> str:
        return self.trained(kind).fine_tuned_model or ""


def steps_of(work: Work, job_id: str) -> list[int]:
    """Return the steps whose numbers are events, the newest first."""
    events = work.client.fine_tuning.jobs.list_events(job_id, limit=100)
    return [event.data["step"] for event in events if event.type == "metrics" and isinstance(event.data, dict)]


SIMULATED = pytest.param(False, id="simulated")
REAL = pytest.param(True, id="trl", marks=[pytest.mark.slow, needs_engine])
only_simulated = pytest.mark.parametrize("walk", [SIMULATED], indirect=True)
only_real = pytest.mark.parametrize("walk", [REAL], indirect=True)


@pytest.fixture(scope="module", params=[SIMULATED, REAL])
def walk(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Walk]:
    directory = tmp_path_factory.mktemp("walk")
    if request.param:
        tiny = tiny_model(tmp_path_factory)
        with running_server(directory, tiny=tiny) as url, work_on(url, base="tiny", patience=120) as work:
            yield Walk.begin(work, directory, real=True).resumed(work)
        return
    with running_server(directory, speed=1) as url, work_on(url) as work:  # so slow that no job ends before its pause
        begun = Walk.begin(work, directory, real=False)
    with running_server(directory) as url, work_on(url) as work:
        yield begun.resumed(work)


@pytest.mark.parametrize("kind", METHODS)
def test_every_method_trains_to_a_model(walk: Walk, kind: MethodType) -> None:
    job = walk.trained(kind)
    assert re.fullmatch(rf"ft:{job.model}:[\w-]+:sums:\w+", job.fine_tuned_model or "")
    assert (job.error, job.estimated_finish, job.seed) == (None, None, 7)
    assert job.finished_at is not None
    assert job.finished_at >= job.created_at
    assert job.trained_tokens
    assert job.method is not None
    assert job.method.type == kind


def test_jobs_are_listed_by_label_newest_first(walk: Walk) -> None:
    jobs = walk.work.lenient.fine_tuning.jobs
    newest_first = list(walk.jobs.values())[::-1]
    assert [job.id for job in jobs.list(limit=2, metadata=LABEL)] == newest_first
    (job,) = jobs.list(metadata=LABEL | {"kind": "dpo"})
    assert job.id == walk.jobs["dpo"]
    assert job.metadata == LABEL | {"kind": "dpo"}


def test_events_tell_the_whole_life_newest_first(walk: Walk) -> None:
    job = walk.trained()
    newest_first = list(walk.work.client.fine_tuning.jobs.list_events(job.id, limit=7))
    assert len({event.id for event in newest_first}) == len(newest_first) > 7
    assert newest_first == list(walk.work.client.fine_tuning.jobs.list_events(job.id, limit=100))
    times = [event.created_at for event in newest_first]
    assert times == sorted(times, reverse=True)
    assert steps_of(walk.work, job.id) == list(range(24, 0, -1))
    assert any("simulat" in event.message.lower() for event in newest_first) is not walk.real


def test_a_checkpoint_is_kept_for_each_of_the_last_three_epochs(walk: Walk) -> None:
    job = walk.trained()
    page = walk.work.client.fine_tuning.jobs.checkpoints.list(job.id)
    steps = [checkpoint.step_number for checkpoint in page.data]
    assert steps == sorted(steps, reverse=True)
    assert steps[:3] == [24, 21, 18]
    kept = page.data[:3]
    assert {checkpoint.fine_tuning_job_id for checkpoint in kept} == {job.id}
    for checkpoint in kept:
        assert checkpoint.metrics.train_loss is not None
        assert checkpoint.metrics.full_valid_loss is not None
        name = checkpoint.fine_tuned_model_checkpoint
        assert name == job.fine_tuned_model or name.endswith(f":ckpt-step-{checkpoint.step_number}")
        assert walk.work.client.models.retrieve(name).id == name
    assert list(walk.work.client.fine_tuning.jobs.checkpoints.list(job.id, limit=1)) == page.data


def test_a_checkpoint_of_reinforcement_shows_its_rewards(walk: Walk) -> None:
    (checkpoint,) = walk.work.client.fine_tuning.jobs.checkpoints.list(walk.trained("reinforcement").id).data
    shown = checkpoint.metrics.to_dict()
    assert {"train_reward_mean", "valid_reward_mean", "full_valid_reward_mean"} <= shown.keys()
    assert ("full_valid_loss" in shown) is not walk.real, "answers are compared with their fellows: no loss tells more"


def test_the_result_file_is_csv_with_a_row_a_step(walk: Walk) -> None:
    (result,) = walk.trained().result_files
    file = walk.work.client.files.retrieve(result)
    assert (file.purpose, file.status) == ("fine-tune-results", "processed")
    content = walk.work.client.files.content(file.id).read()
    assert len(content) == file.bytes
    steps = list(csv.DictReader(io.StringIO(content.decode())))
    assert [int(step["step"]) for step in steps] == list(range(1, 25))
    assert {"train_loss", "train_mean_token_accuracy", "valid_loss", "valid_mean_token_accuracy"} < set(steps[0])
    assert float(steps[-1]["train_loss"]) < float(steps[0]["train_loss"])
    assert steps[-1]["valid_loss"]


def test_a_paused_job_goes_on_to_its_end_where_it_was(walk: Walk) -> None:
    assert (walk.paused.finished_at, walk.paused.fine_tuned_model) == (None, None)
    assert 0 < walk.paused_after < 60
    assert walk.trained("dpo").fine_tuned_model
    assert steps_of(walk.work, walk.jobs["dpo"]) == list(range(60, 0, -1))


def test_a_cancelled_job_is_final(walk: Walk) -> None:
    job = (walk.work.create(method=method("supervised", 50)) if walk.real else walk.work.lasting()).id
    walk.work.reach(job, "running")
    with pytest.raises(openai.BadRequestError):
        walk.work.lenient.fine_tuning.jobs.resume(job)
    cancelled = walk.work.client.fine_tuning.jobs.cancel(job)
    assert cancelled.status == "cancelled"
    assert cancelled.finished_at is not None
    assert cancelled.fine_tuned_model is None
    for again in (walk.work.client.fine_tuning.jobs.cancel, walk.work.lenient.fine_tuning.jobs.pause):
        with pytest.raises(openai.BadRequestError):
            again(job)
    assert walk.work.client.fine_tuning.jobs.retrieve(job) == cancelled


def test_what_was_sent_to_weights_and_biases_comes_back(walk: Walk) -> None:
    job = walk.trained()
    assert job.integrations is not None
    (integration,) = job.integrations
    assert (integration.wandb.project, integration.wandb.tags) == ("sums", ["a"])
    told = [run.name for run in (walk.directory / "tracking" / "wandb").glob("offline-run-*")]
    assert [name.endswith(job.id) for name in told] == [True] * walk.real


def test_models_are_listed_retrieved_and_deleted_with_their_permissions(walk: Walk) -> None:
    model, models = walk.model("reinforcement"), walk.work.client.models
    assert {model, walk.work.base} <= {listed.id for listed in models.list()}
    assert models.retrieve(model).object == "model"
    permissions = walk.work.client.fine_tuning.checkpoints.permissions
    permissions.create(model, project_ids=["proj_a"])
    assert models.delete(model).deleted
    for gone in (models.retrieve, models.delete, permissions.list):
        with pytest.raises(openai.NotFoundError):
            gone(model)
    assert model not in {listed.id for listed in models.list()}
    with pytest.raises((openai.NotFoundError, openai.BadRequestError)) as refused:
        walk.work.create(model=model)
    assert refused.value.code == "model_not_found"


def test_projects_are_let_in_listed_and_shut_out(walk: Walk) -> None:
    model = walk.model("dpo")
    permissions = walk.work.client.fine_tuning.checkpoints.permissions
    granted = permissions.create(model, project_ids=["proj_a", "proj_b"]).data
    assert {p.project_id for p in granted} == {"proj_a", "proj_b"}
    again = permissions.create(model, project_ids=["proj_b", "proj_c"]).data
    assert {p.id for p in again} & {p.id for p in granted}, "a project keeps the permission it has"
    newest = [p.project_id for p in permissions.list(model, limit=2)]
    assert newest[0] == "proj_c"
    assert sorted(newest) == ["proj_a", "proj_b", "proj_c"]
    assert [p.project_id for p in permissions.list(model, order="ascending")] == newest[::-1]
    assert [p.project_id for p in permissions.list(model, project_id="proj_a")] == ["proj_a"]
    (mine,) = permissions.list(model, project_id="proj_a").data
    assert permissions.delete(mine.id, fine_tuned_model_checkpoint=model).deleted
    assert "proj_a" not in [p.project_id for p in permissions.list(model)]
    with pytest.raises(openai.NotFoundError):
        permissions.delete(mine.id, fine_tuned_model_checkpoint=model)


def test_a_checkpoint_has_permissions_of_its_own(walk: Walk) -> None:
    job = walk.trained()
    checkpoint = next(iter(walk.work.client.fine_tuning.jobs.checkpoints.list(job.id))).fine_tuned_model_checkpoint
    permissions = walk.work.client.fine_tuning.checkpoints.permissions
    permissions.create(checkpoint, project_ids=["proj_a"])
    assert [p.project_id for p in permissions.list(checkpoint)] == ["proj_a"]
    assert not permissions.list(job.fine_tuned_model or "").data


@pytest.mark.parametrize(
    ("wrong", "code", "param"),
    [
        ({"model": "gpt 4o"}, "model_not_found", "model"),
        ({"training_file": "file-none"}, "file_not_found", "training_file"),
        ({"method": method("supervised", 0)}, "invalid_value", "method.supervised.hyperparameters.n_epochs"),
    ],
)
def test_a_create_that_is_refused_says_why(walk: Walk, wrong: dict[str, Any], code: str, param: str) -> None:
    with pytest.raises(openai.APIStatusError) as refused:
        walk.work.create(**wrong)
    assert (refused.value.code, refused.value.param) == (code, param)


def test_bad_data_fails_the_job_and_says_where(walk: Walk) -> None:
    file = walk.work.upload_rows([{"messages": []}] * 12)
    job = walk.work.reach(walk.work.create(training_file=file).id, "failed")
    failed = walk.work.client.fine_tuning.jobs.retrieve(job.id)
    assert failed.error is not None
    assert (failed.error.code, failed.error.param) == ("invalid_file_format", "training_file")
    assert "line 1" in failed.error.message
    assert (failed.fine_tuned_model, failed.result_files, failed.trained_tokens) == (None, [], None)


@only_simulated
@pytest.mark.parametrize("stream", [False, True])
def test_a_model_without_weights_says_so_when_asked(walk: Walk, stream: bool) -> None:
    for model in (walk.work.base, walk.model()):
        with pytest.raises(openai.BadRequestError) as refused:
            walk.work.client.chat.completions.create(model=model, messages=asked(1), stream=stream)
        assert (refused.value.code, refused.value.param) == ("model_has_no_weights", "model")


@only_real
def test_a_stream_says_what_the_whole_answer_says(walk: Walk) -> None:
    completions = walk.work.client.chat.completions
    for model in (walk.work.base, walk.model("dpo")):
        given: dict[str, Any] = {"model": model, "messages": asked(5), "temperature": 0, "max_completion_tokens": 6}
        whole = completions.create(**given)
        assert whole.model == model
        assert completions.create(**given | {"temperature": 5e-324}).choices == whole.choices
        assert whole.usage is not None
        assert whole.usage.total_tokens == whole.usage.prompt_tokens + whole.usage.completion_tokens
        *chunks, last = completions.create(**given, stream=True, stream_options={"include_usage": True})
        assert {chunk.id for chunk in chunks} == {last.id}
        assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == whole.choices[0].message.content
        assert chunks[0].choices[0].delta.role == "assistant"
        assert chunks[-1].choices[0].finish_reason == whole.choices[0].finish_reason
        assert (last.choices, last.usage) == ([], whole.usage)
        with completions.stream(**given) as stream:
            stream.until_done()
            assert stream.current_completion_snapshot.choices[0].message.content == whole.choices[0].message.content


@only_real
def test_a_model_that_reads_it_is_asked_to_think_harder(walk: Walk) -> None:
    completions = walk.work.client.chat.completions
    given: dict[str, Any] = {"model": "thinker", "messages": asked(5), "max_completion_tokens": 1}
    usual, harder = completions.create(**given).usage, completions.create(**given, reasoning_effort="high").usage
    assert usual is not None
    assert harder is not None
    assert harder.prompt_tokens > usual.prompt_tokens, "the template says it to the model"
    for model, effort in (("tiny", "high"), ("thinker", "minimal")):
        with pytest.raises(openai.BadRequestError) as refused:
            completions.create(**given | {"model": model, "reasoning_effort": effort})
        assert refused.value.param == "reasoning_effort"


@only_real
def test_a_model_that_learnt_to_calls_the_tool(walk: Walk) -> None:
    given: dict[str, Any] = {"model": walk.model(), "messages": asked(5), "temperature": 0, "tools": [TOOL]}
    completions = walk.work.client.chat.completions
    (choice,) = completions.create(**given).choices
    assert (choice.finish_reason, choice.message.content) == ("tool_calls", None)
    assert choice.message.tool_calls is not None
    (call,) = choice.message.tool_calls
    assert call.type == "function"
    assert (call.function.name, call.function.arguments) == ("add", "{}")
    with completions.stream(**given) as stream:
        calls = stream.get_final_completion().choices[0].message.tool_calls
    assert calls is not None
    (streamed,) = calls
    assert (streamed.function.name, streamed.function.arguments) == ("add", "{}")
    answered = [*asked(5), choice.message.to_dict(), {"role": "tool", "tool_call_id": call.id, "content": "7"}]
    assert completions.create(**given | {"messages": answered}).choices


@only_real
def test_what_a_model_cannot_answer_is_refused_with_a_code(walk: Walk) -> None:
    completions = walk.work.client.chat.completions
    long: Any = [{"role": "user", "content": "x " * 900}]
    image: Any = [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:image/png;base64,"}}]}]
    for messages, stream in itertools.product((long, image), (False, True)):
        with pytest.raises(openai.BadRequestError) as refused:
            completions.create(model=walk.work.base, messages=messages, stream=stream)
        code = "context_length_exceeded" if messages is long else "invalid_value"
        assert (refused.value.code, refused.value.param) == (code, "messages")
    with pytest.raises(openai.NotFoundError) as unknown:
        completions.create(model="none", messages=asked(1))
    assert (unknown.value.code, unknown.value.param) == ("not_found", "model")
