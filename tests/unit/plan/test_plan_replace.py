"""Jobs beside the one that counts: predecessors, duplicates, and those that lost their spec."""

from __future__ import annotations

from typing import Any

import pytest
from plan_support import B, C, acts, find, job, only, plan, spec

from reconciler.plan.model import Action
from reconciler.spec.desired import Upstream

OLD = job("ftjob-old", revision=B)


def test_a_predecessor_is_cancelled_once_its_successor_exists() -> None:
    made = plan(spec(), OLD)
    assert acts(made) == [("create", "triage", None), ("cancel", "triage", "ftjob-old")]
    assert find(made, "triage", "ftjob-old").requires == "triage"


def test_replace_wait_waits_for_the_predecessor() -> None:
    change = only(plan(spec(replace="wait"), OLD))
    assert change.action is Action.WAIT
    assert "replace: wait: ftjob-old of revision bbbbbbbb is running" in change.reason


def test_protect_blocks_the_successor() -> None:
    change = only(plan(spec(protect=True), OLD))
    assert change.action is Action.BLOCKED
    assert "protect: true: ftjob-old" in change.reason


@pytest.mark.parametrize("status", ["succeeded", "failed", "cancelled"])
@pytest.mark.parametrize("settings", [{}, {"replace": "wait"}, {"protect": True}])
def test_a_predecessor_that_has_ended_stands_in_nobodys_way(status: str, settings: dict[str, Any]) -> None:
    made = plan(spec(**settings), job("ftjob-old", status, revision=B))
    assert acts(made) == [("create", "triage", None)]


@pytest.mark.parametrize("status", ["running", "queued", "paused", "succeeded"])
def test_a_predecessor_left_over_is_cancelled_where_the_successor_stands(status: str) -> None:
    made = plan(spec(), OLD, job("ftjob-new", status))
    assert ("cancel", "triage", "ftjob-old") in acts(made)


@pytest.mark.parametrize("status", ["failed", "cancelled"])
def test_a_predecessor_goes_on_where_the_successor_ended_without_a_model(status: str) -> None:
    made = plan(spec(), OLD, job("ftjob-new", status))
    assert acts(made) == []


def test_replace_wait_lets_a_predecessor_go_on_beside_its_successor() -> None:
    made = plan(spec(replace="wait"), OLD, job("ftjob-new"))
    assert acts(made) == []
    assert "goes on to its end" in find(made, "triage", "ftjob-old").reason


def test_protect_blocks_cancelling_a_predecessor() -> None:
    made = plan(spec(protect=True), OLD, job("ftjob-new"))
    assert acts(made) == []
    assert find(made, "triage", "ftjob-old").action is Action.BLOCKED


@pytest.mark.parametrize(("protect", "action"), [(False, "cancel"), (True, "blocked")])
def test_a_cancelled_spec_cancels_predecessors_too(protect: bool, action: str) -> None:
    made = plan(spec(state="cancelled", protect=protect), OLD)
    assert find(made, "triage", "ftjob-old").action == action


def test_a_paused_spec_leaves_its_predecessor_running_and_says_so() -> None:
    made = plan(spec(state="paused"), OLD)
    assert acts(made) == []
    assert "ftjob-old of revision bbbbbbbb is running and goes on" in only(made).reason


def test_a_predecessor_is_kept_while_the_successor_waits_for_its_base() -> None:
    made = plan([spec(model=Upstream("base")), spec("base", C)], OLD)
    assert acts(made) == [("create", "base", None)]


def test_a_retry_still_replaces_a_predecessor() -> None:
    failed = job("ftjob-1", "failed", error_code="server_error")
    made = plan(spec(retry_limit=1), OLD, failed)
    assert acts(made) == [("create", "triage", None), ("cancel", "triage", "ftjob-old")]


@pytest.mark.parametrize("name", ["triage", "gone"])
@pytest.mark.parametrize("state", ["running", "cancelled"])
def test_a_job_in_an_unknown_status_is_never_acted_on(name: str, state: str) -> None:
    made = plan(spec(state=state), job("ftjob-odd", "hibernating", name=name, revision=B))
    change = find(made, name, "ftjob-odd")
    assert change.action is Action.NONE
    assert "not known here: left alone" in change.reason


def test_a_second_active_job_of_a_revision_is_cancelled() -> None:
    made = plan(spec(), job("ftjob-2", created_at=101), job("ftjob-1", created_at=100))
    assert acts(made) == [("cancel", "triage", "ftjob-2")]
    assert "ftjob-1 counts" in find(made, "triage", "ftjob-2").reason


@pytest.mark.parametrize("order", [(100, 101), (101, 100)])
def test_a_second_job_is_cancelled_once_the_revision_has_its_model(order: tuple[int, int]) -> None:
    made = plan(spec(), job("ftjob-1", "succeeded", created_at=order[0]), job("ftjob-2", created_at=order[1]))
    assert acts(made) == [("cancel", "triage", "ftjob-2")]


@pytest.mark.parametrize("status", ["running", "paused", "succeeded"])
def test_one_job_that_failed_is_no_reason_to_buy_again_while_another_of_its_revision_is_good(status: str) -> None:
    failed = job("ftjob-1", "failed", created_at=100, error_code="server_error")
    made = plan(spec(retry_limit=2), failed, job("ftjob-2", status, created_at=101))
    assert Action.CREATE not in {c.action for c in made.changes}
    assert find(made, "triage").job_id == "ftjob-2"


@pytest.mark.parametrize(("status", "cancelled"), [("running", True), ("succeeded", True), ("failed", False)])
def test_an_earlier_attempt_is_cancelled_only_where_the_later_one_stands(status: str, cancelled: bool) -> None:
    made = plan(spec(), job("ftjob-1"), job("ftjob-2", status, attempt=2))
    assert acts(made) == ([("cancel", "triage", "ftjob-1")] if cancelled else [])


def test_protect_blocks_cancelling_a_second_job() -> None:
    made = plan(spec(protect=True), job("ftjob-1"), job("ftjob-2", created_at=101))
    assert acts(made) == []
    assert find(made, "triage", "ftjob-2").action is Action.BLOCKED


@pytest.mark.parametrize("status", ["queued", "running", "paused", "pausing"])
def test_a_job_without_a_spec_is_pruned(status: str) -> None:
    made = plan([spec()], job(status="succeeded"), job("ftjob-2", status, name="gone", revision=B))
    assert acts(made) == [("cancel", "gone", "ftjob-2")]
    assert find(made, "gone").reason == "no spec names it any more"


@pytest.mark.parametrize("status", ["succeeded", "failed", "cancelled"])
def test_an_ended_job_without_a_spec_is_not_even_mentioned(status: str) -> None:
    made = plan([spec()], job(), job("ftjob-2", status, name="gone", revision=B))
    assert [c.name for c in made.changes] == ["triage"]


def test_a_job_that_claims_our_owner_but_cannot_be_read_is_a_warning() -> None:
    made = plan([], malformed={"ftjob-9": "reconciler.name is missing"})
    assert made.changes == ()
    assert made.warnings == ("ftjob-9 claims our owner and is left alone: reconciler.name is missing",)
