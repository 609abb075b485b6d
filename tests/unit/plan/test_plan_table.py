"""The decision table, row by row."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from plan_support import B, acts, find, job, only, plan, spec

from reconciler.plan.model import Action
from reconciler.plan.planner import Options
from reconciler.plan.table import TRANSIENT_CODES
from reconciler.spec.policy import Policy

STATES = ("running", "paused", "cancelled")

# desired state, status of the job that counts (None: no job), action, words of the reason
ROWS = [
    ("running", None, "create", "no job of revision aaaaaaaa exists"),
    ("running", "validating_files", "none", "validating_files"),
    ("running", "queued", "none", "queued"),
    ("running", "pending", "none", "pending"),
    ("running", "running", "none", "running"),
    ("running", "resuming", "none", "resuming"),
    ("running", "pausing", "wait", "is pausing; it is resumed once it has paused"),
    ("running", "paused", "resume", "is paused; the spec says running"),
    ("running", "succeeded", "none", "converged"),
    ("running", "failed", "blocked", "failed: the server gives no reason"),
    ("running", "cancelled", "blocked", "was cancelled, by hand or for another revision"),
    ("running", "hibernating", "none", "status 'hibernating' is not known here: left alone"),
    ("paused", None, "hold", "nothing is created"),
    ("paused", "validating_files", "wait", "only a running job can be paused"),
    ("paused", "queued", "wait", "only a running job can be paused"),
    ("paused", "pending", "wait", "only a running job can be paused"),
    ("paused", "resuming", "wait", "only a running job can be paused"),
    ("paused", "running", "pause", "is running; the spec says paused"),
    ("paused", "pausing", "none", "pausing"),
    ("paused", "paused", "none", "paused"),
    ("paused", "succeeded", "none", "nothing is left to pause"),
    ("paused", "failed", "none", "nothing is left to pause"),
    ("paused", "cancelled", "none", "nothing is left to pause"),
    ("paused", "hibernating", "none", "left alone"),
    ("cancelled", None, "none", "no job exists"),
    ("cancelled", "validating_files", "cancel", "the spec says cancelled"),
    ("cancelled", "queued", "cancel", "the spec says cancelled"),
    ("cancelled", "pending", "cancel", "the spec says cancelled"),
    ("cancelled", "running", "cancel", "the spec says cancelled"),
    ("cancelled", "pausing", "cancel", "the spec says cancelled"),
    ("cancelled", "paused", "cancel", "the spec says cancelled"),
    ("cancelled", "resuming", "cancel", "the spec says cancelled"),
    ("cancelled", "succeeded", "none", "nothing is left to cancel"),
    ("cancelled", "failed", "none", "nothing is left to cancel"),
    ("cancelled", "cancelled", "none", "nothing is left to cancel"),
    ("cancelled", "hibernating", "none", "left alone"),
]


@pytest.mark.parametrize(("state", "status", "action", "words"), ROWS)
def test_each_row_of_the_table(state: str, status: str | None, action: str, words: str) -> None:
    change = only(plan(spec(state=state), *([job(status=status)] if status else [])))
    assert change.action == action
    assert words in change.reason
    assert change.job_id == ("ftjob-1" if status else None)


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("status", ["queued", "running", "paused", "resuming", "pausing"])
def test_protect_never_cancels_the_job_that_counts(state: str, status: str) -> None:
    change = only(plan(spec(state=state, protect=True), job(status=status)))
    assert change.action is not Action.CANCEL
    if state == "cancelled":
        assert change.action is Action.BLOCKED
        assert "protect: true" in change.reason


def test_a_create_carries_revision_attempt_and_model() -> None:
    change = only(plan(spec()))
    assert (change.revision, change.attempt, change.model, change.job_id) == ("a" * 16, 1, "gpt-4o-mini", None)


@pytest.mark.parametrize(
    ("finish", "words"),
    [
        (None, "running"),
        (9_000, "running"),
        (10_030, "running, less than a minute left"),
        (10_300, "running, about 5 min left"),
        (10_000 + 7 * 3600, "running, about 7 h left"),
    ],
)
def test_a_job_in_flight_says_how_long_it_needs(finish: int | None, words: str) -> None:
    assert only(plan(spec(), job(estimated_finish=finish))).reason == words


@pytest.mark.parametrize("code", sorted(TRANSIENT_CODES))
def test_a_transient_failure_gets_the_next_attempt(code: str) -> None:
    change = only(plan(spec(retry_limit=1), job(status="failed", error_code=code)))
    assert (change.action, change.attempt) == (Action.CREATE, 2)
    assert code in change.reason


def test_the_document_lists_every_code_that_may_pass() -> None:
    text = (Path(__file__).parents[3] / "docs" / "lifecycle.md").read_text(encoding="utf-8")
    section = text.partition("## Trying again")[2].partition("## ")[0]
    assert dict(re.findall(r"^\| `(\w+)` \| (.+) \|$", section, re.MULTILINE)) == TRANSIENT_CODES


@pytest.mark.parametrize(
    "code", [None, "", "invalid_training_file", "exceeded_quota", "moderation_failed", "SERVER_ERROR"]
)
def test_any_other_failure_is_blocked_with_the_jobs_own_error(code: str | None) -> None:
    failed = job(status="failed", error_code=code, error_message="line 7 has no messages")
    change = only(plan(spec(retry_limit=9), failed))
    assert change.action is Action.BLOCKED
    assert "line 7 has no messages" in change.reason
    assert (code or "failed") in change.reason


@pytest.mark.parametrize(
    ("limit", "attempt", "action"),
    [(0, 1, "blocked"), (1, 1, "create"), (1, 2, "blocked"), (2, 2, "create"), (2, 3, "blocked"), (2, 9, "blocked")],
)
def test_retry_limit_bounds_the_attempts(limit: int, attempt: int, action: str) -> None:
    failed = job(status="failed", error_code="server_error", error_message="boom", attempt=attempt)
    change = only(plan(spec(retry_limit=limit), failed))
    assert change.action == action
    assert change.attempt == (attempt + 1 if action == "create" else attempt)
    assert f"retry.limit {limit}" in change.reason


@pytest.mark.parametrize("status", ["failed", "cancelled"])
def test_recreate_starts_the_next_attempt_of_an_ended_job(status: str) -> None:
    change = only(plan(spec(), job(status=status, attempt=3), options=Options(recreate=frozenset({"triage"}))))
    assert (change.action, change.attempt) == (Action.CREATE, 4)
    assert "another attempt was asked for" in change.reason


@pytest.mark.parametrize("status", ["running", "queued", "succeeded", "paused", "hibernating"])
def test_recreate_leaves_a_job_that_did_not_fail(status: str) -> None:
    made = plan(spec(), job(status=status), options=Options(recreate=frozenset({"triage"})))
    assert only(made).action is not Action.CREATE


def test_recreate_of_one_name_leaves_the_others_blocked() -> None:
    specs = [spec("a"), spec("b", B)]
    jobs = [job("1", "cancelled", name="a"), job("2", "cancelled", name="b", revision=B)]
    made = plan(specs, *jobs, options=Options(recreate=frozenset({"a"})))
    assert acts(made) == [("create", "a", None)]
    assert find(made, "b").action is Action.BLOCKED


def test_policy_can_recreate_what_was_cancelled_but_not_what_failed() -> None:
    policy = Policy(on_cancelled="recreate")
    assert only(plan(spec(), job(status="cancelled"), policy=policy)).action is Action.CREATE
    assert only(plan(spec(), job(status="failed"), policy=policy)).action is Action.BLOCKED


def test_drift_names_both_ways_out() -> None:
    reason = only(plan(spec(), job(status="cancelled"))).reason
    assert "`rerun`" in reason
    assert "--recreate triage" in reason


def test_a_revision_trained_before_is_not_bought_again() -> None:
    old = job("ftjob-old", "succeeded", created_at=1)
    new = job("ftjob-new", "succeeded", revision=B, created_at=2)
    made = plan(spec(), old, new)
    assert not made.has_changes
    assert only(made).job_id == "ftjob-old"
