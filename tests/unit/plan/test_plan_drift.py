"""Drift is what somebody did to a job of the current revision, and nothing else."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, get_args

import pytest
from plan_support import NOW, A, B, job, spec

from reconciler.observe.state import Observed, ObservedJob
from reconciler.plan.drift import Drift, find_drift
from reconciler.spec.desired import Adopt, Desired, State, Upstream

STATUSES = (
    "validating_files", "queued", "pending", "running", "pausing", "paused", "resuming",
    "succeeded", "failed", "cancelled", "hibernating",
)  # fmt: skip
DRIFTED: Mapping[State, set[str]] = {
    "running": {"pausing", "paused", "cancelled"},
    "paused": {"validating_files", "queued", "pending", "running", "resuming"},
    "cancelled": {"validating_files", "queued", "pending", "running", "pausing", "paused", "resuming"},
}


def drift(desired: Sequence[Desired] | Desired, *jobs: ObservedJob, **rest: Any) -> tuple[Drift, ...]:
    desired = [desired] if isinstance(desired, Desired) else desired
    return find_drift(desired, Observed(jobs=jobs, **rest), NOW)


@pytest.mark.parametrize("state", get_args(State))
@pytest.mark.parametrize("status", STATUSES)
def test_a_job_that_is_not_in_or_on_its_way_to_the_wanted_state_has_drifted(state: State, status: str) -> None:
    found = drift(spec(state=state), job(status=status))
    assert [(d.name, d.job_id, d.desired, d.status) for d in found] == (
        [("triage", "ftjob-1", state, status)] if status in DRIFTED[state] else []
    )
    assert all(d.reason for d in found)


def test_the_reason_says_what_differs() -> None:
    assert drift(spec(), job(status="paused"))[0].reason == "is paused; the spec says running"
    assert "was cancelled" in drift(spec(), job(status="cancelled"))[0].reason


def test_a_failure_that_a_retry_answers_is_no_drift() -> None:
    assert drift(spec(retry_limit=2), job(status="failed", error_code="server_error")) == ()


def test_a_second_active_job_of_the_revision_is_drift() -> None:
    found = drift(spec(), job("ftjob-1"), job("ftjob-2", created_at=200))
    assert [d.job_id for d in found] == ["ftjob-2"]
    assert "a second job" in found[0].reason
    assert [d.job_id for d in drift(spec(protect=True), job("ftjob-1"), job("ftjob-2", created_at=200))] == ["ftjob-2"]


@pytest.mark.parametrize(
    ("desired", "jobs"),
    [
        pytest.param([spec()], [], id="a new spec"),
        pytest.param([spec(revision=B)], [job()], id="a new revision"),
        pytest.param([spec(revision=B)], [job(status="paused")], id="a new revision of a paused job"),
        pytest.param([spec()], [job(status="succeeded"), job("ftjob-2", revision=B)], id="a revision taken back"),
        pytest.param([], [job()], id="a spec that is gone"),
        pytest.param([spec("renamed")], [job()], id="a spec renamed"),
        pytest.param([spec(state="paused")], [], id="a spec on hold"),
        pytest.param(
            [spec("base"), spec(model=Upstream("base"))], [job("ftjob-2", name="base")], id="a chain that waits"
        ),
    ],
)
def test_what_specs_lead_to_is_no_drift(desired: list[Desired], jobs: list[ObservedJob]) -> None:
    assert drift(desired, *jobs) == ()


def test_a_renamed_specs_job_drifts_under_the_new_name() -> None:
    assert [(d.name, d.status) for d in drift(spec("renamed"), job(status="paused"))] == [("renamed", "paused")]


def test_an_adopted_job_drifts_like_any_other() -> None:
    adopted = {"ftjob-9": job("ftjob-9", "paused", revision=A)}
    found = drift(spec(adopt=Adopt("ftjob-9", A)), adopted=adopted)
    assert [(d.name, d.job_id, d.status) for d in found] == [("triage", "ftjob-9", "paused")]


def test_a_job_that_claims_our_owner_and_cannot_be_read_is_drift() -> None:
    found = drift(spec(), job(status="paused"), malformed={"ftjob-0": "no name"})
    assert found[0] == Drift(None, "ftjob-0", None, None, "claims our owner, but cannot be read: no name")
    assert [d.job_id for d in found] == ["ftjob-0", "ftjob-1"]
