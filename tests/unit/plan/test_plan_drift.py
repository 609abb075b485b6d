"""Drift: what somebody did to a job although no spec changed."""

from __future__ import annotations

from typing import Any

import pytest
from plan_support import NOW, A, B, job, spec

from reconciler.observe.state import Observed, ObservedJob
from reconciler.plan.drift import Drift, find_drift
from reconciler.spec.desired import Adopt


def drifted(desired: Any, *jobs: ObservedJob, **observed: Any) -> list[tuple[str | None, str, str | None]]:
    found = find_drift([desired], Observed(jobs=jobs, **observed), NOW)
    return [(d.name, d.job_id, d.status) for d in found]


@pytest.mark.parametrize(
    ("state", "status", "drifts"),
    [
        ("running", "running", False),
        ("running", "succeeded", False),
        ("running", "paused", True),
        ("running", "cancelled", True),
        ("running", "failed", False),
        ("running", "hibernating", False),
        ("paused", "paused", False),
        ("paused", "running", True),
        ("paused", "succeeded", False),
        ("cancelled", "cancelled", False),
        ("cancelled", "running", True),
    ],
)
def test_a_job_that_is_not_what_its_spec_asks_for_has_drifted(state: str, status: str, drifts: bool) -> None:
    expected = [("triage", "ftjob-1", status)] if drifts else []
    assert drifted(spec(state=state), job(status=status)) == expected


def test_a_second_job_of_a_revision_is_drift() -> None:
    assert drifted(spec(), job(), job("ftjob-2", created_at=101)) == [("triage", "ftjob-2", "running")]


def test_an_adopted_job_drifts_like_any_other() -> None:
    adopted = {"ftjob-x": job("ftjob-x", "paused")}
    assert drifted(spec(adopt=Adopt("ftjob-x", A)), adopted=adopted) == [("triage", "ftjob-x", "paused")]


@pytest.mark.parametrize(
    "live",
    [(), (job(revision=B),), (job("ftjob-9", name="gone", revision=B),), (job(status="failed", error_code="timeout"),)],
)
def test_what_a_plan_leads_to_is_no_drift(live: tuple[ObservedJob, ...]) -> None:
    assert drifted(spec(retry_limit=1), *live) == []


def test_a_job_that_claims_our_owner_in_unreadable_words_is_drift() -> None:
    (drift,) = find_drift([], Observed(malformed={"ftjob-9": "no name"}), NOW)
    assert drift == Drift(None, "ftjob-9", None, None, "claims our owner, but cannot be read: no name")
