from __future__ import annotations

import random

import pytest

from reconciler.api.types import Job
from reconciler.observe.state import Observed, ObservedJob, counting, suffix_of


def made(job_id: str, *, attempt: int = 1, status: str = "succeeded", at: int = 1, revision: str = "r") -> ObservedJob:
    return ObservedJob(job_id, "triage", revision, attempt, status, at)


@pytest.mark.parametrize(
    ("jobs", "expected"),
    [
        ([], None),
        ([made("a", at=2), made("b", at=1)], "b"),
        ([made("b"), made("a")], "a"),
        ([made("a", attempt=1), made("b", attempt=2, at=9)], "b"),
        ([made("a", status="cancelled", at=1), made("b", status="failed", at=2)], "b"),
        ([made("a", status="cancelled", at=2), made("b", status="cancelled", at=1)], "b"),
        ([made("a", attempt=2, status="cancelled"), made("b", attempt=1)], "b"),
    ],
)
def test_every_reconciler_chooses_the_same_job(jobs: list[ObservedJob], expected: str | None) -> None:
    for seed in range(5):
        shuffled = random.Random(seed).sample(jobs, len(jobs))
        found = counting(shuffled)
        assert (found.id if found else None) == expected


@pytest.mark.parametrize(
    ("model", "suffix"),
    [
        ("ft:gpt-4o-mini-2024-07-18:acme:triage:9x", "triage"),
        ("ft:gpt-4o-mini-2024-07-18:acme::9x", None),
        ("ft:gpt-4o-mini:acme:triage:9x:ckpt-step-88", "triage"),
        ("gpt-4o-mini", None),
        ("", None),
        (None, None),
    ],
)
def test_a_suffix_is_read_out_of_the_models_name(model: str | None, suffix: str | None) -> None:
    assert suffix_of(model) == suffix


def test_the_old_hyperparameters_become_a_supervised_method() -> None:
    job = Job(id="j", created_at=1, model="m", status="queued", hyperparameters={"n_epochs": 3})
    assert ObservedJob.of(job, "n", "r", 1).method == {
        "type": "supervised",
        "supervised": {"hyperparameters": {"n_epochs": 3}},
    }


def test_the_job_of_a_revision_is_found_by_name() -> None:
    observed = Observed(jobs=(made("a", revision="r1"), made("b", revision="r2")))
    found = observed.job_for("triage", "r2")
    assert found is not None
    assert found.id == "b"
    assert observed.job_for("triage", "r3") is None
    assert observed.job_for("other", "r2") is None
